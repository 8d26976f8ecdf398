"""What a record makes of a post: what is new in it, what is older than what is known, what is missing.

The post itself follows the newest record, by updated_at. Each destination follows the newest record too;
where a record says no time, or not a newer one, a destination only goes forward. So the order in which
answers come does not matter, and nothing goes back that happened.
"""

from dataclasses import replace
from datetime import datetime
from enum import Enum, auto
from uuid import uuid5

from app.domain.destinations import (
    DestinationState,
    DestinationStatus,
    ErrorCategory,
    Outcome,
    due_day,
    lateness_ms,
)
from app.domain.ids import DestinationId, PostId
from app.domain.imports.records import DestinationRecord, PostDetails, PostRecord
from app.domain.imports.stored import StoredDestination, StoredPost
from app.domain.posts import DEFAULT_TIMEZONE, PostStatus

NO_REASON = "The service that this was imported from gave no reason."

_RANKS = {
    DestinationStatus.QUEUED: 0,
    DestinationStatus.PUBLISHING: 1,
    DestinationStatus.FAILED: 3,
    DestinationStatus.PUBLISHED: 4,
}
_RANK_BETWEEN_ATTEMPTS = 2


class _Age(Enum):
    """Of a record, against what is known of its post."""

    NEWER = auto()
    SAME = auto()
    """Or unknown."""
    OLDER = auto()


def merge(known: StoredPost | None, record: PostRecord, *, now: datetime) -> StoredPost:
    """The post after the record; `known` itself where the record has nothing new to say.

    What the record leaves open stays as it is known. Else a post counts as created and changed when the
    answer was given (`now`, where that is not known either), a destination as due when its post was
    created, as published or failed when its post was last changed, and a failure as UNCLASSIFIED.
    A failed destination never has the outcome UNKNOWN, for no answer says so. Nothing is claimable.
    """
    as_of = record.as_of or now
    age = _age(known, record.details)
    post = known or _unknown_post(record.id, as_of)
    if record.details is not None and age is not _Age.OLDER:
        post = _with_details(post, record.details, as_of)
    if age is not _Age.OLDER:
        post = _with_flags(post, known, record)
    post = replace(post, destinations=_destinations(post, record, age, as_of))
    if post == known:
        return known
    version = 1 if known is None else known.version + 1
    return replace(post, version=version, imported_at=now)


def destination_id(post_id: PostId, record: DestinationRecord) -> DestinationId:
    """The record's own, or always the same one for the same post and account."""
    return record.id or DestinationId(uuid5(post_id, str(record.account_id)))


def _age(known: StoredPost | None, details: PostDetails | None) -> _Age:
    """Results have no updated_at, so a post of which only they are known has none of its own yet."""
    if known is None or known.is_only_results or details is None:
        return _Age.SAME
    if details.updated_at in (None, known.updated_at):
        return _Age.SAME
    return _Age.NEWER if details.updated_at > known.updated_at else _Age.OLDER


def _unknown_post(post_id: PostId, as_of: datetime) -> StoredPost:
    return StoredPost(
        id=post_id,
        content="",
        is_draft=False,
        submitted_now=False,
        scheduled_for=None,
        timezone=None,
        media_ids=[],
        media=[],
        platform_content={},
        version=0,
        deleted_at=None,
        imported_at=as_of,
        created_at=as_of,
        updated_at=as_of,
        destinations=(),
    )


def _with_details(post: StoredPost, details: PostDetails, as_of: datetime) -> StoredPost:
    changed = replace(
        post,
        content=details.content,
        scheduled_for=details.scheduled_for,
        timezone=details.timezone or _shown_anyway(post.timezone),
        media_ids=details.media_ids,
        media=details.media,
        platform_content=details.platform_content,
        created_at=details.created_at or post.created_at,
        updated_at=details.updated_at or post.updated_at,
    )
    if changed == post or details.updated_at is not None:
        return changed
    return replace(changed, updated_at=max(post.updated_at, as_of))


def _shown_anyway(timezone: str | None) -> str | None:
    """What records do not tell from no time zone."""
    return timezone if timezone == DEFAULT_TIMEZONE else None


def _with_flags(post: StoredPost, known: StoredPost | None, record: PostRecord) -> StoredPost:
    """What no answer says, guessed from the post's status where that is not what is known."""
    if known is not None and record.status in (None, known.status):
        return post
    is_draft = record.status is PostStatus.DRAFT and not any(map(_has_begun, record.destinations))
    return replace(
        post,
        is_draft=is_draft,
        submitted_now=not is_draft
        and post.scheduled_for is None
        and record.status is not PostStatus.SCHEDULED,
    )


def _has_begun(record: DestinationRecord) -> bool:
    return (
        record.status is not DestinationStatus.QUEUED
        or record.attempts > 0
        or record.next_retry_at is not None
    )


def _destinations(
    post: StoredPost, record: PostRecord, age: _Age, as_of: datetime
) -> tuple[StoredDestination, ...]:
    """Those that a newer record leaves out are gone, unless something was tried: that has happened."""
    known = {each.account_id: each for each in post.destinations}
    told = {
        each.account_id: _destination(post, known.get(each.account_id), each, record, age, as_of)
        for each in record.destinations
        if each.account_id in known or age is not _Age.OLDER
    }
    if record.details is None or age is _Age.OLDER:
        merged = known | told
    else:
        merged = told | {
            account_id: each
            for account_id, each in known.items()
            if account_id not in told and not (age is _Age.NEWER and each.is_untouched)
        }
    return tuple(replace(each, position=position) for position, each in enumerate(merged.values()))


def _destination(
    post: StoredPost,
    known: StoredDestination | None,
    told: DestinationRecord,
    record: PostRecord,
    age: _Age,
    as_of: datetime,
) -> StoredDestination:
    details = record.details
    learned_at = (details and details.updated_at) or as_of
    state = _state(
        told,
        known.state if known else None,
        due_at=None if post.is_draft else _due_at(post, known, told, details),
        learned_at=learned_at,
    )
    if known is None:
        return StoredDestination(
            id=destination_id(post.id, told),
            account_id=told.account_id,
            platform=told.platform,
            position=0,
            state=state,
            created_at=post.created_at,
            updated_at=learned_at,
        )
    if not _says_more(state, known.state, age):
        return known
    return replace(known, state=state, updated_at=max(known.updated_at, learned_at))


def _due_at(
    post: StoredPost,
    known: StoredDestination | None,
    told: DestinationRecord,
    details: PostDetails | None,
) -> datetime:
    return (
        told.scheduled_for
        or (details and details.scheduled_for)
        or (known and known.state.due_at)
        or post.scheduled_for
        or post.created_at
    )


def _state(
    told: DestinationRecord,
    known: DestinationState | None,
    *,
    due_at: datetime | None,
    learned_at: datetime,
) -> DestinationState:
    again = None  # the same end as it is known, so that what is not told again stays
    if known is not None and (known.status, known.attempts) == (told.status, told.attempts):
        again = known
    error = _error(told, again)
    unfinished = DestinationState(
        status=DestinationStatus.QUEUED,
        due_at=due_at,
        claimable_at=None,
        attempts=told.attempts,
        round_started_at=due_at,
        error=error,
        error_category=None if error is None else ErrorCategory.UNCLASSIFIED,
        error_code=None if error is None else ErrorCategory.UNCLASSIFIED.name,
    )
    if told.status is DestinationStatus.QUEUED:
        return replace(unfinished, next_retry_at=told.next_retry_at)
    if told.status is DestinationStatus.PUBLISHING or due_at is None:
        return replace(unfinished, status=told.status)
    if told.status is DestinationStatus.FAILED:
        return replace(
            unfinished,
            status=told.status,
            outcome=Outcome.FAILED,
            settled_at=again.settled_at if again else learned_at,
            due_day=due_day(due_at),
        )
    published_at = told.published_at or (again and again.published_at) or learned_at
    return replace(
        unfinished,
        status=told.status,
        outcome=Outcome.PUBLISHED,
        published_at=published_at,
        platform_post_id=told.platform_post_id or (again.platform_post_id if again else None),
        platform_post_url=told.platform_post_url or (again.platform_post_url if again else None),
        settled_at=published_at,
        due_day=due_day(due_at),
        lateness_ms=lateness_ms(due_at, published_at),
    )


def _error(told: DestinationRecord, again: DestinationState | None) -> str | None:
    if told.status is DestinationStatus.PUBLISHED:
        return None
    if told.status is DestinationStatus.FAILED or told.next_retry_at is not None:
        return told.error or (again and again.error) or NO_REASON
    return told.error


def _says_more(new: DestinationState, known: DestinationState, age: _Age) -> bool:
    """Whether a report tells something, and something that is not over already."""
    if _told(new) == _told(known):
        return False
    match age:
        case _Age.NEWER:
            return True
        case _Age.SAME:
            return _progress(new) >= _progress(known)
        case _Age.OLDER:
            return _progress(new) > _progress(known)


def _told(state: DestinationState) -> tuple[object, ...]:
    """What answers say of a state; the rest follows from it, or is known only where it happened."""
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


def _progress(state: DestinationState) -> tuple[bool, int, int]:
    """What only grows while nobody retries by hand: published is above all, then more attempts."""
    waits_for_a_retry = state.status is DestinationStatus.QUEUED and state.error is not None
    rank = _RANK_BETWEEN_ATTEMPTS if waits_for_a_retry else _RANKS[state.status]
    return state.status is DestinationStatus.PUBLISHED, state.attempts, rank
