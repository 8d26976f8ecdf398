"""Indexes that queries use, as reported by EXPLAIN on both engines."""

import re
from collections.abc import Awaitable, Callable, Iterator
from typing import Any
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from app.db.core.database import Database, Reader
from app.db.core.write_session import WORKSPACE_PARAM, WriteSession
from app.db.repositories.destination_filters import DestinationCriteria
from app.db.repositories.exports import select_stream
from app.domain.ids import WorkspaceId
from tests.factories import NOW
from tests.recording_driver import record_statements, record_writes

OWN_WORKSPACE, OTHER_WORKSPACE = WorkspaceId(UUID(int=1)), WorkspaceId(UUID(int=2))
Query = Callable[[Reader], Awaitable[object]]
Statements = list[tuple[str, Any]]

UNIQUE_DESTINATION_INDEX = "uq_destination_workspace_id_post_id_account_id"

POST_BY_ID = "post by id"
"""Either unique index of posts: SQLite prefers the primary key, PostgreSQL that of posts not deleted."""


async def explain_query(database: Database, query: Query) -> set[str]:
    """Return the indexes that a query uses, with `scan` and `sort` for those steps."""
    with record_statements(database) as statements:
        await query(database.reader(OWN_WORKSPACE))
    async with database.read_engine.connect() as connection:
        recorded = [(statement.text, statement.arguments) for statement in statements]
        return await explain_statements(database, connection, recorded)


async def explain_stream(database: Database, **filters: Any) -> set[str]:
    """Like `explain_query`, for the stream of an export."""
    criteria = DestinationCriteria(**filters)
    statement, values = await select_stream(database.reader(OWN_WORKSPACE), criteria, NOW)
    compiled = database.compile_restricted(statement)
    arguments = compiled.encode_arguments({**values, WORKSPACE_PARAM: OWN_WORKSPACE})
    async with database.read_engine.connect() as connection:
        return await explain_statements(database, connection, [(compiled.sql, tuple(arguments))])


async def explain_locking_query(database: Database, query: Query) -> set[str]:
    """Like `explain_query`, for a query inside a write."""
    with record_writes(database) as statements:

        async def work(session: WriteSession) -> None:
            await query(database.reader_in(session))

        await database.write(OWN_WORKSPACE, work)
    selects = [(each.text, each.arguments) for each in statements if each.text.startswith("SELECT")]
    async with database.write_engine.connect() as connection:
        return await explain_statements(database, connection, selects)


async def explain_statements(
    database: Database, connection: AsyncConnection, statements: Statements
) -> set[str]:
    """Like `explain_query`, for texts of statements with their arguments."""
    if not database.is_sqlite:  # it prefers sequential scans of such small tables
        await connection.exec_driver_sql("SET enable_seqscan = off")
    plans = [
        row
        for statement, parameters in statements
        for row in await connection.exec_driver_sql(
            f"EXPLAIN {'QUERY PLAN ' if database.is_sqlite else ''}{statement}", parameters
        )
    ]
    if not database.is_sqlite:
        await connection.exec_driver_sql("SET enable_seqscan = on")
    return {term for row in plans for term in _plan_terms(str(row[-1]))}


_INDEX = re.compile(r"(?:INDEX|using|Bitmap Index Scan on) (?P<name>[a-z]\w+)")
_INDEX_NAMES = {
    "sqlite_autoindex_checkpoint_1": "pk_checkpoint",
    "sqlite_autoindex_post_1": POST_BY_ID,
    "pk_post": POST_BY_ID,
    "uq_post_kept": POST_BY_ID,
    "sqlite_autoindex_workspace_1": "pk_workspace",
    "sqlite_autoindex_account_1": "pk_account",
    "sqlite_autoindex_account_pause_1": "pk_account_pause",
    "sqlite_autoindex_account_breaker_1": "pk_account_breaker",
    "sqlite_autoindex_server_breaker_1": "pk_server_breaker",
    "ix_account_publisher": "pk_account",  # begins with the primary key
    "sqlite_autoindex_api_key_1": "pk_api_key",
    "sqlite_autoindex_session_2": "uq_session_digest",
    "sqlite_autoindex_destination_1": "pk_destination",
    "sqlite_autoindex_event_1": "pk_event",
    "sqlite_autoindex_webhook_1": "pk_webhook",
    "sqlite_autoindex_webhook_delivery_1": "pk_webhook_delivery",
    "sqlite_autoindex_webhook_delivery_2": "uq_webhook_delivery_event",
    "sqlite_autoindex_webhook_delivery_attempt_1": "pk_webhook_delivery_attempt",
    "sqlite_autoindex_destination_2": "uq_destination_workspace_id_post_id_account_id",
}


def _plan_terms(line: str) -> Iterator[str]:
    if re.match(r"SCAN (?!json_each|CONSTANT ROW)|.*Seq Scan on ", line):
        yield "scan"
    if re.match(r"USE TEMP B-TREE FOR .*ORDER BY|.*\bSort  \(", line):
        yield "sort"
    if match := _INDEX.search(line):
        yield _INDEX_NAMES.get(match["name"], match["name"])
