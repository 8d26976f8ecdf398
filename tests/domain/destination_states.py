"""Every kind of destination state by name, and posts and accounts with default fields."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from itertools import count
from typing import Any
from uuid import UUID

from hypothesis import strategies as st

from app.domain.accounts import Account, AccountPublisher
from app.domain.destinations import Destination, DestinationState, ErrorCategory
from app.domain.ids import AccountId, DestinationId, PostId
from app.domain.posts import Post
from tests.factories import (
    NOW,
    being_verified,
    claimed,
    draft,
    failed,
    published,
    queued,
    started,
    unknown,
    waiting_for_retry,
)

MINUTE = timedelta(minutes=1)
CREATED_AT = NOW - timedelta(days=1)
LATER = NOW + timedelta(hours=1)
MUCH_LATER = NOW + timedelta(days=2)

UNCLASSIFIED = ErrorCategory.UNCLASSIFIED


def _retrying_attempt(state: DestinationState, *, attempts: int) -> DestinationState:
    """A publishing state after failed attempts."""
    return replace(
        state,
        attempts=state.attempts + attempts,
        round_attempts=state.round_attempts + attempts,
        fence=1 + attempts,
        error="The platform did not answer in time.",
        error_category=ErrorCategory.TRANSIENT,
        error_code="TIMEOUT",
    )


NEVER_ATTEMPTED: Mapping[str, DestinationState] = {
    "queued": queued(LATER),
    "queued after a lost claim": replace(queued(LATER), fence=3),
    "queued, claimable later": replace(queued(LATER), claimable_at=LATER + MINUTE),
    "queued, imported": replace(queued(LATER), claimable_at=None),
}
RETRY_SCHEDULED: Mapping[str, DestinationState] = {
    "retry scheduled": waiting_for_retry(),
    "retry scheduled after a rate limit": waiting_for_retry(
        category=ErrorCategory.RATE_LIMITED, code="RATE_LIMITED"
    ),
    "retry scheduled after several failures": waiting_for_retry(attempts=4),
    "retry scheduled after a lost claim": replace(waiting_for_retry(), fence=5),
    "retried manually": replace(queued(), attempts=3, fence=3, round_started_at=NOW + MINUTE),
    "retried by force": replace(
        queued(), attempts=2, fence=2, forced_rounds=1, round_started_at=NOW + MINUTE
    ),
    "retry scheduled after verification": waiting_for_retry(
        NOW, category=UNCLASSIFIED, code="NOT_PUBLISHED"
    ),
    "attempted, imported": replace(queued(), claimable_at=None, attempts=2),
}
CLAIMED: Mapping[str, DestinationState] = {
    "claimed": claimed(),
    "claimed after a failure": _retrying_attempt(claimed(), attempts=1),
}
STARTED: Mapping[str, DestinationState] = {
    "started": started(),
    "started after several failures": _retrying_attempt(started(), attempts=4),
}
LEASED: Mapping[str, DestinationState] = {**CLAIMED, **STARTED}
PUBLISHING: Mapping[str, DestinationState] = {
    **LEASED,
    "publishing, imported": replace(
        claimed(), lease_token=None, lease_expires_at=None, claimable_at=None
    ),
}
PUBLISHED: Mapping[str, DestinationState] = {
    "published": published(),
    "published without a start": replace(published(attempts=0), fence=1),
    "published late": published(NOW + timedelta(hours=30), attempts=3),
    "published early, imported": published(NOW - MINUTE, settled_at=NOW, platform_post_id=None),
}
FAILED: Mapping[str, DestinationState] = {
    **{
        f"failed as {category}": failed(category=category, code=category.name)
        for category in ErrorCategory
    },
    "failed after several attempts": failed(
        attempts=5, category=ErrorCategory.TRANSIENT, code="TIMEOUT", settled_at=LATER
    ),
    "failed after verification": failed(category=UNCLASSIFIED, code="NOT_PUBLISHED"),
    "cancelled": failed(due_at=LATER, attempts=0, code="CANCELLED"),
}
UNKNOWN: Mapping[str, DestinationState] = {
    "unknown": unknown(),
    "unknown after several attempts": unknown(attempts=4),
    "unknown after a forced retry": replace(unknown(attempts=3), forced_rounds=2),
    "being verified": being_verified(),
}
QUEUED: Mapping[str, DestinationState] = {**NEVER_ATTEMPTED, **RETRY_SCHEDULED}
SUBMITTED: Mapping[str, DestinationState] = {
    **QUEUED,
    **PUBLISHING,
    **PUBLISHED,
    **FAILED,
    **UNKNOWN,
}
"""Every state of a destination whose post is not a draft."""
ALL_STATES: Mapping[str, DestinationState] = {"draft": draft(), **SUBMITTED}


def make_post(states: Sequence[DestinationState], **fields: Any) -> Post:
    """A post on the accounts 1, 2, …; by default a draft if no destination has a due time."""
    defaults: dict[str, Any] = {
        "id": PostId(UUID(int=0xF)),
        "content": "Spring sale",
        "is_draft": all(state.due_at is None for state in states),
        "submitted_now": False,
        "scheduled_for": LATER,
        "timezone": "Europe/Berlin",
        "media_ids": ["m1"],
        "media": [{"url": "https://example.com/1.png"}],
        "platform_content": {"x": {"content": "Sale!"}},
        "reference": "spring",
        "version": 4,
        "deleted_at": None,
        "imported_at": None,
        "created_at": CREATED_AT,
        "updated_at": CREATED_AT,
    }
    destinations = tuple(
        Destination(
            id=DestinationId(UUID(int=number)),
            account_id=AccountId(number),
            platform="x",
            publisher=AccountPublisher.EXTERNAL,
            is_mirrored=False,
            position=number - 1,
            state=state,
            created_at=CREATED_AT,
            updated_at=CREATED_AT,
        )
        for number, state in enumerate(states, 1)
    )
    return Post(**(defaults | fields), destinations=destinations)


def make_account(number: int, **fields: Any) -> Account:
    """An account that can post."""
    defaults: dict[str, Any] = {
        "platform": "x",
        "publisher": AccountPublisher.EXTERNAL,
        "account_name": f"@acme{number}",
        "display_name": None,
        "platform_user_id": None,
        "platform_username": None,
        "avatar_url": None,
        "is_active": True,
        "needs_reconnection_since": None,
        "token_expires_at": None,
        "token_refreshed_at": None,
        "connected_at": CREATED_AT,
        "created_at": CREATED_AT,
        "updated_at": CREATED_AT,
    }
    return Account(id=AccountId(number), **(defaults | fields))


ACCOUNTS: Mapping[AccountId, Account] = {
    AccountId(number): make_account(number) for number in range(1, 10)
}


_id_sequence = count(100)


def new_id() -> UUID:
    """An id that is unique within this run."""
    return UUID(int=next(_id_sequence))


def post_strategy() -> st.SearchStrategy[Post]:
    """Strategy of drafts, scheduled posts and immediate posts, with destinations in any state."""
    drafts = st.lists(st.just(draft()), max_size=4).map(
        lambda states: make_post(states, is_draft=True)
    )
    submitted = st.builds(
        lambda states, now: make_post(
            states, submitted_now=now, scheduled_for=None if now else LATER
        ),
        st.lists(st.sampled_from(sorted(SUBMITTED)), min_size=1, max_size=4).map(
            lambda names: [SUBMITTED[name] for name in names]
        ),
        st.booleans(),
    )
    return st.one_of(drafts, submitted, submitted, submitted)
