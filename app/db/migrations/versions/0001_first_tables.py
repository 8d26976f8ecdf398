"""Every table of the first version. Frozen: whatever changes later is a migration of its own."""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

INSTANT = sa.DateTime(timezone=True)
IDENTIFIER = sa.Uuid().with_variant(sa.String(36), "sqlite")
WORD = sa.String(32)
DOCUMENT = sa.JSON()


def upgrade() -> None:
    _create_deployment()
    _create_workspace()
    _create_api_key()
    _create_account()
    _create_post()
    _create_destination()
    _create_attempt()
    _create_publish_evidence()
    _create_event()
    _create_idempotency_key()
    _create_webhook()
    _create_webhook_delivery()
    _create_webhook_delivery_try()


def _create_deployment() -> None:
    op.create_table(
        "deployment",
        sa.Column("id", sa.SmallInteger(), nullable=False, autoincrement=False),
        _required("secret_key", sa.LargeBinary()),
        _required("created_at", INSTANT),
        sa.PrimaryKeyConstraint("id", name="pk_deployment"),
        _check("deployment", "single_row", "id = 1"),
    )


def _create_workspace() -> None:
    op.create_table(
        "workspace",
        _required("id", IDENTIFIER),
        _required("name", sa.Text()),
        _required("kind", WORD),
        _optional("mirror_of", sa.Text()),
        _required("event_seq", sa.BigInteger()),
        _required("next_account_id", sa.Integer()),
        _required("created_at", INSTANT),
        sa.PrimaryKeyConstraint("id", name="pk_workspace"),
        sa.UniqueConstraint("name", name="uq_workspace_name"),
        _one_of("workspace", "kind", "local", "mirror"),
        _check("workspace", "mirror_of", "(kind = 'mirror') = (mirror_of IS NOT NULL)"),
        _check("workspace", "event_seq", "event_seq >= 0"),
        _check("workspace", "next_account_id", "next_account_id >= 1"),
    )


def _create_api_key() -> None:
    op.create_table(
        "api_key",
        _required("workspace_id", IDENTIFIER),
        _required("id", IDENTIFIER),
        _required("digest", sa.LargeBinary()),
        _required("shown_prefix", sa.Text()),
        _required("name", sa.Text()),
        _required("scopes", DOCUMENT),
        _required("created_at", INSTANT),
        _optional("expires_at", INSTANT),
        _optional("revoked_at", INSTANT),
        _optional("last_used_at", INSTANT),
        sa.PrimaryKeyConstraint("workspace_id", "id", name="pk_api_key"),
        _in_workspace("api_key"),
        sa.UniqueConstraint("digest", name="uq_api_key_digest"),
    )


def _create_account() -> None:
    op.create_table(
        "account",
        _required("workspace_id", IDENTIFIER),
        _required("id", sa.Integer()),
        _required("platform", sa.Text()),
        _optional("account_name", sa.Text()),
        _optional("display_name", sa.Text()),
        _optional("platform_user_id", sa.Text()),
        _optional("platform_username", sa.Text()),
        _optional("avatar_url", sa.Text()),
        _required("is_active", sa.Boolean()),
        _optional("needs_reconnection_since", INSTANT),
        _optional("token_expires_at", INSTANT),
        _optional("token_refreshed_at", INSTANT),
        _required("connected_at", INSTANT),
        _required("created_at", INSTANT),
        _required("updated_at", INSTANT),
        sa.PrimaryKeyConstraint("workspace_id", "id", name="pk_account"),
        _in_workspace("account"),
        _check("account", "id", "id >= 1"),
    )


def _create_post() -> None:
    op.create_table(
        "post",
        _required("workspace_id", IDENTIFIER),
        _required("id", IDENTIFIER),
        _required("content", sa.Text()),
        _required("is_draft", sa.Boolean()),
        _required("submitted_now", sa.Boolean()),
        _optional("scheduled_for", INSTANT),
        _optional("timezone", sa.Text()),
        _required("media_ids", DOCUMENT),
        _required("media", DOCUMENT),
        _required("platform_content", DOCUMENT),
        _optional("reference", sa.Text()),
        _required("status", WORD),
        _optional("published_at", INSTANT),
        _required("version", sa.Integer()),
        _required("search_text", sa.Text()),
        _optional("deleted_at", INSTANT),
        _required("created_at", INSTANT),
        _required("updated_at", INSTANT),
        sa.PrimaryKeyConstraint("workspace_id", "id", name="pk_post"),
        _in_workspace("post"),
        _one_of(
            "post",
            "status",
            "draft",
            "scheduled",
            "publishing",
            "published",
            "partially_failed",
            "failed",
        ),
        _check("post", "is_draft", "status = 'draft' OR NOT is_draft"),
        _check("post", "version", "version >= 1"),
    )
    _create_partial_index(
        "ix_post_created_at",
        "post",
        ["workspace_id", "created_at", "id"],
        where="deleted_at IS NULL",
    )
    _create_partial_index(
        "ix_post_published_at",
        "post",
        ["workspace_id", "published_at", "id"],
        where="deleted_at IS NULL",
    )
    _create_partial_index(
        "ix_post_reference",
        "post",
        ["workspace_id", "reference", "created_at", "id"],
        where="reference IS NOT NULL AND deleted_at IS NULL",
    )
    _create_partial_index(
        "ix_post_scheduled_for",
        "post",
        ["workspace_id", "scheduled_for", "id"],
        where="deleted_at IS NULL",
    )
    _create_partial_index(
        "ix_post_status",
        "post",
        ["workspace_id", "status", "created_at", "id"],
        where="deleted_at IS NULL",
    )
    _create_partial_index(
        "ix_post_updated_at",
        "post",
        ["workspace_id", "updated_at", "id"],
        where="deleted_at IS NULL",
    )
    _create_partial_index(
        "uq_post_kept",
        "post",
        ["workspace_id", "id"],
        where="deleted_at IS NULL",
        unique=True,
    )


def _create_destination() -> None:
    op.create_table(
        "destination",
        _required("workspace_id", IDENTIFIER),
        _required("id", IDENTIFIER),
        _required("post_id", IDENTIFIER),
        _required("account_id", sa.Integer()),
        _required("platform", sa.Text()),
        _required("position", sa.Integer()),
        _required("status", WORD),
        _required("outcome", WORD),
        _optional("due_at", INSTANT),
        _optional("claimable_at", INSTANT),
        _required("attempts", sa.Integer()),
        _required("round_attempts", sa.Integer()),
        _optional("round_started_at", INSTANT),
        _optional("next_retry_at", INSTANT),
        _required("fence", sa.Integer()),
        _optional("lease_token", IDENTIFIER),
        _optional("lease_expires_at", INSTANT),
        _optional("started_at", INSTANT),
        _optional("published_at", INSTANT),
        _optional("platform_post_id", sa.Text()),
        _optional("platform_post_url", sa.Text()),
        _optional("error", sa.Text()),
        _optional("error_category", WORD),
        _optional("error_code", sa.Text()),
        _optional("settled_at", INSTANT),
        _optional("verifiable_at", INSTANT),
        _optional("verification_token", IDENTIFIER),
        _optional("due_day", sa.Date()),
        _optional("lateness_ms", sa.BigInteger()),
        _required("created_at", INSTANT),
        _required("updated_at", INSTANT),
        sa.PrimaryKeyConstraint("workspace_id", "id", name="pk_destination"),
        _in_workspace("destination"),
        _reference("destination", "post_id", "post"),
        _reference("destination", "account_id", "account"),
        sa.UniqueConstraint(
            "workspace_id",
            "post_id",
            "account_id",
            name="uq_destination_workspace_id_post_id_account_id",
        ),
        _one_of("destination", "status", "queued", "publishing", "published", "failed"),
        _one_of("destination", "outcome", "none", "published", "failed", "unknown"),
        _one_of(
            "destination",
            "error_category",
            "transient",
            "rate_limited",
            "auth",
            "content_rejected",
            "permanent",
            "unclassified",
        ),
        _check("destination", "position", "position >= 0"),
        _check(
            "destination", "outcome_published", "(status = 'published') = (outcome = 'published')"
        ),
        _check(
            "destination",
            "outcome_failed",
            "(status = 'failed') = (outcome IN ('failed', 'unknown'))",
        ),
        _check(
            "destination", "published_at", "(status = 'published') = (published_at IS NOT NULL)"
        ),
        _check(
            "destination", "platform_post_id", "status = 'published' OR platform_post_id IS NULL"
        ),
        _check(
            "destination", "platform_post_url", "status = 'published' OR platform_post_url IS NULL"
        ),
        _check("destination", "error_failed", "status <> 'failed' OR error IS NOT NULL"),
        _check("destination", "error_published", "status <> 'published' OR error IS NULL"),
        _check("destination", "error_category", "(error IS NULL) = (error_category IS NULL)"),
        _check("destination", "error_code", "(error IS NULL) = (error_code IS NULL)"),
        _check(
            "destination",
            "next_retry_at",
            "next_retry_at IS NULL OR (status = 'queued' AND error IS NOT NULL)",
        ),
        _check("destination", "round_started_at", "(due_at IS NULL) = (round_started_at IS NULL)"),
        _check("destination", "attempts", "0 <= round_attempts AND round_attempts <= attempts"),
        _check("destination", "fence", "fence >= 0"),
        _check("destination", "lease", "(lease_token IS NULL) = (lease_expires_at IS NULL)"),
        _check("destination", "lease_publishing", "status = 'publishing' OR lease_token IS NULL"),
        _check("destination", "started_at", "lease_token IS NOT NULL OR started_at IS NULL"),
        _check(
            "destination",
            "claimable_at",
            "CASE WHEN claimable_at IS NULL"
            " THEN status = 'queued' OR lease_token IS NULL OR started_at IS NOT NULL"
            " WHEN status = 'queued'"
            " THEN COALESCE(claimable_at = COALESCE(next_retry_at, due_at), 1 = 0)"
            " ELSE lease_token IS NOT NULL AND started_at IS NULL"
            " AND claimable_at = lease_expires_at"
            " END",
        ),
        _check("destination", "settled_at", "(outcome = 'none') = (settled_at IS NULL)"),
        _check(
            "destination",
            "verifiable_at",
            "(outcome = 'unknown') = (verifiable_at IS NOT NULL)",
        ),
        _check(
            "destination",
            "verification_token",
            "outcome = 'unknown' OR verification_token IS NULL",
        ),
        _check("destination", "due_day", "(outcome = 'none') = (due_day IS NULL)"),
        _check("destination", "lateness_ms", "(status = 'published') = (lateness_ms IS NOT NULL)"),
    )
    _create_index("destination", "workspace_id", "account_id", "created_at", "id")
    _create_index("destination", "workspace_id", "created_at", "id")
    _create_index("destination", "workspace_id", "due_at", "id")
    _create_index("destination", "workspace_id", "due_day", "platform", "status", "lateness_ms")
    _create_index("destination", "workspace_id", "platform", "post_id")
    _create_index("destination", "workspace_id", "published_at", "id")
    _create_index("destination", "workspace_id", "status", "created_at", "id")
    _create_index("destination", "workspace_id", "updated_at", "id")
    _create_partial_index(
        "ix_destination_account_failed",
        "destination",
        ["workspace_id", "account_id", "settled_at"],
        where="error_category IS NOT NULL",
    )
    _create_partial_index(
        "ix_destination_account_published",
        "destination",
        ["workspace_id", "account_id", "published_at"],
        where="published_at IS NOT NULL",
    )
    _create_partial_index(
        "ix_destination_account_unsettled",
        "destination",
        ["workspace_id", "account_id", "status"],
        where="settled_at IS NULL",
    )
    _create_partial_index(
        "ix_destination_claimable",
        "destination",
        ["workspace_id", "claimable_at", "id"],
        where="claimable_at IS NOT NULL",
    )
    _create_partial_index(
        "ix_destination_error_category",
        "destination",
        ["workspace_id", "error_category", "created_at", "id"],
        where="error_category IS NOT NULL",
    )
    _create_partial_index(
        "ix_destination_error_code",
        "destination",
        ["workspace_id", "error_code", "created_at", "id"],
        where="error_code IS NOT NULL",
    )
    _create_partial_index(
        "ix_destination_next_retry",
        "destination",
        ["workspace_id", "next_retry_at", "id"],
        where="next_retry_at IS NOT NULL",
    )
    _create_partial_index(
        "ix_destination_started",
        "destination",
        ["workspace_id", "lease_expires_at", "id"],
        where="started_at IS NOT NULL",
    )
    _create_partial_index(
        "ix_destination_verifiable",
        "destination",
        ["workspace_id", "verifiable_at", "id"],
        where="verifiable_at IS NOT NULL",
    )


def _create_attempt() -> None:
    op.create_table(
        "attempt",
        _required("workspace_id", IDENTIFIER),
        _required("id", IDENTIFIER),
        _required("destination_id", IDENTIFIER),
        _required("kind", WORD),
        _optional("number", sa.Integer()),
        _optional("fence", sa.Integer()),
        _optional("attempt_key", sa.Text()),
        _required("outcome", WORD),
        _optional("category", WORD),
        _optional("code", sa.Text()),
        _optional("message", sa.Text()),
        _optional("http_status", sa.Integer()),
        _optional("retry_after_ms", sa.BigInteger()),
        _optional("raw", sa.Text()),
        _optional("worker", sa.Text()),
        _required("started_at", INSTANT),
        _optional("finished_at", INSTANT),
        sa.PrimaryKeyConstraint("workspace_id", "id", name="pk_attempt"),
        _reference("attempt", "destination_id", "destination"),
        _one_of("attempt", "kind", "regular", "late"),
        _one_of("attempt", "outcome", "none", "published", "failed", "unknown"),
        _one_of(
            "attempt",
            "category",
            "transient",
            "rate_limited",
            "auth",
            "content_rejected",
            "permanent",
            "unclassified",
        ),
        _check("attempt", "finished_at", "(outcome = 'none') = (finished_at IS NULL)"),
        _check("attempt", "message", "(outcome IN ('failed', 'unknown')) = (message IS NOT NULL)"),
        _check("attempt", "category", "(message IS NULL) = (category IS NULL)"),
        _check("attempt", "code", "(message IS NULL) = (code IS NULL)"),
    )
    _create_index("attempt", "workspace_id", "destination_id", "started_at", "id")
    _create_partial_index(
        "uq_attempt_fence",
        "attempt",
        ["workspace_id", "destination_id", "fence"],
        where="kind = 'regular'",
        unique=True,
    )
    _create_partial_index(
        "uq_attempt_key",
        "attempt",
        ["workspace_id", "destination_id", "attempt_key"],
        where="kind = 'regular' AND attempt_key IS NOT NULL",
        unique=True,
    )


def _create_publish_evidence() -> None:
    op.create_table(
        "publish_evidence",
        _required("workspace_id", IDENTIFIER),
        _required("destination_id", IDENTIFIER),
        _required("fence", sa.Integer()),
        _required("counted", sa.Boolean()),
        _optional("platform_post_id", sa.Text()),
        _optional("platform_post_url", sa.Text()),
        _required("published_at", INSTANT),
        _required("reported_at", INSTANT),
        sa.PrimaryKeyConstraint(
            "workspace_id", "destination_id", "fence", name="pk_publish_evidence"
        ),
        _reference("publish_evidence", "destination_id", "destination"),
    )
    _create_partial_index(
        "uq_publish_evidence_counted",
        "publish_evidence",
        ["workspace_id", "destination_id"],
        where="counted",
        unique=True,
    )


def _create_event() -> None:
    op.create_table(
        "event",
        _required("workspace_id", IDENTIFIER),
        _required("seq", sa.BigInteger()),
        _required("kind", sa.Text()),
        _optional("actor_key_id", IDENTIFIER),
        _optional("post_id", IDENTIFIER),
        _optional("destination_id", IDENTIFIER),
        _optional("account_id", sa.Integer()),
        _required("payload", DOCUMENT),
        _required("created_at", INSTANT),
        sa.PrimaryKeyConstraint("workspace_id", "seq", name="pk_event"),
        _in_workspace("event"),
        _reference("event", "post_id", "post"),
        _reference("event", "destination_id", "destination"),
        _reference("event", "account_id", "account"),
        _check("event", "seq", "seq >= 1"),
    )
    _create_index("event", "workspace_id", "post_id", "seq")


def _create_idempotency_key() -> None:
    op.create_table(
        "idempotency_key",
        _required("workspace_id", IDENTIFIER),
        _required("api_key_id", IDENTIFIER),
        _required("key", sa.Text()),
        _required("fingerprint", sa.LargeBinary()),
        _required("outcome", DOCUMENT),
        _required("created_at", INSTANT),
        _required("expires_at", INSTANT),
        sa.PrimaryKeyConstraint("workspace_id", "api_key_id", "key", name="pk_idempotency_key"),
        _reference("idempotency_key", "api_key_id", "api_key"),
    )
    _create_index("idempotency_key", "expires_at")


def _create_webhook() -> None:
    op.create_table(
        "webhook",
        _required("workspace_id", IDENTIFIER),
        _required("id", IDENTIFIER),
        _required("url", sa.Text()),
        _required("secret", sa.Text()),
        _required("events", DOCUMENT),
        _optional("name", sa.Text()),
        _optional("description", sa.Text()),
        _required("is_active", sa.Boolean()),
        _required("fan_out_seq", sa.BigInteger()),
        _required("consecutive_failures", sa.Integer()),
        _optional("auto_disabled_at", INSTANT),
        _optional("last_delivery_at", INSTANT),
        _optional("last_success_at", INSTANT),
        _optional("last_failure_at", INSTANT),
        _optional("deleted_at", INSTANT),
        _required("created_at", INSTANT),
        _required("updated_at", INSTANT),
        sa.PrimaryKeyConstraint("workspace_id", "id", name="pk_webhook"),
        _in_workspace("webhook"),
        _check("webhook", "consecutive_failures", "consecutive_failures >= 0"),
        _check("webhook", "fan_out_seq", "fan_out_seq >= 0"),
    )


def _create_webhook_delivery() -> None:
    op.create_table(
        "webhook_delivery",
        _required("workspace_id", IDENTIFIER),
        _required("id", IDENTIFIER),
        _required("webhook_id", IDENTIFIER),
        _required("event_seq", sa.BigInteger()),
        _required("event_name", sa.Text()),
        _required("body", sa.Text()),
        _required("tries", sa.Integer()),
        _optional("next_try_at", INSTANT),
        _optional("lease_token", IDENTIFIER),
        _optional("lease_expires_at", INSTANT),
        _optional("delivered_at", INSTANT),
        _optional("given_up_at", INSTANT),
        _required("created_at", INSTANT),
        sa.PrimaryKeyConstraint("workspace_id", "id", name="pk_webhook_delivery"),
        _reference("webhook_delivery", "webhook_id", "webhook"),
        sa.UniqueConstraint(
            "workspace_id",
            "webhook_id",
            "event_seq",
            "event_name",
            name="uq_webhook_delivery_event",
        ),
        _check("webhook_delivery", "tries", "tries >= 0"),
        _check("webhook_delivery", "lease", "(lease_token IS NULL) = (lease_expires_at IS NULL)"),
        _check(
            "webhook_delivery",
            "next_try_at",
            "next_try_at IS NULL OR (delivered_at IS NULL AND given_up_at IS NULL)",
        ),
    )
    _create_partial_index(
        "ix_webhook_delivery_due",
        "webhook_delivery",
        ["next_try_at", "workspace_id", "id"],
        where="next_try_at IS NOT NULL",
    )


def _create_webhook_delivery_try() -> None:
    op.create_table(
        "webhook_delivery_try",
        _required("workspace_id", IDENTIFIER),
        _required("delivery_id", IDENTIFIER),
        _required("number", sa.Integer()),
        _optional("http_status", sa.Integer()),
        _optional("error", sa.Text()),
        _required("duration_ms", sa.Integer()),
        _required("tried_at", INSTANT),
        sa.PrimaryKeyConstraint(
            "workspace_id", "delivery_id", "number", name="pk_webhook_delivery_try"
        ),
        _reference("webhook_delivery_try", "delivery_id", "webhook_delivery"),
    )


def _required(name: str, kind: sa.types.TypeEngine[Any]) -> sa.Column[Any]:
    return sa.Column(name, kind, nullable=False)


def _optional(name: str, kind: sa.types.TypeEngine[Any]) -> sa.Column[Any]:
    return sa.Column(name, kind, nullable=True)


def _check(table: str, name: str, condition: str) -> sa.CheckConstraint:
    return sa.CheckConstraint(condition, name=f"ck_{table}_{name}")


def _one_of(table: str, column: str, *words: str) -> sa.CheckConstraint:
    listed = ", ".join(f"'{word}'" for word in words)
    return _check(table, f"{column}_word", f"{column} IN ({listed})")


def _in_workspace(table: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(
        ["workspace_id"], ["workspace.id"], name=f"fk_{table}_workspace_id"
    )


def _reference(table: str, column: str, target: str) -> sa.ForeignKeyConstraint:
    """A link that cannot leave the workspace: the workspace is part of the key on both sides."""
    return sa.ForeignKeyConstraint(
        ["workspace_id", column],
        [f"{target}.workspace_id", f"{target}.id"],
        name=f"fk_{table}_workspace_id_{column}",
    )


def _create_index(table: str, *columns: str) -> None:
    op.create_index(f"ix_{table}_{'_'.join(columns)}", table, list(columns))


def _create_partial_index(
    name: str, table: str, columns: list[str], *, where: str, unique: bool = False
) -> None:
    condition = sa.text(where)
    op.create_index(
        name, table, columns, unique=unique, sqlite_where=condition, postgresql_where=condition
    )
