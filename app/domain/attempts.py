"""The log of attempts: its vocabulary. What an attempt does to a destination is in destinations."""

from enum import StrEnum


class AttemptKind(StrEnum):
    """LATE is a report that came after its lease was lost: kept, but outside the numbering."""

    REGULAR = "regular"
    LATE = "late"
