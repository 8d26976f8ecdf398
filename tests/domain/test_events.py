"""What an event tells of a change: every field that changed, no token, and enough to repeat it."""

from collections.abc import Mapping
from dataclasses import fields, replace
from datetime import date, datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.domain.accounts import Account
from app.domain.attempts import Evidence, Publication
from app.domain.destinations import Destination
from app.domain.events import Event, EventKind, account_events, duplicate_event, post_events
from app.domain.ids import AccountId, DestinationId
from app.domain.manual_retries import retry_post
from app.domain.posts import Post
from tests.domain.destination_states import (
    ACCOUNTS,
    SUBMITTED,
    make_account,
    make_post,
    post_strategy,
)
from tests.domain.test_post_commands import COMMANDS, command_result, commands, run_change
from tests.factories import NOW, claimed, draft, failed, queued

TOKENS = {"lease_token", "verification_token"}
Facts = dict[str, object]


def to_json(value: object) -> object:
    match value:
        case datetime():
            return value.strftime("%Y-%m-%dT%H:%M:%S.") + f"{value.microsecond // 1000:03}Z"
        case date():
            return value.isoformat()
        case UUID():
            return str(value)
        case StrEnum():
            return str(value)
        case _:
            return value


def field_values(record: Any) -> Facts:
    return {each.name: to_json(getattr(record, each.name)) for each in fields(record)}


def stored_fields(post: Post) -> dict[object, Facts]:
    """Whatever is kept of a post and its destinations, but for tokens, by their ids."""
    own = field_values(post) | {"status": str(post.status)}
    del own["destinations"]
    return {post.id: own} | {each.id: stored_destination_fields(each) for each in post.destinations}


def stored_destination_fields(destination: Destination) -> Facts:
    facts = field_values(destination) | field_values(destination.state)
    return {name: value for name, value in facts.items() if name not in {"state", *TOKENS}}


def apply_events(stored_values: Mapping[object, Facts], events: list[Event]) -> dict[object, Facts]:
    """What somebody knows who has read the events, one after the other."""
    told = {key: dict(facts) for key, facts in stored_values.items()}
    for event in events:
        key = event.destination_id or event.post_id
        match event.kind:
            case EventKind.POST_CREATED | EventKind.DESTINATION_ADDED:
                assert key not in told
                told[key] = dict(event.changes)
            case EventKind.DESTINATION_REMOVED:
                del told[key]
            case _:
                told[key] |= event.changes
    return told


def as_text(stored_values: Mapping[object, Facts]) -> dict[object, str]:
    """As text, which tells true from 1."""
    return {key: repr(sorted(facts.items())) for key, facts in stored_values.items()}


@given(post_strategy())
def test_the_events_of_a_new_post_tell_all_of_it(post: Post) -> None:
    events = list(post_events(None, post))

    assert [each.kind for each in events] == [
        EventKind.POST_CREATED,
        *[EventKind.DESTINATION_ADDED] * len(post.destinations),
    ]
    assert [each.destination_id for each in events] == [
        None,
        *(each.id for each in post.destinations),
    ]
    assert {each.post_id for each in events} == {post.id}
    assert as_text(apply_events({}, events)) == as_text(stored_fields(post))


@settings(max_examples=200)
@given(post_strategy(), st.lists(commands(), min_size=1, max_size=4), st.booleans())
def test_the_events_of_any_commands_repeat_them(
    before: Post, several: list[tuple[str, Any]], retry: bool
) -> None:
    known = stored_fields(before)
    for _name, command in several:
        after = command_result(command, before)
        if isinstance(after, Post):
            known = apply_events(known, list(post_events(before, after)))
            before = after
    if retry and before.imported_at is None:
        after, _ = retry_post(before, ACCOUNTS, account_ids=None, force=True, now=NOW)
        known = apply_events(known, list(post_events(before, after)))
        before = after

    assert as_text(known) == as_text(stored_fields(before))


@given(post_strategy())
def test_nothing_is_told_where_nothing_changed(post: Post) -> None:
    assert list(post_events(post, replace(post))) == []


def test_an_event_has_what_changed_and_nothing_else() -> None:
    before = make_post([queued(), failed()])
    after = run_change(before, content="Another text")

    assert list(post_events(before, after)) == [
        Event(
            kind=EventKind.POST_CHANGED,
            post_id=before.id,
            changes={
                "content": "Another text",
                "version": 5,
                "updated_at": "2026-04-15T15:00:00.000Z",
            },
        )
    ]


def test_a_change_that_only_json_sees_is_told() -> None:
    before = make_post([draft()], platform_content={"x": {"pinned": 1}})
    (event,) = post_events(before, replace(before, platform_content={"x": {"pinned": True}}))

    assert repr(event.changes) == "{'platform_content': {'x': {'pinned': True}}}"


def test_a_deletion_is_told_as_one_and_a_change_after_it_is_not() -> None:
    before = make_post([queued()])
    after = COMMANDS["delete"](before)

    kinds = [each.kind for each in post_events(before, after)]

    assert kinds == [EventKind.POST_DELETED, EventKind.DESTINATION_CHANGED]
    (event,) = post_events(after, replace(after, reference="r"))
    assert event.kind is EventKind.POST_CHANGED


def test_a_destination_that_is_left_out_is_told_before_those_that_come() -> None:
    before = make_post([queued(), queued()])
    after = run_change(before, [9, 2])

    assert [
        (each.kind.value, each.account_id, each.destination_id)
        for each in post_events(before, after)
    ] == [
        ("post.changed", None, None),
        ("destination.removed", 1, DestinationId(UUID(int=1))),
        ("destination.added", 9, after.destinations[0].id),
    ]


def test_no_event_has_a_token() -> None:
    for state in SUBMITTED.values():
        post = make_post([state])
        for event in post_events(None, post):
            assert not TOKENS & event.changes.keys()
    before, after = make_post([claimed()]), make_post([claimed()])
    assert before != after
    assert list(post_events(before, after)) == []


def test_an_account_is_told_when_it_comes_and_what_changes_of_it() -> None:
    before = make_account(3)
    after = replace(before, is_active=False, token_expires_at=NOW)

    (connected,) = account_events(None, before)
    (changed,) = account_events(before, after)

    assert connected == Event(
        kind=EventKind.ACCOUNT_CONNECTED, account_id=AccountId(3), changes=field_values(before)
    )
    assert changed == Event(
        kind=EventKind.ACCOUNT_CHANGED,
        account_id=AccountId(3),
        changes={"is_active": False, "token_expires_at": "2026-04-15T15:00:00.000Z"},
    )
    assert list(account_events(after, replace(after))) == []
    assert {each.name for each in fields(Account)} == connected.changes.keys()


@pytest.mark.parametrize("url", ["https://x.com/2", None])
def test_a_duplicate_is_told_with_the_place_of_the_second_one(url: str | None) -> None:
    post = make_post([SUBMITTED["published"]])
    again = Evidence(
        fence=2,
        counted=False,
        publication=Publication(platform_post_id="2", platform_post_url=url, published_at=NOW),
        reported_at=NOW,
    )
    assert duplicate_event(post.id, post.destinations[0], again) == Event(
        kind=EventKind.DESTINATION_DUPLICATED,
        post_id=post.id,
        destination_id=post.destinations[0].id,
        account_id=AccountId(1),
        changes={
            "platform_post_id": "2",
            "platform_post_url": url,
            "published_at": "2026-04-15T15:00:00.000Z",
        },
    )
