"""All tables of the first released version. Later changes of the schema are new migrations."""

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.schema import CreateIndex, CreateTable

revision = "0005"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    for table in _METADATA.sorted_tables:
        op.execute(CreateTable(table))
    for index in _INDEXES:
        op.execute(CreateIndex(index))


_METADATA = sa.MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)
_INDEXES: list[sa.Index] = []
"""Indexes in the order of their creation, by which SQLite's planner chooses among equal plans."""

_UTC_DATETIME = sa.DateTime(timezone=True)
_UUID = sa.Uuid().with_variant(sa.String(36), "sqlite")
_ENUM = sa.String(32)


def _required(name: str, column_type: sa.types.TypeEngine[Any]) -> sa.Column[Any]:
    return sa.Column(name, column_type, nullable=False)


def _optional(name: str, column_type: sa.types.TypeEngine[Any]) -> sa.Column[Any]:
    return sa.Column(name, column_type, nullable=True)


def _check(name: str, condition: str) -> sa.CheckConstraint:
    return sa.CheckConstraint(condition, name=name)


def _enum_check(column: str, *values: str) -> sa.CheckConstraint:
    listed = ", ".join(f"'{value}'" for value in values)
    return _check(f"{column}_word", f"{column} IN ({listed})")


def _workspace_key() -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(["workspace_id"], ["workspace.id"])


def _foreign_key(column: str, target: str) -> sa.ForeignKeyConstraint:
    """Return a foreign key inside one workspace: both keys start with the workspace."""
    return sa.ForeignKeyConstraint(
        ["workspace_id", column], [f"{target}.workspace_id", f"{target}.id"]
    )


def _index(*columns: str) -> sa.Index:
    index = sa.Index(None, *columns)
    _INDEXES.append(index)
    return index


def _partial_index(name: str, *columns: str, where: str, unique: bool = False) -> sa.Index:
    """Return a partial index; its columns start with `workspace_id` unless they include it elsewhere."""
    if "workspace_id" not in columns:
        columns = ("workspace_id", *columns)
    condition = sa.text(where)
    index = sa.Index(
        name, *columns, unique=unique, sqlite_where=condition, postgresql_where=condition
    )
    _INDEXES.append(index)
    return index


sa.Table(
    "deployment",
    _METADATA,
    sa.Column("id", sa.SmallInteger(), nullable=False, autoincrement=False),
    _required("secret_key", sa.LargeBinary()),
    _required("created_at", _UTC_DATETIME),
    sa.PrimaryKeyConstraint("id"),
    _check("single_row", "id = 1"),
)

sa.Table(
    "workspace",
    _METADATA,
    _required("id", _UUID),
    _required("name", sa.Text()),
    _required("kind", _ENUM),
    _optional("mirror_of", sa.Text()),
    _required("event_seq", sa.BigInteger()),
    _required("next_account_id", sa.Integer()),
    _required("created_at", _UTC_DATETIME),
    sa.PrimaryKeyConstraint("id"),
    sa.UniqueConstraint("name"),
    _enum_check("kind", "local", "mirror"),
    _check("mirror_of", "(kind = 'mirror') = (mirror_of IS NOT NULL)"),
    _check("event_seq", "event_seq >= 0"),
    _check("next_account_id", "next_account_id >= 1"),
)

sa.Table(
    "api_key",
    _METADATA,
    _required("workspace_id", _UUID),
    _required("id", _UUID),
    _required("digest", sa.LargeBinary()),
    _required("display_prefix", sa.Text()),
    _required("name", sa.Text()),
    _required("scopes", sa.JSON()),
    _required("created_at", _UTC_DATETIME),
    _optional("expires_at", _UTC_DATETIME),
    _optional("revoked_at", _UTC_DATETIME),
    _optional("last_used_at", _UTC_DATETIME),
    sa.PrimaryKeyConstraint("workspace_id", "id"),
    _workspace_key(),
    sa.UniqueConstraint("digest"),
)

sa.Table(
    "account",
    _METADATA,
    _required("workspace_id", _UUID),
    _required("id", sa.Integer()),
    _required("platform", sa.Text()),
    _optional("account_name", sa.Text()),
    _optional("display_name", sa.Text()),
    _optional("platform_user_id", sa.Text()),
    _optional("platform_username", sa.Text()),
    _optional("avatar_url", sa.Text()),
    _required("is_active", sa.Boolean()),
    _optional("needs_reconnection_since", _UTC_DATETIME),
    _optional("token_expires_at", _UTC_DATETIME),
    _optional("token_refreshed_at", _UTC_DATETIME),
    _required("connected_at", _UTC_DATETIME),
    _required("created_at", _UTC_DATETIME),
    _required("updated_at", _UTC_DATETIME),
    sa.PrimaryKeyConstraint("workspace_id", "id"),
    _workspace_key(),
    _check("id", "id >= 1"),
)

sa.Table(
    "post",
    _METADATA,
    _required("workspace_id", _UUID),
    _required("id", _UUID),
    _required("content", sa.Text()),
    _required("is_draft", sa.Boolean()),
    _required("submitted_now", sa.Boolean()),
    _optional("scheduled_for", _UTC_DATETIME),
    _optional("timezone", sa.Text()),
    _required("media_ids", sa.JSON()),
    _required("media", sa.JSON()),
    _required("platform_content", sa.JSON()),
    _optional("reference", sa.Text()),
    _required("status", _ENUM),
    _optional("published_at", _UTC_DATETIME),
    _required("version", sa.Integer()),
    _required("search_text", sa.Text()),
    _optional("deleted_at", _UTC_DATETIME),
    _optional("imported_at", _UTC_DATETIME),
    _required("created_at", _UTC_DATETIME),
    _required("updated_at", _UTC_DATETIME),
    sa.PrimaryKeyConstraint("workspace_id", "id"),
    _workspace_key(),
    _enum_check(
        "status", "draft", "scheduled", "publishing", "published", "partially_failed", "failed"
    ),
    _check("is_draft", "status = 'draft' OR NOT is_draft"),
    _check("version", "version >= 1"),
    _partial_index("ix_post_created_at", "created_at", "id", where="deleted_at IS NULL"),
    _partial_index("ix_post_published_at", "published_at", "id", where="deleted_at IS NULL"),
    _partial_index(
        "ix_post_reference",
        "reference",
        "created_at",
        "id",
        where="reference IS NOT NULL AND deleted_at IS NULL",
    ),
    _partial_index("ix_post_scheduled_for", "scheduled_for", "id", where="deleted_at IS NULL"),
    _partial_index("ix_post_status", "status", "created_at", "id", where="deleted_at IS NULL"),
    _partial_index("ix_post_updated_at", "updated_at", "id", where="deleted_at IS NULL"),
    _partial_index("uq_post_kept", "id", where="deleted_at IS NULL", unique=True),
)

sa.Table(
    "destination",
    _METADATA,
    _required("workspace_id", _UUID),
    _required("id", _UUID),
    _required("post_id", _UUID),
    _required("account_id", sa.Integer()),
    _required("platform", sa.Text()),
    _required("position", sa.Integer()),
    _required("status", _ENUM),
    _required("outcome", _ENUM),
    _optional("due_at", _UTC_DATETIME),
    _optional("claimable_at", _UTC_DATETIME),
    _required("attempts", sa.Integer()),
    _required("round_attempts", sa.Integer()),
    _optional("round_started_at", _UTC_DATETIME),
    _optional("next_retry_at", _UTC_DATETIME),
    _required("fence", sa.Integer()),
    _optional("lease_token", _UUID),
    _optional("lease_expires_at", _UTC_DATETIME),
    _optional("started_at", _UTC_DATETIME),
    _optional("published_at", _UTC_DATETIME),
    _optional("platform_post_id", sa.Text()),
    _optional("platform_post_url", sa.Text()),
    _optional("error", sa.Text()),
    _optional("error_category", _ENUM),
    _optional("error_code", sa.Text()),
    _optional("settled_at", _UTC_DATETIME),
    _optional("verifiable_at", _UTC_DATETIME),
    _optional("verification_token", _UUID),
    _optional("due_day", sa.Date()),
    _optional("lateness_ms", sa.BigInteger()),
    _required("created_at", _UTC_DATETIME),
    _required("updated_at", _UTC_DATETIME),
    sa.PrimaryKeyConstraint("workspace_id", "id"),
    _workspace_key(),
    _foreign_key("post_id", "post"),
    _foreign_key("account_id", "account"),
    sa.UniqueConstraint("workspace_id", "post_id", "account_id"),
    _enum_check("status", "queued", "publishing", "published", "failed"),
    _enum_check("outcome", "none", "published", "failed", "unknown"),
    _enum_check(
        "error_category",
        "transient",
        "rate_limited",
        "auth",
        "content_rejected",
        "permanent",
        "unclassified",
    ),
    _check("position", "position >= 0"),
    _check("outcome_published", "(status = 'published') = (outcome = 'published')"),
    _check("outcome_failed", "(status = 'failed') = (outcome IN ('failed', 'unknown'))"),
    _check("published_at", "(status = 'published') = (published_at IS NOT NULL)"),
    _check("platform_post_id", "status = 'published' OR platform_post_id IS NULL"),
    _check("platform_post_url", "status = 'published' OR platform_post_url IS NULL"),
    _check("error_failed", "status <> 'failed' OR error IS NOT NULL"),
    _check("error_published", "status <> 'published' OR error IS NULL"),
    _check("error_category", "(error IS NULL) = (error_category IS NULL)"),
    _check("error_code", "(error IS NULL) = (error_code IS NULL)"),
    _check("next_retry_at", "next_retry_at IS NULL OR (status = 'queued' AND error IS NOT NULL)"),
    _check("round_started_at", "(due_at IS NULL) = (round_started_at IS NULL)"),
    _check("attempts", "0 <= round_attempts AND round_attempts <= attempts"),
    _check("fence", "fence >= 0"),
    _check("lease", "(lease_token IS NULL) = (lease_expires_at IS NULL)"),
    _check("lease_publishing", "status = 'publishing' OR lease_token IS NULL"),
    _check("started_at", "lease_token IS NOT NULL OR started_at IS NULL"),
    _check(
        "claimable_at",
        "CASE WHEN claimable_at IS NULL"
        " THEN status = 'queued' OR lease_token IS NULL OR started_at IS NOT NULL"
        " WHEN status = 'queued'"
        " THEN COALESCE(claimable_at = COALESCE(next_retry_at, due_at), 1 = 0)"
        " ELSE lease_token IS NOT NULL AND started_at IS NULL"
        " AND claimable_at = lease_expires_at"
        " END",
    ),
    _check("settled_at", "(outcome = 'none') = (settled_at IS NULL)"),
    _check("verifiable_at", "(outcome = 'unknown') = (verifiable_at IS NOT NULL)"),
    _check("verification_token", "outcome = 'unknown' OR verification_token IS NULL"),
    _check("due_day", "(outcome = 'none') = (due_day IS NULL)"),
    _check("lateness_ms", "(status = 'published') = (lateness_ms IS NOT NULL)"),
    _index("workspace_id", "account_id", "created_at", "id"),
    _index("workspace_id", "created_at", "id"),
    _index("workspace_id", "due_at", "id"),
    _index("workspace_id", "due_day", "platform", "status", "lateness_ms"),
    _index("workspace_id", "platform", "post_id"),
    _index("workspace_id", "published_at", "id"),
    _index("workspace_id", "status", "created_at", "id"),
    _index("workspace_id", "updated_at", "id"),
    _partial_index(
        "ix_destination_account_failed",
        "account_id",
        "settled_at",
        where="error_category IS NOT NULL",
    ),
    _partial_index(
        "ix_destination_account_published",
        "account_id",
        "published_at",
        where="published_at IS NOT NULL",
    ),
    _partial_index(
        "ix_destination_claimable", "claimable_at", "id", where="claimable_at IS NOT NULL"
    ),
    _partial_index(
        "ix_destination_error_category",
        "error_category",
        "created_at",
        "id",
        where="error_category IS NOT NULL",
    ),
    _partial_index(
        "ix_destination_error_code",
        "error_code",
        "created_at",
        "id",
        where="error_code IS NOT NULL",
    ),
    _partial_index(
        "ix_destination_next_retry", "next_retry_at", "id", where="next_retry_at IS NOT NULL"
    ),
    _partial_index(
        "ix_destination_verifiable", "verifiable_at", "id", where="verifiable_at IS NOT NULL"
    ),
    _partial_index(
        "ix_destination_account_unsettled",
        "account_id",
        "status",
        "claimable_at",
        where="settled_at IS NULL",
    ),
    _partial_index(
        "ix_destination_leased", "lease_expires_at", "id", where="lease_token IS NOT NULL"
    ),
    _partial_index(
        "ix_destination_claimable_platform",
        "platform",
        "claimable_at",
        "id",
        where="claimable_at IS NOT NULL",
    ),
)

sa.Table(
    "attempt",
    _METADATA,
    _required("workspace_id", _UUID),
    _required("id", _UUID),
    _required("destination_id", _UUID),
    _required("kind", _ENUM),
    _optional("number", sa.Integer()),
    _optional("fence", sa.Integer()),
    _optional("attempt_key", sa.Text()),
    _required("outcome", _ENUM),
    _optional("category", _ENUM),
    _optional("code", sa.Text()),
    _optional("message", sa.Text()),
    _optional("http_status", sa.Integer()),
    _optional("retry_after_ms", sa.BigInteger()),
    _optional("raw", sa.Text()),
    _optional("worker", sa.Text()),
    _required("started_at", _UTC_DATETIME),
    _optional("finished_at", _UTC_DATETIME),
    sa.PrimaryKeyConstraint("workspace_id", "id"),
    _foreign_key("destination_id", "destination"),
    _enum_check("kind", "regular", "late"),
    _enum_check("outcome", "none", "published", "failed", "unknown"),
    _enum_check(
        "category",
        "transient",
        "rate_limited",
        "auth",
        "content_rejected",
        "permanent",
        "unclassified",
    ),
    _check("finished_at", "(outcome = 'none') = (finished_at IS NULL)"),
    _check("message", "(outcome IN ('failed', 'unknown')) = (message IS NOT NULL)"),
    _check("category", "(message IS NULL) = (category IS NULL)"),
    _check("code", "(message IS NULL) = (code IS NULL)"),
    _index("workspace_id", "destination_id", "started_at", "id"),
    _partial_index(
        "uq_attempt_fence", "destination_id", "fence", where="kind = 'regular'", unique=True
    ),
    _partial_index(
        "uq_attempt_key",
        "destination_id",
        "attempt_key",
        where="kind = 'regular' AND attempt_key IS NOT NULL",
        unique=True,
    ),
)

sa.Table(
    "publish_evidence",
    _METADATA,
    _required("workspace_id", _UUID),
    _required("destination_id", _UUID),
    _required("fence", sa.Integer()),
    _required("counted", sa.Boolean()),
    _optional("platform_post_id", sa.Text()),
    _optional("platform_post_url", sa.Text()),
    _required("published_at", _UTC_DATETIME),
    _required("reported_at", _UTC_DATETIME),
    sa.PrimaryKeyConstraint("workspace_id", "destination_id", "fence"),
    _foreign_key("destination_id", "destination"),
    _partial_index("uq_publish_evidence_counted", "destination_id", where="counted", unique=True),
)

sa.Table(
    "event",
    _METADATA,
    _required("workspace_id", _UUID),
    _required("seq", sa.BigInteger()),
    _required("kind", sa.Text()),
    _optional("actor_key_id", _UUID),
    _optional("post_id", _UUID),
    _optional("destination_id", _UUID),
    _optional("account_id", sa.Integer()),
    _required("payload", sa.JSON()),
    _required("created_at", _UTC_DATETIME),
    sa.PrimaryKeyConstraint("workspace_id", "seq"),
    _workspace_key(),
    _foreign_key("post_id", "post"),
    _foreign_key("account_id", "account"),
    _check("seq", "seq >= 1"),
    _index("workspace_id", "post_id", "seq"),
)

sa.Table(
    "idempotency_key",
    _METADATA,
    _required("workspace_id", _UUID),
    _required("operation", sa.Text()),
    _required("key", sa.Text()),
    _required("fingerprint", sa.LargeBinary()),
    _required("outcome", sa.JSON()),
    _required("created_at", _UTC_DATETIME),
    _required("expires_at", _UTC_DATETIME),
    sa.PrimaryKeyConstraint("workspace_id", "operation", "key"),
    _workspace_key(),
    _index("expires_at"),
)

sa.Table(
    "webhook",
    _METADATA,
    _required("workspace_id", _UUID),
    _required("id", _UUID),
    _required("url", sa.Text()),
    _required("secret", sa.Text()),
    _required("events", sa.JSON()),
    _optional("name", sa.Text()),
    _optional("description", sa.Text()),
    _required("is_active", sa.Boolean()),
    _required("fan_out_seq", sa.BigInteger()),
    _required("consecutive_failures", sa.Integer()),
    _optional("auto_disabled_at", _UTC_DATETIME),
    _optional("last_delivery_at", _UTC_DATETIME),
    _optional("last_success_at", _UTC_DATETIME),
    _optional("last_failure_at", _UTC_DATETIME),
    _optional("deleted_at", _UTC_DATETIME),
    _required("created_at", _UTC_DATETIME),
    _required("updated_at", _UTC_DATETIME),
    sa.PrimaryKeyConstraint("workspace_id", "id"),
    _workspace_key(),
    _check("consecutive_failures", "consecutive_failures >= 0"),
    _check("fan_out_seq", "fan_out_seq >= 0"),
)

sa.Table(
    "webhook_delivery",
    _METADATA,
    _required("workspace_id", _UUID),
    _required("id", _UUID),
    _required("webhook_id", _UUID),
    _required("event_seq", sa.BigInteger()),
    _required("event_name", sa.Text()),
    _required("body", sa.Text()),
    _required("tries", sa.Integer()),
    _optional("next_try_at", _UTC_DATETIME),
    _optional("lease_token", _UUID),
    _optional("lease_expires_at", _UTC_DATETIME),
    _optional("delivered_at", _UTC_DATETIME),
    _optional("given_up_at", _UTC_DATETIME),
    _required("created_at", _UTC_DATETIME),
    sa.PrimaryKeyConstraint("workspace_id", "id"),
    _foreign_key("webhook_id", "webhook"),
    sa.UniqueConstraint(
        "workspace_id", "webhook_id", "event_seq", "event_name", name="uq_webhook_delivery_event"
    ),
    _check("tries", "tries >= 0"),
    _check("lease", "(lease_token IS NULL) = (lease_expires_at IS NULL)"),
    _check("next_try_at", "next_try_at IS NULL OR (delivered_at IS NULL AND given_up_at IS NULL)"),
    _partial_index(
        "ix_webhook_delivery_due",
        "next_try_at",
        "workspace_id",
        "id",
        where="next_try_at IS NOT NULL",
    ),
)

sa.Table(
    "webhook_delivery_try",
    _METADATA,
    _required("workspace_id", _UUID),
    _required("delivery_id", _UUID),
    _required("number", sa.Integer()),
    _optional("http_status", sa.Integer()),
    _optional("error", sa.Text()),
    _required("duration_ms", sa.Integer()),
    _required("tried_at", _UTC_DATETIME),
    sa.PrimaryKeyConstraint("workspace_id", "delivery_id", "number"),
    _foreign_key("delivery_id", "webhook_delivery"),
)
