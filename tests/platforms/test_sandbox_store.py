"""What the sandbox published is kept in its order, outlives processes, and tells of duplicates."""

import resource
from dataclasses import replace
from pathlib import Path
from uuid import UUID

import pytest

from app.domain.ids import DestinationId
from app.platforms.sandbox_store import SandboxPost, SandboxStore
from tests.factories import NOW

FIRST = SandboxPost(
    destination_id=DestinationId(UUID(int=1)),
    account="Zoë “slow”\n",
    attempt=1,
    platform_post_id="1-1",
    platform_post_url="https://sandbox.example/a/1-1",
    published_at=NOW,
)
SECOND = replace(FIRST, attempt=2, platform_post_id="1-2")
OTHER = replace(FIRST, destination_id=DestinationId(UUID(int=2)))


@pytest.fixture(params=["memory", "file"])
def ledger(request: pytest.FixtureRequest, tmp_path: Path) -> SandboxStore:
    return SandboxStore(tmp_path / "ledger.jsonl" if request.param == "file" else None)


def test_a_new_one_has_nothing(ledger: SandboxStore) -> None:
    assert ledger.posts() == ()
    assert ledger.find(FIRST.destination_id) is None
    assert ledger.count_duplicates() == 0


def test_it_keeps_what_it_was_given(ledger: SandboxStore) -> None:
    for each in (FIRST, OTHER, SECOND):
        ledger.add(each)

    assert ledger.posts() == (FIRST, OTHER, SECOND)
    assert ledger.find(FIRST.destination_id) == FIRST
    assert ledger.count_duplicates() == 1


def test_a_file_is_shared(tmp_path: Path) -> None:
    file = tmp_path / "ledger.jsonl"
    SandboxStore(file).add(FIRST)
    SandboxStore(file).add(OTHER)

    assert SandboxStore(file).posts() == (FIRST, OTHER)


def test_a_file_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        SandboxStore(tmp_path / "no" / "folder").add(FIRST)


def test_a_line_that_finds_no_room_is_an_error(tmp_path: Path) -> None:
    file = tmp_path / "ledger.jsonl"
    SandboxStore(file).add(FIRST)
    size = file.stat().st_size
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size + 10, hard))
    try:
        with pytest.raises(OSError, match="No space left on device"):
            SandboxStore(file).add(OTHER)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    assert file.stat().st_size == size + 10
    with pytest.raises(ValueError, match="Unterminated string"):
        SandboxStore(file).posts()


def test_without_its_folder_nothing_is_known_of_a_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        SandboxStore(tmp_path / "no" / "folder").posts()


def test_a_check_makes_the_file_and_keeps_what_is_there(tmp_path: Path) -> None:
    file = tmp_path / "ledger.jsonl"
    SandboxStore(None).check_access()
    SandboxStore(file).check_access()
    assert file.read_bytes() == b""
    SandboxStore(file).add(FIRST)
    SandboxStore(file).check_access()
    assert SandboxStore(file).posts() == (FIRST,)
