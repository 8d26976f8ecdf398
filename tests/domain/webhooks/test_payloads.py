"""Payloads of webhook events: exact JSON of each type, and ids of events."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from uuid import UUID, uuid5

import pytest

from app.domain.account_commands import disconnect
from app.domain.events import Event, StoredEvent, account_events, post_events
from app.domain.ids import WorkspaceId
from app.domain.posts import Post
from app.domain.transitions import published, retried
from app.domain.webhooks.endpoints import DisabledReason
from app.domain.webhooks.event_types import WebhookEventType, webhook_event_type
from app.domain.webhooks.payloads import EventSubject, webhook_event_id, webhook_payload
from tests.domain.attempt_histories import PUBLICATION
from tests.domain.destination_states import ACCOUNTS, LATER, MUCH_LATER, make_account, make_post
from tests.domain.post_commands import POST_COMMANDS, run_schedule
from tests.domain.test_change_sentences import (
    CLAIMED,
    FAILED,
    PUBLISHED,
    STARTED,
    UNKNOWN,
    as_stored,
    with_first,
)
from tests.domain.webhooks.endpoints import make_endpoint
from tests.factories import NOW, draft, queued

WORKSPACE = WorkspaceId(UUID(int=0xA))
POST_ID = "00000000-0000-0000-0000-00000000000f"
DESTINATION_ID = "00000000-0000-0000-0000-000000000001"
NO_SUBJECT = EventSubject(None, {})


def payload_of(
    event: StoredEvent, subject: EventSubject, event_type: WebhookEventType | None = None
) -> dict[str, object]:
    cause = event_type or webhook_event_type(event)
    assert cause is not None
    return webhook_payload(event, cause, subject, workspace_id=WORKSPACE, cursor="c7")


def data_of(event: Event, post: Post | None, operation: str = "reportFailed") -> object:
    """Data of the payload of an event, about a post as it is now."""
    return payload_of(as_stored(event, operation), EventSubject(post, ACCOUNTS))["data"]


def change_first(before: Post, after: Post) -> Event:
    """The event of the first destination."""
    *_, event = post_events(before, after)
    return event


DESTINATION_FIELDS: Mapping[str, object] = {
    "post_id": POST_ID,
    "destination_id": DESTINATION_ID,
    "platform": "x",
    "account_id": 1,
    "account_name": "@acme1",
    "reference": "spring",
}
POST_FIELDS: Mapping[str, object] = {
    **DESTINATION_FIELDS,
    "destination_id": None,
    "platform": None,
    "account_id": None,
    "account_name": None,
}
ACCOUNT_FIELDS: Mapping[str, object] = {
    "post_id": None,
    "destination_id": None,
    "platform": "x",
    "account_id": 3,
    "account_name": "@acme3",
    "reference": None,
}
PUBLICATION_FIELDS: Mapping[str, object] = {
    "published_at": "2026-04-15T15:00:30.000Z",
    "platform_post_id": "1",
    "platform_post_url": "https://x.com/1",
    "attempts": 1,
}


def test_payload_of_a_publication() -> None:
    before = make_post([STARTED])
    after = with_first(before, PUBLISHED)
    event = as_stored(change_first(before, after), "reportPublished")

    assert payload_of(event, EventSubject(after, ACCOUNTS)) == {
        "event": "post.published",
        "event_id": str(webhook_event_id(WORKSPACE, event)),
        "created_at": "2026-04-15T15:00:00.000Z",
        "organization_id": "00000000-0000-0000-0000-00000000000a",
        "cursor": "c7",
        "data": {**DESTINATION_FIELDS, **PUBLICATION_FIELDS},
    }


def test_data_of_a_started_attempt() -> None:
    before = make_post([CLAIMED])
    after = with_first(before, STARTED)
    assert data_of(change_first(before, after), after) == DESTINATION_FIELDS


@pytest.mark.parametrize(
    ("state", "failure"),
    [
        (
            FAILED,
            {
                "outcome": "failed",
                "error": "The page is gone.",
                "error_category": "permanent",
                "error_code": "GONE",
                "attempts": 1,
            },
        ),
        (
            UNKNOWN,
            {
                "outcome": "unknown",
                "error": "The platform did not answer in time.",
                "error_category": "transient",
                "error_code": "TIMEOUT",
                "attempts": 1,
            },
        ),
    ],
    ids=["failed", "unknown"],
)
def test_data_of_a_failure(state: object, failure: Mapping[str, object]) -> None:
    before = make_post([STARTED])
    after = with_first(before, state)  # type: ignore[arg-type]
    assert data_of(change_first(before, after), after) == {**DESTINATION_FIELDS, **failure}


def test_data_of_a_partial_failure_has_every_result() -> None:
    before = make_post([STARTED, FAILED])
    after = with_first(before, PUBLISHED)
    event, _ = post_events(before, after)

    failure = {"published_at": None, "platform_post_url": None, "error": "The page is gone."}
    assert data_of(event, after) == {
        **POST_FIELDS,
        "post_status": "partially_failed",
        "scheduled_for": "2026-04-15T16:00:00.000Z",
        "results": [
            {
                "destination_id": DESTINATION_ID,
                "platform": "x",
                "account_id": 1,
                "account_name": "@acme1",
                "status": "published",
                "outcome": "published",
                "published_at": "2026-04-15T15:00:30.000Z",
                "platform_post_url": "https://x.com/1",
                "error": None,
            },
            {
                "destination_id": "00000000-0000-0000-0000-000000000002",
                "platform": "x",
                "account_id": 2,
                "account_name": "@acme2",
                "status": "failed",
                "outcome": "failed",
                **failure,
            },
        ],
    }


def test_data_of_scheduled_updated_and_deleted_posts() -> None:
    new = make_post([queued(LATER)])
    created, _ = post_events(None, new)
    drafted = make_post([draft()])
    scheduled, *_ = post_events(drafted, after := run_schedule(drafted, MUCH_LATER))
    updated, *_ = post_events(new, moved := POST_COMMANDS["change time"](new))
    deleted, *_ = post_events(new, removed := POST_COMMANDS["delete"](new))

    is_scheduled = {**POST_FIELDS, "post_status": "scheduled"}
    assert data_of(created, new, "createPost") == {
        **is_scheduled,
        "scheduled_for": "2026-04-15T16:00:00.000Z",
    }
    later = {**is_scheduled, "scheduled_for": "2026-04-17T15:00:00.000Z"}
    assert data_of(scheduled, after, "schedulePost") == later
    assert data_of(updated, moved, "updatePost") == later
    assert data_of(deleted, removed, "deletePost") == {
        **is_scheduled,
        "scheduled_for": "2026-04-15T16:00:00.000Z",
    }


def test_data_of_accounts_and_webhooks() -> None:
    account = make_account(3)
    (connected,) = account_events(None, account)
    (disconnected,) = account_events(account, disconnect(account, NOW))
    assert data_of(connected, None) == data_of(disconnected, None) == ACCOUNT_FIELDS

    event = make_endpoint(name="CRM").disabled(DisabledReason.FAILING, NOW).disabled_event()
    assert data_of(event, None) == {
        **dict.fromkeys(ACCOUNT_FIELDS),
        "webhook_id": "00000000-0000-0000-0000-00000000000e",
        "name": "CRM",
        "disabled_reason": "failing",
    }


def test_values_of_the_event_win_over_the_present_state() -> None:
    before = make_post([STARTED])
    event = change_first(before, with_first(before, FAILED))
    published_later = with_first(before, published(FAILED, PUBLICATION, MUCH_LATER))
    assert data_of(event, published_later) == {
        **DESTINATION_FIELDS,
        "outcome": "failed",
        "error": "The page is gone.",
        "error_category": "permanent",
        "error_code": "GONE",
        "attempts": 1,
    }

    scheduled = make_post([queued(LATER)])
    updated, *_ = post_events(scheduled, moved := POST_COMMANDS["change time"](scheduled))
    cancelled = POST_COMMANDS["cancel"](moved)
    assert data_of(updated, cancelled, "updatePost") == {
        **POST_FIELDS,
        "post_status": "draft",  # did not change in the event
        "scheduled_for": "2026-04-17T15:00:00.000Z",
    }


def test_destination_that_was_removed_since_has_the_values_of_the_event_only() -> None:
    before = make_post([STARTED])
    event = change_first(before, with_first(before, PUBLISHED))
    removed = replace(before, destinations=())
    assert data_of(event, removed) == {**DESTINATION_FIELDS, **PUBLICATION_FIELDS, "attempts": None}


def test_post_and_account_that_are_not_stored_are_null() -> None:
    before = make_post([STARTED])
    event = as_stored(change_first(before, with_first(before, PUBLISHED)), "reportPublished")
    assert payload_of(event, NO_SUBJECT)["data"] == {
        **DESTINATION_FIELDS,
        "platform": None,
        "account_name": None,
        "reference": None,
        **PUBLICATION_FIELDS,
        "attempts": None,
    }


@pytest.mark.parametrize("event_type", list(WebhookEventType))
def test_payload_of_each_type_has_the_common_fields(event_type: WebhookEventType) -> None:
    """Also if the post was removed, and for media, which no change causes yet."""
    before = make_post([STARTED])
    event = as_stored(change_first(before, with_first(before, RETRIED_STATE)), "retryPost")
    payload = payload_of(event, NO_SUBJECT, event_type)
    assert [*payload] == ["event", "event_id", "created_at", "organization_id", "cursor", "data"]
    assert payload["event"] == event_type.value
    data = payload["data"]
    assert isinstance(data, dict)
    assert data.keys() >= DESTINATION_FIELDS.keys()


RETRIED_STATE = retried(FAILED, NOW)


# Ids.


def test_event_id_differs_between_events_workspaces_and_restored_backups() -> None:
    post = make_post([STARTED])
    event = as_stored(change_first(post, with_first(post, PUBLISHED)), "reportPublished")
    event_id = webhook_event_id(WORKSPACE, event)

    assert event_id == uuid5(WORKSPACE, "7:2026-04-15T15:00:00.000Z")
    assert webhook_event_id(WORKSPACE, replace(event, values={}, operation="x")) == event_id
    others = {
        webhook_event_id(WORKSPACE, replace(event, seq=8)),
        webhook_event_id(WorkspaceId(UUID(int=0xB)), event),
        webhook_event_id(  # number 7 was assigned again after a restore
            WORKSPACE, replace(event, happened_at=NOW + timedelta(milliseconds=1))
        ),
    }
    assert len(others | {event_id}) == 4


# Accounts of an event.


def test_accounts_of_an_event_are_its_own_or_those_of_its_post() -> None:
    before = make_post([STARTED, FAILED])
    after = with_first(before, PUBLISHED)
    of_post, of_destination = (
        as_stored(event, "reportPublished") for event in post_events(before, after)
    )
    subject = EventSubject(after, ACCOUNTS)

    assert subject.platforms_by_account(of_destination) == {1: "x"}
    assert subject.platforms_by_account(of_post) == {1: "x", 2: "x"}
    assert EventSubject(None, ACCOUNTS).platforms_by_account(of_post) == {}
    assert NO_SUBJECT.platforms_by_account(of_destination) == {}
