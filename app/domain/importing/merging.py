"""Merges records into the posts and accounts of a workspace.

A record is merged by its time, compared with the post's last change, and by its contents:

                post known with details  │  post that is new or known only from results
record          details     results      │  details     results
newer           REPLACE     UPDATE       │  REPLACE     UPDATE
same, unknown   ADVANCE     ADVANCE      │  REPLACE     UPDATE
older           NONE        NONE         │  REPLACE     NONE

REPLACE  sets the post, its list of destinations and their states.
UPDATE   sets the states of destinations, and adds destinations that are missing.
ADVANCE  sets only states that are behind the recorded ones.
NONE     ignores the record.

A destination newer than the record keeps its state. One of the same or of an unknown time only advances.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from enum import Enum, StrEnum, auto
from uuid import uuid5

from app.domain.accounts import Account, fallback_label
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
from app.domain.ids import MAX_ACCOUNT_ID, AccountId, DestinationId, PostId
from app.domain.importing.records import DestinationRecord, PostRecord
from app.domain.posts import Post, PostStatus, post_status
from app.domain.transitions import failed, published, queued, retry_scheduled, unclaimable
from app.domain.workspaces import WorkspaceKind

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
        account_name=name,
        display_name=None,
        platform_user_id=None,
        platform_username=None,
        avatar_url=None,
        is_active=False,
        needs_reconnection_since=None,
        token_expires_at=None,
        token_refreshed_at=None,
        connected_at=created_at,
        created_at=created_at,
        updated_at=created_at,
    )


def merge_record(current: Post | None, record: PostRecord, *, now: datetime) -> Post:
    """Return the post after the record; `current` itself if the record changes nothing.

    Values that the record lacks:
    - created_at: time of the response, or `now` if that is unknown
    - due_at: the known one, or else the post's scheduled_for or created_at
    - published_at: the known one, or else the time of the record
    - settled_at of a failure: the time of the record
    - error_category: UNCLASSIFIED, with the outcome FAILED
    - claimable_at: None, because the other service publishes the post
    """
    post = current or _placeholder_post(record, now)
    last_change = _last_change(post)
    is_newest = current is None or _recency(post, last_change, record) is _Recency.NEWER
    effect = _effect(post, record)
    if effect is _MergeMode.NONE:
        return post
    if effect is _MergeMode.REPLACE:
        post = _with_details(post, record)
    learned_at = record.time or (now if last_change == post.imported_at else last_change)
    states = _merge_states(post, record, effect, learned_at)
    post = _with_status_flags(post, record.status if is_newest else None, states.values())
    post = replace(post, destinations=_merge_destinations(post, record, states, learned_at))
    if post == current:
        return current
    if current is not None and not record.details:
        # Set updated_at to the time of the results, so that older results do not replace these.
        dated = (
            replace(destination, updated_at=max(destination.updated_at, learned_at))
            for destination in post.destinations
        )
        post = replace(post, destinations=tuple(dated))
    return replace(post, version=1 if current is None else current.version + 1, imported_at=now)


def has_only_results(post: Post) -> bool:
    """Return whether only results of the post were imported, so its times are those of a response."""
    return (
        post.imported_at is not None
        and post.created_at == post.updated_at
        and not (post.content or post.media_ids or post.media or post.platform_content)
    )


def destination_id(post_id: PostId, record: DestinationRecord) -> DestinationId:
    """Return the record's own id, or an id derived from the post and the account."""
    return record.id or DestinationId(uuid5(post_id, str(record.account_id)))


class _Recency(Enum):
    """Time of a record, compared with the last known change."""

    NEWER = auto()
    SAME_OR_UNKNOWN = auto()
    OLDER = auto()


def _recency(post: Post, last_change: datetime, record: PostRecord) -> _Recency:
    """Compare a record with a change of the post. The time of a change by an import is unknown."""
    if record.time is None or record.time == last_change:
        return _Recency.SAME_OR_UNKNOWN
    if record.time > last_change:
        return _Recency.NEWER
    return _Recency.SAME_OR_UNKNOWN if last_change == post.imported_at else _Recency.OLDER


class _MergeMode(Enum):
    """Merge mode of a record; the table in this module's docstring has the rules."""

    REPLACE = auto()
    """The post, its list of destinations, and their states."""
    UPDATE = auto()
    """The states of destinations; others are added."""
    ADVANCE = auto()
    """States that are behind the recorded ones."""
    NONE = auto()


def _effect(post: Post, record: PostRecord) -> _MergeMode:
    is_without_details = has_only_results(post)
    if record.details and is_without_details:
        return _MergeMode.REPLACE
    match _recency(post, post.updated_at if record.details else _last_change(post), record):
        case _Recency.NEWER:
            return _MergeMode.REPLACE if record.details else _MergeMode.UPDATE
        case _Recency.SAME_OR_UNKNOWN:
            return _MergeMode.UPDATE if is_without_details else _MergeMode.ADVANCE
        case _Recency.OLDER:
            return _MergeMode.NONE


def _last_change(post: Post) -> datetime:
    """Return the time of the last change of the post or of one of its destinations."""
    return max([post.updated_at, *(destination.updated_at for destination in post.destinations)])


def _placeholder_post(record: PostRecord, now: datetime) -> Post:
    as_of = record.as_of or now
    return Post(
        id=record.id,
        content="",
        is_draft=record.status is PostStatus.DRAFT,
        submitted_now=False,
        scheduled_for=None,
        timezone=None,
        media_ids=[],
        media=[],
        platform_content={},
        reference=None,
        version=0,
        deleted_at=None,
        imported_at=now,
        created_at=as_of,
        updated_at=as_of,
        destinations=(),
    )


def _with_details(post: Post, record: PostRecord) -> Post:
    changed = replace(post, **record.details)
    if record.updated_at is not None or record.time is None:
        return changed
    return replace(changed, updated_at=max(post.updated_at, record.time))


def _merge_states(
    post: Post, record: PostRecord, effect: _MergeMode, learned_at: datetime
) -> dict[AccountId, DestinationState]:
    """Return states by account, in the order of the destinations; those newer than the record stay."""
    current = {destination.account_id: destination for destination in post.destinations}
    is_replaced = effect is _MergeMode.REPLACE
    states = {} if is_replaced else {key: value.state for key, value in current.items()}
    for recorded in record.destinations:
        old = current.get(recorded.account_id)
        if old is None and effect is _MergeMode.ADVANCE:
            continue
        known_due_at = None if old is None or is_replaced else old.state.due_at
        state = _state_from_record(
            recorded,
            due_at=recorded.scheduled_for or known_due_at or _default_due_at(post),
            learned_at=learned_at,
            published_at=None if old is None else old.state.published_at,
        )
        if old is not None and not _supersedes(
            state, old.state, _recency(post, old.updated_at, record), effect
        ):
            state = _with_due_at(old.state, state.due_at) if is_replaced else old.state
        states[recorded.account_id] = state
    for account_id, destination in current.items():
        if record.time is None or destination.updated_at >= record.time:
            states.setdefault(account_id, destination.state)
    return states


def _default_due_at(post: Post) -> datetime:
    return post.scheduled_for or post.created_at


def _state_from_record(
    record: DestinationRecord,
    *,
    due_at: datetime,
    learned_at: datetime,
    published_at: datetime | None,
) -> DestinationState:
    """Return the recorded state; `published_at` is the known one, used if the record has none."""
    state = replace(unclaimable(queued(due_at)), attempts=record.attempts)
    failure = Failure(
        category=ErrorCategory.UNCLASSIFIED,
        code=ErrorCategory.UNCLASSIFIED.name,
        message=record.error or MISSING_REASON_MESSAGE,
    )
    match record.status:
        case DestinationStatus.PUBLISHED:
            publication = Publication(
                platform_post_id=record.platform_post_id,
                platform_post_url=record.platform_post_url,
                published_at=record.published_at or published_at or learned_at,
            )
            return published(state, publication, publication.published_at)
        case DestinationStatus.FAILED:
            return failed(state, failure, learned_at)
        case DestinationStatus.QUEUED if record.next_retry_at is not None:
            return unclaimable(retry_scheduled(state, failure, record.next_retry_at))
        case DestinationStatus.QUEUED | DestinationStatus.PUBLISHING:
            has_error = record.error is not None
            return replace(
                state,
                status=record.status,
                error=record.error,
                error_category=failure.category if has_error else None,
                error_code=failure.code if has_error else None,
            )


def _supersedes(
    state: DestinationState, current: DestinationState, recency: _Recency, effect: _MergeMode
) -> bool:
    if recency is _Recency.NEWER and effect is not _MergeMode.ADVANCE:
        return True
    return recency is not _Recency.OLDER and _completion_rank(state) > _completion_rank(current)


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
        lateness_ms=lateness_ms(due_at, state.published_at)
        if due_at and state.published_at
        else None,
    )


def _with_status_flags(
    post: Post, status: PostStatus | None, states: Collection[DestinationState]
) -> Post:
    """Choose `is_draft` and `submitted_now`, which records lack, so that the post has the status.

    Keeps the flags if no combination yields the status. A post with an attempted destination is never a
    draft.
    """
    flags = [
        (post.is_draft, post.submitted_now),
        (status is PostStatus.DRAFT, False),
        (False, True),
    ]
    if not all(state.is_unattempted for state in states):
        flags = [(False, submitted_now) for _, submitted_now in flags]
    matching = (
        (is_draft, submitted_now)
        for is_draft, submitted_now in flags
        if status is None
        or status
        is post_status(is_draft=is_draft, submitted_now=submitted_now, destinations=states)
    )
    is_draft, submitted_now = next(matching, flags[0])
    return replace(post, is_draft=is_draft, submitted_now=submitted_now)


def _merge_destinations(
    post: Post,
    record: PostRecord,
    states: Mapping[AccountId, DestinationState],
    learned_at: datetime,
) -> tuple[Destination, ...]:
    """Return destinations with these states; one that looks the same in responses stays unchanged."""
    current = {destination.account_id: destination for destination in post.destinations}
    recorded = {destination.account_id: destination for destination in record.destinations}
    destinations = []
    for position, (account_id, merged_state) in enumerate(states.items()):
        due_at = None if post.is_draft else merged_state.due_at or _default_due_at(post)
        state = _with_due_at(merged_state, due_at)
        old = current.get(account_id)
        if old is None:
            destination = Destination(
                id=destination_id(post.id, recorded[account_id]),
                account_id=account_id,
                platform=recorded[account_id].platform,
                position=position,
                state=state,
                created_at=post.created_at,
                updated_at=learned_at,
            )
        elif _visible_fields(state) == _visible_fields(old.state):
            destination = replace(old, position=position)
        else:
            destination = replace(
                old,
                position=position,
                state=state,
                created_at=post.created_at,
                updated_at=max(old.updated_at, learned_at),
            )
        destinations.append(destination)
    return tuple(destinations)


def _visible_fields(state: DestinationState) -> tuple[object, ...]:
    """Return the fields that responses contain; others follow from them, or are known only locally."""
    return (
        state.status,
        state.due_at,
        state.published_at,
        state.platform_post_id,
        state.platform_post_url,
        state.error,
        state.attempts,
        state.next_retry_at,
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


def _require_unused_ids(post: Post, state: ImportState) -> None:
    ids = [destination.id for destination in post.destinations]
    if len(set(ids)) < len(ids) or any(
        state.post_ids_by_destination.get(key, post.id) != post.id for key in ids
    ):
        raise InvalidInput("A destination has the id of another destination.")
