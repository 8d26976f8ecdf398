"""Files with credentials that other programs write, to which stored credentials refer."""

from dataclasses import dataclass
from pathlib import Path

from app.domain.credentials import FILE_SCHEME, MAX_CREDENTIALS_BYTES
from app.domain.ids import WorkspaceId
from app.services.credential_keys import CredentialsNotReadable


@dataclass(frozen=True, slots=True)
class CredentialFiles:
    """Files below the directory of CREDENTIALS_DIR; each workspace has a subdirectory with its id as name."""

    directory: Path | None
    """None if CREDENTIALS_DIR is not set."""

    def read(self, workspace_id: WorkspaceId, reference: str) -> bytes:
        """Return the content of the file of a reference; raises CredentialsNotReadable.

        A path or a symbolic link that leads out of the subdirectory of the workspace is refused.
        """
        if self.directory is None:
            raise CredentialsNotReadable("they are in a file, but CREDENTIALS_DIR is not set")
        subdirectory = self.directory / str(workspace_id)
        try:
            root = subdirectory.resolve(strict=True)
            path = (root / reference.removeprefix(FILE_SCHEME)).resolve(strict=True)
            if not path.is_relative_to(root):
                raise CredentialsNotReadable(f"their file is not below {subdirectory}")
            with path.open("rb") as file:
                content = file.read(MAX_CREDENTIALS_BYTES + 1)
        except (OSError, ValueError) as error:  # ValueError for a NUL character
            reason = error.strerror if isinstance(error, OSError) else "invalid name"
            raise CredentialsNotReadable(
                f"their file below {subdirectory} cannot be read: {reason}"
            ) from None
        if len(content) > MAX_CREDENTIALS_BYTES:
            raise CredentialsNotReadable(
                f"their file below {subdirectory} has more than {MAX_CREDENTIALS_BYTES:,} bytes"
            )
        return content
