"""Webhooks; replaces tables that no version used."""

import sqlalchemy as sa
from alembic import op

from app.db.core.types import PortableJson, PortableUuid, UtcDateTime

revision = "0014"
down_revision = "0013"

_WORKSPACE_AND_ID = ("workspace_id", "id")


def upgrade() -> None:
    """Create the tables."""
    for table in ("webhook_delivery_try", "webhook_delivery", "webhook"):
        op.drop_table(table)
    op.add_column("deployment", sa.Column("webhooks_polled_at", UtcDateTime()))
    op.create_table(
        "webhook",
        sa.Column("workspace_id", PortableUuid(), nullable=False),
        sa.Column("id", PortableUuid(), nullable=False),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("event_types", PortableJson, nullable=False),
        sa.Column("platforms", PortableJson, nullable=False),
        sa.Column("account_ids", PortableJson, nullable=False),
        sa.Column("name", sa.Text()),
        sa.Column("description", sa.Text()),
        sa.Column("encrypted_secret", sa.Text(), nullable=False),
        sa.Column("encrypted_previous_secret", sa.Text()),
        sa.Column("previous_secret_expires_at", UtcDateTime()),
        sa.Column("is_active", sa.Boolean(), nullable=False),
        sa.Column("feed_seq", sa.BigInteger(), nullable=False),
        sa.Column("consecutive_failures", sa.Integer(), nullable=False),
        sa.Column("failing_since", UtcDateTime()),
        sa.Column("disabled_reason", sa.String(32)),
        sa.Column("auto_disabled_at", UtcDateTime()),
        sa.Column("last_delivery_at", UtcDateTime()),
        sa.Column("last_success_at", UtcDateTime()),
        sa.Column("last_failure_at", UtcDateTime()),
        sa.Column("deleted_at", UtcDateTime()),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("updated_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint(*_WORKSPACE_AND_ID, name="pk_webhook"),
        sa.ForeignKeyConstraint(["workspace_id"], ["workspace.id"], name="fk_webhook_workspace_id"),
        sa.CheckConstraint("feed_seq >= 0", name="ck_webhook_feed_seq"),
        sa.CheckConstraint("consecutive_failures >= 0", name="ck_webhook_consecutive_failures"),
        sa.CheckConstraint(
            "(failing_since IS NULL) = (consecutive_failures = 0)", name="ck_webhook_failing_since"
        ),
        sa.CheckConstraint(
            "disabled_reason IN ('gone', 'failing')", name="ck_webhook_disabled_reason_word"
        ),
        sa.CheckConstraint(
            "(disabled_reason IS NULL) = (auto_disabled_at IS NULL)",
            name="ck_webhook_disabled_reason",
        ),
        sa.CheckConstraint(
            "auto_disabled_at IS NULL OR NOT is_active", name="ck_webhook_auto_disabled_at"
        ),
        sa.CheckConstraint("deleted_at IS NULL OR NOT is_active", name="ck_webhook_deleted_at"),
        sa.CheckConstraint(
            "(encrypted_previous_secret IS NULL) = (previous_secret_expires_at IS NULL)",
            name="ck_webhook_previous_secret",
        ),
    )
    op.create_table(
        "webhook_delivery",
        sa.Column("workspace_id", PortableUuid(), nullable=False),
        sa.Column("id", PortableUuid(), nullable=False),
        sa.Column("webhook_id", PortableUuid(), nullable=False),
        sa.Column("event_seq", sa.BigInteger(), nullable=False),
        sa.Column("event_type", sa.String(32), nullable=False),
        sa.Column("event_id", PortableUuid(), nullable=False),
        sa.Column("post_id", PortableUuid()),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("round_attempts", sa.Integer(), nullable=False),
        sa.Column("next_attempt_at", UtcDateTime()),
        sa.Column("lease_token", PortableUuid()),
        sa.Column("delivered_at", UtcDateTime()),
        sa.Column("given_up_at", UtcDateTime()),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint(*_WORKSPACE_AND_ID, name="pk_webhook_delivery"),
        sa.ForeignKeyConstraint(
            ["workspace_id", "webhook_id"],
            ["webhook.workspace_id", "webhook.id"],
            name="fk_webhook_delivery_workspace_id_webhook_id",
        ),
        sa.UniqueConstraint(
            "workspace_id", "webhook_id", "event_seq", name="uq_webhook_delivery_event"
        ),
        sa.CheckConstraint(
            "round_attempts >= 0 AND attempts >= round_attempts",
            name="ck_webhook_delivery_attempts",
        ),
        sa.CheckConstraint(
            "(CASE WHEN next_attempt_at IS NULL THEN 0 ELSE 1 END)"
            " + (CASE WHEN delivered_at IS NULL THEN 0 ELSE 1 END)"
            " + (CASE WHEN given_up_at IS NULL THEN 0 ELSE 1 END) = 1",
            name="ck_webhook_delivery_status",
        ),
        sa.CheckConstraint(
            "lease_token IS NULL OR next_attempt_at IS NOT NULL", name="ck_webhook_delivery_lease"
        ),
    )
    _create_partial_index("due", "webhook_id", "next_attempt_at", "event_seq", of="next_attempt_at")
    _create_partial_index("given_up", "webhook_id", "event_seq", of="given_up_at")
    _create_partial_index("post", "post_id", "event_seq", of="post_id")
    op.create_index("ix_webhook_delivery_created_at", "webhook_delivery", ["created_at"])
    op.create_table(
        "webhook_delivery_attempt",
        sa.Column("workspace_id", PortableUuid(), nullable=False),
        sa.Column("delivery_id", PortableUuid(), nullable=False),
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("started_at", UtcDateTime(), nullable=False),
        sa.Column("duration_ms", sa.Integer(), nullable=False),
        sa.Column("status_code", sa.Integer()),
        sa.Column("error", sa.Text()),
        sa.Column("response_body", sa.Text()),
        sa.PrimaryKeyConstraint(
            "workspace_id", "delivery_id", "number", name="pk_webhook_delivery_attempt"
        ),
        sa.ForeignKeyConstraint(
            ["workspace_id", "delivery_id"],
            ["webhook_delivery.workspace_id", "webhook_delivery.id"],
            name="fk_webhook_delivery_attempt_workspace_id_delivery_id",
        ),
    )


def _create_partial_index(name: str, *columns: str, of: str) -> None:
    condition = sa.text(f"{of} IS NOT NULL")
    op.create_index(
        f"ix_webhook_delivery_{name}",
        "webhook_delivery",
        ["workspace_id", *columns],
        sqlite_where=condition,
        postgresql_where=condition,
    )
