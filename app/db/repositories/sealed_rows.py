"""All encrypted credentials and checkpoints: listed, and replaced by newly encrypted ones."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias
from uuid import UUID

from sqlalchemy import Update, and_, bindparam, select, tuple_, update
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
from app.domain.credentials import SealedData
from app.domain.ids import WorkspaceId

RowId: TypeAlias = UUID | int
"""Id of the account or the destination that a row belongs to."""


@dataclass(frozen=True, slots=True)
class SealedRow:
    """Encrypted row, with the platform of its account or destination."""

    workspace_id: WorkspaceId
    workspace_name: str
    id: RowId
    platform: str
    data: SealedData


@dataclass(frozen=True, slots=True, eq=False)
class SealedTable:
    """Table of encrypted rows, with the statements that list and replace them."""

    lowest_id: RowId
    listed: AllWorkspacesStatement
    replaced: Update


def _sealed_table(
    model: type[AccountCredentials | DestinationCheckpoint],
    row_id: InstrumentedAttribute[Any],
    owner: type[Account | Destination],
    lowest_id: RowId,
) -> SealedTable:
    key = tuple_(model.workspace_id, row_id)
    after = tuple_(
        bindparam("after_workspace", type_=model.workspace_id.type),
        bindparam("after_id", type_=row_id.type),
    )
    listed = (
        select(
            model.workspace_id,
            Workspace.name.label("workspace_name"),
            row_id.label("id"),
            owner.platform,
            model.key_id,
            model.sealed,
        )
        .join(Workspace, Workspace.id == model.workspace_id)
        .join(owner, and_(owner.workspace_id == model.workspace_id, owner.id == row_id))
        .where(model.key_id != bindparam("except_key"), key > after)
        .order_by(model.workspace_id, row_id)
        .limit(bindparam("limit"))
    )
    replaced = (
        update(model)
        .where(
            row_id == bindparam("row_id"),
            model.sealed == bindparam("before"),
        )
        .values(key_id=bindparam("new_key_id"), sealed=bindparam("new_sealed"))
    )
    return SealedTable(
        lowest_id,
        AllWorkspacesStatement(
            listed, reason="the operator re-encrypts the rows of all workspaces"
        ),
        replaced,
    )


CREDENTIALS = _sealed_table(AccountCredentials, AccountCredentials.account_id, Account, 0)
CHECKPOINTS = _sealed_table(
    DestinationCheckpoint, DestinationCheckpoint.destination_id, Destination, UUID(int=0)
)


async def list_sealed_rows(
    reader: AllWorkspacesReader,
    table: SealedTable,
    *,
    except_key: str,
    after: SealedRow | None,
    limit: int,
) -> list[SealedRow]:
    """Return rows after another one, by workspace and id, except those of one key."""
    rows = await reader.rows(
        table.listed,
        except_key=except_key,
        after_workspace=UUID(int=0) if after is None else after.workspace_id,
        after_id=table.lowest_id if after is None else after.id,
        limit=limit,
    )
    return [
        SealedRow(
            WorkspaceId(row.workspace_id),
            row.workspace_name,
            row.id,
            row.platform,
            SealedData(row.key_id, row.sealed),
        )
        for row in rows
    ]


async def replace_sealed_rows(
    session: AllWorkspacesWriteSession,
    table: SealedTable,
    rows: Sequence[tuple[SealedRow, SealedData]],
) -> None:
    """Store new data of at least one row; a row that was changed meanwhile stays unchanged."""
    values = [
        (
            row.workspace_id,
            {
                "row_id": row.id,
                "before": row.data.sealed,
                "new_key_id": data.key_id,
                "new_sealed": data.sealed,
            },
        )
        for row, data in rows
    ]
    await session.execute_many(table.replaced, values)
