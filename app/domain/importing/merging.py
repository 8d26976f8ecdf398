"""Merges records into the posts and accounts of a workspace.

`_EFFECTS` decides, by the time and the contents of a record, how much of it is taken. A destination newer
than the record keeps its state in any case, and one of the same or of an unknown time only advances.

A post with details, then older results of it: `_EFFECTS[True, False]`, older, so nothing is taken. Results
of a post, then an older record with its details: `_EFFECTS[False, True]`, older, so the details and the
list of destinations are taken, while the destinations that are known keep their newer states.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from enum import Enum, IntEnum, StrEnum, auto
from operator import attrgetter
from uuid import uuid5

from app.domain.accounts import Account, AccountPublisher, fallback_label
from app.domain.attempts import Failure, Publication
from app.domain.destinations import (
    Destination,
    DestinationState,
    DestinationStatus,
    ErrorCategory,
    due_day,
    lateness_ms,
)
from app.domain.errors import InvalidInput
from app.domain.ids import MAX_ACCOUNT_ID, AccountId, DestinationId, PostId, WorkspaceKind
from app.domain.importing.records import DestinationRecord, PostDetails, PostRecord
from app.domain.posts import Post, PostStatus, post_status
from app.domain.transitions import failed, published, queued, retry_scheduled, unclaimable

MISSING_REASON_MESSAGE = "The service that this was imported from gave no reason."


class ImportResult(StrEnum):
    """Effect of a record on its workspace."""

    NEW = "new"
    CHANGED = "changed"
    UNCHANGED = "unchanged"


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportState:
    """The stored accounts and posts that a batch of records refers to; each import updates them."""

    kind: WorkspaceKind
    accounts: dict[AccountId, Account]
    posts: dict[PostId, Post]
    post_ids_by_destination: dict[DestinationId, PostId]

    def merge(self, other: "ImportState") -> None:
        """Add the accounts, posts and destinations that are missing here."""
        self.accounts.update(other.accounts | self.accounts)
        self.posts.update(other.posts | self.posts)
        self.post_ids_by_destination.update(
            other.post_ids_by_destination | self.post_ids_by_destination
        )


def import_record(record: PostRecord, state: ImportState, *, now: datetime) -> ImportResult:
    """Merge a record into `state`.

    An account that the workspace does not have is added as inactive. Raises InvalidInput, with `state`
    unchanged, if the record would change a post that was deleted on this server or is managed by it.
    """
    post = state.posts.get(record.id)
    if post is not None and post.deleted_at is not None:
        raise InvalidInput("The post was deleted on this server.")
    merged = merge_record(post, record, now=now)
    if merged is not post and post is not None and is_locally_managed(post):
        raise InvalidInput("The record differs from the post, which is managed on this server.")
    merged_account_ids = {destination.account_id for destination in merged.destinations}
    accounts = {
        destination.account_id: _resolve_account(destination, state, merged.created_at)
        for destination in record.destinations
        if destination.account_id in merged_account_ids
    }
    _require_unused_ids(merged, state)
    state.accounts.update(accounts)
    merged = _with_copied_values(merged, state)
    state.posts[merged.id] = merged
    for destination in merged.destinations:
        state.post_ids_by_destination[destination.id] = merged.id
    if post is None:
        return ImportResult.NEW
    return ImportResult.UNCHANGED if merged is post else ImportResult.CHANGED


def is_locally_managed(post: Post) -> bool:
    """Return whether the post was created here, or was imported and then claimed or made claimable."""
    return post.imported_at is None or any(
        destination.state.fence > 0 or destination.state.claimable_at is not None
        for destination in post.destinations
    )


def placeholder_account(
    account_id: AccountId, platform: str, name: str | None, created_at: datetime
) -> Account:
    """Return an inactive account, known only from its posts and created with the first of them."""
    return Account(
        id=account_id,
        platform=platform,
        publisher=AccountPublisher.EXTERNAL,
        account_name=name,
        is_active=False,
        connected_at=created_at,
        created_at=created_at,
        updated_at=created_at,
    )


def _resolve_account(
    record: DestinationRecord, state: ImportState, created_at: datetime
) -> Account:
    """Return the account of a destination, with the recorded name if it has none.

    Raises InvalidInput for an account on another platform.
    """
    account_id, name = record.account_id, record.account_name
    if name == fallback_label(account_id, record.platform):
        name = None
    account = state.accounts.get(account_id)
    if account is None:
        if account_id == MAX_ACCOUNT_ID:
            raise InvalidInput(
                f"Account {account_id} has the highest possible number, which leaves none for others."
            )
        return placeholder_account(account_id, record.platform, name, created_at)
    if account.platform != record.platform and state.kind is WorkspaceKind.LOCAL:
        raise InvalidInput(f"In this workspace, account {account_id} is on another platform.")
    has_name = account.account_name or account.display_name or account.platform_username
    return account if has_name else replace(account, account_name=name)


def _with_copied_values(post: Post, state: ImportState) -> Post:
    """Return the post with what its destinations copy from their accounts and from the workspace.

    Returns the post itself if nothing differs.
    """
    is_mirrored = state.kind is WorkspaceKind.MIRROR
    destinations = tuple(
        replace(
            destination,
            publisher=state.accounts[destination.account_id].publisher,
            is_mirrored=is_mirrored,
        )
        for destination in post.destinations
    )
    return post if destinations == post.destinations else replace(post, destinations=destinations)


def _require_unused_ids(post: Post, state: ImportState) -> None:
    ids = [destination.id for destination in post.destinations]
    if len(set(ids)) < len(ids) or any(
        state.post_ids_by_destination.get(key, post.id) != post.id for key in ids
    ):
        raise InvalidInput("A destination has the id of another destination.")


def merge_record(current: Post | None, record: PostRecord, *, now: datetime) -> Post:
    """Return the post after the record; `current` itself if the record changes nothing."""
    known = _placeholder_post(record, now) if current is None else current
    effect = _effect(known, record)
    if effect is _Effect.NONE:
        return known
    last_change = _last_change(known)
    is_newest = current is None or _recency(known, last_change, record) is _Recency.NEWER
    merge = _Merge(
        post=replace(known, **_details(known, record)) if effect is _Effect.REPLACE else known,
        record=record,
        effect=effect,
        recorded_at=_recorded_at(known, last_change, record, now),
    )
    states = _merge_states(merge)
    status = record.status if is_newest else None
    is_draft, submitted_now = _status_flags(merge.post, status, states.values())
    destinations = _merge_destinations(merge, states, is_draft=is_draft)
    post = replace(
        merge.post, is_draft=is_draft, submitted_now=submitted_now, destinations=destinations
    )
    if post == current:
        return current
    if current is not None and not record.details:
        # Set updated_at to the time of the results, so that older results do not replace these.
        dated = (
            replace(destination, updated_at=max(destination.updated_at, merge.recorded_at))
            for destination in post.destinations
        )
        post = replace(post, destinations=tuple(dated))
    return replace(post, version=known.version + 1, imported_at=now)


def has_only_results(post: Post) -> bool:
    """Return whether only results of the post were imported, so its times are those of a response."""
    return (
        post.imported_at is not None
        and post.created_at == post.updated_at
        and not (post.content or post.media_ids or post.media or post.platform_content)
        and post.reference is None
    )


def destination_id(post_id: PostId, record: DestinationRecord) -> DestinationId:
    """Return the record's own id, or an id derived from the post and the account."""
    return record.id or DestinationId(uuid5(post_id, str(record.account_id)))


class _Recency(IntEnum):
    """Time of a record, compared with a known change; the value is a column of `_EFFECTS`."""

    NEWER = 0
    SAME_OR_UNKNOWN = 1
    OLDER = 2


class _Effect(Enum):
    """Part of a record that is taken."""

    REPLACE = auto()
    """The post, its list of destinations, and their states."""
    UPDATE = auto()
    """The states of destinations; missing destinations are added."""
    ADVANCE = auto()
    """States that are further than the known ones."""
    NONE = auto()


_EFFECTS = {
    # (post known with details, record with details): newer, of the same or unknown time, older record
    (True, True): (_Effect.REPLACE, _Effect.ADVANCE, _Effect.NONE),
    (True, False): (_Effect.UPDATE, _Effect.ADVANCE, _Effect.NONE),
    (False, True): (_Effect.REPLACE, _Effect.REPLACE, _Effect.REPLACE),
    (False, False): (_Effect.UPDATE, _Effect.UPDATE, _Effect.NONE),
}
"""A post that is new counts as known without details."""


@dataclass(frozen=True, slots=True)
class _Merge:
    """A record, and the post that it is merged into."""

    post: Post
    """Post with the details of the record, if these are taken, but with the known destinations."""
    record: PostRecord
    effect: _Effect
    recorded_at: datetime
    """Time of the states in the record."""


def _effect(post: Post, record: PostRecord) -> _Effect:
    last_change = post.updated_at if record.details else _last_change(post)
    effects = _EFFECTS[not has_only_results(post), bool(record.details)]
    return effects[_recency(post, last_change, record)]


def _last_change(post: Post) -> datetime:
    """Return the time of the last change of the post or of one of its destinations."""
    return max([post.updated_at, *(destination.updated_at for destination in post.destinations)])


def _recency(post: Post, change: datetime, record: PostRecord) -> _Recency:
    """Compare a record with a change of the post. The time of a change by an import is unknown."""
    if record.time is not None and record.time > change:
        return _Recency.NEWER
    if record.time in (None, change) or change == post.imported_at:
        return _Recency.SAME_OR_UNKNOWN
    return _Recency.OLDER


def _recorded_at(post: Post, last_change: datetime, record: PostRecord, now: datetime) -> datetime:
    """Return the time of the record, or else of the last change; `now` if neither is known."""
    if record.time is not None:
        return record.time
    return now if last_change == post.imported_at else last_change


def _placeholder_post(record: PostRecord, now: datetime) -> Post:
    """Return an empty post, created at the time of the response, or `now` if that is unknown."""
    as_of = record.as_of or now
    return Post(
        id=record.id,
        content="",
        is_draft=record.status is PostStatus.DRAFT,
        submitted_now=False,
        scheduled_for=None,
        media_ids=[],
        media=[],
        platform_content={},
        version=0,
        imported_at=now,
        created_at=as_of,
        updated_at=as_of,
        destinations=(),
    )


def _details(post: Post, record: PostRecord) -> PostDetails:
    """Return the recorded details; without their own time, they are as recent as the response."""
    if record.updated_at is not None or record.as_of is None:
        return record.details
    return {**record.details, "updated_at": max(post.updated_at, record.as_of)}


def _merge_states(merge: _Merge) -> dict[AccountId, DestinationState]:
    """Return states by account, in the order of the destinations."""
    known = {destination.account_id: destination for destination in merge.post.destinations}
    recorded = {
        entry.account_id: _merge_state(known.get(entry.account_id), entry, merge)
        for entry in merge.record.destinations
        if entry.account_id in known or merge.effect is not _Effect.ADVANCE
    }
    if merge.effect is not _Effect.REPLACE:
        return {account_id: old.state for account_id, old in known.items()} | recorded
    time = merge.record.time
    unlisted = {
        account_id: old.state
        for account_id, old in known.items()
        if account_id not in recorded and (time is None or old.updated_at >= time)
    }
    return recorded | unlisted


def _merge_state(
    known: Destination | None, recorded: DestinationRecord, merge: _Merge
) -> DestinationState:
    due_at = _due_at(known, recorded, merge)
    state = _state_from_record(recorded, known, due_at, merge.recorded_at)
    if known is None or _supersedes(state, known, merge):
        return state
    return _with_due_at(known.state, due_at) if merge.effect is _Effect.REPLACE else known.state


def _due_at(known: Destination | None, recorded: DestinationRecord, merge: _Merge) -> datetime:
    """Return the recorded time, or else the known one unless the post is replaced, or else the post's."""
    if recorded.scheduled_for is not None:
        return recorded.scheduled_for
    if merge.effect is _Effect.REPLACE or known is None or known.state.due_at is None:
        return _default_due_at(merge.post)
    return known.state.due_at


def _default_due_at(post: Post) -> datetime:
    return post.scheduled_for or post.created_at


def _state_from_record(
    recorded: DestinationRecord,
    known: Destination | None,
    due_at: datetime,
    recorded_at: datetime,
) -> DestinationState:
    """Return the recorded state, settled at `recorded_at`; no one may claim it on this server.

    A publication without a time has the known time, or else `recorded_at`.
    """
    state = replace(unclaimable(queued(due_at)), attempts=recorded.attempts)
    failure = Failure(
        category=ErrorCategory.UNCLASSIFIED,
        code=ErrorCategory.UNCLASSIFIED.name,
        message=recorded.error or MISSING_REASON_MESSAGE,
    )
    match recorded.status:
        case DestinationStatus.PUBLISHED:
            known_time = None if known is None else known.state.published_at
            publication = Publication(
                platform_post_id=recorded.platform_post_id,
                platform_post_url=recorded.platform_post_url,
                published_at=recorded.published_at or known_time or recorded_at,
            )
            return published(state, publication, publication.published_at)
        case DestinationStatus.FAILED:
            return failed(state, failure, recorded_at)
        case DestinationStatus.QUEUED if recorded.next_retry_at is not None:
            return unclaimable(retry_scheduled(state, failure, recorded.next_retry_at))
        case _ if recorded.error is not None:
            return replace(
                state,
                status=recorded.status,
                error=failure.message,
                error_category=failure.category,
                error_code=failure.code,
            )
        case DestinationStatus.QUEUED | DestinationStatus.PUBLISHING:
            return replace(state, status=recorded.status)


def _supersedes(state: DestinationState, known: Destination, merge: _Merge) -> bool:
    recency = _recency(merge.post, known.updated_at, merge.record)
    if recency is _Recency.NEWER and merge.effect is not _Effect.ADVANCE:
        return True
    return recency is not _Recency.OLDER and _completion_rank(state) > _completion_rank(known.state)


def _completion_rank(state: DestinationState) -> tuple[bool, int, int]:
    """Return the sort key of a state: published or not, number of attempts, then status.

    Of two states, that with the greater key is the later one. Manual retries are not considered.
    """
    waits_for_retry = state.status is DestinationStatus.QUEUED and state.error is not None
    rank = 2 if waits_for_retry else _STATUS_RANKS[state.status]
    return state.status is DestinationStatus.PUBLISHED, state.attempts, rank


_STATUS_RANKS = {
    DestinationStatus.QUEUED: 0,
    DestinationStatus.PUBLISHING: 1,
    DestinationStatus.FAILED: 3,
    DestinationStatus.PUBLISHED: 4,
}


def _with_due_at(state: DestinationState, due_at: datetime | None) -> DestinationState:
    """Return the state with another due time, without claim and lease."""
    if state.due_at == due_at:
        return state
    return replace(
        state,
        due_at=due_at,
        claimable_at=None,
        round_started_at=due_at,
        lease_token=None,
        lease_expires_at=None,
        started_at=None,
        due_day=due_day(due_at) if due_at and state.status.is_final else None,
        lateness_ms=lateness_ms(due_at, state.published_at),
    )


def _status_flags(
    post: Post, status: PostStatus | None, states: Collection[DestinationState]
) -> tuple[bool, bool]:
    """Choose `is_draft` and `submitted_now`, which records lack, so that the post has the status.

    Returns the post's own flags if no combination yields the status. A post with an attempted destination
    is never a draft.
    """
    flags = [
        (post.is_draft, post.submitted_now),
        (status is PostStatus.DRAFT, False),
        (False, True),
    ]
    if not all(state.is_unattempted for state in states):
        flags = [(False, submitted_now) for _, submitted_now in flags]
    for is_draft, submitted_now in flags:
        if status in (
            None,
            post_status(is_draft=is_draft, submitted_now=submitted_now, destinations=states),
        ):
            return is_draft, submitted_now
    return flags[0]


def _merge_destinations(
    merge: _Merge, states: Mapping[AccountId, DestinationState], *, is_draft: bool
) -> tuple[Destination, ...]:
    """Return destinations with these states; one that looks the same in responses stays unchanged."""
    known = {destination.account_id: destination for destination in merge.post.destinations}
    recorded = {entry.account_id: entry for entry in merge.record.destinations}
    destinations = []
    for position, (account_id, merged_state) in enumerate(states.items()):
        due_at = None if is_draft else merged_state.due_at or _default_due_at(merge.post)
        state = _with_due_at(merged_state, due_at)
        old = known.get(account_id)
        if old is None:
            destination = Destination(
                id=destination_id(merge.post.id, recorded[account_id]),
                account_id=account_id,
                platform=recorded[account_id].platform,
                publisher=AccountPublisher.EXTERNAL,
                is_mirrored=False,
                position=position,
                state=state,
                created_at=merge.post.created_at,
                updated_at=merge.recorded_at,
            )
        elif _visible_fields(state) == _visible_fields(old.state):
            destination = replace(old, position=position)
        else:
            destination = replace(
                old,
                position=position,
                state=state,
                created_at=merge.post.created_at,
                updated_at=max(old.updated_at, merge.recorded_at),
            )
        destinations.append(destination)
    return tuple(destinations)


_visible_fields = attrgetter(
    "status",
    "due_at",
    "published_at",
    "platform_post_id",
    "platform_post_url",
    "error",
    "attempts",
    "next_retry_at",
)
"""Return the fields that responses contain; others follow from them, or are known only locally."""
