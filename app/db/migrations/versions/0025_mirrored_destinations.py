"""Mark of the destinations of mirrors, which await their outcome at the mirrored service."""

import sqlalchemy as sa
from alembic import op

revision = "0025"
down_revision = "0024"


def upgrade() -> None:
    """Add the column, and mark the destinations of all mirrors."""
    op.add_column(
        "destination",
        sa.Column("is_mirrored", sa.Boolean(), server_default=sa.false(), nullable=False),
    )
    op.execute(
        "UPDATE destination SET is_mirrored = TRUE"
        " WHERE workspace_id IN (SELECT id FROM workspace WHERE kind = 'mirror')"
    )
