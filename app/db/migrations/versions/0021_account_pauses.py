"""Pauses of accounts by rate limits, and queued destinations that wait for the end of one."""

import re

import sqlalchemy as sa
from alembic import op

from app.db.core.types import PortableUuid, UtcDateTime
from app.db.migrations import SchemaMismatch
from app.db.migrations.sqlite_schema import edit_create_table

revision = "0021"
down_revision = "0020"

_CHECK_NAME = "ck_destination_claimable_at"
_CHECK = (
    "CASE WHEN claimable_at IS NULL"
    " THEN status = 'queued' OR lease_token IS NULL OR started_at IS NOT NULL"
    " WHEN status = 'queued'"
    " THEN COALESCE(claimable_at = next_retry_at, claimable_at >= due_at, 1 = 0)"
    " ELSE lease_token IS NOT NULL AND started_at IS NULL"
    " AND claimable_at = lease_expires_at"
    " END"
)
_OLD_CHECK_PATTERN = re.compile(
    rf"CONSTRAINT {_CHECK_NAME} CHECK \(CASE WHEN claimable_at\b.*?\bEND\)", re.DOTALL
)


def upgrade() -> None:
    """Create the table, and let queued destinations be claimable later than they are due.

    Raises SchemaMismatch if the table of destinations has another CHECK.
    """
    op.create_table(
        "account_pause",
        sa.Column("workspace_id", PortableUuid(), nullable=False),
        sa.Column("account_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("paused_until", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("workspace_id", "account_id", name="pk_account_pause"),
        sa.ForeignKeyConstraint(
            ["workspace_id", "account_id"],
            ["account.workspace_id", "account.id"],
            name="fk_account_pause_workspace_id_account_id",
        ),
    )
    op.create_index("ix_account_pause_paused_until", "account_pause", ["paused_until"])
    connection = op.get_bind()
    if connection.dialect.name != "sqlite":
        op.drop_constraint(_CHECK_NAME, "destination")
        op.create_check_constraint(_CHECK_NAME, "destination", _CHECK)
    elif not edit_create_table(connection, "destination", _replace_check):
        raise SchemaMismatch(
            f"The table destination has no constraint {_CHECK_NAME}: another program has changed it. Restore"
            " a backup."
        )


def _replace_check(sql: str) -> str | None:
    replaced, count = _OLD_CHECK_PATTERN.subn(f"CONSTRAINT {_CHECK_NAME} CHECK ({_CHECK})", sql)
    return replaced if count else None
