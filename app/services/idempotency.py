"""Idempotent transactions: a repeated request has no second effect and gets the first result."""

from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

from app.db.core.database import Database, Reader
from app.db.repositories.idempotency_keys import (
    find_idempotency_key,
    lock_idempotency_key,
    store_outcome,
)
from app.domain.errors import IdempotencyInProgress, IdempotencyKeyReused
from app.domain.idempotency import IdempotencyKey, fingerprint
from app.services.unit_of_work import UnitOfWork, WriteContext, run_in_transaction

StoredOutcome: TypeAlias = dict[str, Any]
"""Result of an operation as JSON: ids and refusals, from which the response is built again."""

_RETRY_AFTER_SECONDS = 1


async def _always_valid(_uow: UnitOfWork, _outcome: StoredOutcome) -> bool:
    """Return True: the `still_valid` of outcomes that never lose their validity."""
    return True


async def is_repetition(
    database: Database,
    write_context: WriteContext,
    idempotency_key: IdempotencyKey | None,
    request: object,
) -> bool:
    """Return whether `run_idempotently` would only return the stored outcome of this request.

    For operations whose outcomes never lose their validity. Raises IdempotencyKeyReused if the first request
    was a different one.
    """
    if idempotency_key is None:
        return False
    reader = database.reader(write_context.workspace_id)
    return await _find_outcome(reader, write_context, idempotency_key, request) is not None


async def run_idempotently(
    database: Database,
    write_context: WriteContext,
    idempotency_key: IdempotencyKey | None,
    request: object,
    work: Callable[[UnitOfWork], Awaitable[StoredOutcome]],
    *,
    still_valid: Callable[[UnitOfWork, StoredOutcome], Awaitable[bool]] = _always_valid,
) -> StoredOutcome:
    """Run `work` in a transaction, once per idempotency key; a repetition gets the stored outcome.

    The outcome is stored in the same transaction. Without a key, `work` always runs. If the outcome is no
    longer valid, `work` runs again, unless the client chose the key itself.

    Raises IdempotencyInProgress while the first request runs, and IdempotencyKeyReused if the first
    request was a different one.
    """
    if idempotency_key is None:
        return await run_in_transaction(database, write_context, work)
    key, now = idempotency_key, write_context.now

    async def run_once(uow: UnitOfWork) -> StoredOutcome:
        key_row = (uow.session, write_context.operation, key.text)
        if not await lock_idempotency_key(*key_row, wait=not key.is_client_chosen):
            raise IdempotencyInProgress(
                "A request with this idempotency key is running just now.",
                argument="idempotencyKey",
                retry_after=_RETRY_AFTER_SECONDS,
            )
        stored = await _find_outcome(uow.reader, write_context, key, request)
        if stored is not None and (key.is_client_chosen or await still_valid(uow, stored)):
            return stored
        outcome = await work(uow)
        await store_outcome(
            *key_row,
            fingerprint=fingerprint(request),
            outcome=outcome,
            now=now,
            expires_at=now + key.lifetime,
        )
        return outcome

    return await run_in_transaction(database, write_context, run_once)


async def _find_outcome(
    reader: Reader, write_context: WriteContext, key: IdempotencyKey, request: object
) -> StoredOutcome | None:
    """Return the outcome that is stored for the key, or None; raises IdempotencyKeyReused."""
    first = await find_idempotency_key(reader, write_context.operation, key.text)
    if first is None or first.expires_at <= write_context.now:
        return None
    if first.fingerprint != fingerprint(request):
        raise IdempotencyKeyReused(
            "This idempotency key was used for another request.", argument="idempotencyKey"
        )
    outcome: StoredOutcome = first.outcome
    return outcome
