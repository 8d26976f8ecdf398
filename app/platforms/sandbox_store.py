"""Posts published on the sandbox: an append-only file of JSON lines, or a list in memory."""

import errno
import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from uuid import UUID

from app.domain.ids import DestinationId
from app.domain.times import format_instant, parse_instant

_FILE_MODE = 0o644


@dataclass(frozen=True, slots=True, kw_only=True)
class SandboxPost:
    """A post published on an account of the sandbox."""

    destination_id: DestinationId
    account: str
    attempt: int
    platform_post_id: str
    platform_post_url: str
    published_at: datetime


class SandboxStore:
    """Publications in order. Processes can share a file, which survives if one of them is killed."""

    def __init__(self, file: Path | None) -> None:
        self._file = file
        self._posts: list[SandboxPost] = []

    def add(self, post: SandboxPost) -> None:
        """Append a post; raises OSError, and adds nothing, if the file cannot be written."""
        if self._file is None:
            self._posts.append(post)
            return
        fields = asdict(post) | {"published_at": format_instant(post.published_at)}
        data = f"{json.dumps(fields, default=str)}\n".encode()
        # One write call, so that concurrent processes never mix their lines.
        descriptor = os.open(self._file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, _FILE_MODE)
        try:
            written = os.write(descriptor, data)
        finally:
            os.close(descriptor)
        if written < len(data):  # half a line would make the file unreadable
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self._file))

    def check_access(self) -> None:
        """Create the file if missing; raises OSError unless it can be read and written."""
        if self._file is not None:
            os.close(os.open(self._file, os.O_RDWR | os.O_CREAT | os.O_APPEND, _FILE_MODE))

    def posts(self) -> Sequence[SandboxPost]:
        """Return all posts; raises OSError if the file cannot be read."""
        if self._file is None:
            return tuple(self._posts)
        try:
            lines = self._file.read_text(encoding="utf-8").splitlines()
        except FileNotFoundError:
            if (
                not self._file.parent.is_dir()
            ):  # an unmounted disk does not mean that there are no posts
                raise
            return ()
        return tuple(_parse_post(line) for line in lines)

    def find(self, destination_id: DestinationId) -> SandboxPost | None:
        """Return the first publication of a destination."""
        return next((post for post in self.posts() if post.destination_id == destination_id), None)


def _parse_post(line: str) -> SandboxPost:
    fields = json.loads(line)
    fields["destination_id"] = DestinationId(UUID(fields["destination_id"]))
    fields["published_at"] = parse_instant(fields["published_at"], "published_at")
    return SandboxPost(**fields)
