"""Circuit breakers of accounts and servers, running workers, and the budget of refreshes of credentials."""

import sqlalchemy as sa
from alembic import op

from app.db.core.types import PortableUuid, UtcDateTime

revision = "0031"
down_revision = "0030"

_PUBLISHERS = "'external', 'sandbox', 'bluesky', 'mastodon', 'webhook', 'threads', 'instagram'"


def upgrade() -> None:
    """Create the tables, and add the column of credentials."""
    op.create_table(
        "account_breaker",
        sa.Column("workspace_id", PortableUuid(), nullable=False),
        sa.Column("account_id", sa.Integer(), autoincrement=False, nullable=False),
        *_breaker_columns(),
        sa.Column("publisher", sa.String(32), nullable=False),
        sa.Column("origin", sa.Text()),
        sa.Column("failure", sa.String(32)),
        sa.Column("worker", sa.Text()),
        sa.Column("is_of_several_workers", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("workspace_id", "account_id", name="pk_account_breaker"),
        sa.ForeignKeyConstraint(
            ["workspace_id", "account_id"],
            ["account.workspace_id", "account.id"],
            name="fk_account_breaker_workspace_id_account_id",
        ),
        _publisher_check("account_breaker"),
        sa.CheckConstraint(
            "failure IN ('unreachable', 'no_answer')", name=op.f("ck_account_breaker_failure_word")
        ),
        *_breaker_checks("account_breaker"),
    )
    op.execute(
        "CREATE INDEX ix_account_breaker_origin ON account_breaker (publisher, origin, workspace_id)"
        " WHERE origin IS NOT NULL"
    )
    op.execute(
        "CREATE INDEX ix_account_breaker_failing ON account_breaker (workspace_id, account_id)"
        " WHERE failures > 0"
    )
    op.create_table(
        "server_breaker",
        sa.Column("publisher", sa.String(32), nullable=False),
        sa.Column("origin", sa.Text(), nullable=False),
        *_breaker_columns(),
        sa.PrimaryKeyConstraint("publisher", "origin", name="pk_server_breaker"),
        _publisher_check("server_breaker"),
        *_breaker_checks("server_breaker"),
    )
    op.create_table(
        "live_worker",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("seen_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_live_worker"),
        sa.CheckConstraint("name <> ''", name=op.f("ck_live_worker_name")),
    )
    op.add_column("credential", sa.Column("refresh_budget_full_at", UtcDateTime()))


def _breaker_columns() -> list[sa.Column[object]]:
    return [
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("failing_since", UtcDateTime()),
        sa.Column("last_failed_at", UtcDateTime()),
        sa.Column("is_open", sa.Boolean(), nullable=False),
        sa.Column("open_until", UtcDateTime()),
        sa.Column("failed_probes", sa.Integer(), nullable=False),
    ]


def _breaker_checks(table: str) -> list[sa.CheckConstraint]:
    checks = {
        "failures": "failures >= 0 AND failed_probes >= 0",
        "failing_since": "(failures = 0) = (failing_since IS NULL)",
        "last_failed_at": "(failures = 0) = (last_failed_at IS NULL)",
        "is_open": "NOT is_open OR (failures > 0 AND open_until IS NOT NULL)",
    }
    return [
        sa.CheckConstraint(condition, name=op.f(f"ck_{table}_{name}"))
        for name, condition in checks.items()
    ]


def _publisher_check(table: str) -> sa.CheckConstraint:
    return sa.CheckConstraint(
        f"publisher IN ({_PUBLISHERS})", name=op.f(f"ck_{table}_publisher_word")
    )
