"""What servers complain of in their logs, a line for each kind of complaint. Knows no good and bad ones."""

import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

_MAX_LENGTH = 300
"""Characters."""
_UNAVAILABLE_PREFIX = "app.domain.errors.ServiceUnavailable: "


@dataclass(frozen=True, slots=True)
class LogError:
    level: str
    event: str
    cause: str
    """The last line of its traceback; empty where it has none."""

    @property
    def is_unexpected(self) -> bool:
        """Something of the service's own, and not that the database is away."""
        return self.level == "error" and not self.cause.startswith(_UNAVAILABLE_PREFIX)

    def __str__(self) -> str:
        return f"{self.level}, {self.event}: {self.cause}"[:_MAX_LENGTH]


def log_errors(folder: Path) -> Counter[LogError]:
    """Of all logs there; the line of a request that failed is none, for what it failed of has its own."""
    lines = [line for log in sorted(folder.glob("*.log")) for line in log.read_text().splitlines()]
    return Counter(found for line in lines if (found := _parse_log_error(line)) is not None)


def _parse_log_error(line: str) -> LogError | None:
    try:
        event = json.loads(line)
    except ValueError:
        return LogError("error", "not a line of the log", line)
    if event["level"] in ("debug", "info") or event["event"] == "request":
        return None
    traceback = str(event.get("exception", "")).splitlines() or [""]
    return LogError(event["level"], event["event"], traceback[-1])
