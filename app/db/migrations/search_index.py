"""Index of the texts of posts: FTS5 with trigrams on SQLite, pg_trgm on PostgreSQL where it is available.

It holds nothing that `post` does not have, so it is no part of the models, and a backup has no copy of it.
"""

import re

from sqlalchemy import Connection, text


def create_search_index(connection: Connection) -> None:
    """Create the index of all stored posts. Without pg_trgm, PostgreSQL searches without an index."""
    is_sqlite = connection.dialect.name == "sqlite"
    for statement in _SQLITE_STATEMENTS if is_sqlite else _POSTGRESQL_STATEMENTS:
        connection.execute(text(statement))


# Triggers, because posts are written by requests, imports and restores, and none of them may omit the index.
# It stores no text, so an entry is removed by its old text. Each post needs a number of its own for it:
# VACUUM may change the rowid of a table whose primary key is not an integer.
_SQLITE_STATEMENTS = (
    """
    CREATE TABLE post_search_key (
        number INTEGER PRIMARY KEY,
        workspace_id VARCHAR(36) NOT NULL,
        post_id VARCHAR(36) NOT NULL,
        UNIQUE (post_id, workspace_id)
    )
    """,
    """
    CREATE VIRTUAL TABLE post_search_index USING fts5(
        search_text, content = '', columnsize = 0, detail = none, tokenize = 'trigram case_sensitive 1'
    )
    """,
    "INSERT INTO post_search_key (workspace_id, post_id) SELECT workspace_id, id FROM post",
    """
    INSERT INTO post_search_index (rowid, search_text)
    SELECT number, search_text
      FROM post_search_key AS key
      JOIN post ON post.workspace_id = key.workspace_id AND post.id = key.post_id
    """,
    """
    CREATE TRIGGER post_search_insert AFTER INSERT ON post BEGIN
        INSERT INTO post_search_key (workspace_id, post_id) VALUES (new.workspace_id, new.id);
        INSERT INTO post_search_index (rowid, search_text)
        SELECT number, new.search_text
          FROM post_search_key
         WHERE workspace_id = new.workspace_id AND post_id = new.id;
    END
    """,
    """
    CREATE TRIGGER post_search_update AFTER UPDATE OF search_text ON post
    WHEN new.search_text <> old.search_text BEGIN
        INSERT INTO post_search_index (post_search_index, rowid, search_text)
        SELECT 'delete', number, old.search_text
          FROM post_search_key
         WHERE workspace_id = old.workspace_id AND post_id = old.id;
        INSERT INTO post_search_index (rowid, search_text)
        SELECT number, new.search_text
          FROM post_search_key
         WHERE workspace_id = new.workspace_id AND post_id = new.id;
    END
    """,
    """
    CREATE TRIGGER post_search_delete AFTER DELETE ON post BEGIN
        INSERT INTO post_search_index (post_search_index, rowid, search_text)
        SELECT 'delete', number, old.search_text
          FROM post_search_key
         WHERE workspace_id = old.workspace_id AND post_id = old.id;
        DELETE FROM post_search_key WHERE workspace_id = old.workspace_id AND post_id = old.id;
    END
    """,
)
SQLITE_SEARCH_INDEX = frozenset(
    re.findall(r"CREATE (?:VIRTUAL )?(?:TABLE|TRIGGER) (\w+)", "".join(_SQLITE_STATEMENTS))
)
"""Names of the tables and triggers of the index on SQLite."""

_POSTGRESQL_STATEMENTS = (
    """
    DO $$ BEGIN
        CREATE EXTENSION IF NOT EXISTS pg_trgm;
        CREATE INDEX ix_post_search ON post USING gin (search_text gin_trgm_ops)
         WHERE deleted_at IS NULL;
    EXCEPTION
        -- not installed on the server, not permitted, or in a schema outside of the search path
        WHEN undefined_file OR feature_not_supported OR insufficient_privilege OR undefined_object THEN NULL;
    END $$
    """,
)
