"""Text form of rate limits, and counting in fixed windows."""

from datetime import timedelta

import pytest

from app.domain.rate_limits import RateLimit, Window, WindowCounter, parse_rate_limits

MINUTE = RateLimit(3, timedelta(minutes=1), "3 per minute")


def limit(amount: int, description: str, **period: int) -> RateLimit:
    return RateLimit(amount, timedelta(**period), description)


@pytest.mark.parametrize(
    ("text", "limits"),
    [
        ("60/minute", [limit(60, "60 per minute", minutes=1)]),
        ("60 per minute", [limit(60, "60 per minute", minutes=1)]),
        ("60perminute", [limit(60, "60 per minute", minutes=1)]),
        (" 1 / 3 HOURS ", [limit(1, "1 per 3 hours", hours=3)]),
        ("5/2seconds", [limit(5, "5 per 2 seconds", seconds=2)]),
        ("1/1 days", [limit(1, "1 per day", days=1)]),
        ("007/minute", [limit(7, "7 per minute", minutes=1)]),
        ("1/month", [limit(1, "1 per month", days=30)]),
        ("1/2 year", [limit(1, "1 per 2 years", days=720)]),
        ("1000000000000/second", [limit(10**12, "1000000000000 per second", seconds=1)]),
        *(
            (text, [limit(60, "60 per minute", minutes=1), limit(9, "9 per 2 hours", hours=2)])
            for text in ("60/minute;9/2 hours", "60/minute, 9/2hours", "60/minute |9 per 2 hour")
        ),
    ],
)
def test_limits_are_parsed(text: str, limits: list[RateLimit]) -> None:
    assert list(parse_rate_limits(text)) == limits


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        *(
            (text, "not a rate limit")
            for text in (
                "",
                "60",
                "60/",
                "/minute",
                "sixty/minute",
                "-1/minute",
                "1.5/minute",
                "60/fortnight",
                "60/minute/hour",
                "60//minute",
                "60/minutely",
                "60/minute;",
                ";60/minute",
                "60/minute;;9/hour",
                "1/1000000000 minutes",
                "1" * 19 + "/minute",
                "٣/minute",
                "off",
            )
        ),
        ("0/minute", "a rate limit must be above 0"),
        ("000/minute", "a rate limit must be above 0"),
        ("1/0 minutes", "a rate limit must be above 0"),
        ("60/minute;0/hour", "a rate limit must be above 0"),
        ("1/999999999 years", "too long a period"),
    ],
)
def test_other_text_is_refused(text: str, problem: str) -> None:
    with pytest.raises(ValueError, match=f"^{problem}: "):
        parse_rate_limits(text)


def count(counter: WindowCounter, caller: str, now: float, requests: int = 1) -> tuple[int, float]:
    """Count requests of a caller, and return what remains of its window and its end."""
    counter.charge(caller, counter.window(caller, now), now, requests)
    window = counter.window(caller, now)
    return window.remaining, window.resets_at


def remaining(counter: WindowCounter, caller: str, now: float) -> int:
    return counter.window(caller, now).remaining


def test_window_starts_with_the_first_request_and_ends_after_the_period() -> None:
    counter = WindowCounter(MINUTE)

    assert count(counter, "a", 100.5) == (2, 160.5)
    assert count(counter, "a", 160.4, requests=2) == (0, 160.5)
    assert count(counter, "a", 160.5) == (2, 220.5)


def test_callers_are_counted_separately() -> None:
    counter = WindowCounter(MINUTE)
    count(counter, "a", 0, requests=3)

    assert count(counter, "b", 1) == (2, 61)


def test_new_window_is_stored_only_when_it_is_charged() -> None:
    counter = WindowCounter(MINUTE)

    assert counter.window("a", 100) == counter.new_window(100) == Window(MINUTE, 160, 3)
    assert len(counter) == 0

    counter.charge("a", counter.window("a", 100), 100, 2)
    assert counter.window("a", 159) == Window(MINUTE, 160, 1)
    assert counter.window("a", 160) == Window(MINUTE, 220, 3)


def test_number_of_windows_is_bounded_and_the_oldest_are_evicted() -> None:
    counter = WindowCounter(MINUTE, max_windows=1000)
    for caller in range(10_000):
        count(counter, str(caller), now=0)

    assert len(counter) == 1000
    assert [remaining(counter, caller, 0) for caller in ("9999", "9000", "8999")] == [2, 2, 3]


def test_expired_windows_are_evicted() -> None:
    counter = WindowCounter(MINUTE)
    for caller in range(1000):
        count(counter, str(caller), now=0)
    assert count(counter, "0", now=59.9) == (1, 60)
    assert len(counter) == 1000

    count(counter, "new", now=60)

    assert len(counter) == 1


def test_renewed_window_is_evicted_after_older_ones() -> None:
    counter = WindowCounter(MINUTE, max_windows=2)
    count(counter, "a", now=0)
    count(counter, "b", now=1)
    count(counter, "a", now=60.5)
    count(counter, "c", now=60.6)

    assert len(counter) == 2
    assert remaining(counter, "a", 60.6) == 2
    assert remaining(counter, "b", 60.6) == 3
