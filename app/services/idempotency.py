"""A request that comes again has no second effect and gets the first answer. Knows no operation."""

from collections.abc import Awaitable, Callable
from datetime import datetime
from functools import partial
from typing import Any, TypeAlias

from app.db.core.database import Database
from app.db.repositories.idempotency_keys import (
    delete_expired_idempotency_keys,
    find_expiry_cutoff,
    find_idempotency_key,
    lock_idempotency_key,
    store_outcome,
)
from app.domain.errors import IdempotencyInProgress, IdempotencyKeyReused
from app.domain.idempotency import IdempotencyKey, fingerprint
from app.services.unit_of_work import UnitOfWork

StoredOutcome: TypeAlias = dict[str, Any]
"""What an operation did, in JSON: ids and refusals, from which the answer is made anew."""

_RETRY_AFTER_SECONDS = 1
_PRUNE_BATCH_SIZE = 1000


async def always_valid(_outcome: StoredOutcome) -> bool:
    """For what stands whatever became of it."""
    return True


async def run_idempotently(
    uow: UnitOfWork,
    idempotency_key: IdempotencyKey | None,
    request: object,
    work: Callable[[], Awaitable[StoredOutcome]],
    *,
    still_valid: Callable[[StoredOutcome], Awaitable[bool]] = always_valid,
) -> StoredOutcome:
    """Do the work, or tell what it did the first time; without a key, every time is the first.

    What it did is kept in the same transaction. Where it does not stand any more, a client that names the
    request is told of it all the same; one that does not cannot mean it, and the work is done anew.
    IdempotencyInProgress while the first request runs, and IdempotencyKeyReused where that asked for
    something else.
    """
    if idempotency_key is None:
        return await work()
    errand = uow.errand
    where = (uow.session, errand.workspace_id, errand.operation, idempotency_key.text)
    if not await lock_idempotency_key(*where, wait=idempotency_key.waits_for_first):
        raise IdempotencyInProgress(
            "A request with this idempotency key is running just now.",
            argument="idempotencyKey",
            retry_after=_RETRY_AFTER_SECONDS,
        )
    asked_for = fingerprint(request)
    first = await find_idempotency_key(uow.reader, errand.operation, idempotency_key.text)
    if first is not None and first.expires_at > errand.now:
        if first.fingerprint != asked_for:
            raise IdempotencyKeyReused(
                "This idempotency key was used for another request.", argument="idempotencyKey"
            )
        outcome: StoredOutcome = first.outcome
        if not idempotency_key.waits_for_first or await still_valid(outcome):
            return outcome
    outcome = await work()
    await store_outcome(
        *where,
        fingerprint=asked_for,
        outcome=outcome,
        now=errand.now,
        expires_at=errand.now + idempotency_key.lifetime,
    )
    return outcome


async def prune_idempotency_keys(database: Database, now: datetime) -> None:
    """Delete what no repetition is told any more, little by little; nothing is locked where there is none."""
    while True:
        async with database.unscoped_connection() as connection:
            until = await find_expiry_cutoff(connection, now, limit=_PRUNE_BATCH_SIZE)
        if until is None:
            return
        await database.write(partial(delete_expired_idempotency_keys, until=until))
