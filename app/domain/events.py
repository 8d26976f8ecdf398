"""What changed, as the feed tells it: one event for a post, a destination or an account. No storage.

An event has the new value of every field that changed, so that reading all of them again gives what is
there now. Tokens of leases are left out: whoever reads a feed must not be able to report with them.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, fields
from datetime import date, datetime
from enum import StrEnum
from uuid import UUID

from app.domain.accounts import Account
from app.domain.attempts import Evidence
from app.domain.destinations import Destination, DestinationState
from app.domain.ids import AccountId, ApiKeyId, DestinationId, PostId
from app.domain.posts import Post
from app.domain.times import format_instant
from app.domain.validation.json_values import json_equal


class EventKind(StrEnum):
    """What happened to which kind of thing."""

    POST_CREATED = "post.created"
    POST_CHANGED = "post.changed"
    POST_DELETED = "post.deleted"
    DESTINATION_ADDED = "destination.added"
    DESTINATION_CHANGED = "destination.changed"
    DESTINATION_REMOVED = "destination.removed"
    DESTINATION_DUPLICATED = "destination.duplicated"
    ACCOUNT_CONNECTED = "account.connected"
    ACCOUNT_CHANGED = "account.changed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    kind: EventKind
    post_id: PostId | None = None
    destination_id: DestinationId | None = None
    account_id: AccountId | None = None
    changes: Mapping[str, object]
    """The new values, as JSON, by the names of the fields."""


@dataclass(frozen=True, slots=True)
class FeedPosition:
    """Behind one event of a workspace's feed, or before all of them."""

    seq: int
    happened_at: datetime | None
    """When that event did, by which it is told from another one that a restored backup gave its number."""


FEED_START = FeedPosition(0, None)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Change:
    """An event as it stands in a workspace's feed."""

    seq: int
    """Counts the events of the workspace in the order of their commits, without gaps."""
    kind: EventKind
    operation: str
    """What was done: the name of a mutation or command, or of what the server does by itself."""
    actor: ApiKeyId | None
    """Whose key did it; None for the operator and the server itself."""
    post_id: PostId | None
    destination_id: DestinationId | None
    account_id: AccountId | None
    changes: Mapping[str, object]
    """As in `Event`."""
    happened_at: datetime

    @property
    def position(self) -> FeedPosition:
        return FeedPosition(self.seq, self.happened_at)

    @property
    def public_values(self) -> dict[str, object]:
        """The new values of what others know of, by the names they have for it."""
        names = _PUBLIC_NAMES[self.kind.partition(".")[0]]
        return {names[name]: value for name, value in self.changes.items() if name in names}


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeFilter:
    """Which changes somebody asks for; None filters nothing, and no kinds at all match nothing."""

    kinds: Collection[EventKind] | None = None
    post_id: PostId | None = None

    def matches(self, change: Change) -> bool:
        return (self.kinds is None or change.kind in self.kinds) and (
            self.post_id is None or change.post_id == self.post_id
        )


def post_events(before: Post | None, after: Post) -> Iterator[Event]:
    """Of the post itself first, then of its destinations in their order; none where nothing changed."""
    changes = _changed_fields(_post_fields(before), _post_fields(after))
    if changes:
        yield Event(kind=_post_kind(before, after), post_id=after.id, changes=changes)
    known = {each.id: each for each in before.destinations} if before else {}
    kept = {each.id for each in after.destinations}
    for gone in known.values():
        if gone.id not in kept:
            yield _destination_event(EventKind.DESTINATION_REMOVED, after.id, gone, {})
    for each in after.destinations:
        old = known.get(each.id)
        changed = _changed_fields(_destination_fields(old), _destination_fields(each))
        if changed:
            kind = EventKind.DESTINATION_CHANGED if old else EventKind.DESTINATION_ADDED
            yield _destination_event(kind, after.id, each, changed)


def duplicate_event(post_id: PostId, destination: Destination, duplicate: Evidence) -> Event:
    """It was published once more than it should be; its state stays that of the first report."""
    where = duplicate.publication
    return _destination_event(
        EventKind.DESTINATION_DUPLICATED,
        post_id,
        destination,
        {
            "platform_post_id": where.platform_post_id,
            "platform_post_url": where.platform_post_url,
            "published_at": format_instant(where.published_at),
        },
    )


def account_events(before: Account | None, after: Account) -> Iterator[Event]:
    """One, or none where nothing changed."""
    changes = _changed_fields(_field_values(before), _field_values(after))
    if changes:
        kind = EventKind.ACCOUNT_CHANGED if before else EventKind.ACCOUNT_CONNECTED
        yield Event(kind=kind, account_id=after.id, changes=changes)


def _post_kind(before: Post | None, after: Post) -> EventKind:
    if before is None:
        return EventKind.POST_CREATED
    was_deleted = before.deleted_at is None and after.deleted_at is not None
    return EventKind.POST_DELETED if was_deleted else EventKind.POST_CHANGED


def _destination_event(
    kind: EventKind, post_id: PostId, destination: Destination, changes: Mapping[str, object]
) -> Event:
    return Event(
        kind=kind,
        post_id=post_id,
        destination_id=destination.id,
        account_id=destination.account_id,
        changes=changes,
    )


def _post_fields(post: Post | None) -> dict[str, object]:
    if post is None:
        return {}
    facts = _field_values(post) | {"status": post.status}
    del facts["destinations"]
    return facts


def _destination_fields(destination: Destination | None) -> dict[str, object]:
    if destination is None:
        return {}
    facts = _field_values(destination) | _field_values(destination.state)
    for name in ("state", "lease_token", "verification_token"):
        del facts[name]
    return facts


def _field_values(
    record: Post | Destination | DestinationState | Account | None,
) -> dict[str, object]:
    return (
        {}
        if record is None
        else {field.name: getattr(record, field.name) for field in fields(record)}
    )


def _changed_fields(before: Mapping[str, object], after: Mapping[str, object]) -> dict[str, object]:
    return {
        name: _as_json(value)
        for name, value in after.items()
        if name not in before or not json_equal(before[name], value)
    }


def _as_json(value: object) -> object:
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


def _same_names(*names: str) -> dict[str, str]:
    return {name: name for name in names}


_PUBLIC_NAMES: Mapping[str, Mapping[str, str]] = {
    "post": _same_names(
        "status",
        "content",
        "scheduled_for",
        "timezone",
        "media_ids",
        "media",
        "platform_content",
        "reference",
        "version",
        "deleted_at",
        "imported_at",
        "created_at",
        "updated_at",
    ),
    "destination": _same_names(
        "account_id",
        "platform",
        "status",
        "outcome",
        "published_at",
        "platform_post_id",
        "platform_post_url",
        "error",
        "error_category",
        "error_code",
        "attempts",
        "next_retry_at",
        "created_at",
        "updated_at",
    )
    | {"due_at": "scheduled_for"},
    "account": _same_names(
        "platform",
        "account_name",
        "display_name",
        "platform_user_id",
        "platform_username",
        "avatar_url",
        "is_active",
        "needs_reconnection_since",
        "token_expires_at",
        "connected_at",
        "created_at",
        "updated_at",
    )
    | {"token_refreshed_at": "token_last_refresh"},
}
"""What each noun's fields are called by whoever reads of it; what is not here is internal."""
