"""Statistics of outcomes: every number against a plain computation, and refused arguments."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from random import Random

import pytest

from app.db.core.database import Database
from app.settings import read_settings
from tests.clients import Tenant, app_client
from tests.db.core.intercepting_driver import InterceptingDriver
from tests.factories import (
    NOW,
    add_account,
    add_api_key,
    add_attempt,
    add_post,
    add_workspace,
    failed,
    published,
    waiting_for_retry,
)
from tests.graphql.outcome_histories import (
    COUNTS,
    LATENESS,
    HistoryWriter,
    expected_buckets,
    random_query,
)
from tests.recording_driver import record_statements

STATS = f"""
query (
  $from: DateTime!, $to: DateTime!, $interval: StatsInterval, $timezone: String!,
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


async def test_period_without_destinations_has_empty_buckets_and_no_rate(acme: Tenant) -> None:
    data = await acme.client.query(
        '{ outcomeStats(from: "2026-04-13", to: "2026-04-15T06:00:00Z", interval: DAY) { start end'
        f" timezone interval buckets {{ start end counts {{ {COUNTS} {LATENESS} }}"
        " groups { platform } } } }"
    )
    counts = {**dict.fromkeys(COUNTS.split(), 0), "successRate": None, "lateness": None}
    assert data["outcomeStats"] == {
        "start": "2026-04-13T00:00:00.000Z",
        "end": "2026-04-15T06:00:00.000Z",
        "timezone": "UTC",
        "interval": "DAY",
        "buckets": [
            {"start": start, "end": end, "counts": counts, "groups": []}
            for start, end in (
                ("2026-04-13T00:00:00.000Z", "2026-04-14T00:00:00.000Z"),
                ("2026-04-14T00:00:00.000Z", "2026-04-15T00:00:00.000Z"),
                ("2026-04-15T00:00:00.000Z", "2026-04-15T06:00:00.000Z"),
            )
        ],
    }


async def test_retried_destination_counts_once_by_its_present_outcome(acme: Tenant) -> None:
    account = await add_account(acme.database, acme.workspace)
    await add_post(acme.database, acme.workspace, {account: waiting_for_retry()})
    await add_post(acme.database, acme.workspace, {account: published(attempts=3)})
    data = await acme.client.query(
        '{ outcomeStats(from: "2026-04-15", to: "2026-04-16") { buckets { counts'
        " { published failed savedByRetry successRate } } } }"
    )
    assert data["outcomeStats"]["buckets"] == [
        {"counts": {"published": 1, "failed": 0, "savedByRetry": 1, "successRate": 1.0}}
    ]


DAYS = 'from: "2026-04-01", to: "2026-04-03"'


@pytest.mark.parametrize(
    ("arguments", "field", "message"),
    [
        (
            f'{DAYS}, timezone: "Mars/Olympus"',
            "timezone",
            "timezone must be the name of a time zone of the IANA database, such as Europe/Berlin.",
        ),
        (
            f'{DAYS}, timezone: "localtime"',
            "timezone",
            "timezone must be the name of a time zone of the IANA database, such as Europe/Berlin.",
        ),
        ('from: "2026-04-02", to: "2026-04-01"', "to", "to must be later than from."),
        ('from: "2026-04-02", to: "2026-04-02"', "to", "to must be later than from."),
        (
            'from: "2026-01-01", to: "2026-03-25T08:00:00.001Z", interval: HOUR',
            "interval",
            "The period from `from` to `to` has more than 2,000 buckets of one hour; from 1 to 2,000 are"
            " allowed. Use a longer interval or a shorter period.",
        ),
        (
            'from: "1900-01-01", to: "9998-12-31", interval: WEEK',
            "interval",
            "The period from `from` to `to` has more than 2,000 buckets of one week; from 1 to 2,000 are"
            " allowed. Use a longer interval or a shorter period.",
        ),
        (
            f"{DAYS}, groupBy: [PLATFORM, ACCOUNT, CATEGORY]",
            "groupBy",
            "groupBy has 3 values; from 0 to 2 are allowed.",
        ),
        (
            'from: "2025-01-01", to: "2026-02-05T00:00:00.001Z", groupBy: [HOUR_OF_WEEK]',
            "groupBy",
            "groupBy HOUR_OF_WEEK allows a period of at most 400 days from `from` to `to`.",
        ),
        (
            f'{DAYS}, filter: {{platform: ["a\\u0000"]}}',
            "filter.platform",
            "filter.platform must not contain a NUL character.",
        ),
    ],
)
async def test_invalid_argument_is_refused(
    acme: Tenant, arguments: str, field: str, message: str
) -> None:
    error = await acme.client.expect_error(f"{{ outcomeStats({arguments}) {{ timezone }} }}")
    assert error == ("VALIDATION_ERROR", field, message)


@pytest.mark.parametrize(
    "arguments",
    [
        'from: "2026-01-01", to: "2026-03-25T08:00:00Z", interval: HOUR',
        'from: "2025-01-01", to: "2026-02-05T00:00:00Z", groupBy: [HOUR_OF_WEEK]',
    ],
)
async def test_longest_period_is_accepted(acme: Tenant, arguments: str) -> None:
    data = await acme.client.query(f"{{ outcomeStats({arguments}) {{ timezone }} }}")
    assert data["outcomeStats"] == {"timezone": "UTC"}


async def test_too_many_buckets_and_groups_are_refused(acme: Tenant) -> None:
    for platform in ("instagram", "x"):
        account = await add_account(acme.database, acme.workspace, platform=platform)
        await add_post(acme.database, acme.workspace, {account: published()})
    key = await add_api_key(acme.database, acme.workspace)
    settings = read_settings({"RATE_LIMIT": "off", "GRAPHQL_MAX_LIST_ENTRIES": "5"})
    document = """
    query ($to: DateTime!, $groupBy: [OutcomeGrouping!]) {
      outcomeStats(from: "2026-04-14", to: $to, interval: DAY, groupBy: $groupBy) {
        buckets { groups { platform } }
      }
    }
    """
    async with app_client(acme.database, token=key.token, settings=settings) as client:
        data = await client.query(document, to="2026-04-16", groupBy=["PLATFORM"])
        assert data["outcomeStats"]["buckets"] == [
            {"groups": []},
            {"groups": [{"platform": "instagram"}, {"platform": "x"}]},
        ]
        assert await client.expect_error(document, to="2026-04-17", groupBy=["PLATFORM"]) == (
            "LIMIT_EXCEEDED",
            None,
            "The response would have 3 buckets × 2 groups; at most 5 entries are allowed. Use fewer"
            " buckets or groups.",
        )
        assert await client.expect_error(document, to="2026-04-20") == (
            "LIMIT_EXCEEDED",
            None,
            "The response would have 6 buckets × 1 groups; at most 5 entries are allowed. Use fewer"
            " buckets or groups.",
        )


async def test_post_deleted_during_the_read_makes_no_number_negative(
    acme: Tenant, database_url: str
) -> None:
    account = await add_account(acme.database, acme.workspace)
    key = await add_api_key(acme.database, acme.workspace)
    driver = InterceptingDriver()

    async def add_deleted_post() -> None:
        post = await add_post(acme.database, acme.workspace, {account: failed()}, deleted_at=NOW)
        await add_attempt(acme.database, acme.workspace, post.destinations[0])

    document = """{
      outcomeStats(from: "2026-04-14", to: "2026-04-17") { buckets { counts { failed attempts } } }
    }"""
    async with (
        Database(database_url, wrap_driver=driver) as read,
        app_client(read, token=key.token) as client,
    ):
        for number in range(10):
            driver.before_nth(number, add_deleted_post)
            data = await client.query(document)
            (bucket,) = data["outcomeStats"]["buckets"]
            assert min(bucket["counts"].values()) >= 0, number


ALIASES = " ".join(
    f"""a{number}: outcomeStats(from: "2026-04-10", to: "2026-04-20", interval: DAY, groupBy: [ACCOUNT])
    {{ buckets {{ start }} }}"""
    for number in range(4)
)


async def test_known_buckets_of_all_fields_are_refused_before_any_read(acme: Tenant) -> None:
    key = await add_api_key(acme.database, acme.workspace)
    settings = read_settings({"RATE_LIMIT": "off", "GRAPHQL_MAX_LIST_ENTRIES": "9"})
    async with app_client(acme.database, token=key.token, settings=settings) as client:
        with record_statements(acme.database) as statements:
            assert await client.expect_error(f"{{ {ALIASES} }}") == (
                "LIMIT_EXCEEDED",
                None,
                "The response would have 10 buckets × 1 groups; at most 9 entries are allowed. Use fewer"
                " buckets or groups.",
            )
    assert statements == []


async def test_one_field_over_the_limit_stops_the_reads_of_the_others(acme: Tenant) -> None:
    accounts = [
        await add_account(acme.database, acme.workspace, platform=platform)
        for platform in ("facebook", "instagram", "x")
    ]
    for account in accounts:
        await add_post(acme.database, acme.workspace, {account: published()})
    key = await add_api_key(acme.database, acme.workspace)
    document = """{ outcomeStats(
      from: "2026-04-10", to: "2026-04-20", interval: DAY, groupBy: [ACCOUNT, PLATFORM]
    ) { buckets { start } } }"""
    counts = {}
    for limit in ("30", "19"):
        settings = read_settings({"RATE_LIMIT": "off", "GRAPHQL_MAX_LIST_ENTRIES": limit})
        async with app_client(acme.database, token=key.token, settings=settings) as client:
            with record_statements(acme.database) as statements:
                body = await client.execute(document)
            counts[limit] = sum("lead(" in statement.text for statement in statements)
            assert [error["message"] for error in body.get("errors", [])] == (
                []
                if limit == "30"
                else [
                    "The response would have 10 buckets × 2 groups; at most 19 entries are allowed. Use"
                    " fewer buckets or groups."
                ]
            )
    assert counts == {"30": 3, "19": 2}
