"""What servers complain of in their logs, a line for each kind of complaint. Knows no good and bad ones."""

import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

_LONGEST = 300
"""Characters."""
_AWAY = "app.domain.errors.ServiceUnavailable: "


@dataclass(frozen=True, slots=True)
class Complaint:
    level: str
    event: str
    cause: str
    """The last line of its traceback; empty where it has none."""

    @property
    def is_mistake(self) -> bool:
        """Something of the service's own, and not that the database is away."""
        return self.level == "error" and not self.cause.startswith(_AWAY)

    def __str__(self) -> str:
        return f"{self.level}, {self.event}: {self.cause}"[:_LONGEST]


def complaints(folder: Path) -> Counter[Complaint]:
    """Of all logs there; the line of a request that failed is none, for what it failed of has its own."""
    lines = [line for log in sorted(folder.glob("*.log")) for line in log.read_text().splitlines()]
    return Counter(found for line in lines if (found := _complaint(line)) is not None)


def _complaint(line: str) -> Complaint | None:
    try:
        event = json.loads(line)
    except ValueError:
        return Complaint("error", "not a line of the log", line)
    if event["level"] in ("debug", "info") or event["event"] == "request finished":
        return None
    traceback = str(event.get("exception", "")).splitlines() or [""]
    return Complaint(event["level"], event["event"], traceback[-1])
