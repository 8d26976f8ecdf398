"""Rate limits of the server in memory."""

from datetime import timedelta

from tests.factories import NOW
from tests.outages.pds import LOGINS, RateLimit

MINUTE = timedelta(minutes=1)


def test_logins_are_limited_in_five_minutes_and_in_a_day() -> None:
    limit = RateLimit(LOGINS)
    allowed = []
    for minute in range(0, 55, 5):
        now = NOW + minute * MINUTE
        allowed.append(sum(limit.count_call(now).remaining >= 0 for _ in range(31)))
    # Refused logins also count towards the limit of a day.
    assert allowed == [30, 30, 30, 30, 30, 30, 30, 30, 30, 21, 0]
    assert limit.count_call(NOW + timedelta(days=1)).remaining >= 0


def test_window_states_its_limit_and_end() -> None:
    limit = RateLimit([(1, 5 * MINUTE)])
    window = limit.count_call(NOW)
    assert window.headers(NOW) == {
        "ratelimit_limit": "1",
        "ratelimit_remaining": "0",
        "ratelimit_reset": str(int(NOW.timestamp()) + 300),
        "ratelimit_policy": "1;w=300",
    }
    window = limit.count_call(NOW + MINUTE)
    assert window.headers(NOW + MINUTE) == {
        "ratelimit_limit": "1",
        "ratelimit_remaining": "0",
        "ratelimit_reset": str(int(NOW.timestamp()) + 300),
        "ratelimit_policy": "1;w=300",
        "retry_after": "240",
    }
