"""Circuit breakers: their states, the waits before probes, and the failures that open that of a server."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from uuid import UUID

import pytest

from app.domain.circuit_breakers import (
    FAILURE_WINDOW,
    Breaker,
    FailingAccount,
    ServerFailure,
    ServerOutage,
    shows_outage,
)
from app.domain.credentials import refresh_wait, spend_refresh
from app.domain.ids import AccountId, WorkspaceId
from tests.factories import NOW

SECOND, MINUTE = timedelta(seconds=1), timedelta(minutes=1)
ONCE = Breaker(failures=1, failing_since=NOW, last_failed_at=NOW)
TWICE = replace(ONCE, failures=2, last_failed_at=NOW + SECOND)
OPEN = Breaker(
    failures=3,
    failing_since=NOW,
    last_failed_at=NOW + 2 * SECOND,
    is_open=True,
    open_until=NOW + 17 * SECOND,
)


def longest(_: object = None) -> float:
    """The random number of the longest wait."""
    return 1.0


def shortest() -> float:
    return 0.0


def test_third_failure_in_a_row_opens_a_breaker() -> None:
    breaker = Breaker()
    for number, expected in enumerate((ONCE, TWICE, OPEN)):
        breaker = breaker.failed(NOW + number * SECOND, longest, is_probe=False)
        assert breaker == expected


def test_failed_login_opens_a_breaker() -> None:
    assert Breaker().failed(NOW, longest, is_probe=False, is_login=True) == replace(
        ONCE, is_open=True, open_until=NOW + 15 * SECOND
    )


@pytest.mark.parametrize("breaker", [ONCE, TWICE])
def test_success_between_failures_begins_a_new_row(breaker: Breaker) -> None:
    assert breaker.succeeded(NOW) == Breaker()


def test_failures_long_after_the_last_one_begin_a_new_row() -> None:
    later = NOW + SECOND + FAILURE_WINDOW
    assert TWICE.failed(later, longest, is_probe=False) == Breaker(
        failures=1, failing_since=later, last_failed_at=later
    )
    just_before = later - SECOND / 1000
    assert TWICE.failed(just_before, longest, is_probe=False).is_open


def test_failure_of_a_call_from_before_the_opening_changes_nothing() -> None:
    assert OPEN.failed(NOW + 3 * SECOND, longest, is_probe=False) == OPEN


@pytest.mark.parametrize(
    ("random", "waits"),
    [(longest, [15, 30, 60, 120, 240, 300, 300]), (shortest, [7.5, 15, 30, 60, 120, 150, 150])],
)
def test_waits_before_probes_double_up_to_five_minutes(
    random: type[object], waits: Sequence[float]
) -> None:
    breaker = TWICE.failed(NOW, random, is_probe=False)  # type: ignore[arg-type]
    found = []
    for _ in waits:
        assert breaker.open_until is not None
        found.append((breaker.open_until - NOW).total_seconds())
        breaker = breaker.failed(NOW, random, is_probe=True)  # type: ignore[arg-type]
    assert found == waits
    assert (breaker.failing_since, breaker.failures, breaker.failed_probes) == (NOW, 10, 7)


def test_success_closes_an_open_breaker_and_keeps_the_time() -> None:
    closed = OPEN.succeeded(NOW + MINUTE)
    assert closed == Breaker(open_until=NOW + MINUTE)
    assert closed.failed(NOW + 2 * MINUTE, longest, is_probe=True) == Breaker(
        failures=1,
        failing_since=NOW + 2 * MINUTE,
        last_failed_at=NOW + 2 * MINUTE,
        open_until=NOW + MINUTE,
    )


def failing(
    number: int,
    failure: ServerFailure = ServerFailure.NO_ANSWER,
    *,
    workspace: int = 1,
    failures: int = 1,
    worker: str = "one",
    is_of_several_workers: bool = False,
) -> FailingAccount:
    return FailingAccount(
        WorkspaceId(UUID(int=workspace)),
        AccountId(number),
        failure,
        failures,
        NOW,
        worker,
        is_of_several_workers,
    )


UNREACHABLE = ServerFailure.UNREACHABLE


@pytest.mark.parametrize(
    ("accounts", "live_workers", "workspaces", "is_outage"),
    [
        ([], 1, 1, False),
        ([failing(1, UNREACHABLE, failures=2)], 1, 1, False),
        ([failing(1, UNREACHABLE, failures=3)], 1, 1, True),
        ([failing(1, UNREACHABLE, failures=3)], 0, 1, True),
        ([failing(1, UNREACHABLE, failures=9)], 2, 1, False),
        ([failing(1, UNREACHABLE, failures=3, is_of_several_workers=True)], 2, 1, True),
        (
            [failing(1, UNREACHABLE, failures=2), failing(2, UNREACHABLE, worker="two")],
            *(2, 1, True),
        ),
        ([failing(1, UNREACHABLE), failing(2, UNREACHABLE, worker="two")], 2, 1, False),
        ([failing(1, failures=99)], 1, 1, False),
        ([failing(1), failing(2)], 1, 1, False),
        ([failing(1), failing(2), failing(3)], 1, 1, True),
        ([failing(1), failing(2), failing(3)], 5, 1, True),
        ([failing(1), failing(2), failing(3)], 1, 2, False),
        ([failing(number, failures=99) for number in range(1, 50)], 2, 2, False),
        ([failing(1), failing(2), failing(1, workspace=2)], 1, 2, False),
        ([failing(1), failing(2), failing(1, workspace=2, failures=2)], 1, 2, True),
        ([failing(1), failing(2), *(failing(1, workspace=each) for each in (2, 3))], 1, 3, True),
        ([failing(1, workspace=each) for each in (1, 2, 3)], 1, 3, True),
        ([failing(1), failing(1, workspace=2)], 1, 2, False),
        ([failing(1), failing(2, UNREACHABLE), failing(3)], 2, 1, True),
    ],
)
def test_server_fails_only_if_no_single_account_or_workspace_can_be_the_cause(
    accounts: Sequence[FailingAccount], live_workers: int, workspaces: int, is_outage: bool
) -> None:
    assert is_outage == shows_outage(
        accounts, live_workers=live_workers, workspaces_on_server=workspaces
    )


@pytest.mark.parametrize(
    ("origin", "host", "sentence"),
    [
        (
            "https://social.example:3000",
            "social.example:3000",
            "social.example:3000 has not answered since 2026-04-15 15:00 UTC.",
        ),
        (None, None, "The publisher of the account has not answered since 2026-04-15 15:00 UTC."),
    ],
)
def test_outage_names_the_server_but_not_a_publisher_of_the_user(
    origin: str | None, host: str | None, sentence: str
) -> None:
    outage = ServerOutage(origin, NOW, NOW, NOW + MINUTE)
    assert (outage.host, outage.sentence) == (host, sentence)
    assert outage.sentence_with_next_probe == (
        f"{sentence} The server is tried again at 2026-04-15 15:01 UTC."
    )


@pytest.mark.parametrize(
    ("since", "last_failed_at", "has_lasted"),
    [
        (NOW - 5 * MINUTE, NOW, True),
        (NOW - 5 * MINUTE + SECOND, NOW, False),
        (NOW - 5 * MINUTE, NOW - FAILURE_WINDOW + SECOND, True),
        (NOW - 5 * MINUTE, NOW - FAILURE_WINDOW, False),
    ],
)
def test_outage_lasts_as_long_as_calls_fail(
    since: datetime, last_failed_at: datetime, has_lasted: bool
) -> None:
    outage = ServerOutage("https://social.example", since, last_failed_at, NOW + MINUTE)
    assert outage.has_lasted(5 * MINUTE, NOW) is has_lasted


def test_account_may_log_in_ten_times_and_then_every_five_minutes() -> None:
    full_at = None
    for _ in range(10):
        assert refresh_wait(full_at, NOW) == timedelta()
        full_at = spend_refresh(full_at, NOW)
    assert refresh_wait(full_at, NOW) == timedelta(minutes=5)
    assert refresh_wait(full_at, NOW + timedelta(minutes=4)) == MINUTE
    assert refresh_wait(full_at, NOW + timedelta(minutes=5)) == timedelta()


def test_logins_of_a_day_stay_below_the_limit_of_bluesky() -> None:
    full_at, now, logins = None, NOW, 0
    while now < NOW + timedelta(days=1):
        if not refresh_wait(full_at, now):
            full_at, logins = spend_refresh(full_at, now), logins + 1
        else:
            now += MINUTE
    assert logins == 297
