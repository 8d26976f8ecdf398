"""Schema of a database as comparable text: columns, CHECKs, foreign keys, indexes; not the search index."""

import re

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from app.db.core.database import Database

Schema = dict[str, list[str]]
"""Sorted definitions of the columns, constraints and indexes of each table."""


async def read_schema(database: Database) -> Schema:
    async with database.read_connection() as connection:
        read = _sqlite_schema if database.is_sqlite else _postgresql_schema
        schema = await read(connection)
    schema.pop("alembic_version", None)
    return schema


async def _sqlite_schema(connection: AsyncConnection) -> Schema:
    rows = await connection.execute(
        text(
            "SELECT tbl_name, type, sql FROM sqlite_master"
            " WHERE type IN ('table', 'index') AND sql IS NOT NULL AND tbl_name NOT LIKE 'post_search%'"
        )
    )
    schema: Schema = {}
    for table, kind, sql in rows:
        parts = _split_create_table(sql) if kind == "table" else [" ".join(sql.split())]
        schema[table] = sorted([*schema.get(table, []), *parts])
    return schema


def _split_create_table(sql: str) -> list[str]:
    """Split the body of a CREATE TABLE at its outermost commas into columns and constraints."""
    body = sql[sql.index("(") + 1 : sql.rindex(")")]
    parts, depth = [""], 0
    for character in body:
        depth += {"(": 1, ")": -1}.get(character, 0)
        if character == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += character
    return [re.sub(r"\s+", " ", part).strip() for part in parts]


async def _postgresql_schema(connection: AsyncConnection) -> Schema:
    # NOT NULL is part of the columns; PostgreSQL 18 also has constraints for it, with names that vary.
    rows = await connection.execute(
        text(
            """
            SELECT attrelid::regclass::text AS tbl,
                   attname || ' ' || format_type(atttypid, atttypmod)
                   || CASE WHEN attnotnull THEN ' NOT NULL' ELSE '' END
                   || COALESCE(' DEFAULT ' || pg_get_expr(adbin, adrelid), '')
              FROM pg_attribute
              LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
             WHERE attnum > 0 AND NOT attisdropped
               AND attrelid IN (SELECT oid FROM pg_class
                                 WHERE relnamespace = 'public'::regnamespace AND relkind = 'r')
             UNION ALL
            SELECT conrelid::regclass::text,
                   conname || ' ' || pg_get_constraintdef(oid)
              FROM pg_constraint
             WHERE connamespace = 'public'::regnamespace AND contype <> 'n'
             UNION ALL
            SELECT tablename, indexdef FROM pg_indexes
             WHERE schemaname = 'public' AND indexname <> 'ix_post_search'
             ORDER BY 1, 2
            """
        )
    )
    schema: Schema = {}
    for table, definition in rows:
        schema.setdefault(table, []).append(definition)
    return schema
