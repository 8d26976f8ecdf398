"""Files with credentials that other programs write, to which stored credentials refer."""

import asyncio
import hashlib
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import orjson

from app.domain.credentials import (
    FILE_SCHEME,
    MAX_CREDENTIALS_BYTES,
    REFERENCE,
    parse_credentials,
)
from app.domain.errors import InvalidInput
from app.domain.ids import WorkspaceId
from app.platforms.protocol import CredentialValues
from app.services.secret_cipher import SecretNotReadable


@dataclass(frozen=True, slots=True)
class CredentialFiles:
    """Files below the directory of CREDENTIALS_DIR; each workspace has a subdirectory with its id as name."""

    directory: Path | None
    """None if CREDENTIALS_DIR is not set."""

    def read(self, workspace_id: WorkspaceId, reference: str) -> tuple[bytes, timedelta]:
        """Return content and age of the file of a reference; raises SecretNotReadable.

        The age is the time since the content changed, or since another file took its place.

        A path or a symbolic link that leads out of the subdirectory of the workspace is refused.
        """
        if self.directory is None:
            raise SecretNotReadable("they are in a file, but CREDENTIALS_DIR is not set")
        subdirectory = self.directory / str(workspace_id)
        try:
            root = subdirectory.resolve(strict=True)
            path = (root / reference.removeprefix(FILE_SCHEME)).resolve(strict=True)
            if not path.is_relative_to(root):
                raise SecretNotReadable(f"their file is not below {subdirectory}")
            with path.open("rb") as file:
                status = os.fstat(file.fileno())
                content = file.read(MAX_CREDENTIALS_BYTES + 1)
        except (OSError, ValueError) as error:  # ValueError for a NUL character
            reason = error.strerror if isinstance(error, OSError) else "invalid name"
            raise SecretNotReadable(
                f"their file below {subdirectory} cannot be read: {reason}"
            ) from None
        if len(content) > MAX_CREDENTIALS_BYTES:
            raise SecretNotReadable(
                f"their file below {subdirectory} has more than {MAX_CREDENTIALS_BYTES:,} bytes"
            )
        # A file that replaces another can have an old modification time.
        return content, timedelta(seconds=time.time() - max(status.st_mtime, status.st_ctime))


@dataclass(frozen=True, slots=True)
class CredentialContent:
    """Decrypted credentials, which may refer to a file."""

    values: CredentialValues
    source: Mapping[str, object]
    """Reference to a file, with the digest of its content; empty without a file."""
    file_age: timedelta | None = None
    """Time since the file changed; None without a file."""

    def encode(self, values: CredentialValues) -> bytes:
        """Return the data to store for refreshed values; raises InvalidInput if they are invalid."""
        text = parse_credentials(values).text.encode()
        return orjson.dumps({**self.source, "values": values}) if self.source else text


async def read_content(
    data: bytes, files: CredentialFiles, workspace_id: WorkspaceId
) -> CredentialContent:
    """Decode credentials, and read the file to which they refer; raises SecretNotReadable.

    Refreshed values count until the file changes.
    """
    stored: dict[str, Any] = orjson.loads(data)
    if REFERENCE not in stored:
        return CredentialContent(stored, {})
    content, age = await asyncio.to_thread(files.read, workspace_id, stored[REFERENCE])
    digest = hashlib.sha256(content).hexdigest()
    source = {REFERENCE: stored[REFERENCE], "digest": digest}
    if stored.get("digest") == digest:
        return CredentialContent(stored["values"], source, age)
    try:
        values: dict[str, object] = orjson.loads(content)
        parse_credentials(values)
    except (orjson.JSONDecodeError, InvalidInput):
        raise SecretNotReadable("their file does not have a JSON object") from None
    return CredentialContent(values, source, age)
