"""Commands on a post: create, change, schedule, cancel and delete it. Retries are in `manual_retries`.

Each command returns the post after it, or raises an error. With `expected_version`, a changed post is
a StaleVersion error; without, the last write wins. Errors name arguments as in GraphQL.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TypedDict

from app.domain.accounts import Account
from app.domain.cancellations import CancellationRefusal, PostProgress, cancellation_refusal
from app.domain.destinations import Destination, DestinationState, DestinationStatus, Outcome
from app.domain.errors import (
    BulkLimitExceeded,
    Conflict,
    InvalidInput,
    PastScheduleTime,
    PostAlreadyPublished,
    StaleVersion,
)
from app.domain.ids import AccountId, DestinationId, IdFactory, PostId
from app.domain.media import check_data_urls, restore_data_urls
from app.domain.posts import DEFAULT_TIMEZONE, MAX_BULK_POSTS, MAX_DESTINATIONS, Post
from app.domain.transitions import DRAFT, cancelled, queued, rescheduled, unclaimable
from app.domain.validation.post_contents import check_contents, check_reference, check_timezone

AccountsById = Mapping[AccountId, Account]


class PostUpdate(TypedDict, total=False):
    """Requested changes to a post; absent keys leave fields unchanged."""

    content: str
    scheduled_for: datetime | None
    timezone: str | None
    media_ids: Sequence[str]
    media: Sequence[object]
    platform_content: Mapping[str, object]
    reference: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class NewPost:
    """Input of a new post."""

    content: str
    account_ids: Sequence[AccountId]
    scheduled_for: datetime | None
    """None publishes immediately."""
    is_draft: bool
    timezone: str | None
    media_ids: Sequence[str]
    media: Sequence[object]
    platform_content: Mapping[str, object]
    reference: str | None
    copy_of: PostId | None = None
    """Post that a client has read and sends as a new one, whose content is accepted as it is stored."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """Time to publish a draft: immediately, at a time, or (None) at the time it already has."""

    scheduled_for: datetime | None
    publish_now: bool


def check_post_count(count: int) -> None:
    """Raise BulkLimitExceeded if one request creates more than MAX_BULK_POSTS posts."""
    if count > MAX_BULK_POSTS:
        raise BulkLimitExceeded(
            f"There are {count} posts; at most {MAX_BULK_POSTS} are allowed.", argument="posts"
        )


def check_new_post(new_post: NewPost) -> None:
    """Raise InvalidInput for a post that is invalid independent of stored accounts and time."""
    restore_data_urls(new_post.media, stored=())  # a new post has no stored images
    _check_changed_fields(new_post)
    check_account_ids(new_post.account_ids)
    _check_account_count(len(new_post.account_ids), is_draft=new_post.is_draft)


def create_post(
    new_post: NewPost, accounts: AccountsById, *, post_id: PostId, new_id: IdFactory, now: datetime
) -> Post:
    """Create a post that `check_new_post` has accepted.

    Raises PastScheduleTime for a past time, and InvalidInput for an unknown account.
    """
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
        created_at=now,
        updated_at=now,
        destinations=(),
    )
    return _assign_accounts(post, new_post.account_ids, accounts, new_id, now)


def update_post(
    post: Post,
    update: PostUpdate,
    accounts: AccountsById,
    *,
    account_ids: Sequence[AccountId] | None,
    expected_version: int | None,
    new_id: IdFactory,
    now: datetime,
) -> Post:
    """Change some fields of a post, and its accounts unless `account_ids` is None.

    Returns the same post if nothing changes. Raises Conflict if it is imported, published on any
    platform, being published, or of unknown outcome. Also raises Conflict if a destination was attempted
    and the change sets another time or removes its account.
    """
    _require_not_imported(post)
    _require_version(post, expected_version)
    _require_editable(post)
    if "media" in update:
        update = {**update, "media": restore_data_urls(update["media"], post.media)}
    changed = _preserve_default_timezone(replace(post, **update), post)
    _check_changed_fields(changed, before=post)
    if changed.scheduled_for != post.scheduled_for:
        changed = _reschedule(changed, now)
    if account_ids is not None:
        check_account_ids(account_ids)
        changed = _assign_accounts(changed, account_ids, accounts, new_id, now)
    _check_account_count(len(changed.destinations), is_draft=post.is_draft)
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
    """Submit a draft for publication at a time or immediately; raises Conflict if it is not a draft."""
    _require_not_imported(post)
    _require_version(post, expected_version)
    if not post.is_draft:
        raise Conflict(f"Only a draft can be scheduled; this post is {post.status}.")
    if schedule.publish_now and schedule.scheduled_for is not None:
        raise InvalidInput(
            "Pass either scheduledFor or publishNow, not both.", argument="scheduledFor"
        )
    due_at = None
    if not schedule.publish_now:
        due_at = schedule.scheduled_for or _validate_scheduled_time(post, now)
    _check_future(due_at, now)
    submitted = replace(
        post, is_draft=False, submitted_now=schedule.publish_now, scheduled_for=due_at
    )
    if account_ids is None:
        account_ids = [destination.account_id for destination in post.destinations]
    check_account_ids(account_ids)
    if not account_ids:
        raise InvalidInput("The draft has no account: pass accountIds.", argument="accountIds")
    scheduled = _reschedule_destinations(submitted, due_at or now, now)
    return _assign_accounts(scheduled, account_ids, accounts, new_id, now).with_next_version(now)


def cancel_post(post: Post, *, expected_version: int | None, now: datetime) -> Post:
    """Cancel a post as `cancel_if_allowed` does; raises Conflict if it may not be cancelled."""
    _require_version(post, expected_version)
    changed, refusal = cancel_if_allowed(post, now)
    if refusal is not None:
        raise Conflict(refusal.fix)
    return changed


def cancel_if_allowed(post: Post, now: datetime) -> tuple[Post, CancellationRefusal | None]:
    """Turn an unattempted post into a draft; otherwise fail its queued destinations as CANCELLED.

    Returns the unchanged post with the reason if it may not be cancelled.
    """
    progress = PostProgress(
        is_imported=post.imported_at is not None,
        is_draft=post.is_draft,
        is_publishing=_has_status(post, DestinationStatus.PUBLISHING),
        is_unknown=_has_unknown_outcome(post),
        was_attempted=_was_attempted(post),
        is_queued=_has_status(post, DestinationStatus.QUEUED),
    )
    refusal = cancellation_refusal(progress)
    if refusal is not None:
        return post, refusal
    if not progress.was_attempted:
        draft = replace(post, is_draft=True, submitted_now=False)
        return _reschedule_destinations(draft, None, now).with_next_version(now), None

    def cancel(state: DestinationState) -> DestinationState:
        return cancelled(state, now) if state.status is DestinationStatus.QUEUED else state

    return _with_states(post, cancel, now).with_next_version(now), None


def delete_post(post: Post, *, expected_version: int | None, now: datetime) -> Post:
    """Delete a post: it is hidden and never claimed.

    Raises PostAlreadyPublished if it is published on any platform, and Conflict while it is being
    published or of unknown outcome.
    """
    _require_version(post, expected_version)
    if _has_status(post, DestinationStatus.PUBLISHED):
        raise PostAlreadyPublished(
            "The post was published on a platform and cannot be deleted here."
        )
    _require_known_outcomes(post)
    return replace(_with_states(post, unclaimable, now), deleted_at=now).with_next_version(now)


def _require_not_imported(post: Post) -> None:
    """Raise Conflict for an imported post: another service publishes it, so it may only be deleted here."""
    if post.imported_at is not None:
        raise Conflict(CancellationRefusal.IMPORTED.fix)


def _require_version(post: Post, expected: int | None) -> None:
    if expected is not None and expected != post.version:
        raise StaleVersion(
            f"The post is at version {post.version}, not {expected}: it was changed in the meantime.",
            argument="expectedVersion",
        )


def _check_account_count(account_count: int, *, is_draft: bool) -> None:
    if not is_draft and account_count == 0:
        raise InvalidInput(
            "A post that is not a draft needs at least one account.", argument="accountIds"
        )


def _check_changed_fields(post: NewPost | Post, before: Post | None = None) -> None:
    """Validate the fields that differ from `before`; stored values stay valid under newer rules."""
    if before is None or _content_fields(post) != _content_fields(before):
        check_contents(
            post.content,
            media_ids=post.media_ids,
            media=post.media,
            platform_content=post.platform_content,
        )
    if before is None or post.media != before.media:
        check_data_urls(post.media)
    if before is None or post.timezone != before.timezone:
        check_timezone(post.timezone)
    if before is None or post.reference != before.reference:
        check_reference(post.reference)


def _preserve_default_timezone(after: Post, before: Post) -> Post:
    """Ignore a change between no time zone and the default one, which mean the same."""
    if (after.timezone or DEFAULT_TIMEZONE) != (before.timezone or DEFAULT_TIMEZONE):
        return after
    return replace(after, timezone=before.timezone)


def _content_fields(post: NewPost | Post) -> tuple[object, ...]:
    return post.content, post.media_ids, post.media, post.platform_content


def check_account_ids(account_ids: Sequence[AccountId]) -> None:
    """Raise InvalidInput for more accounts than a post can have, and for a duplicate."""
    if len(account_ids) > MAX_DESTINATIONS:
        raise InvalidInput(
            f"There are {len(account_ids)} accounts; at most {MAX_DESTINATIONS} are allowed.",
            argument="accountIds",
        )
    duplicates = [account for account, count in Counter(account_ids).items() if count > 1]
    if duplicates:
        raise InvalidInput(f"Account {min(duplicates)} is listed twice.", argument="accountIds")


def _validate_scheduled_time(draft: Post, now: datetime) -> datetime:
    """Return the draft's own time; raises InvalidInput if it has none or if it has passed."""
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
    if _has_status(post, DestinationStatus.PUBLISHED):
        raise Conflict("The post was published on a platform and can no longer be changed.")
    _require_known_outcomes(post)


def _require_known_outcomes(post: Post) -> None:
    if _has_status(post, DestinationStatus.PUBLISHING):
        raise Conflict(CancellationRefusal.BEING_PUBLISHED.fix)
    if _has_unknown_outcome(post):
        raise Conflict(CancellationRefusal.OUTCOME_UNKNOWN.fix)


def _reschedule(post: Post, now: datetime) -> Post:
    """Apply a changed `scheduled_for` to the destinations; raises Conflict if the post was attempted."""
    _check_future(post.scheduled_for, now)
    if post.is_draft:
        return post
    if _was_attempted(post):
        raise Conflict("The post was already attempted, so its time can no longer be changed.")
    submitted = replace(post, submitted_now=post.scheduled_for is None)
    return _reschedule_destinations(submitted, post.scheduled_for or now, now)


def _reschedule_destinations(post: Post, due_at: datetime | None, now: datetime) -> Post:
    """Change the due time of all destinations of an unattempted post; None makes it a draft's."""
    return _with_states(post, lambda state: rescheduled(state, due_at), now)


def _assign_accounts(
    post: Post,
    account_ids: Sequence[AccountId],
    accounts: AccountsById,
    new_id: IdFactory,
    now: datetime,
) -> Post:
    """Return the post with exactly these accounts; raises Conflict for removing an attempted one."""
    destination_by_account = {d.account_id: d for d in post.destinations}
    for account_id, destination in destination_by_account.items():
        if account_id not in account_ids and destination.state.attempts:
            raise Conflict(
                f"The post was attempted on account {account_id}, which can no longer be removed."
            )
    for account_id in account_ids:
        if account_id not in accounts and account_id not in destination_by_account:
            raise InvalidInput(
                f"There is no account {account_id} in this workspace.", argument="accountIds"
            )
    state = DRAFT if post.is_draft else queued(max(post.scheduled_for or now, now))
    destinations = (
        _with_position(destination_by_account[account_id], position, now)
        if account_id in destination_by_account
        else Destination(
            id=DestinationId(new_id()),
            account_id=account_id,
            platform=accounts[account_id].platform,
            publisher=accounts[account_id].publisher,
            is_mirrored=False,  # posts of mirrors cannot be changed
            position=position,
            state=state,
            created_at=now,
            updated_at=now,
        )
        for position, account_id in enumerate(account_ids)
    )
    return replace(post, destinations=tuple(destinations))


def _with_states(
    post: Post, transition: Callable[[DestinationState], DestinationState], now: datetime
) -> Post:
    destinations = (d.with_state(transition(d.state), now) for d in post.destinations)
    return replace(post, destinations=tuple(destinations))


def _with_position(destination: Destination, position: int, now: datetime) -> Destination:
    if position == destination.position:
        return destination
    return replace(destination, position=position, updated_at=now)


def _was_attempted(post: Post) -> bool:
    """Return whether a platform was called; a destination that failed for lack of access was not.

    A published destination may have no attempts: its claim may be reported without a start.
    """
    return _has_status(post, DestinationStatus.PUBLISHED) or any(
        destination.state.attempts for destination in post.destinations
    )


def _has_status(post: Post, status: DestinationStatus) -> bool:
    return any(destination.state.status is status for destination in post.destinations)


def _has_unknown_outcome(post: Post) -> bool:
    return any(destination.state.outcome is Outcome.UNKNOWN for destination in post.destinations)
