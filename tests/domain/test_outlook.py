"""Outlook of a destination in every state."""

from dataclasses import replace
from datetime import datetime, timedelta
from types import MappingProxyType

import pytest

from app.domain.accounts import Account, LostAccessPolicy
from app.domain.destinations import DestinationState, ErrorCategory
from app.domain.outlook import Outlook, Progress, outlook
from app.domain.retry_policy import DEFAULT_POLICIES, RetryPolicies, RetryPolicy
from app.domain.transitions import content_checked, retried, unclaimable
from tests.domain.destination_states import make_account
from tests.factories import (
    NOW,
    claimed,
    draft,
    failed,
    published,
    queued,
    started,
    unknown,
    waiting_for_retry,
)

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
LEASE_END = NOW + timedelta(minutes=5)
RETRY_AT = NOW + timedelta(minutes=1)
RATE_LIMITED = ErrorCategory.RATE_LIMITED


def progress_of(
    state: DestinationState, platform: str = "instagram", media_warning: str | None = None
) -> Progress:
    return Progress(
        platform=platform,
        status=state.status,
        outcome=state.outcome,
        due_at=state.due_at,
        claimable_at=state.claimable_at,
        round_attempts=state.round_attempts,
        round_started_at=state.round_started_at,
        started_at=state.started_at,
        lease_expires_at=state.lease_expires_at,
        error_category=state.error_category,
        error_code=state.error_code,
        not_sent=state.not_sent,
        content_error=state.content_error,
        media_warning=media_warning,
    )


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        (draft(), Outlook(sentence="Nothing happens before the draft is scheduled.")),
        (
            queued(NOW + HOUR),
            Outlook(
                attempt=1,
                next_at=NOW + HOUR,
                sentence="It will be published at 2026-04-15 16:00 UTC.",
            ),
        ),
        (
            queued(NOW),
            Outlook(
                attempt=1,
                next_at=NOW,
                sentence="It has waited for a publisher since 2026-04-15 15:00 UTC.",
            ),
        ),
        (
            content_checked(queued(NOW + HOUR), "It does not fit."),
            Outlook(
                next_at=NOW + HOUR,
                sentence="It will fail at 2026-04-15 16:00 UTC: It does not fit.",
            ),
        ),
        (
            content_checked(queued(NOW), "It does not fit."),
            Outlook(
                next_at=NOW, sentence="It will fail when a publisher takes it: It does not fit."
            ),
        ),
        (unclaimable(queued()), Outlook(sentence="This server does not publish it.")),
        (
            waiting_for_retry(RETRY_AT, attempts=2),
            Outlook(
                attempt=3,
                max_attempts=5,
                next_at=RETRY_AT,
                gives_up_at=NOW + DAY,
                sentence="Attempt 3 of 5 follows at 2026-04-15 15:01 UTC. There is no automatic retry after"
                " 2026-04-16 15:00 UTC.",
            ),
        ),
        (
            waiting_for_retry(RETRY_AT, attempts=4),
            Outlook(
                attempt=5,
                max_attempts=5,
                next_at=RETRY_AT,
                sentence="Attempt 5 of 5 follows at 2026-04-15 15:01 UTC. Another failure like the last one"
                " is final.",
            ),
        ),
        (
            waiting_for_retry(RETRY_AT, attempts=7, category=RATE_LIMITED, code="RATE_LIMITED"),
            Outlook(
                attempt=1,
                next_at=RETRY_AT,
                gives_up_at=NOW + 3 * DAY,
                sentence="The next attempt follows at 2026-04-15 15:01 UTC. There is no automatic retry after"
                " 2026-04-18 15:00 UTC.",
            ),
        ),
        (
            waiting_for_retry(NOW, due_at=NOW - HOUR),
            Outlook(
                attempt=2,
                max_attempts=5,
                next_at=NOW,
                gives_up_at=NOW - HOUR + DAY,
                sentence="Attempt 2 of 5 has waited for a publisher since 2026-04-15 15:00 UTC."
                " There is no automatic retry after 2026-04-16 14:00 UTC.",
            ),
        ),
        (
            retried(failed(due_at=NOW - HOUR), NOW),
            Outlook(
                attempt=1,
                next_at=NOW,
                sentence="It has waited for a publisher since 2026-04-15 15:00 UTC.",
            ),
        ),
        (
            claimed(lease_expires_at=LEASE_END),
            Outlook(
                attempt=1,
                next_at=LEASE_END,
                sentence="A publisher has claimed it and will start soon. Without a start until 2026-04-15"
                " 15:05 UTC, another publisher may claim it.",
            ),
        ),
        (
            started(lease_expires_at=LEASE_END),
            Outlook(
                attempt=1,
                next_at=LEASE_END,
                sentence="A publisher is publishing it. Without a report until 2026-04-15 15:05 UTC, its"
                " outcome is unknown.",
            ),
        ),
        (published(), Outlook(sentence="Nothing more happens: it is published.")),
        (
            failed(category=ErrorCategory.AUTH, code="TOKEN_EXPIRED"),
            Outlook(
                sentence="It is not retried automatically. Reconnect the account, then retry the post."
            ),
        ),
        (
            unknown(),
            Outlook(
                sentence="It is not retried automatically. Check whether the post is on the platform, then"
                " record the result. A retry without a check could publish it twice."
            ),
        ),
    ],
)
def test_outlook_of_each_state(state: DestinationState, expected: Outlook) -> None:
    assert (
        outlook(
            progress_of(state), DEFAULT_POLICIES, NOW, paused_until=None, outage=None, account=None
        )
        == expected
    )


def test_outlook_follows_the_policy_of_the_platform() -> None:
    policy = RetryPolicy(max_attempts=9, max_age=HOUR)
    policies = RetryPolicies(
        DEFAULT_POLICIES.by_kind,
        MappingProxyType({"x": {ErrorCategory.TRANSIENT: policy}}),
    )

    result = outlook(
        progress_of(waiting_for_retry(), "x"),
        policies,
        NOW,
        paused_until=None,
        outage=None,
        account=None,
    )

    assert (result.max_attempts, result.gives_up_at) == (9, NOW + HOUR)


def test_attempt_beyond_a_lowered_limit_does_not_name_it() -> None:
    state = waiting_for_retry(RETRY_AT, attempts=6)

    result = outlook(
        progress_of(state), DEFAULT_POLICIES, NOW, paused_until=None, outage=None, account=None
    )

    assert (result.attempt, result.max_attempts, result.gives_up_at) == (7, 5, None)
    assert result.sentence == (
        "Attempt 7 follows at 2026-04-15 15:01 UTC. Another failure like the last one is final."
    )


@pytest.mark.parametrize(
    ("state", "paused_until", "next_at", "sentence"),
    [
        (
            queued(NOW),
            NOW + HOUR,
            NOW + HOUR,
            "It will be published at 2026-04-15 16:00 UTC. Its platform allows no more requests before"
            " that.",
        ),
        (queued(NOW), NOW, NOW, "It has waited for a publisher since 2026-04-15 15:00 UTC."),
        (
            queued(NOW + HOUR),
            NOW + HOUR,
            NOW + HOUR,
            "It will be published at 2026-04-15 16:00 UTC.",
        ),
        (
            waiting_for_retry(RETRY_AT, attempts=2),
            RETRY_AT + HOUR,
            RETRY_AT + HOUR,
            "Attempt 3 of 5 follows at 2026-04-15 16:01 UTC. Its platform allows no more requests before"
            " that. There is no automatic retry after 2026-04-16 15:00 UTC.",
        ),
    ],
)
def test_outlook_on_a_paused_account_is_the_end_of_the_pause(
    state: DestinationState, paused_until: datetime, next_at: datetime, sentence: str
) -> None:
    result = outlook(
        progress_of(state),
        DEFAULT_POLICIES,
        NOW,
        paused_until=paused_until,
        outage=None,
        account=None,
    )

    assert (result.next_at, result.sentence) == (next_at, sentence)


def test_outlook_of_failures_before_sending_has_no_limit_of_attempts() -> None:
    state = replace(waiting_for_retry(RETRY_AT, attempts=9), not_sent=True)

    result = outlook(
        progress_of(state), DEFAULT_POLICIES, NOW, paused_until=None, outage=None, account=None
    )

    assert (result.max_attempts, result.gives_up_at) == (None, NOW + DAY)
    assert result.sentence == (
        "The next attempt follows at 2026-04-15 15:01 UTC. There is no automatic retry after"
        " 2026-04-16 15:00 UTC."
    )


WAITING = make_account(1, needs_reconnection_since=NOW, on_lost_access=LostAccessPolicy.WAIT)
HELD = make_account(1, on_lost_access=LostAccessPolicy.WAIT, held_until=NOW - HOUR)
DUE_SOON = (
    "It waits until its account is reconnected. It is published automatically if that is before"
)


@pytest.mark.parametrize(
    ("account", "state", "sentence"),
    [
        (
            WAITING,
            queued(NOW + HOUR),
            f"{DUE_SOON} 2026-04-15 17:00 UTC, and by `retryAfterReconnect` later. Otherwise it fails at"
            " 2026-04-16 16:00 UTC.",
        ),
        (
            WAITING,
            waiting_for_retry(NOW - HOUR / 2, due_at=NOW - 2 * HOUR),
            f"{DUE_SOON} 2026-04-15 15:30 UTC, and by `retryAfterReconnect` later. Otherwise it fails at"
            " 2026-04-16 13:00 UTC.",
        ),
        (
            WAITING,
            queued(NOW - HOUR),
            "It waits until its account is reconnected. After that, `retryAfterReconnect` publishes it."
            " Otherwise it fails at 2026-04-16 14:00 UTC.",
        ),
        (
            HELD,
            queued(NOW - HOUR),
            "It waits for `retryAfterReconnect`, because it was late for at least an hour when its account"
            " was reconnected. Without a retry, it fails at 2026-04-16 14:00 UTC.",
        ),
        (
            HELD,
            queued(NOW - HOUR / 2),
            "It has waited for a publisher since 2026-04-15 14:30 UTC.",
        ),
        (
            replace(WAITING, on_lost_access=LostAccessPolicy.FAIL),
            queued(NOW + HOUR),
            "It will be published at 2026-04-15 16:00 UTC.",
        ),
    ],
)
def test_outlook_of_what_waits_for_a_reconnection(
    account: Account, state: DestinationState, sentence: str
) -> None:
    result = outlook(
        progress_of(state),
        DEFAULT_POLICIES,
        NOW,
        paused_until=None,
        outage=None,
        account=account.reconnection,
    )
    assert result.sentence == sentence
    is_waiting = "reconnect" in sentence
    assert (result.attempt is None) == (result.next_at is None) == is_waiting


def test_warning_of_media_is_a_part_of_the_outlook_before_the_due_time() -> None:
    warning = "media[0] was not loaded: its server answered 503. This may be temporary."
    progress = progress_of(queued(NOW + HOUR), media_warning=warning)
    sentences = [
        outlook(
            progress, DEFAULT_POLICIES, now, paused_until=None, outage=None, account=None
        ).sentence
        for now in (NOW, NOW + HOUR)
    ]
    assert sentences == [
        f"It will be published at 2026-04-15 16:00 UTC. Its media may prevent that: {warning}",
        "It has waited for a publisher since 2026-04-15 16:00 UTC.",
    ]
