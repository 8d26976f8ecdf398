"""Whether an account can post, what is wrong with it, and how it is named."""

from datetime import UTC, datetime, timedelta
from itertools import product

import pytest

from app.domain.accounts import (
    TOKEN_EXPIRY_WARNING_PERIOD,
    Connection,
    Health,
    HealthReason,
    HealthStatus,
    Readiness,
    ReadinessStatus,
    display_label,
    health,
    readiness,
)

NOW = datetime(2026, 4, 15, 12, tzinfo=UTC)
MS = timedelta(milliseconds=1)

ACTIVE = Connection(is_active=True, needs_reconnection_since=None, token_expires_at=None)
EVERY_CONNECTION = [
    Connection(is_active=is_active, needs_reconnection_since=since, token_expires_at=expires_at)
    for is_active, since, expires_at in product(
        (True, False),
        (None, NOW - timedelta(days=1), NOW),
        (
            None,
            NOW - timedelta(days=1),
            NOW,
            NOW + MS,
            NOW + TOKEN_EXPIRY_WARNING_PERIOD,
            NOW + TOKEN_EXPIRY_WARNING_PERIOD + MS,
        ),
    )
]

DISABLED = "The account is switched off or disconnected. Connect it again to post."
REJECTED = "The platform refused the account's access. Reconnect the account to post."
EXPIRED = "The account's access has expired. Reconnect the account to post."


def expected_reasons(connection: Connection, permanent_failures: int) -> list[str]:
    expires_at = connection.token_expires_at
    left = None if expires_at is None else expires_at - NOW
    reasons = [] if connection.is_active else ["account_inactive"]
    if connection.needs_reconnection_since:
        reasons += ["needs_reconnection"]
    if left is not None and left <= timedelta(0):
        reasons += ["token_expired"]
    elif left is not None and left <= timedelta(days=7):
        reasons += ["token_expiring_soon"]
    return reasons + (["recent_permanent_failures"] if permanent_failures > 2 else [])


@pytest.mark.parametrize("permanent_failures", [0, 2, 3, 50])
@pytest.mark.parametrize("connection", EVERY_CONNECTION)
def test_health_names_every_reason_in_its_order(
    connection: Connection, permanent_failures: int
) -> None:
    judged = health(connection, permanent_failures=permanent_failures, now=NOW)
    reasons = expected_reasons(connection, permanent_failures)
    blocking = {"account_inactive", "needs_reconnection", "token_expired"}
    assert [reason.value for reason in judged.reasons] == reasons
    assert judged.can_post == blocking.isdisjoint(reasons)


@pytest.mark.parametrize("permanent_failures", [0, 2, 3, 50])
@pytest.mark.parametrize("connection", EVERY_CONNECTION)
def test_broken_is_who_cannot_post_and_healthy_is_who_has_no_reasons(
    connection: Connection, permanent_failures: int
) -> None:
    judged = health(connection, permanent_failures=permanent_failures, now=NOW)
    assert (judged.status is HealthStatus.BROKEN) == (not judged.can_post)
    assert (judged.status is HealthStatus.HEALTHY) == (not judged.reasons)


@pytest.mark.parametrize("connection", EVERY_CONNECTION)
def test_health_and_readiness_agree_on_who_can_post(connection: Connection) -> None:
    ready = readiness(connection, NOW)
    assert ready.can_post == health(connection, permanent_failures=99, now=NOW).can_post
    assert (ready.status is ReadinessStatus.HEALTHY) == ready.can_post
    assert (ready.message is None) == ready.can_post


@pytest.mark.parametrize(
    ("connection", "failures", "expected"),
    [
        (ACTIVE, 0, Health(HealthStatus.HEALTHY, True, ())),
        (ACTIVE, 2, Health(HealthStatus.HEALTHY, True, ())),
        (
            ACTIVE,
            3,
            Health(HealthStatus.WARNING, True, (HealthReason.RECENT_PERMANENT_FAILURES,)),
        ),
        (
            Connection(True, None, NOW + MS),
            0,
            Health(HealthStatus.WARNING, True, (HealthReason.TOKEN_EXPIRING_SOON,)),
        ),
        (
            Connection(True, None, NOW + timedelta(days=7)),
            0,
            Health(HealthStatus.WARNING, True, (HealthReason.TOKEN_EXPIRING_SOON,)),
        ),
        (
            Connection(True, None, NOW + timedelta(days=7) + MS),
            0,
            Health(HealthStatus.HEALTHY, True, ()),
        ),
        (
            Connection(True, None, NOW),
            0,
            Health(HealthStatus.BROKEN, False, (HealthReason.TOKEN_EXPIRED,)),
        ),
        (
            Connection(False, NOW, NOW),
            3,
            Health(
                HealthStatus.BROKEN,
                False,
                (
                    HealthReason.ACCOUNT_INACTIVE,
                    HealthReason.NEEDS_RECONNECTION,
                    HealthReason.TOKEN_EXPIRED,
                    HealthReason.RECENT_PERMANENT_FAILURES,
                ),
            ),
        ),
    ],
)
def test_the_verdict_over_row_and_outcomes(
    connection: Connection, failures: int, expected: Health
) -> None:
    assert health(connection, permanent_failures=failures, now=NOW) == expected


@pytest.mark.parametrize(
    ("connection", "expected"),
    [
        (ACTIVE, Readiness(ReadinessStatus.HEALTHY, True, None)),
        (Connection(True, None, NOW + MS), Readiness(ReadinessStatus.HEALTHY, True, None)),
        (Connection(False, NOW, NOW), Readiness(ReadinessStatus.UNHEALTHY, False, DISABLED)),
        (Connection(True, NOW, NOW), Readiness(ReadinessStatus.EXPIRED, False, REJECTED)),
        (Connection(True, None, NOW), Readiness(ReadinessStatus.EXPIRED, False, EXPIRED)),
    ],
)
def test_readiness_tells_the_first_thing_that_stops_the_account(
    connection: Connection, expected: Readiness
) -> None:
    assert readiness(connection, NOW) == expected


@pytest.mark.parametrize(
    ("account_name", "display_name", "platform_username", "expected"),
    [
        ("Acme", "Acme Inc.", "acme", "Acme"),
        (None, "Acme Inc.", "acme", "Acme Inc."),
        (None, None, "acme", "acme"),
        ("", "", "acme", "acme"),
        (None, None, None, "linkedin account 2280"),
        ("", "", "", "linkedin account 2280"),
    ],
)
def test_an_account_always_has_a_name(
    account_name: str | None,
    display_name: str | None,
    platform_username: str | None,
    expected: str,
) -> None:
    assert expected == display_label(
        account_name, display_name, platform_username, 2280, "linkedin"
    )
