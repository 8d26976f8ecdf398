"""For publishing: what is due by platform, and every lease by its end."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.drop_index("ix_destination_started", "destination")
    for name, columns, where in (
        (
            "ix_destination_leased",
            ["workspace_id", "lease_expires_at", "id"],
            sa.text("lease_token IS NOT NULL"),
        ),
        (
            "ix_destination_claimable_platform",
            ["workspace_id", "platform", "claimable_at", "id"],
            sa.text("claimable_at IS NOT NULL"),
        ),
    ):
        op.create_index(name, "destination", columns, sqlite_where=where, postgresql_where=where)
