"""A request that comes again has no second effect and gets the first answer. Knows no operation."""

from collections.abc import Awaitable, Callable
from datetime import datetime
from functools import partial
from typing import Any, TypeAlias

from app.db.engine import Database
from app.db.repetitions import (
    find_repetition,
    forget_expired,
    keep_outcome,
    lock_repetition,
    oldest_expiries,
)
from app.domain.errors import IdempotencyInProgress, IdempotencyKeyReused
from app.domain.idempotency import RepetitionKey, fingerprint
from app.services.writing import Writing

Outcome: TypeAlias = dict[str, Any]
"""What an operation did, in JSON: ids and refusals, from which the answer is made anew."""

_RETRY_AFTER_SECONDS = 1
_FORGOTTEN_AT_ONCE = 1000


async def always(_outcome: Outcome) -> bool:
    """For what stands whatever became of it."""
    return True


async def once(
    writing: Writing,
    key: RepetitionKey | None,
    request: object,
    work: Callable[[], Awaitable[Outcome]],
    *,
    stands: Callable[[Outcome], Awaitable[bool]] = always,
) -> Outcome:
    """Do the work, or tell what it did the first time; without a key, every time is the first.

    What it did is kept in the same transaction. Where it does not stand any more, a client that names the
    request is told of it all the same; one that does not cannot mean it, and the work is done anew.
    IdempotencyInProgress while the first request runs, and IdempotencyKeyReused where that asked for
    something else.
    """
    if key is None:
        return await work()
    errand = writing.errand
    where = (writing.session, errand.workspace_id, errand.operation, key.text)
    if not await lock_repetition(*where, wait=key.waits):
        raise IdempotencyInProgress(
            "A request with this idempotency key is running just now.",
            argument="idempotencyKey",
            retry_after=_RETRY_AFTER_SECONDS,
        )
    asked_for = fingerprint(request)
    first = await find_repetition(writing.reader, errand.operation, key.text)
    if first is not None and first.expires_at > errand.now:
        if first.fingerprint != asked_for:
            raise IdempotencyKeyReused(
                "This idempotency key was used for another request.", argument="idempotencyKey"
            )
        outcome: Outcome = first.outcome
        if not key.waits or await stands(outcome):
            return outcome
    outcome = await work()
    await keep_outcome(
        *where,
        fingerprint=asked_for,
        outcome=outcome,
        now=errand.now,
        expires_at=errand.now + key.lifetime,
    )
    return outcome


async def forget_old_requests(database: Database, now: datetime) -> None:
    """Delete what no repetition is told any more, little by little; nothing is locked where there is none."""
    while True:
        async with database.read_all_workspaces() as connection:
            until = await oldest_expiries(connection, now, limit=_FORGOTTEN_AT_ONCE)
        if until is None:
            return
        await database.write(partial(forget_expired, until=until))
