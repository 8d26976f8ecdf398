"""Validation of numbers and of durations in seconds."""

from datetime import timedelta

from app.domain.errors import InvalidInput


def validate_number(number: int, argument: str, low: int, high: int) -> int:
    """Return the number; raises InvalidInput unless it is from `low` to `high`."""
    if not low <= number <= high:
        raise InvalidInput(
            f"{argument} must be from {low:,} to {high:,}; it is {number:,}.", argument=argument
        )
    return number


def validate_seconds(
    seconds: int, argument: str, shortest: timedelta, longest: timedelta
) -> timedelta:
    """Return the duration; raises InvalidInput unless it is from `shortest` to `longest`."""
    low, high = int(shortest.total_seconds()), int(longest.total_seconds())
    return timedelta(seconds=validate_number(seconds, argument, low, high))
