"""Types of webhook events, for events that the domain's own functions produce."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise

import pytest

from app.domain.account_commands import (
    connect,
    connect_existing,
    disconnect,
    mark_needs_reconnection,
    reconnect,
    update_account,
)
from app.domain.accounts import Account
from app.domain.attempts import Evidence
from app.domain.destinations import DestinationState
from app.domain.events import (
    Event,
    EventKind,
    account_events,
    duplicate_event,
    misuse_event,
    post_events,
)
from app.domain.ids import AccountId
from app.domain.posts import Post
from app.domain.transitions import (
    cancelled,
    claimed,
    failed,
    published,
    retried,
    retry_scheduled,
    started,
    unknown,
    verification_claimed,
)
from app.domain.webhooks.endpoints import DisabledReason
from app.domain.webhooks.event_types import WebhookEventType, webhook_event_type
from tests.domain.attempt_histories import GONE, NOT_PUBLISHED, PUBLICATION, TIMEOUT
from tests.domain.destination_states import LATER, MUCH_LATER, make_account, make_post
from tests.domain.test_change_sentences import (
    CLAIMED,
    DESTINATION_CHANGES,
    FAILED,
    POST_CHANGES,
    PUBLISHED,
    QUEUED,
    STARTED,
    STARTED_AGAIN,
    TOKEN,
    UNKNOWN,
    WAITING,
    as_stored,
    new_account,
    with_first,
)
from tests.domain.test_events import force_retry
from tests.domain.webhooks.endpoints import make_endpoint
from tests.factories import NOW, draft, queued


def types(operation: str, events: Iterable[Event]) -> list[str | None]:
    """Type of the webhook event of each event."""
    return [webhook_event_type(as_stored(event, operation)) for event in events]


# Destinations.


def test_types_of_changed_destinations() -> None:
    causes = []
    for operation, before, after in DESTINATION_CHANGES:
        post = make_post([before])
        *_, event = post_events(post, with_first(post, after))
        if event_type := webhook_event_type(as_stored(event, operation)):
            old, new = before.outcome, after.outcome
            causes.append(f"{operation} {old}→{new}, attempt {after.attempts}: {event_type}")

    assert causes == [
        "startAttempt none→none, attempt 1: post.publishing",
        "reportPublished none→published, attempt 1: post.published",
        "reportFailed none→failed, attempt 1: post.failed",
        "reportFailed none→failed, attempt 2: post.failed",
        "reportFailed none→unknown, attempt 1: post.failed",
        "failWithoutAccess none→failed, attempt 0: post.failed",
        "claimDestinations none→failed, attempt 0: post.failed",
        "loseLease none→unknown, attempt 1: post.failed",
        "reportVerified unknown→published, attempt 1: post.published",
        "reconcileDestination unknown→published, attempt 1: post.published",
        "cancelPost none→failed, attempt 1: post.failed",
        "reportPublished none→failed, attempt 0: post.failed",
    ]


RETRIED = retried(FAILED, NOW)
RETRIED_STARTED = started(claimed(RETRIED, TOKEN, LATER), NOW)
CLAIMED_AGAIN = claimed(WAITING, TOKEN, LATER)
FAILED_AGAIN = failed(STARTED_AGAIN, TIMEOUT, NOW)
CONFIRMED = failed(UNKNOWN, NOT_PUBLISHED, NOW)
RESULTS: Mapping[str, tuple[list[DestinationState], list[str | None]]] = {
    "published": (
        [QUEUED, CLAIMED, STARTED, PUBLISHED],
        [None, "post.publishing", "post.published"],
    ),
    "published at the second attempt": (
        [
            STARTED,
            WAITING,
            CLAIMED_AGAIN,
            STARTED_AGAIN,
            published(STARTED_AGAIN, PUBLICATION, NOW),
        ],
        [None, None, None, "post.published"],
    ),
    "failed at the second attempt": (
        [STARTED, WAITING, CLAIMED_AGAIN, STARTED_AGAIN, FAILED_AGAIN],
        [None, None, None, "post.failed"],
    ),
    "unknown, then confirmed": (
        [STARTED, UNKNOWN, verification_claimed(UNKNOWN, TOKEN, LATER), CONFIRMED],
        ["post.failed", None, None],
    ),
    "unknown, then found published": (
        [STARTED, UNKNOWN, published(UNKNOWN, PUBLICATION, NOW)],
        ["post.failed", "post.published"],
    ),
    "unknown, then retried and failed": (
        [UNKNOWN, retry_scheduled(UNKNOWN, NOT_PUBLISHED, LATER), STARTED_AGAIN, FAILED_AGAIN],
        [None, None, "post.failed"],
    ),
    "failed, then published by a late report": (
        [STARTED, FAILED, published(FAILED, PUBLICATION, NOW)],
        ["post.failed", "post.published"],
    ),
    "failed, retried by hand, and failed again": (
        [STARTED, FAILED, RETRIED, RETRIED_STARTED, failed(RETRIED_STARTED, GONE, NOW)],
        ["post.failed", None, None, "post.failed"],
    ),
    "cancelled": ([QUEUED, cancelled(QUEUED, NOW)], ["post.failed"]),
}


@pytest.mark.parametrize(("states", "expected"), RESULTS.values(), ids=RESULTS)
def test_results_of_a_destination_are_reported_once(
    states: list[DestinationState], expected: list[str | None]
) -> None:
    reported = []
    for before, after in pairwise(states):
        post = make_post([before])
        *_, event = post_events(post, with_first(post, after))
        reported += types("reportFailed", [event])
    assert reported == expected


def test_added_and_removed_destinations_and_mistakes_are_not_reported() -> None:
    post, evidence = (
        make_post([PUBLISHED]),
        Evidence(fence=2, counted=False, publication=PUBLICATION, reported_at=NOW),
    )
    (destination,) = post.destinations
    events = [
        *list(post_events(None, post))[1:],
        *list(post_events(post, replace(post, destinations=()))),
        duplicate_event(post.id, destination, evidence),
        misuse_event(post.id, destination, evidence),
    ]
    assert [event.kind for event in events if event.kind is not EventKind.POST_CHANGED] == [
        EventKind.DESTINATION_ADDED,
        EventKind.DESTINATION_REMOVED,
        EventKind.DESTINATION_DUPLICATED,
        EventKind.PUBLISHER_MISUSED,
    ]
    assert types("reportPublished", events) == [None] * len(events)


# Posts.


@pytest.mark.parametrize(
    ("post", "expected"),
    [
        (make_post([queued(LATER)]), "post.scheduled"),
        (make_post([draft()]), None),
        (make_post([], is_draft=True), None),
        (make_post([QUEUED], submitted_now=True, scheduled_for=None), None),
    ],
    ids=["scheduled", "draft", "empty draft", "immediate"],
)
def test_only_scheduled_posts_are_reported_when_created(post: Post, expected: str | None) -> None:
    new, *_ = post_events(None, post)
    assert types("createPost", [new]) == [expected]


def test_types_of_changed_posts() -> None:
    reported = []
    for operation, states, command in POST_CHANGES:
        before = make_post(states)
        after = command(before)
        event_types = [each for each in types(operation, post_events(before, after)) if each]
        reported.append(f"{operation} {before.status}→{after.status}: {', '.join(event_types)}")

    assert reported == [
        "updatePost scheduled→scheduled: post.updated",
        "updatePost draft→draft: post.updated",
        "updatePost scheduled→scheduled: post.updated",
        "updatePost scheduled→publishing: post.updated",
        "updatePost draft→draft: post.updated",
        "updatePost scheduled→scheduled: post.updated",
        "schedulePost draft→scheduled: post.scheduled",
        "cancelPost scheduled→draft: post.updated",
        "cancelPost publishing→failed: post.updated, post.failed",
        "deletePost scheduled→scheduled: post.deleted",
        "retryPost failed→publishing: ",
        "import scheduled→scheduled: ",
        "import scheduled→published: ",
        "import scheduled→publishing: ",
        "import scheduled→scheduled: ",
        "reportPublished draft→partially_failed: post.partially_failed, post.published, post.failed",
        "claimDestinations scheduled→publishing: ",
        "reportFailed publishing→publishing: ",
        "reportFailed publishing→failed: post.failed",
    ]


def test_partial_failure_is_reported_once_while_its_results_change() -> None:
    first_published = make_post([PUBLISHED, STARTED])
    second = first_published.destinations[1].id
    partial = first_published.with_state(second, unknown(STARTED, TIMEOUT, NOW), NOW)
    confirmed = partial.with_state(second, failed(UNKNOWN, NOT_PUBLISHED, NOW), MUCH_LATER)

    assert types("reportFailed", post_events(first_published, partial)) == [
        "post.partially_failed",
        "post.failed",
    ]
    assert types("reportVerified", post_events(partial, confirmed)) == [None, None]


@pytest.mark.parametrize("operation", ["retryPost", "retryPosts", "retryAfterReconnect"])
def test_retries_are_not_reported(operation: str) -> None:
    before = make_post([FAILED, PUBLISHED])
    after = force_retry(before)
    assert after.version == before.version + 1
    assert types(operation, post_events(before, after)) == [None, None]


# Accounts and webhooks.

ACCOUNT = make_account(3)
REJECTED = mark_needs_reconnection(ACCOUNT, NOW, NOW)
ACCOUNT_CHANGES: Sequence[tuple[str, Account | None, Account, str | None]] = [
    ("connected", None, connect(new_account(), AccountId(3), NOW), "account.connected"),
    ("rejected", ACCOUNT, REJECTED, "account.reconnect_needed"),
    ("reconnected", REJECTED, reconnect(REJECTED, None, NOW), "account.connected"),
    (
        "connected again",
        ACCOUNT,
        connect_existing(ACCOUNT, new_account("@b"), NOW),
        "account.connected",
    ),
    ("disconnected", ACCOUNT, disconnect(ACCOUNT, NOW), "account.disconnected"),
    ("rejected, disconnected", REJECTED, disconnect(REJECTED, NOW), "account.disconnected"),
    ("renamed", ACCOUNT, update_account(ACCOUNT, {"display_name": "B"}, NOW), None),
    ("expires", ACCOUNT, update_account(ACCOUNT, {"token_expires_at": LATER}, NOW), None),
    ("renewed", ACCOUNT, replace(ACCOUNT, token_refreshed_at=NOW), None),
]


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [change[1:] for change in ACCOUNT_CHANGES],
    ids=[change[0] for change in ACCOUNT_CHANGES],
)
def test_types_of_changed_accounts(
    before: Account | None, after: Account, expected: str | None
) -> None:
    assert types("updateAccount", account_events(before, after)) == [expected]


def test_imports_are_not_reported() -> None:
    events = [
        *post_events(None, make_post([PUBLISHED, FAILED], imported_at=NOW)),
        *post_events(make_post([QUEUED]), make_post([PUBLISHED])),
        *account_events(None, ACCOUNT),
    ]
    assert types("import", events) == [None] * len(events)


def test_disabled_webhook_is_reported() -> None:
    event = make_endpoint().disabled(DisabledReason.GONE, NOW).disabled_event()
    assert types("deliverWebhooks", [event]) == ["webhook.disabled"]


def test_every_type_except_those_of_media_is_reported_by_a_rule() -> None:
    """The other tests report each of them."""
    tested = {
        *("post.scheduled", "post.publishing", "post.published", "post.failed"),
        *("post.partially_failed", "post.updated", "post.deleted"),
        *("account.connected", "account.disconnected", "account.reconnect_needed"),
        "webhook.disabled",
    }
    assert {*WebhookEventType} - tested == {"media.uploaded", "media.deleted"}
