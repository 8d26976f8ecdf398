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
from app.domain.imports.records import DestinationRecord, PostDetails, PostRecord
from app.domain.imports.states import (
    Age,
    says_the_same,
    tells_more,
    told_state,
    with_due_at,
)
from app.domain.posts import DEFAULT_TIMEZONE, Post, PostStatus, post_status


def merge(known: Post | None, record: PostRecord, *, now: datetime) -> Post:
    """The post after the record; `known` itself where the record has nothing new to say.

    What the record leaves open stays as it is known. Else a post counts as created and changed when the
    answer was given (`now`, where that is not known either), a destination as due when its post was
    created, as published or failed when its post was last changed, and a failure as UNCLASSIFIED.
    A failed destination never has the outcome UNKNOWN, for no answer says so. Nothing is claimable.
    """
    as_of = record.as_of or now
    age = _age(known, record)
    post = known or _unknown_post(record, as_of)
    if record.details and age is not Age.OLDER:
        post = _with_details(post, record.details, as_of)
    learned_at = record.updated_at or as_of
    accounts_are_told = known is not None and not is_only_results(known)
    states = _states(post, record, age, learned_at, accounts_are_told=accounts_are_told)
    status = None if _age_of_status(known, record) is Age.OLDER else record.status
    post = _with_flags(post, status, states.values())
    post = replace(post, destinations=tuple(_destinations(post, record, states, learned_at)))
    if post == known:
        return known
    version = 1 if known is None else known.version + 1
    return replace(post, version=version, imported_at=now)


def is_only_results(post: Post) -> bool:
    """Whether no answer has carried the post itself yet, so that its times are those of an answer."""
    return (
        post.imported_at is not None
        and post.created_at == post.updated_at
        and not (post.content or post.media_ids or post.media or post.platform_content)
    )


def destination_id(post_id: PostId, record: DestinationRecord) -> DestinationId:
    """The record's own, or always the same one for the same post and account."""
    return record.id or DestinationId(uuid5(post_id, str(record.account_id)))


def _age(known: Post | None, record: PostRecord) -> Age:
    """By updated_at. An answer without one is older if it was given before the post's last change.

    A post of which only results are known has no updated_at of its own yet, so nothing is older.
    """
    if known is None:
        return Age.SAME
    if record.updated_at is not None and record.updated_at > known.updated_at:
        return Age.NEWER
    told_of = record.updated_at or record.as_of
    if told_of is None or told_of >= known.updated_at or is_only_results(known):
        return Age.SAME
    return Age.OLDER


def _age_of_status(known: Post | None, record: PostRecord) -> Age:
    """Against the last that is known of the post or of any of its destinations."""
    if known is None:
        return Age.SAME
    return _age_since(
        max([known.updated_at, *(each.updated_at for each in known.destinations)]), record
    )


def _age_since(known_at: datetime, record: PostRecord) -> Age:
    """By when its post last changed, or, where that is not told, by when it was answered."""
    true_at = record.updated_at or record.as_of
    if true_at is None or true_at == known_at:
        return Age.SAME
    return Age.NEWER if true_at > known_at else Age.OLDER


def _unknown_post(record: PostRecord, as_of: datetime) -> Post:
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


def _states(
    post: Post,
    record: PostRecord,
    age: Age,
    learned_at: datetime,
    *,
    accounts_are_told: bool,
) -> dict[AccountId, DestinationState]:
    """By account, in order. What was tried is left out by no record, and told by every one.

    Which other accounts there are, answers that carry the post tell, and results only as long as no
    such answer is known.
    """
    known = {each.account_id: each for each in post.destinations}
    adds = not accounts_are_told or (record.details and age is not Age.OLDER)
    told: dict[AccountId, DestinationState] = {}
    for each in record.destinations:
        state = _state(post, known.get(each.account_id), each, record, age, learned_at)
        if each.account_id in known or adds or not state.is_untouched:
            told[each.account_id] = state
    if not record.details or age is Age.OLDER:
        return {account_id: each.state for account_id, each in known.items()} | told
    keeps = accounts_are_told and age is Age.SAME
    return told | {
        account_id: with_due_at(each.state, _known_due_at(post, each) or _assumed_due_at(post))
        for account_id, each in known.items()
        if account_id not in told and (keeps or not each.state.is_untouched)
    }


def _state(
    post: Post,
    known: Destination | None,
    told: DestinationRecord,
    record: PostRecord,
    age: Age,
    learned_at: datetime,
) -> DestinationState:
    """With a due time, even of a draft."""
    if known is None:
        due_at = _told_due_at(told, record) or _assumed_due_at(post)
        return told_state(told, None, due_at=due_at, learned_at=learned_at)
    due_at = (
        (_told_due_at(told, record) if age is not Age.OLDER else None)
        or _known_due_at(post, known)
        or _assumed_due_at(post)
    )
    state = told_state(told, known.state, due_at=due_at, learned_at=learned_at)
    age_of_state = _age_since(known.updated_at, record)
    return (
        state if tells_more(state, known.state, age_of_state) else with_due_at(known.state, due_at)
    )


def _told_due_at(told: DestinationRecord, record: PostRecord) -> datetime | None:
    return told.scheduled_for or record.scheduled_for


def _known_due_at(post: Post, known: Destination) -> datetime | None:
    """None where it was assumed, for now more may be known."""
    is_assumed = post.imported_at is not None and known.state.due_at == known.created_at
    return None if is_assumed else known.state.due_at


def _assumed_due_at(post: Post) -> datetime:
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
    if not all(each.is_untouched for each in states):
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


def _destinations(
    post: Post,
    record: PostRecord,
    states: Mapping[AccountId, DestinationState],
    learned_at: datetime,
) -> Iterator[Destination]:
    known = {each.account_id: each for each in post.destinations}
    told = {each.account_id: each for each in record.destinations}
    for position, (account_id, state) in enumerate(states.items()):
        due_at = None if post.is_draft else state.due_at or _assumed_due_at(post)
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
        elif says_the_same(planned, destination.state):
            yield replace(destination, position=position)
        else:
            yield replace(
                destination,
                position=position,
                state=planned,
                created_at=post.created_at,
                updated_at=max(destination.updated_at, learned_at),
            )
