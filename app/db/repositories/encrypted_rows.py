"""All encrypted credentials and checkpoints: listed, and replaced by newly encrypted ones."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias
from uuid import UUID

from sqlalchemy import Update, and_, bindparam, func, select, tuple_, update
from sqlalchemy.orm import InstrumentedAttribute

from app.db.core.database import AllWorkspacesReader
from app.db.core.statements import AllWorkspacesStatement
from app.db.core.write_session import AllWorkspacesWriteSession
from app.db.models import (
    Account,
    AccountCredentials,
    Destination,
    DestinationCheckpoint,
    Workspace,
)
from app.domain.credentials import EncryptedData
from app.domain.ids import WorkspaceId

RowId: TypeAlias = UUID | int
"""Id of the account or the destination that a row belongs to."""


@dataclass(frozen=True, slots=True)
class EncryptedRow:
    """Encrypted row, with the platform of its account or destination."""

    workspace_id: WorkspaceId
    workspace_name: str
    id: RowId
    platform: str
    data: EncryptedData


@dataclass(frozen=True, slots=True, eq=False)
class EncryptedTable:
    """Table of encrypted rows, with the statements that list, update and count them."""

    lowest_id: RowId
    list_statement: AllWorkspacesStatement
    update_statement: Update
    count_statement: AllWorkspacesStatement


def _encrypted_table(
    model: type[AccountCredentials | DestinationCheckpoint],
    row_id: InstrumentedAttribute[Any],
    owner: type[Account | Destination],
    lowest_id: RowId,
) -> EncryptedTable:
    key = tuple_(model.workspace_id, row_id)
    after = tuple_(
        bindparam("after_workspace", type_=model.workspace_id.type),
        bindparam("after_id", type_=row_id.type),
    )
    list_rows = (
        select(
            model.workspace_id,
            Workspace.name.label("workspace_name"),
            row_id.label("id"),
            owner.platform,
            model.key_id,
            model.ciphertext,
        )
        .join(Workspace, Workspace.id == model.workspace_id)
        .join(owner, and_(owner.workspace_id == model.workspace_id, owner.id == row_id))
        .where(model.key_id.is_distinct_from(bindparam("except_key")), key > after)
        .order_by(model.workspace_id, row_id)
        .limit(bindparam("limit"))
    )
    update_row = (
        update(model)
        .where(
            row_id == bindparam("row_id"),
            model.ciphertext == bindparam("before"),
        )
        .values(key_id=bindparam("new_key_id"), ciphertext=bindparam("new_ciphertext"))
        .returning(row_id)
    )
    count_rows = select(model.key_id, func.count().label("number")).group_by(model.key_id)
    return EncryptedTable(
        lowest_id,
        AllWorkspacesStatement(
            list_rows, reason="the operator re-encrypts the rows of all workspaces"
        ),
        update_row,
        AllWorkspacesStatement(count_rows, reason="keys belong to the installation"),
    )


CREDENTIALS = _encrypted_table(AccountCredentials, AccountCredentials.account_id, Account, 0)
CHECKPOINTS = _encrypted_table(
    DestinationCheckpoint, DestinationCheckpoint.destination_id, Destination, UUID(int=0)
)


async def list_encrypted_rows(
    reader: AllWorkspacesReader,
    table: EncryptedTable,
    *,
    except_key: str | None,
    after: EncryptedRow | None,
    limit: int,
) -> list[EncryptedRow]:
    """Return rows after another one, by workspace and id, except those of a key if it is not None."""
    rows = await reader.rows(
        table.list_statement,
        except_key=except_key,
        after_workspace=UUID(int=0) if after is None else after.workspace_id,
        after_id=table.lowest_id if after is None else after.id,
        limit=limit,
    )
    return [
        EncryptedRow(
            WorkspaceId(row.workspace_id),
            row.workspace_name,
            row.id,
            row.platform,
            EncryptedData(row.key_id, row.ciphertext),
        )
        for row in rows
    ]


async def count_rows_by_key(
    reader: AllWorkspacesReader, table: EncryptedTable
) -> Mapping[str, int]:
    """Return the number of rows by the id of their key. Reads only an index of the keys."""
    return {row.key_id: row.number for row in await reader.rows(table.count_statement)}


async def replace_encrypted_rows(
    session: AllWorkspacesWriteSession,
    table: EncryptedTable,
    rows: Sequence[tuple[EncryptedRow, EncryptedData]],
) -> int:
    """Store new data of at least one row, and return the number of rows that were replaced.

    A row that another process has changed since it was read is left as it is.
    """
    values = [
        (
            row.workspace_id,
            {
                "row_id": row.id,
                "before": row.data.ciphertext,
                "new_key_id": data.key_id,
                "new_ciphertext": data.ciphertext,
            },
        )
        for row, data in rows
    ]
    return len(await session.execute_many(table.update_statement, values))
