"""The code that the README offers for copying does what is printed under it, against a real server.

It runs as printed, but for the address of the server.
"""

import shlex
from pathlib import Path

import pytest

from tests.programs import check_types, npm_project, run
from tests.readme import blocks, section
from tests.servers import Server

ADDRESS = "http://127.0.0.1:8000"


def code(server: Server, page: str, language: str) -> list[str]:
    return [block.replace(ADDRESS, server.url) for block in blocks(language, section(page))]


def printed(page: str) -> str:
    (output,) = blocks("text", section(page))
    return output


def test_the_curl_command_prints_what_is_shown(demo_server: Server) -> None:
    (block,) = code(demo_server, "curl", "console")
    command, _, output = block.removesuffix("\n").rpartition("\n")
    program, *arguments = shlex.split(command.removeprefix("$ ").replace("\\\n", ""))
    assert run(program, *arguments) == output


@pytest.mark.parametrize("page", ["Apollo Client", "urql"])
def test_a_javascript_client_prints_what_is_shown(
    demo_server: Server, tmp_path: Path, page: str
) -> None:
    (snippet,) = code(demo_server, page, "js")
    (npm_project(tmp_path) / "snippet.js").write_text(snippet)
    assert run("node", "snippet.js", cwd=tmp_path) == printed(page)


def test_typescript_compiles_and_prints_what_is_shown(demo_server: Server, tmp_path: Path) -> None:
    project = npm_project(tmp_path)
    (project / "src").mkdir()
    for snippet in code(demo_server, "TypeScript", "ts"):
        name = snippet.partition("\n")[0].removeprefix("// ")
        (project / name).write_text(snippet)

    run("graphql-codegen", cwd=project)
    assert check_types("src/results.ts", cwd=project) == ""
    assert run("jiti", "src/results.ts", cwd=project) == printed("TypeScript")


def test_python_prints_what_is_shown(
    demo_server: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    (snippet,) = code(demo_server, "Python", "python")
    exec(snippet, {})
    assert capsys.readouterr().out == printed("Python")
