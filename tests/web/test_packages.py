"""What is packed: the page as it was built, so that who installs a package needs no Node.js."""

import subprocess
import sys
from pathlib import Path
from zipfile import ZipFile

import pytest

from app.web.graphiql import STATIC_DIR

ROOT = Path(__file__).parents[2]


@pytest.mark.usefixtures("require_built_page")
def test_a_wheel_has_the_page_and_not_its_source(tmp_path: Path) -> None:
    subprocess.run(
        [
            sys.executable,
            "-m",
            "pip",
            "wheel",
            "--quiet",
            "--no-deps",
            "--wheel-dir",
            tmp_path,
            ROOT,
        ],
        check=True,
    )
    (wheel,) = tmp_path.glob("post_results-*.whl")
    with ZipFile(wheel) as packed:
        files = {
            name.removeprefix("app/web/"): packed.read(name)
            for name in packed.namelist()
            if name.startswith("app/web/")
        }

    modules = {
        f"{name}.py": (STATIC_DIR.parent / f"{name}.py").read_bytes()
        for name in ("__init__", "page")
    }
    built = {
        str(file.relative_to(STATIC_DIR.parent)): file.read_bytes()
        for file in STATIC_DIR.rglob("*")
        if file.is_file()
    }
    assert files == modules | built
    assert "static/index.html" in files
