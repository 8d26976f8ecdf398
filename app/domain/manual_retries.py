"""Manual retries: which destinations may be retried, and why the others are refused."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum

from app.domain.accounts import Account, AccountAccess, blocking_reason
from app.domain.destinations import Destination, DestinationStatus, Outcome
from app.domain.errors import Conflict, InvalidInput
from app.domain.ids import AccountId, DestinationId
from app.domain.posts import Post
from app.domain.transitions import retried


class RetryRefusal(StrEnum):
    """Reason why a destination is not retried."""

    ALREADY_PUBLISHED = "already_published"
    IN_FLIGHT = "in_flight"
    OUTCOME_UNKNOWN = "outcome_unknown"
    ACCOUNT_NEEDS_RECONNECTION = "account_needs_reconnection"
    NOT_FAILED = "not_failed"
    IMPORTED = "imported"

    @property
    def fix(self) -> str:
        """Advice to a person, as a sentence."""
        return _FIXES[self]


_FIXES = {
    RetryRefusal.ALREADY_PUBLISHED: "Nothing to do: it is published.",
    RetryRefusal.IN_FLIGHT: "Wait until the running attempt has ended.",
    RetryRefusal.OUTCOME_UNKNOWN: "Check whether the post is on the platform, then record the result."
    " A retry without a check could publish it twice; only `retryPost` can force it.",
    RetryRefusal.ACCOUNT_NEEDS_RECONNECTION: "Reconnect the account, then retry.",
    RetryRefusal.IMPORTED: "Retry the post in the service that publishes it.",
    RetryRefusal.NOT_FAILED: "Nothing to do: it is a draft, or waits for its time, for an automatic retry,"
    " or for `retryAfterReconnect`.",
}


@dataclass(frozen=True, slots=True)
class ManualRetryDecision:
    """Decision about one destination; without a refusal, it is queued again."""

    destination: Destination
    refusal: RetryRefusal | None


def retry_refusal(
    status: DestinationStatus,
    outcome: Outcome,
    access: AccountAccess,
    *,
    is_imported: bool,
    force: bool,
    now: datetime,
) -> RetryRefusal | None:
    """Return why a destination may not be retried; `force` allows an unknown outcome."""
    if is_imported:
        return RetryRefusal.IMPORTED
    if status is not DestinationStatus.FAILED:
        return _REFUSALS_BY_STATUS[status]
    if outcome is Outcome.UNKNOWN and not force:
        return RetryRefusal.OUTCOME_UNKNOWN
    if blocking_reason(access, now) is not None:
        return RetryRefusal.ACCOUNT_NEEDS_RECONNECTION
    return None


_REFUSALS_BY_STATUS = {
    DestinationStatus.PUBLISHED: RetryRefusal.ALREADY_PUBLISHED,
    DestinationStatus.PUBLISHING: RetryRefusal.IN_FLIGHT,
    DestinationStatus.QUEUED: RetryRefusal.NOT_FAILED,
}


def retry_post(
    post: Post,
    accounts: Mapping[AccountId, Account],
    *,
    account_ids: Collection[AccountId] | None,
    force: bool,
    now: datetime,
) -> tuple[Post, list[ManualRetryDecision]]:
    """Retry all destinations of a post, or those on the given accounts, by `retry_destinations`.

    Raises InvalidInput for an account that the post does not go to.
    """
    missing = set(account_ids or ()) - {d.account_id for d in post.destinations}
    if missing:
        raise InvalidInput(
            f"The post does not go to account {min(missing)}.", argument="accountIds"
        )
    chosen = {
        destination.id
        for destination in post.destinations
        if account_ids is None or destination.account_id in account_ids
    }
    return retry_destinations(post, accounts, chosen, force=force, now=now)


def retry_destinations(
    post: Post,
    accounts: Mapping[AccountId, Account],
    destination_ids: Collection[DestinationId],
    *,
    force: bool,
    now: datetime,
) -> tuple[Post, list[ManualRetryDecision]]:
    """Queue the chosen destinations that may be retried, and return a decision for each.

    Decisions are in the post's order; unknown ids are ignored. `accounts` must have the accounts of all
    chosen destinations. Raises Conflict for an imported post, which another service publishes.
    """
    if post.imported_at is not None:
        raise Conflict("The post was imported: retry it in the service that publishes it.")
    decisions = [
        _decide(destination, accounts[destination.account_id], force=force, now=now)
        for destination in post.destinations
        if destination.id in destination_ids
    ]
    if all(decision.refusal is not None for decision in decisions):
        return post, decisions
    decided = {decision.destination.id: decision.destination for decision in decisions}
    destinations = tuple(decided.get(d.id, d) for d in post.destinations)
    return replace(post, destinations=destinations).with_next_version(now), decisions


def _decide(
    destination: Destination, account: Account, *, force: bool, now: datetime
) -> ManualRetryDecision:
    state = destination.state
    refusal = retry_refusal(
        state.status, state.outcome, account.access, is_imported=False, force=force, now=now
    )
    if refusal is None:
        destination = destination.with_state(retried(state, now), now)
    return ManualRetryDecision(destination, refusal)
