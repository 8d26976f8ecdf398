"""The code that the README offers for copying does what is printed under it, against a real server.

It runs as printed, but for the address of the server.
"""

import shlex
from pathlib import Path

import pytest

from tests.external_programs import check_types, npm_project, run_program
from tests.readme import code_blocks, readme_section
from tests.servers import ServerProcess

ADDRESS = "http://127.0.0.1:8000"


def code(server: ServerProcess, page: str, language: str) -> list[str]:
    found = code_blocks(language, readme_section(page))
    for scheme in ("http", "ws"):
        theirs, ours = (each.replace("http", scheme, 1) for each in (ADDRESS, server.url))
        found = [block.replace(theirs, ours) for block in found]
    return found


def printed(page: str) -> str:
    (output,) = code_blocks("text", readme_section(page))
    return output


def test_the_curl_command_prints_what_is_shown(demo_server: ServerProcess) -> None:
    (block,) = code(demo_server, "curl", "console")
    command, _, output = block.removesuffix("\n").rpartition("\n")
    program, *arguments = shlex.split(command.removeprefix("$ ").replace("\\\n", ""))
    assert run_program(program, *arguments) == output


@pytest.mark.parametrize("page", ["Apollo Client", "urql"])
def test_a_javascript_client_prints_what_is_shown(
    demo_server: ServerProcess, tmp_path: Path, page: str
) -> None:
    (snippet,) = code(demo_server, page, "js")
    (npm_project(tmp_path) / "snippet.js").write_text(snippet)
    assert run_program("node", "snippet.js", cwd=tmp_path) == printed(page)


def test_a_live_client_prints_what_is_shown(tmp_path: Path) -> None:
    """On a server of its own, for it writes."""
    folder, project = tmp_path / "server", npm_project(tmp_path)
    folder.mkdir()
    server = ServerProcess(folder, {"DATABASE_URL": f"sqlite:///{tmp_path / 'demo.db'}"}, "--demo")
    try:
        server.wait_until_ready()
        for snippet in code(server, "Live", "js"):
            name = snippet.partition("\n")[0].removeprefix("// ")
            (project / name).write_text(snippet)
        assert run_program("node", "follow.js", cwd=project) == printed("Live")
    finally:
        server.kill()


def test_typescript_compiles_and_prints_what_is_shown(
    demo_server: ServerProcess, tmp_path: Path
) -> None:
    project = npm_project(tmp_path)
    (project / "src").mkdir()
    for snippet in code(demo_server, "TypeScript", "ts"):
        name = snippet.partition("\n")[0].removeprefix("// ")
        (project / name).write_text(snippet)

    run_program("graphql-codegen", cwd=project)
    assert check_types("src/results.ts", cwd=project) == ""
    assert run_program("jiti", "src/results.ts", cwd=project) == printed("TypeScript")


def test_python_prints_what_is_shown(
    demo_server: ServerProcess, capsys: pytest.CaptureFixture[str]
) -> None:
    (snippet,) = code(demo_server, "Python", "python")
    exec(snippet, {})
    assert capsys.readouterr().out == printed("Python")
