"""Tests of the sandbox's store of published posts, and of the check of its file."""

import resource
from dataclasses import replace
from pathlib import Path
from uuid import UUID

import pytest

from app.domain.ids import DestinationId
from app.platforms import check_sandbox_file
from app.platforms.sandbox_store import SandboxPost, SandboxStore
from app.settings import SettingsError
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
def store(request: pytest.FixtureRequest, tmp_path: Path) -> SandboxStore:
    return SandboxStore(tmp_path / "posts.jsonl" if request.param == "file" else None)


def test_new_store_is_empty(store: SandboxStore) -> None:
    assert store.posts() == ()
    assert store.find(FIRST.destination_id) is None


def test_store_returns_posts_in_order(store: SandboxStore) -> None:
    for post in (FIRST, OTHER, SECOND):
        store.add(post)

    assert store.posts() == (FIRST, OTHER, SECOND)
    assert store.find(FIRST.destination_id) == FIRST


def test_stores_share_a_file(tmp_path: Path) -> None:
    file = tmp_path / "posts.jsonl"
    SandboxStore(file).add(FIRST)
    SandboxStore(file).add(OTHER)

    assert SandboxStore(file).posts() == (FIRST, OTHER)


def test_missing_folder_is_an_error(tmp_path: Path) -> None:
    store = SandboxStore(tmp_path / "no" / "folder")
    with pytest.raises(FileNotFoundError):
        store.add(FIRST)
    with pytest.raises(FileNotFoundError):
        store.posts()


def test_full_disk_is_an_error(tmp_path: Path) -> None:
    file = tmp_path / "posts.jsonl"
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


def test_access_check_creates_the_file_and_keeps_its_content(tmp_path: Path) -> None:
    file = tmp_path / "posts.jsonl"
    SandboxStore(None).check_access()
    SandboxStore(file).check_access()
    assert file.read_bytes() == b""
    SandboxStore(file).add(FIRST)
    SandboxStore(file).check_access()
    assert SandboxStore(file).posts() == (FIRST,)


def test_usable_or_no_sandbox_file_passes(tmp_path: Path) -> None:
    check_sandbox_file(None)
    check_sandbox_file(tmp_path / "posts.jsonl")


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        (".", "Is a directory"),
        ("no/posts.jsonl", "No such file or directory"),
        ("file/posts.jsonl", "Not a directory"),
    ],
)
def test_unusable_sandbox_file_is_a_settings_error(tmp_path: Path, name: str, reason: str) -> None:
    (tmp_path / "file").touch()
    file = tmp_path / name
    with pytest.raises(SettingsError) as caught:
        check_sandbox_file(file)
    assert str(caught.value) == f"SANDBOX_FILE: {file} cannot be read and written: {reason}."
