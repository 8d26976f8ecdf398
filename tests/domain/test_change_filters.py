"""What of an event others are shown, and which changes a filter lets through."""

from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given

from app.domain.events import (
    FEED_START,
    Change,
    ChangeFilter,
    Event,
    EventKind,
    FeedPosition,
    account_events,
    post_events,
)
from app.domain.ids import PostId
from app.domain.posts import Post
from tests.domain.destination_states import ALL_STATES, make_account, make_post, post_strategy
from tests.domain.test_events import field_values
from tests.domain.test_post_commands import command_result, commands
from tests.factories import NOW, claimed, draft, failed

VISIBLE_FIELDS = {
    "post": "status content scheduled_for timezone media_ids media platform_content reference version"
    " deleted_at imported_at created_at updated_at",
    "destination": "account_id platform status outcome published_at platform_post_id platform_post_url"
    " error error_category error_code attempts next_retry_at created_at updated_at scheduled_for",
    "account": "platform account_name display_name platform_user_id platform_username avatar_url"
    " is_active needs_reconnection_since token_expires_at connected_at created_at updated_at"
    " token_last_refresh",
}


def as_change(event: Event) -> Change:
    """The event as the seventh of a feed."""
    return Change(
        seq=7,
        kind=event.kind,
        operation="createPost",
        actor=None,
        post_id=event.post_id,
        destination_id=event.destination_id,
        account_id=event.account_id,
        changes=event.changes,
        happened_at=NOW,
    )


def test_a_new_thing_is_shown_with_everything_that_is_not_internal() -> None:
    for state in ALL_STATES.values():
        post, added = post_events(None, make_post([state]))
        assert {*as_change(post).public_values} == {*VISIBLE_FIELDS["post"].split()}
        assert {*as_change(added).public_values} == {*VISIBLE_FIELDS["destination"].split()}
    (connected,) = account_events(None, make_account(3))
    assert {*as_change(connected).public_values} == {*VISIBLE_FIELDS["account"].split()}


def test_values_are_shown_by_the_names_that_the_rest_api_has_for_them() -> None:
    state = replace(failed(attempts=2, settled_at=NOW), due_at=NOW)
    post, added = post_events(None, make_post([state], scheduled_for=NOW, is_draft=False))
    assert as_change(post).public_values == {
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
        "created_at": "2026-04-14T15:00:00.000Z",
        "updated_at": "2026-04-14T15:00:00.000Z",
    }
    assert as_change(added).public_values == {
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
        "created_at": "2026-04-14T15:00:00.000Z",
        "updated_at": "2026-04-14T15:00:00.000Z",
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
def test_what_no_thing_of_its_kind_is_known_by_is_never_shown(kind: EventKind) -> None:
    noun = kind.value.partition(".")[0]
    internal = {
        *field_values(make_post([])),
        *field_values(make_post([draft()]).destinations[0]),
        *field_values(claimed()),
        *field_values(make_account(3)),
        "is_draft",
        "secret",
    } - {*VISIBLE_FIELDS[noun].split(), "due_at", "token_refreshed_at"}
    event = Event(kind=kind, changes=dict.fromkeys(internal, "never"))
    assert as_change(event).public_values == {}


@given(post_strategy(), commands())
def test_whatever_is_done_to_a_post_shows_no_token_and_no_internals(
    before: Post, named: tuple[str, Any]
) -> None:
    after = command_result(named[1], before)
    for event in post_events(before, after) if isinstance(after, Post) else ():
        shown = as_change(event).public_values
        assert {*shown} <= {*VISIBLE_FIELDS[event.kind.value.partition(".")[0]].split()}
        same = shown.keys() & event.changes.keys()
        assert {each: shown[each] for each in same} == {each: event.changes[each] for each in same}


def test_a_filter_matches_by_type_and_post() -> None:
    post, other = PostId(UUID(int=1)), PostId(UUID(int=2))
    changes = {
        "created": as_change(Event(kind=EventKind.POST_CREATED, post_id=post, changes={})),
        "added": as_change(Event(kind=EventKind.DESTINATION_ADDED, post_id=post, changes={})),
        "other": as_change(Event(kind=EventKind.POST_CREATED, post_id=other, changes={})),
        "account": as_change(Event(kind=EventKind.ACCOUNT_CHANGED, changes={})),
    }

    def matching_events(**wanted: Any) -> set[str]:
        return {name for name, each in changes.items() if ChangeFilter(**wanted).matches(each)}

    assert matching_events() == {*changes}
    assert matching_events(kinds=[EventKind.POST_CREATED]) == {"created", "other"}
    assert matching_events(kinds=[EventKind.POST_CREATED, EventKind.ACCOUNT_CHANGED]) == {
        "created",
        "other",
        "account",
    }
    assert matching_events(kinds=[]) == matching_events(kinds=[], post_id=post) == set()
    assert matching_events(post_id=post) == {"created", "added"}
    assert matching_events(post_id=PostId(UUID(int=3))) == set()
    assert matching_events(kinds=[EventKind.POST_CREATED], post_id=post) == {"created"}


def test_a_change_stands_behind_itself() -> None:
    change = as_change(Event(kind=EventKind.POST_CREATED, changes={}))
    assert change.position == FeedPosition(7, NOW)
    assert FeedPosition(0, None) == FEED_START
