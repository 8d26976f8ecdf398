"""For writing: events outlive destinations, keys belong to operations, accounts find their due rows."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_IDENTIFIER = sa.Uuid().with_variant(sa.String(36), "sqlite")
_INSTANT = sa.DateTime(timezone=True)


def upgrade() -> None:
    with op.batch_alter_table("event") as event:
        event.drop_constraint("fk_event_workspace_id_destination_id", type_="foreignkey")
    op.drop_index("ix_destination_account_unsettled", "destination")
    op.create_index(
        "ix_destination_account_unsettled",
        "destination",
        ["workspace_id", "account_id", "status", "claimable_at"],
        sqlite_where=sa.text("settled_at IS NULL"),
        postgresql_where=sa.text("settled_at IS NULL"),
    )
    # Nothing has written keys before this version.
    op.drop_table("idempotency_key")
    op.create_table(
        "idempotency_key",
        sa.Column("workspace_id", _IDENTIFIER, nullable=False),
        sa.Column("operation", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("fingerprint", sa.LargeBinary(), nullable=False),
        sa.Column("outcome", sa.JSON(), nullable=False),
        sa.Column("created_at", _INSTANT, nullable=False),
        sa.Column("expires_at", _INSTANT, nullable=False),
        sa.PrimaryKeyConstraint("workspace_id", "operation", "key", name="pk_idempotency_key"),
        sa.ForeignKeyConstraint(
            ["workspace_id"], ["workspace.id"], name="fk_idempotency_key_workspace_id"
        ),
    )
    op.create_index("ix_idempotency_key_expires_at", "idempotency_key", ["expires_at"])
