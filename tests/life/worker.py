"""What a worker does to a destination, written as services write: the log of attempts and events included."""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from uuid import uuid4

from sqlalchemy import insert, update

from app.db import models
from app.db.engine import Database
from app.domain.destinations import (
    Destination,
    DestinationState,
    DestinationStatus,
    ErrorCategory,
    Outcome,
)
from app.domain.ids import AccountId, PostId
from app.services.writing import Errand, Writing, write

LEASE = timedelta(minutes=5)
RETRY_AFTER = timedelta(minutes=1)

Step = Callable[[DestinationState, datetime], DestinationState]


def claim(state: DestinationState, now: datetime) -> DestinationState:
    return replace(
        state,
        status=DestinationStatus.PUBLISHING,
        claimable_at=now + LEASE,
        next_retry_at=None,
        fence=state.fence + 1,
        lease_token=uuid4(),
        lease_expires_at=now + LEASE,
    )


def release(state: DestinationState, now: datetime) -> DestinationState:
    retry_at = now if state.error else None
    return replace(
        _without_lease(state),
        status=DestinationStatus.QUEUED,
        next_retry_at=retry_at,
        claimable_at=retry_at or state.due_at,
    )


def start(state: DestinationState, now: datetime) -> DestinationState:
    return replace(
        state,
        claimable_at=None,
        started_at=now,
        attempts=state.attempts + 1,
        round_attempts=state.round_attempts + 1,
    )


def publish(state: DestinationState, now: datetime) -> DestinationState:
    assert state.due_at is not None
    return replace(
        _without_lease(state),
        status=DestinationStatus.PUBLISHED,
        outcome=Outcome.PUBLISHED,
        published_at=now,
        platform_post_url="https://x.com/1",
        error=None,
        error_category=None,
        error_code=None,
        settled_at=now,
        due_day=state.due_at.date(),
        lateness_ms=(now - state.due_at) // timedelta(milliseconds=1),
    )


def fail(state: DestinationState, now: datetime) -> DestinationState:
    assert state.due_at is not None
    return replace(
        _without_lease(state),
        status=DestinationStatus.FAILED,
        outcome=Outcome.FAILED,
        error="The platform refused it.",
        error_category=ErrorCategory.PERMANENT,
        error_code="PERMANENT",
        settled_at=now,
        due_day=state.due_at.date(),
    )


def lose(state: DestinationState, now: datetime) -> DestinationState:
    return replace(
        fail(state, now),
        outcome=Outcome.UNKNOWN,
        error_category=ErrorCategory.UNCLASSIFIED,
        error_code="OUTCOME_UNKNOWN",
        verifiable_at=now,
    )


def fail_for_now(state: DestinationState, now: datetime) -> DestinationState:
    return replace(
        _without_lease(state),
        status=DestinationStatus.QUEUED,
        claimable_at=now + RETRY_AFTER,
        next_retry_at=now + RETRY_AFTER,
        error="The platform did not answer in time.",
        error_category=ErrorCategory.TRANSIENT,
        error_code="TIMEOUT",
    )


STEPS: dict[str, Step] = {
    "claim": claim,
    "release": release,
    "start": start,
    "publish": publish,
    "fail": fail,
    "lose": lose,
    "fail for now": fail_for_now,
}
_ENDS = {
    "publish": Outcome.PUBLISHED,
    "fail": Outcome.FAILED,
    "lose": Outcome.UNKNOWN,
    "fail for now": Outcome.FAILED,
}


async def work(
    database: Database, errand: Errand, post_id: PostId, account: AccountId, step: str
) -> None:
    """Let a worker do the step at a post's destination; whether it may is for the caller to know."""

    async def transaction(writing: Writing) -> None:
        await writing.lock_posts([post_id])
        post = (await writing.posts([post_id]))[post_id]
        destinations = []
        for each in post.destinations:
            kept = each
            if each.account_id == account:
                state = STEPS[step](each.state, errand.now)
                kept = replace(each, state=state, updated_at=errand.now)
                await _log(writing, kept, step)
            destinations.append(kept)
        await writing.save_posts([replace(post, destinations=tuple(destinations))])

    await write(database, errand, transaction)


def _without_lease(state: DestinationState) -> DestinationState:
    return replace(
        state, claimable_at=None, lease_token=None, lease_expires_at=None, started_at=None
    )


async def _log(writing: Writing, at: Destination, step: str) -> None:
    of = {"workspace_id": writing.errand.workspace_id, "destination_id": at.id}
    now = writing.errand.now
    if step == "start":
        attempt = {
            **of,
            "id": uuid4(),
            "kind": "regular",
            "number": at.state.attempts,
            "fence": at.state.fence,
            "outcome": Outcome.NONE,
            "started_at": now,
        }
        await writing.session.execute(insert(models.Attempt), [attempt])
    elif step in _ENDS:
        failed = step != "publish"
        ended = (
            update(models.Attempt)
            .where(
                models.Attempt.workspace_id == of["workspace_id"],
                models.Attempt.destination_id == at.id,
                models.Attempt.fence == at.state.fence,
            )
            .values(
                outcome=_ENDS[step],
                finished_at=now,
                message=at.state.error if failed else None,
                category=at.state.error_category if failed else None,
                code=at.state.error_code if failed else None,
            )
        )
        await writing.session.execute(ended)
        if step == "publish":
            evidence = {
                **of,
                "fence": at.state.fence,
                "counted": True,
                "published_at": now,
                "reported_at": now,
            }
            await writing.session.execute(insert(models.PublishEvidence), [evidence])
