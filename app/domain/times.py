"""Instants: aware, UTC, cut to milliseconds, and their one spelling. Never asks what time it is."""

import re
from collections.abc import Callable
from datetime import UTC, datetime

from app.domain.errors import InvalidInput

Clock = Callable[[], datetime]
"""Says what time it is."""

_INSTANT = re.compile(
    r"\d{4}-\d{2}-\d{2}[Tt ](?:[01]\d|2[0-3]):[0-5]\d(?::[0-5]\d(?:\.\d{1,9})?)?"
    r"(?:[Zz]|[+-](?:[01]\d|2[0-3]):?[0-5]\d)?",
    re.ASCII,
)
_EXCESS_FRACTION = re.compile(r"(\.\d{6})\d+")
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)

FIRST_YEAR, LAST_YEAR = 1900, 9998
"""Of the times that are taken. At the ends of what Python knows, PostgreSQL has its infinities, and no
time can be reckoned from another."""


def truncate_to_ms(instant: datetime) -> datetime:
    """The same instant in UTC without what is finer than a millisecond (cut, not rounded)."""
    instant = instant.astimezone(UTC)
    return instant.replace(microsecond=instant.microsecond // 1000 * 1000)


def format_instant(instant: datetime) -> str:
    """`2026-04-15T14:30:05.000Z`, the only spelling this service prints."""
    return f"{instant.astimezone(UTC).replace(tzinfo=None).isoformat(timespec='milliseconds')}Z"


def parse_instant(text: str, argument: str | None = None) -> datetime:
    """Read an ISO 8601 time with `Z`, an offset, or neither (= UTC); a plain date is its midnight.

    Raises InvalidInput for another text, and for a time outside of the years that are taken.
    """
    instant = _parse_utc(text)
    if instant is None or not FIRST_YEAR <= instant.year <= LAST_YEAR:
        raise InvalidInput(
            f"The time must be an ISO 8601 date and time in the years {FIRST_YEAR} to {LAST_YEAR},"
            " such as 2026-04-15T14:30:05.000Z; without an offset it is read as UTC.",
            argument=argument,
        )
    return instant


def _parse_utc(text: str) -> datetime | None:
    if not (_INSTANT.fullmatch(text) or _DATE.fullmatch(text)):
        return None
    try:
        instant = datetime.fromisoformat(_EXCESS_FRACTION.sub(r"\1", text.upper()))
        return truncate_to_ms(instant if instant.tzinfo else instant.replace(tzinfo=UTC))
    except (ValueError, OverflowError):
        return None
