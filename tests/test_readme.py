"""The README is true: its examples are run, its tables are those of the code."""

import json
import re
import shlex
from pathlib import Path

import pytest

from app.cli import main
from app.db.core.database import Database
from app.demo import load_demo
from app.settings import read_settings, settings_table
from tests.clients import app_client, app_lifespan, client_for
from tests.factories import KEY_PREFIX, NOW
from tests.graphql.transport.websocket.client import connect_and_init
from tests.readme import README, code_blocks, readme_section

ROOT = Path(__file__).parent.parent


async def test_the_graphql_example_is_answered_as_printed(database: Database) -> None:
    token = read_settings({}).demo_key()
    await load_demo(database, token=token, key_prefix=KEY_PREFIX, now=NOW)
    async with app_client(database, token=token) as client:
        assert await client.execute(code_blocks("graphql")[0]) == json.loads(code_blocks("json")[0])


async def test_every_graphql_example_runs(database: Database) -> None:
    token = read_settings({}).demo_key()
    await load_demo(database, token=token, key_prefix=KEY_PREFIX, now=NOW)
    async with app_lifespan(database) as app, client_for(app, token=token) as client:
        cursor = (await client.query("{ changes { latestCursor } }"))["changes"]["latestCursor"]
        await client.query(
            'mutation { createPost(input: {content: "hello", accountIds: [2280]}) { __typename } }'
        )
        for document in code_blocks("graphql"):
            if document.startswith("subscription"):
                async with connect_and_init(app, token) as socket:
                    socket.subscribe("a", document, after=cursor)
                    assert (await socket.next_payload("a")).keys() == {"data"}
            else:
                await client.query(document)


async def test_the_rest_example_is_answered_as_printed(database: Database) -> None:
    token = read_settings({}).demo_key()
    await load_demo(database, token=token, key_prefix=KEY_PREFIX, now=NOW)
    (command,) = code_blocks("console", readme_section("Ask by REST"))
    _, _, header, url = shlex.split(command.removeprefix("$ ").replace("\\\n", ""))
    name, _, value = header.partition(": ")
    async with app_client(database) as client:
        response = await client.get(
            url.removeprefix("http://127.0.0.1:8000"), headers={name: value}
        )
    (example,) = code_blocks("json", readme_section("Ask by REST"))
    printed = json.loads(example)
    answered = response.json()
    assert answered.keys() == printed.keys()
    assert answered["meta"].keys() == printed["meta"].keys()
    assert json.dumps(answered["data"]) == json.dumps(printed["data"])
    assert answered["error"] is printed["error"] is None


def test_the_import_prints_what_is_shown(
    database_url: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DATABASE_URL", database_url)
    (answers,) = code_blocks("jsonl", readme_section("Bring data in"))
    (tmp_path / "posts.jsonl").write_text(answers)
    _run("workspaces", "create", "acme")
    capsys.readouterr()

    (transcript,) = code_blocks("console", readme_section("Bring data in"))
    for shown in transcript.split("$ post-results ")[1:]:
        command, _, output = shown.partition("\n")
        _run(*shlex.split(command))
        printed = capsys.readouterr()
        assert printed.err + printed.out == output


def _run(*command: str) -> None:
    with pytest.raises(SystemExit):
        main(command)


async def test_the_retry_policies_do_what_is_shown(database: Database, tmp_path: Path) -> None:
    token = read_settings({}).demo_key()
    await load_demo(database, token=token, key_prefix=KEY_PREFIX, now=NOW)
    (policies,) = code_blocks("toml", readme_section("Retries"))
    file = tmp_path / "retries.toml"
    file.write_text(policies)
    settings = read_settings({"RETRY_POLICY_FILE": str(file)})
    (document,) = code_blocks("graphql", readme_section("Retries"))
    (answer,) = code_blocks("json", readme_section("Retries"))
    async with app_client(database, token=token, settings=settings) as client:
        assert await client.execute(document) == json.loads(answer)


def test_the_settings_table_is_the_one_of_the_code() -> None:
    found = re.search(r"<!-- settings: .*? -->\n(.*?)\n<!-- /settings -->", README, re.DOTALL)
    assert found is not None
    assert found[1] == settings_table()


def test_every_script_is_described() -> None:
    scripts = ROOT / "scripts"
    described = set(
        re.findall(r"^\| `([\w-]+)` \|", (scripts / "README.md").read_text(), re.MULTILINE)
    )
    files = (file.name for file in scripts.iterdir() if file.is_file())
    assert described == {name for name in files if "." not in name}


def test_every_script_that_the_readme_names_exists() -> None:
    for name in re.findall(r"scripts/([\w-]+(?:\.py)?)", README):
        assert (ROOT / "scripts" / name).exists(), name
