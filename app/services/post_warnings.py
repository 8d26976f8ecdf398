"""Warnings of posts that were saved: accounts that cannot post, and contents beyond platform limits."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from functools import cache, partial

from app.domain.accounts import Account, HealthReason, blocking_reason
from app.domain.destinations import Destination
from app.domain.diagnosis import INVALID_SETTING
from app.domain.ids import AccountId
from app.domain.posts import Post
from app.platforms.content_checks import ContentChecks
from app.services.idempotency import StoredOutcome


@dataclass(frozen=True, slots=True)
class AccountWarning:
    """An account of a post that could not publish if the post were due now."""

    account_id: AccountId
    reason: HealthReason


@dataclass(frozen=True, slots=True)
class ContentWarning:
    """A text or media that the platform of a destination would not accept."""

    account_id: AccountId
    platform: str
    code: str
    """Error code that the destination would have."""
    message: str


@dataclass(frozen=True, slots=True)
class PostWarnings:
    accounts: tuple[AccountWarning, ...]
    contents: tuple[ContentWarning, ...]


def find_warnings(
    post: Post, accounts: Mapping[AccountId, Account], now: datetime, checks: ContentChecks
) -> PostWarnings:
    """Return the warnings of the destinations that are not final; `accounts` has all their accounts."""
    destinations = [each for each in post.destinations if not each.state.status.is_final]
    reasons = {
        destination.account_id: blocking_reason(accounts[destination.account_id].access, now)
        for destination in destinations
    }
    return PostWarnings(
        tuple(AccountWarning(key, reason) for key, reason in reasons.items() if reason),
        tuple(_content_warnings(post, destinations, checks)),
    )


def to_stored_warnings(warnings: PostWarnings) -> StoredOutcome:
    """Return the warnings as members of the outcome of an idempotent request."""
    return {
        "warnings": [asdict(warning) for warning in warnings.accounts],
        "content_warnings": [asdict(warning) for warning in warnings.contents],
    }


def parse_stored_warnings(outcome: StoredOutcome) -> PostWarnings:
    """Return the warnings in an outcome; one that an older version stored has none of contents."""
    return PostWarnings(
        tuple(
            AccountWarning(AccountId(warning["account_id"]), HealthReason(warning["reason"]))
            for warning in outcome["warnings"]
        ),
        tuple(ContentWarning(**warning) for warning in outcome.get("content_warnings", ())),
    )


def _content_warnings(
    post: Post, destinations: list[Destination], checks: ContentChecks
) -> Iterator[ContentWarning]:
    # A post may have hundreds of accounts on a platform, and its images may be large.
    refusals = cache(partial(checks.expected_refusals, post))
    for destination in destinations:
        if (error := destination.state.content_error) is not None:
            yield ContentWarning(
                destination.account_id, destination.platform, INVALID_SETTING, error
            )
        for refusal in refusals(destination.platform, destination.publisher):
            yield ContentWarning(
                destination.account_id, destination.platform, refusal.code, refusal.message
            )
