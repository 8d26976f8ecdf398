"""All encrypted credentials and checkpoints: checked, and encrypted again with another key."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from uuid import UUID

import structlog

from app.db.core.database import Database
from app.db.core.write_session import AllWorkspacesWriteSession
from app.db.repositories.credential_verifications import request_verifications
from app.db.repositories.credentials import (
    delete_credentials,
    delete_unused_canaries,
    find_credentials,
    insert_canary,
    list_canaries,
)
from app.db.repositories.sealed_rows import (
    CHECKPOINTS,
    CREDENTIALS,
    SealedRow,
    SealedTable,
    list_sealed_rows,
    replace_sealed_rows,
)
from app.domain.account_commands import mark_needs_reconnection
from app.domain.ids import AccountId, DestinationId
from app.services.accounts import get_account_for_update
from app.services.credential_keys import (
    CANARY,
    CANARY_ROW,
    CredentialKeys,
    CredentialsNotReadable,
    SealingKey,
    checkpoint_row,
    credential_row,
)
from app.services.unit_of_work import UnitOfWork, WriteContext, run_in_transaction
from app.settings import SettingsError

_BATCH_SIZE = 200
"""Rows that are read, and encrypted again, together; each has little more than 16 KiB at most."""

_NO_KEY = ""
"""Id that no key has."""

logger = structlog.stdlib.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class UnreadableRow:
    """Credentials of an account, or checkpoint of a destination, that no key opens."""

    row: SealedRow
    problem: str

    @property
    def subject(self) -> str:
        """Account or destination, for a person."""
        noun = "destination" if isinstance(self.row.id, UUID) else "account"
        return f"{noun} {self.row.id}"


@dataclass(frozen=True, slots=True)
class Resealing:
    """Result of encrypting everything again."""

    count: int
    """Rows that were encrypted again; the others had the first key already."""
    discarded: int
    """Accounts whose credentials were deleted, because no key opens them."""
    unreadable: Sequence[UnreadableRow]
    """Rows that stay unchanged, because no key opens them."""


async def check_canaries(database: Database, keys: CredentialKeys, now: datetime) -> None:
    """Raise SettingsError if credentials are stored and the keys open none of them.

    If they open only some, logs a warning, and has the others verified again, whose accounts then show why
    they cannot be read.
    """
    canaries = await list_canaries(database.all_workspaces)
    missing = []
    for canary in canaries:
        try:
            keys.open(canary, CANARY_ROW)
        except CredentialsNotReadable:
            missing.append(canary.key_id)
    if missing and len(missing) < len(canaries):
        logger.warning(
            "some credentials cannot be read",
            reason=f"CREDENTIALS_KEY lacks the private key of {', '.join(missing)}."
            " Run `post-results credentials check`.",
        )
        await database.write_all_workspaces(
            lambda session: request_verifications(session, missing, now)
        )
    elif missing:
        raise SettingsError(
            f"CREDENTIALS_KEY lacks the private key of {', '.join(missing)}, which a worker needs to read the"
            " stored credentials of accounts. If that key is lost, set a new one and run `post-results"
            " credentials rotate --discard-unreadable`; the accounts must then be connected again."
        )


async def find_unreadable_rows(database: Database, keys: CredentialKeys) -> list[UnreadableRow]:
    """Return all credentials and checkpoints that the keys do not open."""
    unreadable = []
    for table in (CREDENTIALS, CHECKPOINTS):
        async for rows in _list_batches(database, table, except_key=_NO_KEY):
            unreadable += _open_rows(keys, rows)[1]
    return unreadable


async def reseal(
    database: Database, keys: CredentialKeys, now: datetime, *, discards_unreadable: bool
) -> Resealing:
    """Encrypt everything with the first key. May be repeated, and run while workers change the rows.

    Without `discards_unreadable`, what no key opens stays unchanged. With it, such credentials are deleted,
    and their accounts need to be connected again. Such checkpoints stay in either case, because publishing
    without them could publish a post twice. Raises SettingsError without keys.
    """
    if keys.current is None:
        raise SettingsError("CREDENTIALS_KEY is not set: it must have the new key, then the old.")
    count = discarded = 0
    unreadable: list[UnreadableRow] = []
    for table in (CREDENTIALS, CHECKPOINTS):
        while number := await _reseal_readable(database, keys, keys.current, table):
            count += number
        async for rows in _list_batches(database, table, except_key=keys.current.id):
            for lost in _open_rows(keys, rows)[1]:
                if table is CREDENTIALS and discards_unreadable:
                    discarded += await _discard_credentials(database, lost.row, now)
                else:
                    unreadable.append(lost)
    canary = keys.current.seal(CANARY, CANARY_ROW)

    async def replace_canaries(session: AllWorkspacesWriteSession) -> None:
        await delete_unused_canaries(session)
        await insert_canary(session, canary)

    await database.write_all_workspaces(replace_canaries)
    return Resealing(count, discarded, unreadable)


async def _reseal_readable(
    database: Database, keys: CredentialKeys, current: SealingKey, table: SealedTable
) -> int:
    """Encrypt the rows of other keys that can be opened; return how many there were.

    A row that another process changes meanwhile stays as it is, for the next call.
    """
    number = 0
    async for rows in _list_batches(database, table, except_key=current.id):
        opened, _ = _open_rows(keys, rows)
        if opened:
            sealed = [(row, current.seal(data, _row_name(row))) for row, data in opened]
            await database.write_all_workspaces(
                partial(replace_sealed_rows, table=table, rows=sealed)
            )
            number += len(opened)
    return number


async def _discard_credentials(database: Database, row: SealedRow, now: datetime) -> bool:
    """Delete the credentials of a row, and mark its account; return False if they were changed meanwhile."""
    account_id = AccountId(int(row.id))
    write_context = WriteContext.without_actor(row.workspace_id, "discardCredentials", now)

    async def work(uow: UnitOfWork) -> bool:
        account = await get_account_for_update(uow, account_id)
        stored = await find_credentials(uow.reader, account_id)
        if stored is None or stored.data != row.data:
            return False
        await delete_credentials(uow.session, account_id)
        await uow.save_accounts([mark_needs_reconnection(account, write_context.now, now)])
        return True

    return await run_in_transaction(database, write_context, work)


async def _list_batches(
    database: Database, table: SealedTable, *, except_key: str
) -> AsyncIterator[list[SealedRow]]:
    """Yield the rows of all workspaces, except those of one key, in batches."""
    last: SealedRow | None = None
    while rows := await list_sealed_rows(
        database.all_workspaces, table, except_key=except_key, after=last, limit=_BATCH_SIZE
    ):
        yield rows
        last = rows[-1]


def _open_rows(
    keys: CredentialKeys, rows: Sequence[SealedRow]
) -> tuple[list[tuple[SealedRow, bytes]], list[UnreadableRow]]:
    """Return the rows that the keys open, with their data, and the others."""
    opened, unreadable = [], []
    for row in rows:
        try:
            opened.append((row, keys.open(row.data, _row_name(row))))
        except CredentialsNotReadable as error:
            unreadable.append(UnreadableRow(row, str(error)))
    return opened, unreadable


def _row_name(row: SealedRow) -> str:
    if isinstance(row.id, UUID):
        return checkpoint_row(row.workspace_id, DestinationId(row.id))
    return credential_row(row.workspace_id, AccountId(row.id), row.platform)
