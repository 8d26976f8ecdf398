"""Change events of posts, destinations, accounts and webhooks, as the change feed reports them.

An event of a change has the new value of every changed field, so replaying all events yields the current
state; media are described as readers see them. `destination.duplicated`, `publisher.misused` and
`webhook.disabled` change nothing of these: their values describe a reported publication, or a webhook. Lease
tokens are omitted, because readers of the feed must not be able to report with them.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, fields
from datetime import date, datetime
from enum import StrEnum
from uuid import UUID

from app.domain.accounts import Account
from app.domain.attempts import Evidence
from app.domain.destinations import Destination, DestinationState
from app.domain.ids import AccountId, ApiKeyId, DestinationId, PostId
from app.domain.media import describe_media
from app.domain.posts import Post
from app.domain.signing import CursorCodec, KeysetPosition
from app.domain.times import format_instant
from app.domain.validation.json_values import json_equal

_MAX_PREVIOUS_LENGTH = 1_000
"""Characters of an old text in an event."""


class EventKind(StrEnum):
    """Type of an event: the kind of object and its change, or a mistake of a publisher."""

    POST_CREATED = "post.created"
    POST_CHANGED = "post.changed"
    POST_DELETED = "post.deleted"
    DESTINATION_ADDED = "destination.added"
    DESTINATION_CHANGED = "destination.changed"
    DESTINATION_REMOVED = "destination.removed"
    DESTINATION_DUPLICATED = "destination.duplicated"
    ACCOUNT_CONNECTED = "account.connected"
    ACCOUNT_CHANGED = "account.changed"
    PUBLISHER_MISUSED = "publisher.misused"
    WEBHOOK_DISABLED = "webhook.disabled"


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    kind: EventKind
    post_id: PostId | None = None
    destination_id: DestinationId | None = None
    account_id: AccountId | None = None
    values: Mapping[str, object]
    """New values as JSON, by field name."""
    previous: Mapping[str, object] | None = None
    """Old values of the same fields that were not null; None for an event that changes nothing."""


@dataclass(frozen=True, slots=True)
class FeedPosition:
    """Position after one event of a workspace's feed, or before all of them."""

    seq: int
    happened_at: datetime | None
    """Time of that event, which detects a number that was assigned again after restoring a backup."""


FEED_START = FeedPosition(0, None)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class StoredEvent:
    """An event as stored in a workspace's feed."""

    seq: int
    """Counts the events of the workspace in commit order, without gaps."""
    kind: EventKind
    operation: str
    """Name of the mutation, command or maintenance task that caused the event."""
    actor: ApiKeyId | None
    """Key of the client; None for the operator and the server itself."""
    person: str | None
    """Name of the person, if the client states it."""
    post_id: PostId | None
    destination_id: DestinationId | None
    account_id: AccountId | None
    values: Mapping[str, object]
    """New values as JSON, by field name."""
    previous: Mapping[str, object] | None
    """Old values, as in `Event`; also None for an event that was stored before they were recorded."""
    happened_at: datetime

    @property
    def position(self) -> FeedPosition:
        return FeedPosition(self.seq, self.happened_at)

    @property
    def public_values(self) -> dict[str, object]:
        """New values of the public fields, by their public names."""
        names = _PUBLIC_NAMES[self.kind.partition(".")[0]]
        return {names[name]: value for name, value in self.values.items() if name in names}

    @property
    def public_previous(self) -> dict[str, object] | None:
        """Old values of the same fields, None for null; None if they are not recorded."""
        if self.previous is None:
            return None
        names = _PUBLIC_NAMES[self.kind.partition(".")[0]]
        return {names[name]: self.previous.get(name) for name in self.values if name in names}


@dataclass(frozen=True, slots=True, kw_only=True)
class EventFilter:
    """Filter of events. None does not filter; an empty collection of kinds matches nothing."""

    kinds: Collection[EventKind] | None = None
    post_id: PostId | None = None
    destination_id: DestinationId | None = None
    excluded_operations: Collection[str] | None = None
    actor: ApiKeyId | None = None
    person: str | None = None

    def select(self, events: Iterable[StoredEvent]) -> list[StoredEvent]:
        """Return the events that match."""
        return [
            event
            for event in events
            if (self.kinds is None or event.kind in self.kinds)
            and (self.post_id is None or event.post_id == self.post_id)
            and (self.destination_id is None or event.destination_id == self.destination_id)
            and (
                self.excluded_operations is None or event.operation not in self.excluded_operations
            )
            and (self.actor is None or event.actor == self.actor)
            and (self.person is None or event.person == self.person)
        ]


FEED_LIST_NAME = "changes"
"""List name in the cursors of the feed, the same for pages, subscriptions and webhooks."""


def encode_position(cursor_codec: CursorCodec, position: FeedPosition | StoredEvent) -> str:
    """Return the cursor of a position; the codec is that of FEED_LIST_NAME."""
    return cursor_codec.encode(KeysetPosition(position.happened_at, str(position.seq)))


def decode_position(cursor_codec: CursorCodec, cursor: str) -> FeedPosition:
    """Decode `after`; raises BadCursor if the cursor does not belong to the workspace's feed."""
    return to_feed_position(cursor_codec.decode(cursor, "after"))


def to_feed_position(position: KeysetPosition) -> FeedPosition:
    """Return the position that a cursor of the feed has."""
    assert not isinstance(position.value, int)  # noqa: S101 - the signature shows who encoded it
    return FeedPosition(int(position.key), position.value)


def post_events(before: Post | None, after: Post) -> Iterator[Event]:
    """Yield the events of a changed post: its own first, then those of its destinations in order."""
    old_values = _post_fields(before)
    changes = _changed_fields(old_values, _post_fields(after))
    if changes:
        yield Event(
            kind=_post_kind(before, after),
            post_id=after.id,
            values=_with_described_media(changes, after),
            previous=_with_described_media(_previous_values(old_values, changes), before),
        )
    old_destinations = {d.id: d for d in before.destinations} if before else {}
    remaining_ids = {destination.id for destination in after.destinations}
    for old in old_destinations.values():
        if old.id not in remaining_ids:
            yield _destination_event(EventKind.DESTINATION_REMOVED, after.id, old, {}, {})
    for destination in after.destinations:
        old_destination = old_destinations.get(destination.id)
        old_values = _destination_fields(old_destination)
        changes = _changed_fields(old_values, _destination_fields(destination))
        if changes:
            kind = EventKind.DESTINATION_CHANGED if old_destination else EventKind.DESTINATION_ADDED
            previous = _previous_values(old_values, changes)
            yield _destination_event(kind, after.id, destination, changes, previous)


def duplicate_event(post_id: PostId, destination: Destination, duplicate: Evidence) -> Event:
    """Return the event of a duplicate publication; the destination's state stays unchanged."""
    return _publication_event(EventKind.DESTINATION_DUPLICATED, post_id, destination, duplicate)


def misuse_event(post_id: PostId, destination: Destination, unstarted: Evidence) -> Event:
    """Return the event of a publication without a started attempt, a mistake of the publisher."""
    return _publication_event(EventKind.PUBLISHER_MISUSED, post_id, destination, unstarted)


def account_events(before: Account | None, after: Account) -> Iterator[Event]:
    """Yield the event of a changed account, if any field differs."""
    old_values = {} if before is None else _field_values(before)
    changes = _changed_fields(old_values, _field_values(after))
    if changes:
        kind = EventKind.ACCOUNT_CHANGED if before else EventKind.ACCOUNT_CONNECTED
        yield Event(
            kind=kind,
            account_id=after.id,
            values=changes,
            previous=_previous_values(old_values, changes),
        )


def _post_kind(before: Post | None, after: Post) -> EventKind:
    if before is None:
        return EventKind.POST_CREATED
    was_deleted = before.deleted_at is None and after.deleted_at is not None
    return EventKind.POST_DELETED if was_deleted else EventKind.POST_CHANGED


def _publication_event(
    kind: EventKind, post_id: PostId, destination: Destination, evidence: Evidence
) -> Event:
    publication = evidence.publication
    return _destination_event(
        kind,
        post_id,
        destination,
        {
            "platform_post_id": publication.platform_post_id,
            "platform_post_url": publication.platform_post_url,
            "published_at": format_instant(publication.published_at),
        },
        None,
    )


def _destination_event(
    kind: EventKind,
    post_id: PostId,
    destination: Destination,
    changes: Mapping[str, object],
    previous: Mapping[str, object] | None,
) -> Event:
    return Event(
        kind=kind,
        post_id=post_id,
        destination_id=destination.id,
        account_id=destination.account_id,
        values=changes,
        previous=previous,
    )


def _post_fields(post: Post | None) -> dict[str, object]:
    if post is None:
        return {}
    values = _field_values(post) | {"status": post.status}
    del values["destinations"]
    return values


def _destination_fields(destination: Destination | None) -> dict[str, object]:
    if destination is None:
        return {}
    values = _field_values(destination) | _field_values(destination.state)
    for name in ("state", "lease_token", "verification_token"):
        del values[name]
    return values


def _field_values(record: Post | Destination | DestinationState | Account) -> dict[str, object]:
    return {field.name: getattr(record, field.name) for field in fields(record)}


def _changed_fields(before: Mapping[str, object], after: Mapping[str, object]) -> dict[str, object]:
    return {
        name: as_json(value)
        for name, value in after.items()
        if name not in before or (value is not before[name] and not json_equal(before[name], value))
    }


def _previous_values(
    before: Mapping[str, object], changes: Mapping[str, object]
) -> dict[str, object]:
    """Return the old values of the changed fields that were not null; long texts are cut."""
    return {
        name: old[:_MAX_PREVIOUS_LENGTH] if isinstance(old, str) else as_json(old)
        for name in changes
        if (old := before.get(name)) is not None
    }


def _with_described_media(values: dict[str, object], post: Post | None) -> dict[str, object]:
    """Return values of a post in which media are described instead of contained."""
    if post is None or "media" not in values:
        return values
    return values | {"media": describe_media(post.media)}


def as_json(value: object) -> object:
    """Return a value of a field as JSON: times, dates, ids and enums as text."""
    match value:
        case datetime():
            return format_instant(value)
        case date():
            return value.isoformat()
        case UUID():
            return str(value)
        case StrEnum():
            return value.value
        case _:
            return value


def _same_names(names: str) -> dict[str, str]:
    return {name: name for name in names.split()}


_PUBLIC_NAMES: Mapping[str, Mapping[str, str]] = {
    "post": _same_names(
        "status content scheduled_for timezone media_ids media platform_content reference version"
        " deleted_at imported_at created_at updated_at"
    ),
    "destination": _same_names(
        "account_id platform status outcome published_at platform_post_id platform_post_url error"
        " error_category error_code attempts next_retry_at created_at updated_at"
    )
    | {"due_at": "scheduled_for"},
    "publisher": _same_names("platform_post_id platform_post_url published_at"),
    "account": _same_names(
        "platform account_name display_name platform_user_id platform_username avatar_url is_active"
        " publisher on_lost_access needs_reconnection_since token_expires_at connected_at created_at"
        " updated_at"
    )
    | {"token_refreshed_at": "token_last_refresh"},
    "webhook": _same_names("webhook_id name disabled_reason"),
}
"""Public name of each field, by kind of object. Fields not listed here are internal."""
