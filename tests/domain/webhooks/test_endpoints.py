"""Endpoints: wanted events, and how results of deliveries disable them."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from app.domain.events import Event, EventKind
from app.domain.ids import AccountId
from app.domain.webhooks.deliveries import DeliveryAttempt
from app.domain.webhooks.endpoints import DISABLE_AFTER, DisabledReason, WebhookEndpoint
from app.domain.webhooks.event_types import WebhookEventType
from tests.domain.webhooks.endpoints import WEBHOOK_ID, make_endpoint
from tests.factories import NOW

SECOND, DAY = timedelta(seconds=1), timedelta(days=1)
MS = timedelta(milliseconds=1)
PUBLISHED, FAILED = WebhookEventType.POST_PUBLISHED, WebhookEventType.POST_FAILED
DISABLED = WebhookEventType.WEBHOOK_DISABLED

X1, X2, INSTAGRAM3 = (
    (AccountId(1), "x"),
    (AccountId(2), "x"),
    (AccountId(3), "instagram"),
)


def attempt(status_code: int | None) -> DeliveryAttempt:
    """An attempt with this response, or without one."""
    is_success = status_code is not None and status_code < 300
    return DeliveryAttempt(
        started_at=NOW,
        duration=SECOND,
        status_code=status_code,
        error=None if is_success else "It failed.",
    )


@pytest.mark.parametrize("fields", [{"url": ""}, {"event_types": ()}])
def test_endpoint_without_url_or_events_is_impossible(fields: Mapping[str, object]) -> None:
    with pytest.raises(ValueError, match="an endpoint has a URL and at least one event type"):
        make_endpoint(**fields)


# Filters.


@pytest.mark.parametrize(
    ("filters", "event_type", "accounts", "is_wanted"),
    [
        ({}, PUBLISHED, [X1], True),
        ({}, PUBLISHED, [], True),
        ({"event_types": [FAILED]}, PUBLISHED, [X1], False),
        ({"platforms": ["x"]}, PUBLISHED, [X1], True),
        ({"platforms": ["x"]}, PUBLISHED, [INSTAGRAM3], False),
        ({"platforms": ["x"]}, PUBLISHED, [INSTAGRAM3, X1], True),
        ({"platforms": ["x"]}, PUBLISHED, [], False),
        ({"platforms": ["tiktok", "x"]}, PUBLISHED, [X1], True),
        ({"account_ids": [2]}, PUBLISHED, [X2], True),
        ({"account_ids": [2]}, PUBLISHED, [X1], False),
        ({"account_ids": [2]}, PUBLISHED, [], False),
        ({"platforms": ["x"], "account_ids": [2]}, PUBLISHED, [X1, X2], True),
        ({"platforms": ["x"], "account_ids": [3]}, PUBLISHED, [X1, INSTAGRAM3], False),
        ({"platforms": ["x"], "account_ids": [2]}, DISABLED, [], True),
        ({"event_types": [FAILED], "platforms": ["x"]}, DISABLED, [], False),
    ],
)
def test_endpoint_wants_events_that_match_all_filters(
    filters: Mapping[str, object],
    event_type: WebhookEventType,
    accounts: Sequence[tuple[AccountId, str]],
    is_wanted: bool,
) -> None:
    assert make_endpoint(**filters).wants(event_type, accounts) == is_wanted


# Results.


def test_success_resets_the_failures() -> None:
    failing = make_endpoint(
        consecutive_failures=3, failing_since=NOW - DAY, last_failure_at=NOW - SECOND
    )
    assert failing.with_attempt(attempt(200), NOW) == replace(
        failing,
        consecutive_failures=0,
        failing_since=None,
        last_delivery_at=NOW,
        last_success_at=NOW,
    )


def test_failures_count_from_the_first_one() -> None:
    first = make_endpoint(last_success_at=NOW - DAY).with_attempt(attempt(500), NOW)
    assert first == make_endpoint(
        consecutive_failures=1,
        failing_since=NOW,
        last_delivery_at=NOW,
        last_failure_at=NOW,
        last_success_at=NOW - DAY,
    )
    assert first.with_attempt(attempt(None), NOW + SECOND) == replace(
        first,
        consecutive_failures=2,
        last_delivery_at=NOW + SECOND,
        last_failure_at=NOW + SECOND,
    )


def test_gone_receiver_disables_its_endpoint() -> None:
    endpoint = make_endpoint().with_attempt(attempt(410), NOW + SECOND)
    assert endpoint == make_endpoint(
        is_active=False,
        consecutive_failures=1,
        failing_since=NOW + SECOND,
        disabled_reason=DisabledReason.GONE,
        auto_disabled_at=NOW + SECOND,
        last_delivery_at=NOW + SECOND,
        last_failure_at=NOW + SECOND,
        updated_at=NOW + SECOND,
    )


def fail_at(endpoint: WebhookEndpoint, *times: datetime) -> WebhookEndpoint:
    for time in times:
        endpoint = endpoint.with_attempt(attempt(503), time)
    return endpoint


def test_endpoint_is_disabled_after_five_days_of_failures() -> None:
    almost = fail_at(make_endpoint(), *[NOW] * 8, NOW + DISABLE_AFTER - MS)
    assert (DISABLE_AFTER, almost.is_active, almost.consecutive_failures) == (5 * DAY, True, 9)

    disabled = fail_at(almost, NOW + DISABLE_AFTER)
    assert disabled == make_endpoint(
        is_active=False,
        consecutive_failures=10,
        failing_since=NOW,
        disabled_reason=DisabledReason.FAILING,
        auto_disabled_at=NOW + 5 * DAY,
        last_delivery_at=NOW + 5 * DAY,
        last_failure_at=NOW + 5 * DAY,
        updated_at=NOW + 5 * DAY,
    )


def test_few_failures_do_not_disable_an_endpoint() -> None:
    failing = fail_at(make_endpoint(), *(NOW + number * 5 * DAY for number in range(9)))
    assert failing.is_active
    assert not fail_at(failing, NOW + 45 * DAY).is_active


def test_one_success_starts_the_five_days_again() -> None:
    endpoint = fail_at(make_endpoint(), NOW, NOW + 4 * DAY).with_attempt(
        attempt(204), NOW + 4 * DAY
    )
    failing = fail_at(endpoint, *[NOW + 5 * DAY] * 9, NOW + 10 * DAY - MS)
    assert failing.is_active
    assert not fail_at(failing, NOW + 10 * DAY).is_active


@pytest.mark.parametrize("status_code", [410, 500, None])
@pytest.mark.parametrize("reason", [None, *DisabledReason])
def test_inactive_endpoint_is_not_disabled_again(
    reason: DisabledReason | None, status_code: int | None
) -> None:
    inactive = make_endpoint(
        is_active=False,
        disabled_reason=reason,
        auto_disabled_at=None if reason is None else NOW,
        consecutive_failures=1,
        failing_since=NOW,
    )
    later = NOW + 6 * DAY
    assert inactive.with_attempt(attempt(status_code), later) == replace(
        inactive, consecutive_failures=2, last_delivery_at=later, last_failure_at=later
    )


def test_success_does_not_enable_an_endpoint() -> None:
    disabled = make_endpoint().disabled(DisabledReason.GONE, NOW)
    assert not disabled.with_attempt(attempt(200), NOW).is_active


def test_enabled_endpoint_counts_failures_from_zero() -> None:
    disabled = fail_at(make_endpoint(), NOW, NOW + 5 * DAY)
    assert disabled.enabled(NOW + 6 * DAY) == make_endpoint(
        last_delivery_at=NOW + 5 * DAY,
        last_failure_at=NOW + 5 * DAY,
        updated_at=NOW + 6 * DAY,
    )


def test_event_of_a_disabled_endpoint_has_no_url() -> None:
    endpoint = make_endpoint(url="https://example.com/s3cret", name="CRM")
    assert endpoint.disabled(DisabledReason.GONE, NOW).disabled_event() == Event(
        kind=EventKind.WEBHOOK_DISABLED,
        values={"webhook_id": str(WEBHOOK_ID), "name": "CRM", "disabled_reason": "gone"},
    )
