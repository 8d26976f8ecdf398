"""The wheel has the built page, so that its installation needs no Node.js."""

import subprocess
import sys
from pathlib import Path
from zipfile import ZipFile

import pytest

from app.web.graphiql import STATIC_DIR

ROOT = Path(__file__).parents[2]


@pytest.mark.usefixtures("require_built_page")
def test_wheel_has_built_page_without_source(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir"]
    subprocess.run([*command, tmp_path, ROOT], check=True)
    (wheel,) = tmp_path.glob("post_results-*.whl")
    with ZipFile(wheel) as packed:
        files = {
            name.removeprefix("app/web/"): packed.read(name)
            for name in packed.namelist()
            if name.startswith("app/web/")
        }

    modules = {path.name: path.read_bytes() for path in STATIC_DIR.parent.glob("*.py")}
    built = {
        str(file.relative_to(STATIC_DIR.parent)): file.read_bytes()
        for file in STATIC_DIR.rglob("*")
        if file.is_file()
    }
    assert files == modules | built
    assert "static/index.html" in files
