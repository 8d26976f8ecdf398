"""The requirements files: they agree with `pyproject.toml` and each other, and have a hash of every file."""

import re
import tomllib
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
SERVICE = ROOT / "scripts" / "requirements.txt"
DEVELOPMENT = ROOT / "scripts" / "requirements-dev.txt"
FILES = [*ROOT.glob("scripts/requirements*.txt"), *ROOT.glob("tests/*/requirements.txt")]

_ENTRY = re.compile(
    r"^(\S+ ?[^\\\n]*?) \\\n((?:    --hash=sha256:[0-9a-f]{64}(?: \\)?\n)+)", re.MULTILINE
)


class Pin(NamedTuple):
    """An entry of a requirements file."""

    requirement: Requirement
    hashes: int

    @property
    def version(self) -> str:
        (specifier,) = self.requirement.specifier
        assert specifier.operator == "=="
        return specifier.version


def read_pins(file: Path) -> dict[str, Pin]:
    """Entries by canonical name; every line of the file must belong to one, or be a comment."""
    text = file.read_text()
    rest = [line for line in _ENTRY.sub("", text).splitlines() if not line.startswith("#")]
    assert rest == [], f"{file.name} has lines without a hash"
    requirements = [(Requirement(entry), hashes) for entry, hashes in _ENTRY.findall(text)]
    return {
        canonicalize_name(requirement.name): Pin(requirement, hashes.count("--hash"))
        for requirement, hashes in requirements
    }


def declared(*groups: str) -> list[Requirement]:
    """Requirements of `pyproject.toml`: of the build system, the service, or an extra."""
    document: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())
    project = document["project"]
    lists = {
        "build": document["build-system"]["requires"],
        "service": project["dependencies"],
        **project["optional-dependencies"],
    }
    return [Requirement(text) for group in groups for text in lists[group]]


@pytest.mark.parametrize(
    ("file", "groups"),
    [(SERVICE, ("build", "service")), (DEVELOPMENT, ("build", "service", "dev"))],
)
def test_every_declared_requirement_has_a_version_that_it_allows(
    file: Path, groups: tuple[str, ...]
) -> None:
    pins = read_pins(file)
    for requirement in declared(*groups):
        pin = pins[canonicalize_name(requirement.name)]
        assert requirement.specifier.contains(pin.version), (
            f"{requirement}: run scripts/requirements"
        )
        assert pin.requirement.marker == requirement.marker


def test_build_backend_has_one_version() -> None:
    pins = read_pins(SERVICE)
    for requirement in declared("build"):
        assert str(requirement.specifier) == f"=={pins[requirement.name].version}"


def test_test_tools_are_an_addition() -> None:
    service, development = read_pins(SERVICE), read_pins(DEVELOPMENT)
    assert {name: development[name].version for name in service} == {
        name: pin.version for name, pin in service.items()
    }


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(ROOT)))
def test_files_have_versions_and_hashes_only(file: Path) -> None:
    assert all(pin.hashes >= 1 for pin in read_pins(file).values())
    assert re.findall("https?://|--index|--extra|--find", file.read_text()) == []


def test_packages_with_compiled_code_have_the_hashes_of_many_platforms() -> None:
    pins = read_pins(SERVICE)
    compiled = {"asyncpg", "httptools", "msgspec", "orjson", "regex", "sqlalchemy", "websockets"}
    assert {name for name in compiled if pins[name].hashes < 30} == set()


def test_installed_versions_are_those_of_the_file() -> None:
    """Also those of requirements of requirements."""
    pins = read_pins(DEVELOPMENT)
    expected = {
        name: pin.version
        for name, pin in pins.items()
        if pin.requirement.marker is None or pin.requirement.marker.evaluate()
    }
    assert {name: version(name) for name in expected} == expected
