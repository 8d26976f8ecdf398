"""Readiness, health, platform and display name of accounts."""

from datetime import timedelta
from itertools import product

import pytest

from app.domain.accounts import (
    AccountAccess,
    HealthStatus,
    Readiness,
    ReadinessStatus,
    check_platform,
    display_label,
    health,
    readiness,
    stored_user_ids,
)
from tests.domain.errors import (
    EXPIRED,
    INACTIVE,
    NOT_A_PLATFORM,
    NUL,
    REJECTED,
    SURROGATE,
    input_error,
)
from tests.factories import NOW

MS = timedelta(milliseconds=1)
WEEK = timedelta(days=7)

ACTIVE = AccountAccess(is_active=True, needs_reconnection_since=None, token_expires_at=None)
ALL_ACCESSES = [
    AccountAccess(is_active=is_active, needs_reconnection_since=since, token_expires_at=expires_at)
    for is_active, since, expires_at in product(
        (True, False),
        (None, NOW - timedelta(days=1), NOW),
        (None, NOW - timedelta(days=1), NOW, NOW + MS, NOW + WEEK, NOW + WEEK + MS),
    )
]


def expected_reasons(access: AccountAccess, permanent_failures: int) -> list[str]:
    expires_at = access.token_expires_at
    left = None if expires_at is None else expires_at - NOW
    reasons = [] if access.is_active else ["account_inactive"]
    if access.needs_reconnection_since:
        reasons += ["needs_reconnection"]
    if left is not None and left <= timedelta(0):
        reasons += ["token_expired"]
    elif left is not None and left <= WEEK:
        reasons += ["token_expiring_soon"]
    return reasons + (["recent_permanent_failures"] if permanent_failures > 2 else [])


@pytest.mark.parametrize("permanent_failures", [0, 2, 3, 50])
@pytest.mark.parametrize("access", ALL_ACCESSES)
def test_health_has_every_reason_and_agrees_with_readiness(
    access: AccountAccess, permanent_failures: int
) -> None:
    result = health(access, permanent_failures=permanent_failures, now=NOW)
    reasons = expected_reasons(access, permanent_failures)
    can_post = {"account_inactive", "needs_reconnection", "token_expired"}.isdisjoint(reasons)
    warning = HealthStatus.WARNING if reasons else HealthStatus.HEALTHY
    assert [reason.value for reason in result.reasons] == reasons
    assert result.can_post == can_post
    assert result.status is (warning if can_post else HealthStatus.BROKEN)

    ready = readiness(access, NOW)
    assert ready.can_post == can_post
    assert (ready.status is ReadinessStatus.HEALTHY) == ready.can_post
    assert (ready.message is None) == ready.can_post


@pytest.mark.parametrize(
    ("access", "expected"),
    [
        (ACTIVE, Readiness(ReadinessStatus.HEALTHY, True, None)),
        (AccountAccess(True, None, NOW + MS), Readiness(ReadinessStatus.HEALTHY, True, None)),
        (AccountAccess(False, NOW, NOW), Readiness(ReadinessStatus.UNHEALTHY, False, INACTIVE)),
        (AccountAccess(True, NOW, NOW), Readiness(ReadinessStatus.EXPIRED, False, REJECTED)),
        (AccountAccess(True, None, NOW), Readiness(ReadinessStatus.EXPIRED, False, EXPIRED)),
    ],
)
def test_readiness_has_first_blocking_reason(access: AccountAccess, expected: Readiness) -> None:
    assert readiness(access, NOW) == expected


@pytest.mark.parametrize("name", ["x", "my-own_platform2", "4chan", "g" + "x" * 49])
def test_platform_is_a_short_lower_case_word(name: str) -> None:
    check_platform(name, "platform")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        *(
            (name, f"platform {NOT_A_PLATFORM}")
            for name in ("", "Instagram", "insta gram", " x", "x ", "x\n", "_x", "é", "ｘ", "٣")
        ),
        ("x" * 51, "platform is 51 characters long; at most 50 are allowed."),
        ("x\0", f"platform {NUL}"),
        ("\udfff", f"platform {SURROGATE}"),
    ],
)
def test_invalid_platform_is_rejected(name: str, message: str) -> None:
    assert input_error(check_platform, name, "platform") == ("platform", message)


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (("Acme", "Acme Inc.", "acme"), "Acme"),
        ((None, "Acme Inc.", "acme"), "Acme Inc."),
        ((None, None, "acme"), "acme"),
        (("", "", "acme"), "acme"),
        ((None, None, None), "linkedin account 2280"),
        (("", "", ""), "linkedin account 2280"),
    ],
)
def test_account_always_has_a_display_name(
    names: tuple[str | None, str | None, str | None], expected: str
) -> None:
    assert display_label(*names, 2280, "linkedin") == expected


@pytest.mark.parametrize(
    ("platform", "user_id", "ids"),
    [
        ("mastodon", "109@mastodon.example", ("109@mastodon.example", "109")),
        ("mastodon", "109", ("109",)),
        ("bluesky", "acme@example", ("acme@example",)),
    ],
)
def test_only_mastodon_user_may_be_stored_without_its_server(
    platform: str, user_id: str, ids: tuple[str, ...]
) -> None:
    assert stored_user_ids(platform, user_id) == ids
