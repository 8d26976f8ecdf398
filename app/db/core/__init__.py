"""Database access below the repositories: engines, drivers, statements, column types and paging."""
