"""Version without a migration of its own: a new database gets its tables from the models."""

revision = "0005"
down_revision = None
