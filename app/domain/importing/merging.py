"""What a record makes of a post: what is new in it, what is older than what is known, what is missing.

The post itself follows the newest record, by updated_at. So does each destination, but what happened is
never taken back; where a record says no time, or not a newer one, a destination only goes forward.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from datetime import datetime
from uuid import uuid5

from app.domain.destinations import Destination, DestinationState
from app.domain.ids import AccountId, DestinationId, PostId
from app.domain.importing.records import DestinationRecord, PostDetails, PostRecord
from app.domain.importing.states import (
    Recency,
    is_equivalent,
    state_from_record,
    supersedes,
    with_due_at,
)
from app.domain.posts import DEFAULT_TIMEZONE, Post, PostStatus, post_status


def merge_record(current: Post | None, record: PostRecord, *, now: datetime) -> Post:
    """The post after the record; `known` itself where the record has nothing new to say.

    What the record leaves open stays as it is known. Else a post counts as created and changed when the
    answer was given (`now`, where that is not known either), a destination as due when its post was
    created, as published or failed when its post was last changed, and a failure as UNCLASSIFIED.
    A failed destination never has the outcome UNKNOWN, for no answer says so. Nothing is claimable.
    """
    as_of = record.as_of or now
    age = _post_recency(current, record)
    post = current or _placeholder_post(record, as_of)
    if record.details and age is not Recency.OLDER:
        post = _with_details(post, record.details, as_of)
    learned_at = record.updated_at or as_of
    accounts_are_told = current is not None and not has_only_results(current)
    states = _merge_states(post, record, age, learned_at, accounts_are_known=accounts_are_told)
    status = None if _status_recency(current, record) is Recency.OLDER else record.status
    post = _with_flags(post, status, states.values())
    post = replace(post, destinations=tuple(_merge_destinations(post, record, states, learned_at)))
    if post == current:
        return current
    version = 1 if current is None else current.version + 1
    return replace(post, version=version, imported_at=now)


def has_only_results(post: Post) -> bool:
    """Whether no answer has carried the post itself yet, so that its times are those of an answer."""
    return (
        post.imported_at is not None
        and post.created_at == post.updated_at
        and not (post.content or post.media_ids or post.media or post.platform_content)
    )


def destination_id(post_id: PostId, record: DestinationRecord) -> DestinationId:
    """The record's own, or always the same one for the same post and account."""
    return record.id or DestinationId(uuid5(post_id, str(record.account_id)))


def _post_recency(current: Post | None, record: PostRecord) -> Recency:
    """By updated_at. An answer without one is older if it was given before the post's last change.

    A post of which only results are known has no updated_at of its own yet, so nothing is older.
    """
    if current is None:
        return Recency.SAME
    if record.updated_at is not None and record.updated_at > current.updated_at:
        return Recency.NEWER
    told_of = record.updated_at or record.as_of
    if told_of is None or told_of >= current.updated_at or has_only_results(current):
        return Recency.SAME
    return Recency.OLDER


def _status_recency(current: Post | None, record: PostRecord) -> Recency:
    """Against the last that is known of the post or of any of its destinations."""
    if current is None:
        return Recency.SAME
    return _recency_since(
        max([current.updated_at, *(each.updated_at for each in current.destinations)]), record
    )


def _recency_since(last_updated_at: datetime, record: PostRecord) -> Recency:
    """By when its post last changed, or, where that is not told, by when it was answered."""
    true_at = record.updated_at or record.as_of
    if true_at is None or true_at == last_updated_at:
        return Recency.SAME
    return Recency.NEWER if true_at > last_updated_at else Recency.OLDER


def _placeholder_post(record: PostRecord, as_of: datetime) -> Post:
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
        imported_at=as_of,
        created_at=as_of,
        updated_at=as_of,
        destinations=(),
    )


def _with_details(post: Post, details: PostDetails, as_of: datetime) -> Post:
    changed = replace(post, **details)
    if changed.timezone is None and post.timezone == DEFAULT_TIMEZONE:
        # No time zone is told as this one.
        changed = replace(changed, timezone=post.timezone)
    if changed == post or "updated_at" in details:
        return changed
    return replace(changed, updated_at=max(post.updated_at, as_of))


def _merge_states(
    post: Post,
    record: PostRecord,
    recency: Recency,
    learned_at: datetime,
    *,
    accounts_are_known: bool,
) -> dict[AccountId, DestinationState]:
    """By account, in order. What was tried is left out by no record, and told by every one.

    Which other accounts there are, answers that carry the post tell, and results only as long as no
    such answer is known.
    """
    known = {each.account_id: each for each in post.destinations}
    adds = not accounts_are_known or (record.details and recency is not Recency.OLDER)
    told: dict[AccountId, DestinationState] = {}
    for each in record.destinations:
        state = _merge_state(post, known.get(each.account_id), each, record, recency, learned_at)
        if each.account_id in known or adds or not state.is_unattempted:
            told[each.account_id] = state
    if not record.details or recency is Recency.OLDER:
        return {account_id: each.state for account_id, each in known.items()} | told
    keeps = accounts_are_known and recency is Recency.SAME
    return told | {
        account_id: with_due_at(each.state, _current_due_at(post, each) or _default_due_at(post))
        for account_id, each in known.items()
        if account_id not in told and (keeps or not each.state.is_unattempted)
    }


def _merge_state(
    post: Post,
    current: Destination | None,
    destination_record: DestinationRecord,
    record: PostRecord,
    recency: Recency,
    learned_at: datetime,
) -> DestinationState:
    """With a due time, even of a draft."""
    if current is None:
        due_at = _recorded_due_at(destination_record, record) or _default_due_at(post)
        return state_from_record(destination_record, None, due_at=due_at, learned_at=learned_at)
    due_at = (
        (_recorded_due_at(destination_record, record) if recency is not Recency.OLDER else None)
        or _current_due_at(post, current)
        or _default_due_at(post)
    )
    state = state_from_record(
        destination_record, current.state, due_at=due_at, learned_at=learned_at
    )
    age_of_state = _recency_since(current.updated_at, record)
    return (
        state
        if supersedes(state, current.state, age_of_state)
        else with_due_at(current.state, due_at)
    )


def _recorded_due_at(destination_record: DestinationRecord, record: PostRecord) -> datetime | None:
    return destination_record.scheduled_for or record.scheduled_for


def _current_due_at(post: Post, destination: Destination) -> datetime | None:
    """None where it was assumed, for now more may be known."""
    is_assumed = post.imported_at is not None and destination.state.due_at == destination.created_at
    return None if is_assumed else destination.state.due_at


def _default_due_at(post: Post) -> datetime:
    return post.scheduled_for or post.created_at


def _with_flags(
    post: Post, status: PostStatus | None, states: Collection[DestinationState]
) -> Post:
    """With the flags, which no answer tells, that give the post the status that is told, if any do."""
    flags = [
        (post.is_draft, post.submitted_now),
        (status is PostStatus.DRAFT, False),
        (False, True),
    ]
    if not all(each.is_unattempted for each in states):
        flags = [(False, submitted_now) for _, submitted_now in flags]
    fitting = (
        (is_draft, submitted_now)
        for is_draft, submitted_now in flags
        if status
        in (
            None,
            post_status(is_draft=is_draft, submitted_now=submitted_now, destinations=states),
        )
    )
    is_draft, submitted_now = next(fitting, flags[0])
    return replace(post, is_draft=is_draft, submitted_now=submitted_now)


def _merge_destinations(
    post: Post,
    record: PostRecord,
    states: Mapping[AccountId, DestinationState],
    learned_at: datetime,
) -> Iterator[Destination]:
    known = {each.account_id: each for each in post.destinations}
    told = {each.account_id: each for each in record.destinations}
    for position, (account_id, state) in enumerate(states.items()):
        due_at = None if post.is_draft else state.due_at or _default_due_at(post)
        planned = with_due_at(state, due_at)
        destination = known.get(account_id)
        if destination is None:
            yield Destination(
                id=destination_id(post.id, told[account_id]),
                account_id=account_id,
                platform=told[account_id].platform,
                position=position,
                state=planned,
                created_at=post.created_at,
                updated_at=learned_at,
            )
        elif is_equivalent(planned, destination.state):
            yield replace(destination, position=position)
        else:
            yield replace(
                destination,
                position=position,
                state=planned,
                created_at=post.created_at,
                updated_at=max(destination.updated_at, learned_at),
            )
