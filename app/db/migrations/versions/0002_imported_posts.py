"""Which posts were imported, so that nobody misses a log of attempts that was written elsewhere."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("post", sa.Column("imported_at", sa.DateTime(timezone=True), nullable=True))
