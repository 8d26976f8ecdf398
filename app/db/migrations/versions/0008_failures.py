"""Times and groups of failures, duplicates, lateness, and the person who caused an event."""

from uuid import UUID

import sqlalchemy as sa
from alembic import op

from app.db.core.types import PortableUuid, UtcDateTime
from app.db.migrations.sqlite_schema import add_checks
from app.domain.destinations import ErrorCategory
from app.domain.failure_groups import group_of

revision = "0008"
down_revision = "0007"

_BATCH_ROWS = 5_000

_CHECKS = {
    "failed_at": "(status = 'failed') = (failed_at IS NOT NULL)",
    "failure_group": "(status = 'failed') = (failure_group IS NOT NULL)",
    "is_duplicated": "status = 'published' OR NOT is_duplicated",
}
_STATEMENTS = (
    """
    UPDATE destination SET is_duplicated = true
     WHERE EXISTS (SELECT 1 FROM publish_evidence AS evidence
                    WHERE evidence.workspace_id = destination.workspace_id
                      AND evidence.destination_id = destination.id
                      AND NOT evidence.counted)
    """,
    "DROP INDEX ix_destination_next_retry",
    "CREATE INDEX ix_destination_next_retry ON destination (workspace_id, next_retry_at, id, post_id)"
    " WHERE next_retry_at IS NOT NULL",
    "CREATE INDEX ix_destination_failed"
    " ON destination (workspace_id, failed_at, id, outcome, post_id)"
    " WHERE failed_at IS NOT NULL",
    "CREATE INDEX ix_destination_failure_group"
    " ON destination (workspace_id, failure_group, failed_at, outcome, account_id, post_id)"
    " WHERE failure_group IS NOT NULL",
    "CREATE INDEX ix_destination_lateness ON destination (workspace_id, lateness_ms, id)"
    " WHERE lateness_ms IS NOT NULL",
    "CREATE INDEX ix_destination_waiting"
    " ON destination (workspace_id, due_at, id, claimable_at, account_id)"
    " WHERE settled_at IS NULL AND due_at IS NOT NULL",
    "CREATE INDEX ix_post_imported ON post (workspace_id, id) WHERE imported_at IS NOT NULL",
)
_INDEX_OF_DUPLICATES = (
    "CREATE INDEX ix_destination_duplicated ON destination (workspace_id, created_at, id)"
    " WHERE is_duplicated"
)


def upgrade() -> None:
    """Add the columns, fill them from stored rows, and then add their constraints and indexes."""
    for column in (
        sa.Column("failed_at", UtcDateTime()),
        sa.Column("failure_group", sa.Text()),
        sa.Column("is_duplicated", sa.Boolean(), server_default=sa.false(), nullable=False),
    ):
        op.add_column("destination", column)
    op.add_column("event", sa.Column("person", sa.Text()))
    connection = op.get_bind()
    _fill_failures(connection)
    if connection.dialect.name == "sqlite":
        checks = {f"ck_destination_{name}": check for name, check in _CHECKS.items()}
        add_checks(connection, "destination", checks)
    else:
        for name, check in _CHECKS.items():
            op.create_check_constraint(f"ck_destination_{name}", "destination", check)
    for statement in _STATEMENTS:
        op.execute(statement)
    is_one = " = 1" if connection.dialect.name == "sqlite" else ""
    op.execute(_INDEX_OF_DUPLICATES + is_one)


def _fill_failures(connection: sa.Connection) -> None:
    """Set the time and the group of all failures, one batch in memory at a time."""
    last = {"last_workspace": UUID(int=0), "last_id": UUID(int=0)}
    while rows := connection.execute(_NEXT_FAILURES, last).all():
        last = {"last_workspace": rows[-1].workspace_id, "last_id": rows[-1].id}
        connection.execute(
            _SET_GROUP,
            [
                {
                    "key_workspace": row.workspace_id,
                    "key_id": row.id,
                    "group": group_of(
                        row.platform, ErrorCategory(row.error_category), row.error_code, row.error
                    ),
                }
                for row in rows
            ],
        )


_DESTINATION = sa.table(
    "destination",
    sa.column("workspace_id", PortableUuid()),
    sa.column("id", PortableUuid()),
    *map(sa.column, ("platform", "error_category", "error_code", "error")),
    *map(sa.column, ("status", "settled_at", "failed_at", "failure_group")),
)
_COLUMNS = _DESTINATION.c
_NEXT_FAILURES = (
    sa.select(
        _COLUMNS.workspace_id,
        _COLUMNS.id,
        _COLUMNS.platform,
        _COLUMNS.error_category,
        _COLUMNS.error_code,
        _COLUMNS.error,
    )
    .where(
        _COLUMNS.status == "failed",
        sa.tuple_(_COLUMNS.workspace_id, _COLUMNS.id)
        > sa.tuple_(
            sa.bindparam("last_workspace", type_=PortableUuid()),
            sa.bindparam("last_id", type_=PortableUuid()),
        ),
    )
    .order_by(_COLUMNS.workspace_id, _COLUMNS.id)
    .limit(_BATCH_ROWS)
)
_SET_GROUP = (
    sa.update(_DESTINATION)
    .where(
        _COLUMNS.workspace_id == sa.bindparam("key_workspace"),
        _COLUMNS.id == sa.bindparam("key_id"),
    )
    .values(failed_at=_COLUMNS.settled_at, failure_group=sa.bindparam("group"))
)
