"""Index of the URLs of publications."""

from alembic import op

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    """Create the index."""
    op.execute(
        "CREATE INDEX ix_destination_platform_post_url ON destination (workspace_id, platform_post_url)"
        " WHERE length(platform_post_url) <= 500"
    )
