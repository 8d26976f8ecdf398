"""What the sandbox has published: an append-only file of JSON lines, or a list in memory. No behaviour."""

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from uuid import UUID

from app.domain.ids import DestinationId
from app.domain.times import format_instant, parse_instant


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One post that appeared on one account of the sandbox."""

    destination_id: DestinationId
    account: str
    attempt: int
    platform_post_id: str
    platform_post_url: str
    published_at: datetime


class Ledger:
    """Every publication in its order. A file is shared by processes, and outlives whoever is killed."""

    def __init__(self, file: Path | None) -> None:
        self._file = file
        self._entries: list[Entry] = []

    def add(self, entry: Entry) -> None:
        """OSError where the file cannot be written; then nothing is published."""
        if self._file is None:
            self._entries.append(entry)
            return
        line = json.dumps(
            {
                "destination_id": str(entry.destination_id),
                "account": entry.account,
                "attempt": entry.attempt,
                "platform_post_id": entry.platform_post_id,
                "platform_post_url": entry.platform_post_url,
                "published_at": format_instant(entry.published_at),
            }
        )
        # In one call, so that processes that append at the same time never mix their lines.
        descriptor = os.open(self._file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        try:
            os.write(descriptor, f"{line}\n".encode())
        finally:
            os.close(descriptor)

    def entries(self) -> Sequence[Entry]:
        """OSError where the file cannot be read."""
        if self._file is None:
            return tuple(self._entries)
        if not self._file.exists():
            return ()
        lines = self._file.read_text(encoding="utf-8").splitlines()
        return tuple(_entry(line) for line in lines)

    def find(self, destination_id: DestinationId) -> Entry | None:
        """The first publication of a destination."""
        return next(
            (each for each in self.entries() if each.destination_id == destination_id), None
        )

    def duplicates(self) -> int:
        """Publications of what was published before."""
        entries = self.entries()
        return len(entries) - len({each.destination_id for each in entries})


def _entry(line: str) -> Entry:
    told = json.loads(line)
    return Entry(
        destination_id=DestinationId(UUID(told["destination_id"])),
        account=told["account"],
        attempt=told["attempt"],
        platform_post_id=told["platform_post_id"],
        platform_post_url=told["platform_post_url"],
        published_at=parse_instant(told["published_at"], "published_at"),
    )
