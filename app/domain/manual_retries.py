"""Which failed destinations somebody may retry by hand, and why the others not. No schedules."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum

from app.domain.accounts import Account, blocking_reason
from app.domain.destinations import Destination, DestinationState, DestinationStatus, Outcome
from app.domain.errors import Conflict, InvalidInput
from app.domain.ids import AccountId, DestinationId
from app.domain.posts import Post
from app.domain.transitions import retried

MAX_RETRIES = 500
"""Of one call: so many are decided in a transaction that nobody waits for long."""


class RetryRefusal(StrEnum):
    """Why a destination is not retried."""

    ALREADY_PUBLISHED = "already_published"
    IN_FLIGHT = "in_flight"
    OUTCOME_UNKNOWN = "outcome_unknown"
    ACCOUNT_NEEDS_RECONNECTION = "account_needs_reconnection"
    NOT_FAILED = "not_failed"

    @property
    def fix(self) -> str:
        """What somebody can do, as a sentence."""
        return _FIXES[self]


_FIXES = {
    RetryRefusal.ALREADY_PUBLISHED: "Nothing to do: it is published.",
    RetryRefusal.IN_FLIGHT: "Wait until the running attempt has ended.",
    RetryRefusal.OUTCOME_UNKNOWN: "Look on the platform whether the post is there, then record what you"
    " found. A blind retry could publish it twice; force it only if you know that it is not there.",
    RetryRefusal.ACCOUNT_NEEDS_RECONNECTION: "Reconnect the account, then retry.",
    RetryRefusal.NOT_FAILED: "Nothing to do: it is a draft, or waits for its time or for a retry that comes"
    " by itself.",
}


@dataclass(frozen=True, slots=True)
class RetryDecision:
    """What was decided about one destination; without a refusal it is queued again."""

    destination: Destination
    refusal: RetryRefusal | None


def retry_refusal(
    state: DestinationState, account: Account, *, force: bool, now: datetime
) -> RetryRefusal | None:
    """None for what may be retried; `force` is for an unknown outcome alone."""
    match state.status:
        case DestinationStatus.PUBLISHED:
            return RetryRefusal.ALREADY_PUBLISHED
        case DestinationStatus.PUBLISHING:
            return RetryRefusal.IN_FLIGHT
        case DestinationStatus.QUEUED:
            return RetryRefusal.NOT_FAILED
        case DestinationStatus.FAILED:
            if state.outcome is Outcome.UNKNOWN and not force:
                return RetryRefusal.OUTCOME_UNKNOWN
            if blocking_reason(account.connection, now) is not None:
                return RetryRefusal.ACCOUNT_NEEDS_RECONNECTION
            return None


def retry_post(
    post: Post,
    accounts: Mapping[AccountId, Account],
    *,
    account_ids: Collection[AccountId] | None,
    force: bool,
    now: datetime,
) -> tuple[Post, list[RetryDecision]]:
    """`retry_destinations` of all that the post has, or of those on some accounts.

    InvalidInput for an account that the post does not go to.
    """
    missing = set(account_ids or ()) - {each.account_id for each in post.destinations}
    if missing:
        raise InvalidInput(
            f"The post does not go to account {min(missing)}.", argument="accountIds"
        )
    chosen = {
        each.id
        for each in post.destinations
        if account_ids is None or each.account_id in account_ids
    }
    return retry_destinations(post, accounts, chosen, force=force, now=now)


def retry_destinations(
    post: Post,
    accounts: Mapping[AccountId, Account],
    destination_ids: Collection[DestinationId],
    *,
    force: bool,
    now: datetime,
) -> tuple[Post, list[RetryDecision]]:
    """The post with what may be retried queued again, and a decision for each chosen destination.

    Decisions are in the post's order; a chosen one that it does not have is passed over. The accounts
    of the chosen must be known. Conflict for an imported post: it is published elsewhere.
    """
    if post.imported_at is not None:
        raise Conflict("The post was imported: retry it in the service that publishes it.")
    decisions = []
    destinations = []
    for each in post.destinations:
        kept = each
        if each.id in destination_ids:
            refusal = retry_refusal(each.state, accounts[each.account_id], force=force, now=now)
            if refusal is None:
                kept = replace(each, state=retried(each.state, now), updated_at=now)
            decisions.append(RetryDecision(kept, refusal))
        destinations.append(kept)
    if not any(decision.refusal is None for decision in decisions):
        return post, decisions
    return replace(post, destinations=tuple(destinations)).with_next_version(now), decisions
