"""The guide of the first post: its commands publish a post with an image and a link on a real server."""

import asyncio
import json
import os
import re
import shlex
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.async_api import Browser, expect

from tests.external_programs import ROOT
from tests.guides import guide
from tests.platform_servers.processes import INSTALLED_PDS, require_installed
from tests.servers import TIMEOUT_SECONDS, unused_port
from tests.web.board_tab import open_tab

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("require_built_page")]

GUIDE = guide("first-post")
PDS, SERVE, CONNECT, PUBLISH, RESULTS, RECORDS = GUIDE.blocks("console")
PDS_PORT, SERVER_PORT = "2583", "8000"


@dataclass(frozen=True)
class Terminals:
    """Runs the commands of the guide in one folder, with unused ports."""

    folder: Path
    ports: Mapping[str, str]

    def run(self, block: str, **variables: str) -> str:
        """Run the commands of a block, and return what they print."""
        return subprocess.run(
            ["/bin/sh", "-ec", self._script(block, variables)],
            cwd=self.folder,
            check=True,
            capture_output=True,
            text=True,
        ).stdout

    @contextmanager
    def running(self, block: str, last_line: str) -> Iterator[str]:
        """Run a server until the end of the test; yield what it prints, up to a line with a text."""
        output = self.folder / f"{len(list(self.folder.iterdir()))}.out"
        with (
            output.open("w") as out,
            (self.folder / "log").open("a") as log,
            subprocess.Popen(
                ["/bin/sh", "-ec", self._script(block, {"PORT": self.ports[SERVER_PORT]})],
                cwd=self.folder,
                stdout=out,
                stderr=log,
                start_new_session=True,
            ) as process,
        ):
            try:
                ends_at = time.monotonic() + TIMEOUT_SECONDS
                while last_line not in output.read_text():
                    assert process.poll() is None
                    assert time.monotonic() < ends_at
                    time.sleep(0.1)
                yield output.read_text()
            finally:
                os.killpg(process.pid, signal.SIGTERM)

    def _script(self, block: str, variables: Mapping[str, str]) -> str:
        """Return the commands of a block, for the programs of this checkout."""
        commands = re.sub(r"^(?!\$ |    |  \}).*\n", "", block, flags=re.MULTILINE)
        commands = re.sub(r"^\$ ", "", commands, flags=re.MULTILINE)
        commands = re.sub(r"(?<!\S)(scripts|\.venv)/", rf"{ROOT}/\1/", commands)
        commands = commands.replace("/scripts/pds", f"/scripts/pds --port {self.ports[PDS_PORT]}")
        for documented, used in self.ports.items():
            commands = commands.replace(f":{documented}", f":{used}")
        exports = [f"export {name}={shlex.quote(value)}" for name, value in variables.items()]
        return "\n".join([*exports, commands])


@pytest.fixture
def terminals(tmp_path: Path) -> Terminals:
    require_installed("The PDS", is_installed=INSTALLED_PDS.exists())
    return Terminals(tmp_path, {port: str(unused_port()) for port in (PDS_PORT, SERVER_PORT)})


async def test_guide_publishes_a_post_and_shows_its_result(
    terminals: Terminals, browser: Browser
) -> None:
    with (
        terminals.running(PDS, "app password") as started,
        terminals.running(SERVE, "  key ") as banner,
    ):
        password = started.split()[-1]
        assert (terminals.folder / "secrets-key").stat().st_mode & 0o777 == 0o600
        (key,) = re.findall(r"  key +(\S+)", banner)
        connect = CONNECT.replace("abcd-efgh-ijkl-mnop", password)
        connected = terminals.run(connect).splitlines()
        did = connected[0].removeprefix("alice.test · ")
        assert connected == [
            f"alice.test · {did}",
            f"https://bsky.app/profile/{did}",
            "The account is connected, with the number 1.",
        ]
        created = json.loads(terminals.run(PUBLISH, KEY=key))
        post = created["data"]["createPost"]["post"]["postId"]

        rest, graphql = await published(terminals, KEY=key, POST=post)
        (result,) = rest["data"]["results"]
        url = result["platform_post_url"]
        assert (result["status"], result["attempts"], result["error"]) == ("published", 1, None)
        assert url.startswith(f"https://bsky.app/profile/{did}/post/")
        destination = {"status": "PUBLISHED", "attempts": 1, "platformPostUrl": url}
        assert graphql["data"]["post"] == {"status": "PUBLISHED", "destinations": [destination]}

        assert terminals.run(RECORDS) == RECORDS.partition("\n")[2]

        record = read_record(terminals, did, url.rpartition("/")[2])
        assert record["text"] == "A blue square, and more on https://example.com"
        assert [image["alt"] for image in record["embed"]["images"]] == ["A blue square"]
        (feature,) = record["facets"][0]["features"]
        assert feature["uri"] == "https://example.com"

        server = f"http://127.0.0.1:{terminals.ports[SERVER_PORT]}"
        async with open_tab(browser, server) as tab:
            await tab.open()
            await tab.sign_in(key)
            await tab.page.get_by_role("link", name="Results").first.click()
            row = tab.page.locator(".results-table tbody tr")
            await expect(row).to_contain_text("Published")
            await expect(row).to_contain_text("A blue square")


async def published(terminals: Terminals, **variables: str) -> tuple[Any, Any]:
    """Run the commands that show the result, until the post is published; return their answers."""
    ends_at = time.monotonic() + TIMEOUT_SECONDS
    while True:
        decoder = json.JSONDecoder()
        output = terminals.run(RESULTS, **variables)
        rest, end = decoder.raw_decode(output)
        graphql = json.loads(output[end:])
        if graphql["data"]["post"]["status"] == "PUBLISHED":
            return rest, graphql
        assert time.monotonic() < ends_at
        await asyncio.sleep(0.2)


def read_record(terminals: Terminals, did: str, key: str) -> dict[str, Any]:
    parameters = {"repo": did, "collection": "app.bsky.feed.post", "rkey": key}
    response = httpx.get(
        f"http://127.0.0.1:{terminals.ports[PDS_PORT]}/xrpc/com.atproto.repo.getRecord",
        params=parameters,
    )
    record: dict[str, Any] = response.raise_for_status().json()["value"]
    return record
