"""What the sandbox has published: an append-only file of JSON lines, or a list in memory. No behaviour."""

import errno
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from uuid import UUID

from app.domain.ids import DestinationId
from app.domain.times import format_instant, parse_instant

_FILE_MODE = 0o644


@dataclass(frozen=True, slots=True, kw_only=True)
class SandboxPost:
    """One post that appeared on one account of the sandbox."""

    destination_id: DestinationId
    account: str
    attempt: int
    platform_post_id: str
    platform_post_url: str
    published_at: datetime


class SandboxStore:
    """Every publication in its order. A file is shared by processes, and outlives whoever is killed."""

    def __init__(self, file: Path | None) -> None:
        self._file = file
        self._posts: list[SandboxPost] = []

    def add(self, post: SandboxPost) -> None:
        """OSError where the file cannot be written; then nothing is published."""
        if self._file is None:
            self._posts.append(post)
            return
        line = json.dumps(
            {
                "destination_id": str(post.destination_id),
                "account": post.account,
                "attempt": post.attempt,
                "platform_post_id": post.platform_post_id,
                "platform_post_url": post.platform_post_url,
                "published_at": format_instant(post.published_at),
            }
        )
        data = f"{line}\n".encode()
        # In one call, so that processes that append at the same time never mix their lines.
        descriptor = os.open(self._file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, _FILE_MODE)
        try:
            written = os.write(descriptor, data)
        finally:
            os.close(descriptor)
        if written < len(data):  # half a line makes the file unreadable, not the post published
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self._file))

    def check_access(self) -> None:
        """OSError unless the file can be read and written; it is made where there is none."""
        if self._file is not None:
            os.close(os.open(self._file, os.O_RDWR | os.O_CREAT | os.O_APPEND, _FILE_MODE))

    def posts(self) -> Sequence[SandboxPost]:
        """OSError where the file cannot be read."""
        if self._file is None:
            return tuple(self._posts)
        try:
            lines = self._file.read_text(encoding="utf-8").splitlines()
        except FileNotFoundError:
            if not self._file.parent.is_dir():  # a disk that is away says nothing of what is on it
                raise
            return ()
        return tuple(_parse_post(line) for line in lines)

    def find(self, destination_id: DestinationId) -> SandboxPost | None:
        """The first publication of a destination."""
        return next((each for each in self.posts() if each.destination_id == destination_id), None)

    def count_duplicates(self) -> int:
        """Publications of what was published before."""
        entries = self.posts()
        return len(entries) - len({each.destination_id for each in entries})


def _parse_post(line: str) -> SandboxPost:
    told = json.loads(line)
    return SandboxPost(
        destination_id=DestinationId(UUID(told["destination_id"])),
        account=told["account"],
        attempt=told["attempt"],
        platform_post_id=told["platform_post_id"],
        platform_post_url=told["platform_post_url"],
        published_at=parse_instant(told["published_at"], "published_at"),
    )
