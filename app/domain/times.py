"""Instants: aware, UTC, cut to milliseconds, and their one spelling. Never asks what time it is."""

import re
from datetime import UTC, datetime

from app.domain.errors import InvalidInput

_INSTANT = re.compile(
    r"\d{4}-\d{2}-\d{2}[Tt ](?:[01]\d|2[0-3]):[0-5]\d(?::[0-5]\d(?:\.\d{1,9})?)?"
    r"(?:[Zz]|[+-](?:[01]\d|2[0-3]):?[0-5]\d)?",
    re.ASCII,
)
_EXCESS_FRACTION = re.compile(r"(\.\d{6})\d+")
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)


def cut_to_milliseconds(instant: datetime) -> datetime:
    """The same instant in UTC without what is finer than a millisecond (cut, not rounded)."""
    instant = instant.astimezone(UTC)
    return instant.replace(microsecond=instant.microsecond // 1000 * 1000)


def format_instant(instant: datetime) -> str:
    """`2026-04-15T14:30:05.000Z`, the only spelling this service prints."""
    return f"{instant.astimezone(UTC).replace(tzinfo=None).isoformat(timespec='milliseconds')}Z"


def parse_instant(text: str, argument: str | None = None) -> datetime:
    """Read an ISO 8601 time with `Z`, an offset, or neither (= UTC); a plain date is its midnight."""
    try:
        if _DATE.fullmatch(text):
            return datetime.fromisoformat(text).replace(tzinfo=UTC)
        if not _INSTANT.fullmatch(text):
            raise ValueError(text)
        instant = datetime.fromisoformat(_EXCESS_FRACTION.sub(r"\1", text.upper()))
        if instant.tzinfo is None:
            instant = instant.replace(tzinfo=UTC)
        return cut_to_milliseconds(instant)
    except (ValueError, OverflowError):
        raise InvalidInput(
            "The time must be an ISO 8601 date and time between the years 1 and 9999,"
            " such as 2026-04-15T14:30:05.000Z; without an offset it is read as UTC.",
            argument=argument,
        ) from None
