"""Client snippets of the guides print the documented output when they run against a real server.

Only the address of the server is replaced.
"""

import shlex
from pathlib import Path

import pytest

from tests.external_programs import check_types, npm_project, run_commands, run_program
from tests.guides import Guide, code_spans, guide
from tests.servers import ServerProcess, run_server

ADDRESS = "http://127.0.0.1:8000"


CLIENTS = guide("clients")
EXPORTS = guide("rest").section("Exports")
LIVE = guide("live").section("JavaScript client")


def code(server: ServerProcess, section: Guide, language: str) -> list[str]:
    """The blocks of a language, with the address of the server."""
    found = section.blocks(language)
    for scheme in ("http", "ws"):
        documented, actual = (url.replace("http", scheme, 1) for url in (ADDRESS, server.url))
        found = [block.replace(documented, actual) for block in found]
    return found


def test_curl_command_prints_documented_output(demo_server: ServerProcess) -> None:
    (block,) = code(demo_server, CLIENTS.section("curl"), "console")
    command, _, output = block.removesuffix("\n").rpartition("\n")
    program, *arguments = shlex.split(command.removeprefix("$ ").replace("\\\n", ""))
    assert run_program(program, *arguments) == output


@pytest.mark.parametrize("title", ["Apollo Client", "urql"])
def test_javascript_client_prints_documented_output(
    demo_server: ServerProcess, tmp_path: Path, title: str
) -> None:
    section = CLIENTS.section(title)
    (snippet,) = code(demo_server, section, "js")
    (npm_project(tmp_path) / "snippet.js").write_text(snippet)
    assert run_program("node", "snippet.js", cwd=tmp_path) == section.block("text")


def test_live_client_prints_documented_output(tmp_path: Path) -> None:
    """Uses its own server, because it writes."""
    project = npm_project(tmp_path)
    settings = {"DATABASE_URL": f"sqlite:///{tmp_path / 'demo.db'}"}
    with run_server(tmp_path, settings, "--demo") as server:
        for snippet in code(server, LIVE, "js"):
            name = snippet.partition("\n")[0].removeprefix("// ")
            (project / name).write_text(snippet)
        assert run_program("node", "follow.js", cwd=project) == LIVE.block("text")


def test_trusted_document_over_websocket_prints_documented_output(tmp_path: Path) -> None:
    section = CLIENTS.section("Trusted documents over WebSocket")
    manifest = tmp_path / "trusted.json"
    manifest.write_text(section.block("json"))
    settings = {
        "DATABASE_URL": f"sqlite:///{tmp_path / 'demo.db'}",
        "TRUSTED_DOCUMENTS": str(manifest),
    }
    project = npm_project(tmp_path)
    with run_server(tmp_path, settings, "--demo") as server:
        (snippet,) = code(server, section, "js")
        (project / "snippet.js").write_text(snippet)
        assert run_program("node", "snippet.js", cwd=project) == section.block("text")


def test_typescript_compiles_and_prints_documented_output(
    demo_server: ServerProcess, tmp_path: Path
) -> None:
    section = CLIENTS.section("TypeScript")
    (generate,) = (span for span in code_spans(section.text) if span.startswith("npx "))
    project = npm_project(tmp_path)
    (project / "src").mkdir()
    for snippet in code(demo_server, section, "ts"):
        name = snippet.partition("\n")[0].removeprefix("// ")
        (project / name).write_text(snippet)

    run_commands(generate, cwd=project)
    assert check_types("src/results.ts", cwd=project) == ""
    assert run_program("jiti", "src/results.ts", cwd=project) == section.block("text")


@pytest.mark.parametrize("section", [CLIENTS.section("Python"), EXPORTS], ids=["gql", "export"])
def test_python_client_prints_documented_output(
    demo_server: ServerProcess, capsys: pytest.CaptureFixture[str], section: Guide
) -> None:
    (snippet,) = code(demo_server, section, "python")
    exec(snippet, {})
    assert capsys.readouterr().out == section.block("text")
