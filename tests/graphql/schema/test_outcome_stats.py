"""Statistics of outcomes: every number against a plain computation, and refused arguments."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from random import Random

import pytest

from app.db.core.database import Database
from app.settings import read_settings
from tests.clients import Tenant, app_client
from tests.factories import add_api_key, add_workspace
from tests.graphql.outcome_histories import (
    COUNTS,
    LATENESS,
    HistoryWriter,
    expected_buckets,
    random_query,
)

STATS = f"""
query (
  $from: DateTime!, $to: DateTime, $interval: StatsInterval, $timezone: String!,
  $groupBy: [OutcomeGrouping!], $filter: OutcomeStatsFilter
) {{
  outcomeStats(
    from: $from, to: $to, interval: $interval, timezone: $timezone, groupBy: $groupBy, filter: $filter
  ) {{
    buckets {{
      start
      end
      counts {{ {COUNTS} {LATENESS} }}
      groups {{ platform accountId category hourOfWeek counts {{ {COUNTS} {LATENESS} }} }}
    }}
  }}
}}
"""
CLOCK_CHANGES = {
    "Europe/Berlin": datetime(2026, 3, 29, 1, tzinfo=UTC),
    "America/New_York": datetime(2026, 11, 1, 6, tzinfo=UTC),
    "America/Havana": datetime(2026, 3, 8, 5, tzinfo=UTC),
    "Australia/Lord_Howe": datetime(2026, 4, 4, 15, tzinfo=UTC),
    "Asia/Kathmandu": datetime(2026, 1, 1, tzinfo=UTC),
}
"""Time zones with a change of the clock, except for the last, whose offset is 05:45."""


@pytest.fixture
async def unlimited_tenant(database: Database) -> AsyncIterator[Tenant]:
    """An empty workspace, and a client whose responses may have any number of entries."""
    workspace = await add_workspace(database)
    key = await add_api_key(database, workspace)
    settings = read_settings({"RATE_LIMIT": "off", "GRAPHQL_MAX_LIST_ENTRIES": "1000000"})
    async with app_client(database, token=key.token, settings=settings) as client:
        yield Tenant(database, workspace, client)


@pytest.mark.parametrize("timezone", CLOCK_CHANGES)
async def test_every_number_equals_a_plain_computation(
    unlimited_tenant: Tenant, timezone: str
) -> None:
    random, around = Random(timezone), CLOCK_CHANGES[timezone]
    writer = HistoryWriter(unlimited_tenant, random, around)
    await writer.add_accounts()
    histories = [history for _ in range(60) for history in await writer.add_post()]
    for _ in range(15):
        query = random_query(random, around, timezone, accounts=4)
        data = await unlimited_tenant.client.query(STATS, **query.variables())
        assert data["outcomeStats"]["buckets"] == expected_buckets(query, histories), query
