"""The file with the SECRETS_KEY of the demo."""

import os
import tempfile
from contextlib import suppress
from pathlib import Path

from app.services.secret_cipher import new_secrets_key
from app.settings import Settings


def ensure_secrets_key_file(settings: Settings) -> Path:
    """Create the file with the SECRETS_KEY of the demo if there is none, and return its path.

    It is beside the SQLite file, or in the working directory.
    """
    scheme, _, path = settings.database_url.partition(":///")
    folder = Path(path).parent if scheme.startswith("sqlite") else Path()
    file = folder.resolve() / "post-results-demo.secrets-key"
    if not file.exists():
        _create_private_file(file, new_secrets_key())
    return file


def _create_private_file(file: Path, text: str) -> None:
    """Create a file that only its owner can read, with its whole text or not at all.

    A file that another process has created meanwhile stays.
    """
    with tempfile.NamedTemporaryFile("w", prefix=f".{file.name}.", dir=file.parent) as temporary:
        temporary.write(text)  # its mode is 0600
        temporary.flush()
        os.fsync(temporary.fileno())
        with suppress(FileExistsError):
            os.link(temporary.name, file)
