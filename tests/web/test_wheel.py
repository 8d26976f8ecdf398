"""The wheel: it contains the built pages and needs no Node.js where it is installed."""

import json
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from zipfile import ZipFile

import httpx
import pytest

from app.web.static_files import STATIC_DIR
from tests.command_processes import CommandProcess
from tests.guides import GUIDES
from tests.servers import ServerProcess

ROOT = Path(__file__).parents[2]

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("require_built_page")]


def run_pip(python: Path, *arguments: str | Path) -> None:
    subprocess.run([python, "-m", "pip", "--quiet", *arguments], check=True)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    run_pip(Path(sys.executable), "wheel", "--no-deps", "--wheel-dir", folder, ROOT)
    (file,) = folder.glob("post_results-*.whl")
    return file


def test_wheel_contains_pages_and_guides_but_not_the_page_source(wheel: Path) -> None:
    with ZipFile(wheel) as packed:
        names = {name for name in packed.namelist() if name.startswith(("app/web/", "app/docs/"))}

    package = STATIC_DIR.parents[1]
    files = [*STATIC_DIR.rglob("*"), *GUIDES.rglob("*"), *STATIC_DIR.parent.glob("*.py")]
    expected = {f"app/{file.relative_to(package)}" for file in files if file.is_file()}
    assert names == expected
    assert {
        "app/web/static/index.html",
        "app/web/static/board/documents.json",
        "app/web/static/docs/rest.html",
        "app/docs/rest.md",
    } <= names


def test_installed_wheel_serves_its_pages_without_node(wheel: Path, tmp_path: Path) -> None:
    environment, logs = tmp_path / "environment", tmp_path / "logs"
    logs.mkdir()
    python = Path(sys.executable)
    subprocess.run([python, "-m", "venv", "--without-pip", environment], check=True)
    install = ("--python", environment / "bin" / "python", "install", "--no-compile")
    requirements = ROOT / "scripts" / "requirements.txt"
    run_pip(python, *install, "--no-deps", "--require-hashes", "--requirement", requirements)
    run_pip(python, *install, "--no-index", wheel)

    def start(
        arguments: Sequence[str], variables: Mapping[str, str], out: Path, log: Path
    ) -> CommandProcess:
        with out.open("w") as to_out, log.open("w") as to_log:
            return subprocess.Popen(
                [environment / "bin" / "post-results", *arguments],
                cwd=tmp_path,
                env={**variables, "PATH": str(environment / "bin")},
                stdout=to_out,
                stderr=to_log,
                start_new_session=True,
            )

    settings = {"DATABASE_URL": f"sqlite:///{tmp_path / 'wheel.db'}"}
    server = ServerProcess(logs, settings, start=start)
    try:
        server.wait_until_ready()
        assert "<title>post-results · GraphQL</title>" in server.get("/graphiql").text
        assert "<title>Documentation · post-results</title>" in server.get("/docs").text
        (script,) = re.findall(r'type="module" src="([^"]+)"', server.get("/board").text)
        assert script.startswith("/board/assets/main-")
        assert server.get(script).headers["content-type"] == "text/javascript; charset=utf-8"
        documents = json.loads((STATIC_DIR / "board" / "documents.json").read_text())
        (viewer,) = [
            each for each, text in documents.items() if text.startswith("query viewerQuery(")
        ]
        response = httpx.post(
            f"{server.url}/graphql",
            json={"documentId": viewer, "variables": {"reads": False}},
            headers={"Authorization": f"Bearer {server.key}"},
        )
        assert response.json()["data"]["viewer"]["workspace"]["name"] == "default"
        image = next((STATIC_DIR / "docs" / "assets").glob("*.png"))
        response = server.get(f"/docs/assets/{image.name}", **{"Accept-Encoding": "identity"})
        assert (response.headers["content-type"], response.content) == (
            "image/png",
            image.read_bytes(),
        )
        server.stop()
    finally:
        server.kill()
