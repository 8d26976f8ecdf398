"""Verification of credentials by workers."""

import sqlalchemy as sa
from alembic import op

from app.db.core.types import UtcDateTime
from app.db.migrations.sqlite_schema import add_checks

revision = "0020"
down_revision = "0019"

_CHECKS = {
    "ck_credential_verify_attempts": "verify_attempts >= 0",
    "ck_credential_verified": "verified_at IS NULL OR verify_error IS NULL",
}


def upgrade() -> None:
    """Add the columns; the credentials that are stored are verified soon."""
    for column in (
        sa.Column("verified_at", UtcDateTime()),
        sa.Column("verify_at", UtcDateTime()),
        sa.Column("verify_attempts", sa.Integer(), server_default="0", nullable=False),
        sa.Column("verify_error", sa.Text()),
    ):
        op.add_column("credential", column)
    op.execute("UPDATE credential SET verify_at = set_at")
    connection = op.get_bind()
    if connection.dialect.name == "sqlite":
        add_checks(connection, "credential", _CHECKS)
    else:
        for name, condition in _CHECKS.items():
            op.create_check_constraint(name, "credential", condition)
    op.execute(
        "CREATE INDEX ix_credential_verify_at ON credential (verify_at, workspace_id, account_id)"
        " WHERE verify_at IS NOT NULL"
    )
