"""What people do with a post: create, change, schedule, cancel and delete it. Retries are elsewhere.

Each is a post in, a post out, or a refusal after which nothing has changed. `expected_version` is the
version that somebody saw; without one, the last word counts. Arguments are named as in GraphQL.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TypedDict

from app.domain.accounts import Account
from app.domain.destinations import Destination, DestinationState, DestinationStatus, Outcome
from app.domain.errors import (
    Conflict,
    InvalidInput,
    PastScheduleTime,
    PostAlreadyPublished,
    StaleVersion,
)
from app.domain.ids import AccountId, DestinationId, IdFactory, PostId
from app.domain.posts import DEFAULT_TIMEZONE, MAX_DESTINATIONS, Post
from app.domain.transitions import DRAFT, cancelled, queued, rescheduled, unclaimable
from app.domain.validation.post_contents import check_contents, check_reference, check_timezone

AccountsById = Mapping[AccountId, Account]


class PostChanges(TypedDict, total=False):
    """What somebody wants changed of a post; what has no key stays."""

    content: str
    scheduled_for: datetime | None
    timezone: str | None
    media_ids: Sequence[str]
    media: Sequence[object]
    platform_content: Mapping[str, object]
    reference: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class NewPost:
    """What somebody wants posted."""

    content: str
    account_ids: Sequence[AccountId]
    scheduled_for: datetime | None
    """None means at once."""
    is_draft: bool
    timezone: str | None
    media_ids: Sequence[str]
    media: Sequence[object]
    platform_content: Mapping[str, object]
    reference: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """When a draft is to go out: at once, at a time, or (None) at the time that it has."""

    scheduled_for: datetime | None
    publish_now: bool


def check_new_post(new_post: NewPost) -> None:
    """Refuse what cannot be right, whatever accounts there are and whatever the time."""
    _check_changed_fields(new_post)
    check_account_ids(new_post.account_ids)
    if not new_post.is_draft and not new_post.account_ids:
        raise InvalidInput(
            "A post that is not a draft needs at least one account.", argument="accountIds"
        )


def create_post(
    new_post: NewPost, accounts: AccountsById, *, post_id: PostId, new_id: IdFactory, now: datetime
) -> Post:
    """A new post, checked before; InvalidInput for a time that is past or an unknown account."""
    _check_future(new_post.scheduled_for, now)
    post = Post(
        id=post_id,
        content=new_post.content,
        is_draft=new_post.is_draft,
        submitted_now=not new_post.is_draft and new_post.scheduled_for is None,
        scheduled_for=new_post.scheduled_for,
        timezone=new_post.timezone,
        media_ids=new_post.media_ids,
        media=new_post.media,
        platform_content=new_post.platform_content,
        reference=new_post.reference,
        version=1,
        deleted_at=None,
        imported_at=None,
        created_at=now,
        updated_at=now,
        destinations=(),
    )
    return _assign_accounts(post, new_post.account_ids, accounts, new_id, now)


def change_post(
    post: Post,
    changes: PostChanges,
    accounts: AccountsById,
    *,
    account_ids: Sequence[AccountId] | None,
    expected_version: int | None,
    new_id: IdFactory,
    now: datetime,
) -> Post:
    """The post with some of it changed, possible until anything of it was published.

    It goes to `account_ids`, or to those that it had. The same post where nothing is new. Conflict while
    it is being published or its outcome is unknown; for another time once something was attempted, and
    for leaving out an account that was; and for a post that was imported.
    """
    _require_not_imported(post)
    _check_version(post, expected_version)
    _require_editable(post)
    changed = _preserve_default_timezone(replace(post, **changes), post)
    _check_changed_fields(changed, before=post)
    if changed.scheduled_for != post.scheduled_for:
        changed = _reschedule(changed, now)
    if account_ids is not None:
        check_account_ids(account_ids)
        changed = _assign_accounts(changed, account_ids, accounts, new_id, now)
    if not post.is_draft and not changed.destinations:
        raise InvalidInput(
            "A post that is not a draft needs at least one account.", argument="accountIds"
        )
    return changed.with_next_version(now) if changed != post else post


def schedule_post(
    post: Post,
    accounts: AccountsById,
    schedule: Schedule,
    *,
    account_ids: Sequence[AccountId] | None,
    expected_version: int | None,
    new_id: IdFactory,
    now: datetime,
) -> Post:
    """Submit a draft, to go out at its time or at once; Conflict for what is none."""
    _require_not_imported(post)
    _check_version(post, expected_version)
    if not post.is_draft:
        raise Conflict(f"Only a draft can be scheduled; this post is {post.status}.")
    if schedule.publish_now and schedule.scheduled_for is not None:
        raise InvalidInput(
            "Pass either scheduledFor or publishNow, not both.", argument="scheduledFor"
        )
    due = (
        None
        if schedule.publish_now
        else schedule.scheduled_for or _require_scheduled_time(post, now)
    )
    _check_future(due, now)
    submitted = replace(post, is_draft=False, submitted_now=schedule.publish_now, scheduled_for=due)
    wanted = [each.account_id for each in post.destinations] if account_ids is None else account_ids
    check_account_ids(wanted)
    if not wanted:
        raise InvalidInput("The draft has no account: pass accountIds.", argument="accountIds")
    planned = _reschedule_destinations(submitted, due or now, now)
    return _assign_accounts(planned, wanted, accounts, new_id, now).with_next_version(now)


def cancel_post(post: Post, *, expected_version: int | None, now: datetime) -> Post:
    """A draft again where nothing was attempted; else what is still waiting has failed as CANCELLED.

    Conflict while it is being published or its outcome is unknown, and where nothing is waiting.
    """
    _require_not_imported(post)
    _check_version(post, expected_version)
    if post.is_draft:
        raise Conflict("The post is a draft already: nothing of it goes out.")
    _require_known_outcomes(post)
    if not _was_attempted(post):
        draft = replace(post, is_draft=True, submitted_now=False)
        return _reschedule_destinations(draft, None, now).with_next_version(now)
    if not any(_is_queued(each.state) for each in post.destinations):
        raise Conflict(f"Nothing of the post is waiting any more; it is {post.status}.")
    destinations = (
        _with_state(each, cancelled(each.state, now), now) if _is_queued(each.state) else each
        for each in post.destinations
    )
    return replace(post, destinations=tuple(destinations)).with_next_version(now)


def delete_post(post: Post, *, expected_version: int | None, now: datetime) -> Post:
    """The post as deleted: nobody sees it or claims anything of it. What was published stays on record.

    PostAlreadyPublished once anything is; Conflict while that may still happen.
    """
    _check_version(post, expected_version)
    if any(each.state.status is DestinationStatus.PUBLISHED for each in post.destinations):
        raise PostAlreadyPublished(
            "The post was published on a platform and cannot be deleted here."
        )
    _require_known_outcomes(post)
    destinations = (_with_state(each, unclaimable(each.state), now) for each in post.destinations)
    return replace(post, deleted_at=now, destinations=tuple(destinations)).with_next_version(now)


def _require_not_imported(post: Post) -> None:
    """What was imported may be deleted here, and no more: it goes out from elsewhere."""
    if post.imported_at is not None:
        raise Conflict("The post was imported: change it in the service that publishes it.")


def _check_version(post: Post, expected: int | None) -> None:
    if expected is not None and expected != post.version:
        raise StaleVersion(
            f"The post is at version {post.version}, not {expected}: somebody else changed it.",
            argument="expectedVersion",
        )


def _check_changed_fields(post: NewPost | Post, before: Post | None = None) -> None:
    """Each unless it was there before: what was right when it was stored may stay."""
    if before is None or _content_fields(post) != _content_fields(before):
        check_contents(
            post.content,
            media_ids=post.media_ids,
            media=post.media,
            platform_content=post.platform_content,
        )
    if before is None or post.timezone != before.timezone:
        check_timezone(post.timezone)
    if before is None or post.reference != before.reference:
        check_reference(post.reference)


def _preserve_default_timezone(after: Post, before: Post) -> Post:
    """For a post without a time zone, to say what is assumed of it is no change."""
    if (after.timezone or DEFAULT_TIMEZONE) != (before.timezone or DEFAULT_TIMEZONE):
        return after
    return replace(after, timezone=before.timezone)


def _content_fields(post: NewPost | Post) -> tuple[object, ...]:
    return post.content, post.media_ids, post.media, post.platform_content


def check_account_ids(account_ids: Sequence[AccountId]) -> None:
    """InvalidInput for more than a post can have, before anybody looks for them, and for one twice."""
    if len(account_ids) > MAX_DESTINATIONS:
        raise InvalidInput(
            f"There are {len(account_ids)} accounts; at most {MAX_DESTINATIONS} are allowed.",
            argument="accountIds",
        )
    twice = {each for each in account_ids if account_ids.count(each) > 1}
    if twice:
        raise InvalidInput(f"Account {min(twice)} is there twice.", argument="accountIds")


def _require_scheduled_time(draft: Post, now: datetime) -> datetime:
    if draft.scheduled_for is None:
        raise InvalidInput(
            "The draft has no time yet: pass scheduledFor or publishNow.", argument="scheduledFor"
        )
    if draft.scheduled_for <= now:
        raise PastScheduleTime(
            "The draft's own time has passed: pass another scheduledFor, or publishNow.",
            argument="scheduledFor",
        )
    return draft.scheduled_for


def _check_future(scheduled_for: datetime | None, now: datetime) -> None:
    if scheduled_for is not None and scheduled_for <= now:
        raise PastScheduleTime("The time is not in the future.", argument="scheduledFor")


def _require_editable(post: Post) -> None:
    if any(each.state.status is DestinationStatus.PUBLISHED for each in post.destinations):
        raise Conflict("The post was published on a platform and cannot be changed any more.")
    _require_known_outcomes(post)


def _require_known_outcomes(post: Post) -> None:
    states = [each.state for each in post.destinations]
    if any(state.status is DestinationStatus.PUBLISHING for state in states):
        raise Conflict("The post is being published just now. Try again when that has ended.")
    if any(state.outcome is Outcome.UNKNOWN for state in states):
        raise Conflict(
            "Nobody knows whether the post was published. Look on the platform and record what you found."
        )


def _reschedule(post: Post, now: datetime) -> Post:
    """A post whose time was changed, with its destinations due then."""
    _check_future(post.scheduled_for, now)
    if post.is_draft:
        return post
    if _was_attempted(post):
        raise Conflict("The post was attempted already, so its time cannot be changed any more.")
    submitted = replace(post, submitted_now=post.scheduled_for is None)
    return _reschedule_destinations(submitted, post.scheduled_for or now, now)


def _reschedule_destinations(post: Post, due_at: datetime | None, now: datetime) -> Post:
    """A post that was never attempted, with all its destinations due then, or as a draft's."""
    destinations = (
        _with_state(each, rescheduled(each.state, due_at), now) for each in post.destinations
    )
    return replace(post, destinations=tuple(destinations))


def _assign_accounts(
    post: Post,
    account_ids: Sequence[AccountId],
    accounts: AccountsById,
    new_id: IdFactory,
    now: datetime,
) -> Post:
    """The post on exactly these accounts, in their order."""
    known = {each.account_id: each for each in post.destinations}
    for each in known.values():
        if each.account_id not in account_ids and each.state.attempts:
            raise Conflict(
                f"The post was attempted on account {each.account_id}, which cannot be left out any more."
            )
    unknown = [each for each in account_ids if each not in accounts and each not in known]
    if unknown:
        raise InvalidInput(
            f"There is no account {unknown[0]} in this workspace.", argument="accountIds"
        )
    state = DRAFT if post.is_draft else queued(max(post.scheduled_for or now, now))
    destinations = (
        _with_position(known[account_id], position, now)
        if account_id in known
        else Destination(
            id=DestinationId(new_id()),
            account_id=account_id,
            platform=accounts[account_id].platform,
            position=position,
            state=state,
            created_at=now,
            updated_at=now,
        )
        for position, account_id in enumerate(account_ids)
    )
    return replace(post, destinations=tuple(destinations))


def _with_state(destination: Destination, state: DestinationState, now: datetime) -> Destination:
    if state == destination.state:
        return destination
    return replace(destination, state=state, updated_at=now)


def _with_position(destination: Destination, position: int, now: datetime) -> Destination:
    if position == destination.position:
        return destination
    return replace(destination, position=position, updated_at=now)


def _was_attempted(post: Post) -> bool:
    """Whether a platform was asked; what failed for want of access, say, was not.

    A publication may be reported of a claim whose start was not.
    """
    return any(
        each.state.attempts or each.state.status is DestinationStatus.PUBLISHED
        for each in post.destinations
    )


def _is_queued(state: DestinationState) -> bool:
    return state.status is DestinationStatus.QUEUED
