"""Indexes that serve the delivery of webhooks, as reported by EXPLAIN on both engines."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from uuid import UUID

import pytest
from sqlalchemy import update

from app.db.core.database import AllWorkspacesReader, Database
from app.db.core.sqlite import REFRESH_STATISTICS
from app.db.core.write_session import AllWorkspacesWriteSession
from app.db.models import Workspace
from app.db.repositories.webhook_deliveries import (
    FailureRange,
    count_failed_deliveries,
    lock_due_deliveries,
    lock_failed_deliveries,
    old_deliveries,
)
from app.db.repositories.webhooks import (
    lock_webhooks_behind_feed,
    webhooks_with_due_deliveries,
    workspaces_with_new_events,
)
from app.domain.ids import WebhookId
from app.domain.webhooks.deliveries import DeliveryState
from tests.databases import DatabaseTemplates, cached_database
from tests.db.repositories.explain import (
    OWN_WORKSPACE,
    Query,
    explain_locking_query,
    explain_query,
    explain_statements,
)
from tests.factories import NOW, add_workspace
from tests.raw_statements import run_raw
from tests.recording_driver import record_statements, record_writes
from tests.webhook_events import add_deliveries
from tests.webhook_rows import add_webhook

WEBHOOK = WebhookId(UUID(int=0xE))
DELIVERED = DeliveryState(next_attempt_at=None, attempts=1, round_attempts=1, delivered_at=NOW)
GIVEN_UP = DeliveryState(next_attempt_at=None, attempts=9, round_attempts=9, given_up_at=NOW)
PENDING = DeliveryState(next_attempt_at=NOW)
FAILURES = FailureRange(since=NOW, last_attempt_before=NOW)


@pytest.fixture
def webhooks_database_url(database_templates: DatabaseTemplates) -> Iterator[str]:
    with database_templates.copy(fill_and_analyze_webhooks) as url:
        yield url


@pytest.fixture
async def webhooks_database(
    anyio_backend: str, webhooks_database_url: str
) -> AsyncIterator[Database]:
    """Workspaces with two endpoints each, thousands of deliveries, and fresh statistics."""
    async with cached_database(webhooks_database_url) as opened:
        yield opened


async def fill_and_analyze_webhooks(database: Database) -> None:
    for number in range(1, 41):
        workspace = await add_workspace(database, id=UUID(int=number))
        webhook_id = WEBHOOK if workspace == OWN_WORKSPACE else None
        busy = await add_webhook(database, workspace, id=webhook_id, feed_seq=9)
        await add_webhook(database, workspace, feed_seq=9)
        states = [DELIVERED] * 190 + [GIVEN_UP] * 5 + [PENDING] * 5
        await add_deliveries(database, workspace, busy, states)

    async def work(session: AllWorkspacesWriteSession) -> None:
        await run_raw(session, update(Workspace).values(event_seq=9))

    await database.write_all_workspaces(work)
    tables = "workspace, webhook, webhook_delivery"
    async with database.write_engine.connect() as connection:
        await connection.execution_options(isolation_level="AUTOCOMMIT")
        refresh = REFRESH_STATISTICS if database.is_sqlite else f"VACUUM (ANALYZE) {tables}"
        await connection.exec_driver_sql(refresh)


async def explain_poll(
    database: Database, query: Callable[[AllWorkspacesReader], Awaitable[object]]
) -> set[str]:
    """Indexes of a read of all workspaces, besides a scan of the index of active endpoints."""
    with record_statements(database) as statements:
        await query(database.all_workspaces)
    async with database.read_engine.connect() as connection:
        recorded = [(statement.text, statement.arguments) for statement in statements]
        used = await explain_statements(database, connection, recorded)
    return used - {"scan", "sort"}


POLLS: dict[str, tuple[Callable[[AllWorkspacesReader], Awaitable[object]], set[str]]] = {
    "due": (
        lambda reader: webhooks_with_due_deliveries(reader, NOW),
        {"ix_webhook_active", "ix_webhook_delivery_due"},
    ),
    "events": (workspaces_with_new_events, {"ix_webhook_active", "pk_workspace"}),
    "old": (
        lambda reader: old_deliveries(reader, NOW, limit=1_000),
        {"ix_webhook_delivery_created_at"},
    ),
}


@pytest.mark.parametrize("poll", POLLS)
async def test_poll_reads_no_delivery_that_is_not_due(
    webhooks_database: Database, poll: str
) -> None:
    query, indexes = POLLS[poll]
    assert await explain_poll(webhooks_database, query) == indexes


@pytest.mark.parametrize("poll", POLLS)
async def test_poll_needs_no_statistics(database: Database, poll: str) -> None:
    query, indexes = POLLS[poll]
    assert await explain_poll(database, query) == indexes


async def test_active_endpoints_behind_the_feed_are_locked_by_an_index(
    webhooks_database: Database,
) -> None:
    with record_writes(webhooks_database) as statements:
        await webhooks_database.write(OWN_WORKSPACE, lock_webhooks_behind_feed)
    selects = [(each.text, each.arguments) for each in statements if each.text.startswith("SELECT")]
    async with webhooks_database.write_engine.connect() as connection:
        used = await explain_statements(webhooks_database, connection, selects)
    assert used == {"ix_webhook_active", "pk_workspace"}


@pytest.mark.parametrize("poll", ["due", "failed"])
async def test_lock_needs_no_statistics(database: Database, poll: str) -> None:
    query, indexes = QUERIES[poll]
    assert await explain_locking_query(database, query) - {"sort"} == indexes


QUERIES: dict[str, tuple[Query, set[str]]] = {
    "due": (
        lambda reader: lock_due_deliveries(reader, WEBHOOK, NOW, limit=20),
        {"ix_webhook_delivery_due"},
    ),
    "failed": (
        lambda reader: lock_failed_deliveries(reader, WEBHOOK, FAILURES, NOW, limit=501),
        {"uq_webhook_delivery_event", "pk_webhook_delivery_attempt"},
    ),
}


@pytest.mark.parametrize(("query", "indexes"), QUERIES.values(), ids=QUERIES)
async def test_deliveries_of_an_endpoint_are_read_by_an_index(
    webhooks_database: Database, query: Query, indexes: set[str]
) -> None:
    assert await explain_locking_query(webhooks_database, query) == indexes


async def test_failed_deliveries_are_counted_by_an_index(webhooks_database: Database) -> None:
    used = await explain_query(
        webhooks_database,
        lambda reader: count_failed_deliveries(reader, WEBHOOK, FAILURES, NOW, limit=501),
    )
    assert used - {"scan"} == {"uq_webhook_delivery_event", "pk_webhook_delivery_attempt"}
