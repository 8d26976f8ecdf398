"""Change events: they have every changed field, no token, and replaying them yields the state."""

from collections.abc import Callable, Mapping
from dataclasses import fields, replace
from datetime import date, datetime
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.domain.attempts import Evidence
from app.domain.destinations import Destination
from app.domain.events import (
    FEED_START,
    Event,
    EventFilter,
    EventKind,
    FeedPosition,
    StoredEvent,
    account_events,
    duplicate_event,
    misuse_event,
    post_events,
)
from app.domain.ids import AccountId, ApiKeyId, DestinationId, PostId
from app.domain.manual_retries import retry_post
from app.domain.posts import Post
from tests.domain.attempt_histories import PUBLICATION
from tests.domain.destination_states import (
    ACCOUNTS,
    ALL_STATES,
    SUBMITTED,
    make_account,
    make_post,
    post_strategy,
)
from tests.domain.post_commands import (
    POST_COMMANDS,
    PostCommand,
    command_result,
    post_commands,
    run_change,
)
from tests.factories import NOW, claimed, draft, failed, queued

TOKENS = {"lease_token", "verification_token"}
Values = dict[str, object]


def to_json(value: object) -> object:
    match value:
        case datetime():
            return value.strftime("%Y-%m-%dT%H:%M:%S.") + f"{value.microsecond // 1000:03}Z"
        case date():
            return value.isoformat()
        case UUID():
            return str(value)
        case str():
            return str(value)
        case _:
            return value


def field_values(record: Any) -> Values:
    return {field.name: to_json(getattr(record, field.name)) for field in fields(record)}


def stored_values(post: Post) -> dict[object, Values]:
    """Fields of a post and its destinations, without tokens, by id."""
    own = field_values(post) | {"status": str(post.status)}
    del own["destinations"]
    return {post.id: own} | {d.id: destination_values(d) for d in post.destinations}


def destination_values(destination: Destination) -> Values:
    values = field_values(destination) | field_values(destination.state)
    return {name: value for name, value in values.items() if name not in {"state", *TOKENS}}


def replay_events(values: Mapping[object, Values], events: list[Event]) -> dict[object, Values]:
    """The values that a reader has after replaying events."""
    values = {key: dict(fields) for key, fields in values.items()}
    for event in events:
        key = event.destination_id or event.post_id
        match event.kind:
            case EventKind.POST_CREATED | EventKind.DESTINATION_ADDED:
                assert key not in values
                values[key] = dict(event.values)
            case EventKind.DESTINATION_REMOVED:
                del values[key]
            case _:
                values[key] |= event.values
    return values


def as_text(values: Mapping[object, Values]) -> dict[object, str]:
    """The values as text, which distinguishes true from 1."""
    return {key: repr(sorted(fields.items())) for key, fields in values.items()}


@given(post_strategy())
def test_events_of_new_post_have_all_its_fields(post: Post) -> None:
    events = list(post_events(None, post))

    assert [(event.kind, event.post_id, event.destination_id) for event in events] == [
        (EventKind.POST_CREATED, post.id, None),
        *((EventKind.DESTINATION_ADDED, post.id, d.id) for d in post.destinations),
    ]
    assert as_text(replay_events({}, events)) == as_text(stored_values(post))


def force_retry(post: Post) -> Post:
    return retry_post(post, ACCOUNTS, account_ids=None, force=True, now=NOW)[0]


@settings(max_examples=200)
@given(post_strategy(), st.lists(post_commands(), min_size=1, max_size=4), st.booleans())
def test_replaying_events_of_commands_yields_their_result(
    before: Post, commands: list[PostCommand], retry: bool
) -> None:
    replayed = stored_values(before)
    for command in [*commands, force_retry] if retry else commands:
        after = command_result(command, before)
        if isinstance(after, Post):
            events = list(post_events(before, after))
            old = stored_values(before)
            for event in events:
                old_values = old.get(event.destination_id or event.post_id, {})
                changed = {name: old_values.get(name) for name in event.values}
                assert event.previous == {
                    name: value for name, value in changed.items() if value is not None
                }
            replayed = replay_events(replayed, events)
            before = after

    assert as_text(replayed) == as_text(stored_values(before))


@given(post_strategy())
def test_unchanged_post_has_no_events(post: Post) -> None:
    assert list(post_events(post, replace(post))) == []


def test_event_has_only_changed_fields() -> None:
    before = make_post([queued(), failed()])
    changes = {"content": "Another text", "version": 5, "updated_at": "2026-04-15T15:00:00.000Z"}
    old = field_values(before)
    assert list(post_events(before, run_change(before, content="Another text"))) == [
        Event(
            kind=EventKind.POST_CHANGED,
            post_id=before.id,
            values=changes,
            previous={name: old[name] for name in changes},
        )
    ]


def test_old_text_is_cut() -> None:
    before = make_post([draft()], content="é" * 1_001, reference=None)

    (event,) = post_events(before, replace(before, content="", reference="r"))

    assert event.previous == {"content": "é" * 1_000}
    assert as_change(event).public_previous == {"content": "é" * 1_000, "reference": None}


def test_json_that_only_python_considers_equal_is_a_change() -> None:
    before = make_post([draft()], platform_content={"x": {"pinned": 1}})
    (event,) = post_events(before, replace(before, platform_content={"x": {"pinned": True}}))
    assert repr(event.values) == "{'platform_content': {'x': {'pinned': True}}}"


def test_deletion_has_its_own_event_kind() -> None:
    before = make_post([queued()])
    after = POST_COMMANDS["delete"](before)

    kinds = [event.kind for event in post_events(before, after)]

    assert kinds == [EventKind.POST_DELETED, EventKind.DESTINATION_CHANGED]
    (event,) = post_events(after, replace(after, reference="r"))
    assert event.kind is EventKind.POST_CHANGED


def test_removed_destination_precedes_added_one() -> None:
    before = make_post([queued(), queued()])
    after = run_change(before, [9, 2])

    assert [
        (event.kind.value, event.account_id, event.destination_id)
        for event in post_events(before, after)
    ] == [
        ("post.changed", None, None),
        ("destination.removed", 1, DestinationId(UUID(int=1))),
        ("destination.added", 9, after.destinations[0].id),
    ]


def test_change_of_a_token_has_no_event() -> None:
    before, after = make_post([claimed()]), make_post([claimed()])
    assert before != after
    assert list(post_events(before, after)) == []


def test_account_events_have_new_and_changed_fields() -> None:
    before = make_account(3)
    after = replace(before, is_active=False, token_expires_at=NOW)

    assert list(account_events(None, before)) == [
        Event(
            kind=EventKind.ACCOUNT_CONNECTED,
            account_id=AccountId(3),
            values=field_values(before),
            previous={},
        )
    ]
    assert list(account_events(before, after)) == [
        Event(
            kind=EventKind.ACCOUNT_CHANGED,
            account_id=AccountId(3),
            values={"is_active": False, "token_expires_at": "2026-04-15T15:00:00.000Z"},
            previous={"is_active": True},
        )
    ]
    assert list(account_events(after, replace(after))) == []


@pytest.mark.parametrize("url", ["https://x.com/2", None])
@pytest.mark.parametrize(
    ("make_event", "kind"),
    [
        (duplicate_event, EventKind.DESTINATION_DUPLICATED),
        (misuse_event, EventKind.PUBLISHER_MISUSED),
    ],
)
def test_event_of_publication_has_its_location(
    url: str | None,
    make_event: Callable[[PostId, Destination, Evidence], Event],
    kind: EventKind,
) -> None:
    post = make_post([SUBMITTED["published"]])
    publication = replace(
        PUBLICATION, platform_post_id="2", platform_post_url=url, published_at=NOW
    )
    duplicate = Evidence(fence=2, counted=False, publication=publication, reported_at=NOW)
    assert make_event(post.id, post.destinations[0], duplicate) == Event(
        kind=kind,
        post_id=post.id,
        destination_id=post.destinations[0].id,
        account_id=AccountId(1),
        values={
            "platform_post_id": "2",
            "platform_post_url": url,
            "published_at": "2026-04-15T15:00:00.000Z",
        },
    )


# Changes as readers of the feed see them


PUBLIC_FIELDS = {
    "post": "status content scheduled_for timezone media_ids media platform_content reference version"
    " deleted_at imported_at created_at updated_at",
    "destination": "account_id platform status outcome published_at platform_post_id platform_post_url"
    " error error_category error_code attempts next_retry_at created_at updated_at scheduled_for",
    "publisher": "platform_post_id platform_post_url published_at",
    "account": "platform account_name display_name platform_user_id platform_username avatar_url"
    " is_active publisher on_lost_access needs_reconnection_since token_expires_at connected_at created_at"
    " updated_at"
    " token_last_refresh",
    "webhook": "webhook_id name disabled_reason",
}


def public_fields(kind: EventKind) -> set[str]:
    return {*PUBLIC_FIELDS[kind.value.partition(".")[0]].split()}


def as_change(event: Event) -> StoredEvent:
    """Return the event as number 7 of a feed."""
    return StoredEvent(
        seq=7,
        kind=event.kind,
        operation="createPost",
        actor=None,
        post_id=event.post_id,
        destination_id=event.destination_id,
        account_id=event.account_id,
        values=event.values,
        previous=event.previous,
        person=None,
        happened_at=NOW,
    )


def test_change_of_new_object_has_all_public_fields() -> None:
    events = [
        event for state in ALL_STATES.values() for event in post_events(None, make_post([state]))
    ]
    for event in [*events, *account_events(None, make_account(3))]:
        assert {*as_change(event).public_values} == public_fields(event.kind)


def test_public_values_have_names_of_the_rest_api() -> None:
    state = replace(failed(attempts=2, settled_at=NOW), due_at=NOW)
    post, added = post_events(None, make_post([state], scheduled_for=NOW, is_draft=False))
    created = dict.fromkeys(("created_at", "updated_at"), "2026-04-14T15:00:00.000Z")
    assert as_change(post).public_values == created | {
        "status": "failed",
        "content": "Spring sale",
        "scheduled_for": "2026-04-15T15:00:00.000Z",
        "timezone": "Europe/Berlin",
        "media_ids": ["m1"],
        "media": [{"url": "https://example.com/1.png"}],
        "platform_content": {"x": {"content": "Sale!"}},
        "reference": "spring",
        "version": 4,
        "deleted_at": None,
        "imported_at": None,
    }
    assert as_change(added).public_values == created | {
        "account_id": 1,
        "platform": "x",
        "status": "failed",
        "outcome": "failed",
        "published_at": None,
        "platform_post_id": None,
        "platform_post_url": None,
        "error": "The caption is too long.",
        "error_category": "content_rejected",
        "error_code": "CAPTION_TOO_LONG",
        "attempts": 2,
        "next_retry_at": None,
        "scheduled_for": "2026-04-15T15:00:00.000Z",
    }
    (refreshed,) = account_events(
        make_account(3), make_account(3, token_refreshed_at=NOW, is_active=False)
    )
    assert as_change(refreshed).public_values == {
        "is_active": False,
        "token_last_refresh": "2026-04-15T15:00:00.000Z",
    }


@pytest.mark.parametrize("kind", EventKind)
def test_internal_fields_are_not_public(kind: EventKind) -> None:
    internal = {
        *field_values(make_post([])),
        *field_values(make_post([draft()]).destinations[0]),
        *field_values(claimed()),
        *field_values(make_account(3)),
        "is_draft",
        "secret",
    } - {*public_fields(kind), "due_at", "token_refreshed_at"}
    event = Event(kind=kind, values=dict.fromkeys(internal, "never"))
    assert as_change(event).public_values == {}


@given(post_strategy(), post_commands())
def test_public_values_of_any_command_are_those_of_the_event(
    before: Post, command: PostCommand
) -> None:
    after = command_result(command, before)
    for event in post_events(before, after) if isinstance(after, Post) else ():
        values = as_change(event).public_values
        assert {*values} <= public_fields(event.kind)
        for name in values.keys() & event.values.keys():
            assert values[name] == event.values[name]


def test_filter_matches_by_kind_post_key_and_person() -> None:
    post, other = PostId(UUID(int=1)), PostId(UUID(int=2))
    changes = {
        "created": as_change(Event(kind=EventKind.POST_CREATED, post_id=post, values={})),
        "added": as_change(Event(kind=EventKind.DESTINATION_ADDED, post_id=post, values={})),
        "other": as_change(Event(kind=EventKind.POST_CREATED, post_id=other, values={})),
        "account": as_change(Event(kind=EventKind.ACCOUNT_CHANGED, values={})),
    }

    def matching(**criteria: Any) -> set[str]:
        selected = EventFilter(**criteria).select(changes.values())
        return {name for name, change in changes.items() if change in selected}

    created, account = EventKind.POST_CREATED, EventKind.ACCOUNT_CHANGED
    assert matching() == {*changes}
    assert matching(kinds=[created]) == {"created", "other"}
    assert matching(kinds=[created, account]) == {"created", "other", "account"}
    assert matching(kinds=[]) == matching(kinds=[], post_id=post) == set()
    assert matching(post_id=post) == {"created", "added"}
    assert matching(post_id=PostId(UUID(int=3))) == set()
    assert matching(kinds=[created], post_id=post) == {"created"}

    key = ApiKeyId(UUID(int=4))
    changes["created"] = replace(changes["created"], actor=key, person="Ann")
    changes["added"] = replace(changes["added"], actor=key)
    assert matching(actor=key) == {"created", "added"}
    assert matching(actor=key, person="Ann") == matching(person="Ann") == {"created"}
    assert matching(person="ann") == matching(person="") == set()


def test_position_of_change_is_after_it() -> None:
    change = as_change(Event(kind=EventKind.POST_CREATED, values={}))
    assert change.position == FeedPosition(7, NOW)
    assert FeedPosition(0, None) == FEED_START
