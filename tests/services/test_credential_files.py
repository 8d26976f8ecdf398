"""Credentials in files that other programs write: their values, refreshed ones, and unusable files."""

import json
from pathlib import Path

import pytest

from app.db.core.database import Database
from app.domain.credentials import MAX_CREDENTIALS_BYTES
from app.domain.destinations import ErrorCategory
from app.services.claims import Claim
from tests.credential_rows import PLATFORM, add_credentials, publishing_secrets
from tests.factories import add_workspace
from tests.platforms.publish_requests import publish_problem
from tests.services import publishing_calls
from tests.services.publishing_calls import add_due
from tests.services.test_publishing_secrets import TokenEndpoint, tokens


async def add_reference(
    database: Database, directory: Path, reference: str, content: bytes | None
) -> Claim:
    """A claim on an account whose credentials are in a file."""
    workspace = await add_workspace(database)
    account = await add_due(database, workspace, platform=PLATFORM)
    await add_credentials(database, workspace, account, {"ref": reference})
    folder = directory / str(workspace)
    folder.mkdir(parents=True)
    if content is not None:
        (folder / "alice.json").write_bytes(content)
    (claim,) = await publishing_calls.claim(database)
    return claim


async def test_credentials_are_read_from_a_file_of_the_workspace(
    database: Database, tmp_path: Path
) -> None:
    content = json.dumps(tokens(1)).encode()
    claim = await add_reference(database, tmp_path, "file:alice.json", content)
    folder = tmp_path / str(claim.lease.workspace_id)
    (folder / "link.json").symlink_to(folder / "alice.json")
    secrets = publishing_secrets(database, directory=tmp_path)

    assert await secrets.credentials(claim).get() == tokens(1)
    for reference in ("file:link.json", f"file:{folder}/alice.json"):
        await add_credentials(
            database, claim.lease.workspace_id, claim.account.id, {"ref": reference}
        )
        assert await secrets.credentials(claim).get() == tokens(1)


async def test_refreshed_credentials_of_a_file_count_until_the_file_changes(
    database: Database, tmp_path: Path
) -> None:
    content = json.dumps(tokens(1)).encode()
    claim = await add_reference(database, tmp_path, "file:alice.json", content)
    credentials = publishing_secrets(database, directory=tmp_path).credentials(claim)
    endpoint = TokenEndpoint()

    assert await credentials.refresh(tokens(1), endpoint.request_new) == tokens(2)
    assert await credentials.get() == tokens(2)
    assert await credentials.refresh(tokens(2), endpoint.request_new) == tokens(3)

    file = tmp_path / str(claim.lease.workspace_id) / "alice.json"
    file.write_text(json.dumps(tokens(7)))
    assert await credentials.get() == tokens(7)


@pytest.mark.parametrize(
    ("reference", "content", "reason"),
    [
        (
            "file:alice.json",
            None,
            "their file below {folder} cannot be read: No such file or directory",
        ),
        ("file:../secret.json", None, "their file is not below {folder}"),
        ("file:/etc/hostname", None, "their file is not below {folder}"),
        ("file:outside.json", None, "their file is not below {folder}"),
        ("file:.", None, "their file below {folder} cannot be read: Is a directory"),
        ("file:a\0b", None, "their file below {folder} cannot be read: invalid name"),
        ("file:alice.json", b"[1]", "their file does not have a JSON object"),
        ("file:alice.json", b"sesame", "their file does not have a JSON object"),
        (
            "file:alice.json",
            b" " * (MAX_CREDENTIALS_BYTES + 1),
            "their file below {folder} has more than 16,384 bytes",
        ),
    ],
)
async def test_unusable_file_fails_as_transient(
    database: Database, tmp_path: Path, reference: str, content: bytes | None, reason: str
) -> None:
    claim = await add_reference(database, tmp_path, reference, content)
    folder = tmp_path / str(claim.lease.workspace_id)
    (tmp_path / "secret.json").write_text(json.dumps(tokens(1)))
    (folder / "outside.json").symlink_to(tmp_path / "secret.json")
    credentials = publishing_secrets(database, directory=tmp_path).credentials(claim)

    assert await publish_problem(credentials.get()) == (
        ErrorCategory.TRANSIENT,
        "CREDENTIALS_NOT_READABLE",
        f"The worker cannot read the credentials of the account: {reason.format(folder=folder)}.",
    )


async def test_file_without_a_directory_fails_as_transient(
    database: Database, tmp_path: Path
) -> None:
    claim = await add_reference(database, tmp_path, "file:alice.json", b"{}")

    assert await publish_problem(publishing_secrets(database).credentials(claim).get()) == (
        ErrorCategory.TRANSIENT,
        "CREDENTIALS_NOT_READABLE",
        "The worker cannot read the credentials of the account: they are in a file, but CREDENTIALS_DIR is"
        " not set.",
    )
