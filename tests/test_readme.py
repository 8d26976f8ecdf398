"""README and guides are correct: examples are executed, tables equal the code, links resolve."""

import json
import re
import shlex
from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path

import click
import pytest
from graphql import GraphQLObjectType, build_schema

from app import __version__
from app.cli import cli, main
from app.db.core.database import Database
from app.demo import load_demo
from app.domain.api_keys import Scope
from app.domain.ids import DEMO_WORKSPACE_ID
from app.rest.exports import FILTERS
from app.settings import FILE_VARIABLES, HPKE_KEY_VARIABLES, read_settings, settings_table
from tests.clients import Tenant, app_client, app_lifespan, client_for
from tests.factories import KEY_PREFIX, NOW, add_api_key
from tests.graphql.transport.websocket_client import connect_and_init
from tests.guides import (
    ALL_GUIDES,
    EVERYTHING,
    README,
    ROOT,
    SCRIPTS_README,
    Guide,
    code_spans,
    guide,
)
from tests.servers import ServerProcess

ADDRESS = "http://127.0.0.1:8000"
TOKEN = read_settings({}).demo_key()
LANGUAGES = {
    *(
        "console",
        "go",
        "graphql",
        "haproxy",
        "ini",
        "js",
        "json",
        "jsonl",
        "nginx",
        "python",
        "sql",
        "text",
        "toml",
        "ts",
        "yaml",
    )
}
MAX_README_LINES = 300

in_readme_and_guides = pytest.mark.parametrize(
    "document", EVERYTHING, ids=[str(each.path.relative_to(ROOT)) for each in EVERYTHING]
)


async def test_printed_graphql_responses_are_the_real_ones(
    database: Database, tmp_path: Path
) -> None:
    assert {example.path.stem for example, _, _ in _printed_responses()} == {
        "README",
        "graphql",
        "platforms",
        "retries",
    }
    assert await _other_responses(database, tmp_path, NOW) == []


@pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
async def test_guides_name_the_day_of_responses_that_depend_on_it(
    database: Database, tmp_path: Path
) -> None:
    responses = await _other_responses(database, tmp_path, NOW + timedelta(days=200))
    guides = [document for document, _, _ in responses]
    assert {each.path.stem for each in guides} == {"graphql"}
    for each in guides:
        assert f"{NOW:%-d %B %Y} at {NOW:%H:%M} UTC" in each.text


async def _other_responses(
    database: Database, folder: Path, now: datetime
) -> list[tuple[Guide, object, object]]:
    """Guide, real and printed response, where both differ for the demo data of that time."""
    await load_demo(database, token=TOKEN, api_key_prefix=KEY_PREFIX, now=now)
    policies = folder / "retries.toml"
    policies.write_text(guide("retries").block("toml"))
    settings = read_settings({"RETRY_POLICY_FILE": str(policies)})
    async with app_client(database, token=TOKEN, settings=settings, now=now) as client:
        responses = [
            (document, await client.execute(query), json.loads(response))
            for document, query, response in _printed_responses()
        ]
    return [each for each in responses if each[1] != each[2]]


def _printed_responses() -> Iterator[tuple[Guide, str, str]]:
    for document in EVERYTHING:
        for query, response in pairwise(document.all_blocks()):
            if (query.language, response.language) == ("graphql", "json"):
                yield document, query.code, response.code


async def test_every_graphql_example_runs(database: Database) -> None:
    await load_demo(database, token=TOKEN, api_key_prefix=KEY_PREFIX, now=NOW)
    scopes = [Scope.READ, Scope.WRITE, Scope.PUBLISH, Scope.ADMIN]
    token = (await add_api_key(database, DEMO_WORKSPACE_ID, scopes=scopes)).token
    async with app_lifespan(database) as app, client_for(app, token=token) as client:
        cursor = (await client.query("{ changes { latestCursor } }"))["changes"]["latestCursor"]
        await client.query(
            'mutation { createPost(input: {content: "hello", accountIds: [2280]}) { __typename } }'
        )
        for each in EVERYTHING:
            for document in each.blocks("graphql"):
                if document.startswith("subscription"):
                    async with connect_and_init(app, token) as socket:
                        socket.subscribe("a", document, after=cursor)
                        assert (await socket.next_payload("a")).keys() == {"data"}
                else:
                    await client.query(document)


@pytest.mark.parametrize(
    "example", [README.section("First REST call"), guide("rest").section("First call")]
)
async def test_printed_rest_response_is_the_real_one(demo_tenant: Tenant, example: Guide) -> None:
    command = example.block("console")
    _, _, header, url = shlex.split(command.removeprefix("$ ").replace("\\\n", ""))
    name, _, value = header.partition(": ")
    client = demo_tenant.client.with_token(None)
    response = await client.get(url.removeprefix(ADDRESS), headers={name: value})
    printed, actual = json.loads(example.block("json")), response.json()
    assert actual.keys() == printed.keys()
    assert actual["meta"].keys() == printed["meta"].keys()
    assert json.dumps(actual["data"]) == json.dumps(printed["data"])
    assert actual["error"] is printed["error"] is None


def test_printed_startup_banner_is_the_real_one(demo_server: ServerProcess) -> None:
    command, *printed = README.section("Quick start").blocks("console")[0].splitlines()
    assert command == "$ scripts/serve --demo"
    banner = [
        re.sub(r" /\S+/", " /srv/post-results/", line.replace(demo_server.url, ADDRESS))
        for line in demo_server.wait_until_ready()
    ]
    limit = re.compile("(?<=  limit    )[0-9]+")  # lower if few files can be opened
    assert [limit.sub("15000", line) for line in banner] == printed
    assert printed[0] == f"post-results {__version__}"


def test_printed_import_output_is_the_real_one(
    database_url: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DATABASE_URL", database_url)
    (tmp_path / "posts.jsonl").write_text(guide("import").block("jsonl"))
    _run("workspaces", "create", "acme")
    capsys.readouterr()

    transcript = guide("import").block("console")
    for example in transcript.split("$ post-results ")[1:]:
        command, _, output = example.partition("\n")
        _run(*shlex.split(command))
        printed = capsys.readouterr()
        assert printed.err + printed.out == output


def _run(*command: str) -> None:
    with pytest.raises(SystemExit):
        main(command)


def test_settings_table_equals_the_code() -> None:
    found = re.search(
        r"<!-- settings: .*? -->\n(.*?)\n<!-- /settings -->", guide("settings").text, re.DOTALL
    )
    assert found is not None
    assert found[1] == settings_table()


def test_named_settings_exist() -> None:
    settings = set(re.findall(r"^\| `(\w+)` \|", settings_table(), re.MULTILINE))
    environment = {"API_KEY", "API_URL", "CALL_SECONDS", "PUBLISH_URL"}  # of publisher.py
    environment |= {
        "NODE_FUNCTION_ALLOW_BUILTIN",
        "N8N_BLOCK_ENV_ACCESS_IN_NODE",
        "PUBLISHER_SECRET",
    }  # of n8n
    environment |= {
        "BLUESKY_APP_PASSWORD",
        "MASTODON_ACCESS_TOKEN",
        "WEBHOOK_SECRET",
    }  # of accounts connect
    environment |= {*FILE_VARIABLES.values(), *HPKE_KEY_VARIABLES}
    for_tests = {"REQUIRE_EVERY_TEST", "TEST_POSTGRES_URL"}
    known = settings | environment | for_tests | _error_codes() | _enum_values()
    for document in EVERYTHING:
        for span in code_spans(document.text):
            name = span.partition("=")[0]
            if re.fullmatch(r"[A-Z]+(_[A-Z]+)+", name):
                assert name in known, (document.path, name)


async def test_error_tables_equal_the_error_catalog(acme: Tenant) -> None:
    data = await acme.client.query(
        """
        {
          request: errorCatalog(part: REQUEST) { code httpStatus retryable }
          publishing: errorCatalog(part: PUBLISHING) { code category nextAction }
        }
        """
    )
    requests = [
        [f"`{each['code']}`", str(each["httpStatus"]), "yes" if each["retryable"] else "no"]
        for each in data["request"]
    ]
    publishing = [
        [f"`{each['code']}`", f"`{each['category']}`", f"`{each['nextAction']}`"]
        for each in data["publishing"]
    ]
    errors = guide("rest").section("Errors").table_rows("code")
    assert sorted(row[:3] for row in errors) == sorted(requests)
    causes = guide("retries").section("Causes and fixes").table_rows("code")
    assert sorted(causes) == sorted(publishing)


def test_every_root_field_is_documented() -> None:
    tables = {
        "Query": guide("graphql").section("Queries").table_rows("field"),
        "Mutation": [
            *guide("graphql").section("Mutations").table_rows("mutation"),
            *guide("publishing").section("Publishing protocol").table_rows("mutation"),
        ],
        "Subscription": guide("live").section("Subscriptions").table_rows("subscription"),
    }
    schema = build_schema((ROOT / "schema.graphql").read_text())
    for name, rows in tables.items():
        documented = [span.partition("(")[0] for row in rows for span in code_spans(row[0])]
        root = schema.type_map[name]
        assert isinstance(root, GraphQLObjectType)
        assert sorted(documented) == sorted(root.fields)


async def test_documented_rest_endpoints_exist(database: Database) -> None:
    rows = guide("rest").section("Endpoints").table_rows("path")
    endpoints = [span.split(" ") for row in rows for span in code_spans(row[0])]
    async with app_client(database) as client:
        for method, path in endpoints:
            example = path.replace("{post_id}", "x").replace("{account_id}", "1")
            response = await client.request("OPTIONS", example)
            assert method in response.headers.get("Allow", "").split(", "), (method, path)


def test_every_filter_of_exports_is_documented() -> None:
    rows = guide("rest").section("Exports").table_rows("parameter")
    assert sorted(span for row in rows for span in code_spans(row[0])) == sorted(FILTERS)


def test_every_command_is_documented() -> None:
    rows = guide("operating").section("Commands").table_rows("command")
    documented = [span.removeprefix("post-results ") for row in rows for span in code_spans(row[0])]
    assert sorted(documented) == sorted(_commands(cli))


def _commands(group: click.Group, prefix: str = "") -> Iterator[str]:
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from _commands(command, f"{prefix}{name} ")
        else:
            yield prefix + name


def test_every_metric_is_documented(demo_server: ServerProcess) -> None:
    rows = guide("operating").section("Health checks and metrics").table_rows("metric")
    documented = [span for row in rows for span in code_spans(row[0])]
    metrics = re.findall(
        r"^# TYPE (post_results_\w+) ", demo_server.get("/metrics").text, re.MULTILINE
    )
    assert sorted(documented) == sorted(name for name in metrics if not name.endswith("_created"))


def test_every_script_is_described() -> None:
    described = [span for row in SCRIPTS_README.table_rows("script") for span in code_spans(row[0])]
    files = (file.name for file in (ROOT / "scripts").iterdir() if file.is_file())
    assert sorted(described) == sorted(name for name in files if "." not in name)


@in_readme_and_guides
def test_named_scripts_exist(document: Guide) -> None:
    for name in re.findall(r"scripts/([\w-]+(?:\.(?:py|md))?)", document.text):
        assert (ROOT / "scripts" / name).exists(), name


@in_readme_and_guides
def test_npm_packages_are_those_of_the_tests(document: Guide) -> None:
    """A misspelt name, or a command that is no package, may be registered by anyone."""
    packages = json.loads((ROOT / "tests" / "javascript" / "package.json").read_text())
    names = {
        name.partition("@16")[0]
        for command in re.findall(r"npm install( [^`$]+)", document.text)
        for name in command.split()
        if name != "-D"
    }
    assert names - packages["dependencies"].keys() == set()
    assert re.findall(r"(?:\$ |`)npx (?!--no ).+", document.text) == []


@in_readme_and_guides
def test_relative_links_and_images_resolve(document: Guide) -> None:
    for target in document.links():
        name, _, anchor = target.partition("#")
        file = document.path.parent / name if name else document.path
        assert file.is_file(), target
        if anchor:
            assert anchor in Guide(file, file.read_text()).anchors(), target


@pytest.mark.parametrize("document", ALL_GUIDES, ids=[each.path.stem for each in ALL_GUIDES])
def test_guides_link_only_to_each_other(document: Guide) -> None:
    """They are also served at /docs, with their images, but without the rest of the repository."""
    for target in document.links():
        assert "/" not in target.removeprefix("images/"), target


@in_readme_and_guides
def test_headings_and_code_blocks_are_well_formed(document: Guide) -> None:
    levels = [level for level, _ in document.headings()]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))
    assert len(document.anchors()) == len(levels), "two headings have the same anchor"
    assert {block.language for block in document.all_blocks()} <= LANGUAGES


def test_readme_is_short_and_links_every_guide() -> None:
    assert len(README.text.splitlines()) <= MAX_README_LINES
    linked = {README.path.parent / target.partition("#")[0] for target in README.links()}
    assert linked >= {each.path for each in ALL_GUIDES}


def _error_codes() -> set[str]:
    return {code_spans(row[0])[0] for row in guide("rest").section("Errors").table_rows("code")} | {
        code_spans(row[0])[0] for row in guide("retries").table_rows("code")
    }


def _enum_values() -> set[str]:
    schema = (ROOT / "schema.graphql").read_text()
    return set(re.findall(r"^  ([A-Z_]+)$", schema, re.MULTILINE))
