"""The guide of webhooks: its transcript runs against a real server, and its snippets verify deliveries."""

import json
import shlex
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from standardwebhooks import WebhookVerificationError

from app.domain.webhooks.event_types import WebhookEventType
from app.domain.webhooks.payloads import EventSubject
from app.domain.webhooks.signatures import make_secret, signature_headers
from app.services.secret_cipher import new_secrets_key
from tests.domain.destination_states import ACCOUNTS, make_post
from tests.domain.test_change_sentences import FAILED, STARTED, as_stored, with_first
from tests.domain.webhooks.test_payloads import change_first, payload_of
from tests.external_programs import ROOT, npm_project, run_program
from tests.guides import guide
from tests.servers import run_server, unused_port

WEBHOOKS = guide("webhooks")
START, CREATE, RECEIVE, TEST = WEBHOOKS.section("The first event").blocks("console")
VERIFY = WEBHOOKS.section("Verify the signature")

SECRET = make_secret(bytes)
BODY = b'{"event":"post.published"}'
GO_DRIVER = """package main

import (
	"fmt"
	"io"
	"net/http"
	"os"
)

func main() {
	body, _ := io.ReadAll(os.Stdin)
	header := http.Header{}
	for index := 2; index < len(os.Args); index += 2 {
		header.Set(os.Args[index], os.Args[index+1])
	}
	fmt.Println(verify(os.Args[1], body, header) == nil)
}
"""
NODE_DRIVER = """import { readFileSync } from "node:fs";
import { verify } from "./verify.js";

const [secret, ...pairs] = process.argv.slice(2);
const headers = {};
for (let index = 0; index < pairs.length; index += 2) headers[pairs[index]] = pairs[index + 1];
try {
  verify(secret, readFileSync(0, "utf8"), headers);
  console.log("true");
} catch {
  console.log("false");
}
"""


def request(body: bytes = BODY) -> dict[str, str]:
    """Headers of a delivery of the body that is sent now."""
    return signature_headers(body, event_id="1", now=datetime.now(UTC), secrets=[SECRET])


@contextmanager
def running_receiver(secret: str, port: int) -> Iterator["subprocess.Popen[str]"]:
    with subprocess.Popen(
        [sys.executable, ROOT / "scripts" / "receiver.py", str(port)],
        env={"WEBHOOK_SECRET": secret},
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def run_command(block: str, **values: str) -> Any:
    """Run the command of a block, with values for its variables, and return its output, which is JSON."""
    for name, value in values.items():
        block = block.replace(name, value)
    program, *arguments = shlex.split(block.removeprefix("$ ").replace("\\\n", ""))
    return json.loads(run_program(program, *arguments))


def test_transcript_delivers_a_test_event(tmp_path: Path) -> None:
    _, second, serve = START.splitlines()
    settings = dict(part.split("=") for part in shlex.split(second.removeprefix("$ export ")))
    settings |= {
        "DATABASE_URL": f"sqlite:///{tmp_path / 'post-results.db'}",
        "SECRETS_KEY": new_secrets_key(),
    }
    assert serve == "$ scripts/serve"
    port = str(unused_port())
    with run_server(tmp_path, settings) as server:
        replaced = {"http://127.0.0.1:8000": server.url, "$KEY": server.key, "9000": port}
        created = run_command(CREATE, **replaced)["data"]
        assert RECEIVE.strip() == "$ WEBHOOK_SECRET=whsec_… python3 scripts/receiver.py 9000"
        with running_receiver(created["secret"], int(port)) as receiver:
            tested: dict[str, Any] = {"ok": False}
            while not tested["ok"]:  # until the receiver listens
                tested = run_command(TEST, **replaced, **{"$WEBHOOK": created["id"]})["data"]
            assert receiver.stdout is not None
            printed = receiver.stdout.readline()
    assert printed == WEBHOOKS.section("The first event").block("text")
    assert (tested["status"], tested["error"]) == (200, None)


def test_table_has_every_event() -> None:
    listed = {row[0].strip("`") for row in WEBHOOKS.section("Events").table_rows("event")}
    assert listed == set(WebhookEventType) - {"media.uploaded", "media.deleted"}


def test_python_snippet_verifies_deliveries() -> None:
    namespace: dict[str, Any] = {}
    exec(VERIFY.block("python"), namespace)
    assert namespace["verify"](SECRET, BODY, request()) == {"event": "post.published"}
    with pytest.raises(WebhookVerificationError):
        namespace["verify"](SECRET, BODY + b" ", request())


@pytest.mark.parametrize("language", ["js", "go"])
def test_snippet_verifies_deliveries(tmp_path: Path, language: str) -> None:
    arguments = [text for pair in request().items() for text in pair]
    if language == "js":
        npm_project(tmp_path)
        (tmp_path / "verify.js").write_text(VERIFY.block("js"))
        (tmp_path / "driver.js").write_text(NODE_DRIVER)
        command = ["node", "driver.js"]
    else:
        (tmp_path / "go.mod").write_text("module receiver\n")
        (tmp_path / "verify.go").write_text(VERIFY.block("go"))
        (tmp_path / "main.go").write_text(GO_DRIVER)
        run_program("go", "build", "-o", "receiver", cwd=tmp_path)
        command = [str(tmp_path / "receiver")]

    def is_accepted(body: bytes) -> bool:
        output = run_program(*command, SECRET, *arguments, cwd=tmp_path, stdin=body.decode())
        return output == "true\n"

    assert is_accepted(BODY)
    assert not is_accepted(BODY + b" ")


def test_payload_of_the_guide_has_the_fields_of_a_failure() -> None:
    """Their order, too, because people compare it with what they receive."""
    before = make_post([STARTED])
    after = with_first(before, FAILED)
    event = as_stored(change_first(before, after), "reportFailed")
    payload = payload_of(event, EventSubject(after, ACCOUNTS))
    example = json.loads(WEBHOOKS.section("Payload").block("json"))
    data = payload["data"]
    assert isinstance(data, dict)
    assert (list(example), list(example["data"])) == (list(payload), list(data))
