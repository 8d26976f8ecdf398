"""Short runs of scripts that kill servers, cause faults and outages, and measure loads."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from random import Random

import pytest

from tests import server_kills
from tests.command_processes import fork
from tests.export_benchmark import add_destinations, measure_export
from tests.fairness_benchmark import Load, measure_lateness
from tests.faults.__main__ import run_fault
from tests.faults.service import ANSWER_LIMIT, NotRun
from tests.isolation.__main__ import ATTACKS, run_isolation
from tests.isolation.__main__ import seed as seed_tenants
from tests.outages.pds import OutageMode
from tests.outages.run import OutageScenario, run_outage
from tests.server_kills import ServerKillResults
from tests.servers import run_server
from tests.subscriptions import kills
from tests.subscriptions.latency import LatencyLoad, run_subscription_load
from tests.subscriptions.outages import RestartedDatabase
from tests.subscriptions.unread import MEMORY_GOAL, UnreadLoad, measure_unread
from tests.virtual_time import run_in_virtual_time

pytestmark = pytest.mark.slow


async def test_acknowledged_writes_survive_kills_and_take_effect_once(
    database_url: str, tmp_path: Path
) -> None:
    results = await server_kills.kill_server(
        database_url, tmp_path, kills=3, writers=4, retries=40, randomness=Random(3)
    )

    assert results.acknowledged > 0
    assert results.repeated > 0
    assert replace(results, acknowledged=0, repeated=0) == ServerKillResults(
        acknowledged=0, repeated=0, kills=3, lost=0, duplicates=0, problems=0
    )


@pytest.mark.parametrize("fault", ["killed", "stopped"])
async def test_service_recovers_from_a_fault_of_its_database(
    engine: str, tmp_path: Path, fault: str
) -> None:
    result = await run_fault(fault, engine, tmp_path, is_quick=True)

    assert (result.lost, result.doubled, result.problems) == (0, 0, [])
    assert result.recovery < float("inf")
    assert result.longest < ANSWER_LIMIT


async def test_fault_without_a_network_is_not_run_on_sqlite(tmp_path: Path) -> None:
    with pytest.raises(NotRun, match="SQLite has no network"):
        await run_fault("silent", "sqlite", tmp_path, is_quick=True)


async def test_subscribers_of_killed_servers_receive_each_change_once(
    database_url: str, tmp_path: Path
) -> None:
    database = RestartedDatabase(database_url, restarts=[])

    results = await kills.run_kills(
        database, tmp_path, kills=kills.SERVERS, writers=2, subscribers_each=1, randomness=Random(3)
    )

    assert results.log_errors == []
    assert results.mismatched_writes == 0
    assert [subscriber for subscriber in results.subscribers if not subscriber.is_clean] == []
    assert all(subscriber.received for subscriber in results.subscribers)
    assert any(subscriber.reconnects for subscriber in results.subscribers)


def test_measured_export_has_all_rows(database_url: str, tmp_path: Path) -> None:
    token = asyncio.run(add_destinations(database_url, 2000))
    with run_server(tmp_path, {"DATABASE_URL": database_url}) as server:
        measured = [
            measure_export(server, token, export_format, use_gzip=use_gzip)
            for export_format in ("csv", "ndjson")
            for use_gzip in (False, True)
        ]

    assert [measurement.rows for measurement in measured] == [2000] * 4
    assert all(measurement.memory_peak > 0 for measurement in measured)


@pytest.mark.parametrize("use_sse", [False, True])
async def test_each_change_reaches_every_subscription_once(
    database_url: str, tmp_path: Path, *, use_sse: bool
) -> None:
    load = LatencyLoad(
        connections=4,
        subscriptions_per_connection=1 if use_sse else 2,
        use_sse=use_sse,
        changes_per_second=40,
        seconds=1,
        processes=2,
    )

    results = await run_subscription_load(database_url, tmp_path, load, fork)

    delivery = results.delivery
    assert (delivery.missing, delivery.duplicates, delivery.out_of_order) == (0, 0, 0)
    assert delivery.expected >= load.subscriptions * 40
    assert not results.log_errors


def test_attack_of_one_workspace_causes_no_failure_of_another(
    database_url: str, tmp_path: Path
) -> None:
    tenants = asyncio.run(seed_tenants(database_url, 2400))
    settings = {"DATABASE_URL": database_url, "RATE_LIMIT": "off"}
    with run_server(tmp_path, settings) as server:
        assert asyncio.run(run_isolation(server.url, tenants, 3, ",".join(ATTACKS)))


@pytest.mark.parametrize("use_sse", [False, True])
async def test_memory_of_subscribers_that_read_nothing_is_that_of_one_response(
    database_url: str, tmp_path: Path, *, use_sse: bool
) -> None:
    load = UnreadLoad(subscribers=20, use_sse=use_sse, is_distinct=False)

    memory = await measure_unread(database_url, tmp_path, load, fork)

    assert memory.response > 20
    assert memory.peak <= MEMORY_GOAL * memory.response


@pytest.mark.parametrize("mode", OutageMode)
@pytest.mark.parametrize("has_sessions", [False, True])
def test_posts_due_in_an_outage_are_published_once_after_it(
    database_url: str, mode: OutageMode, *, has_sessions: bool
) -> None:
    scenario = OutageScenario(
        mode=mode,
        duration=timedelta(minutes=5),
        posts=12,
        accounts=4,
        has_sessions=has_sessions,
        posts_per_hour=None,
    )

    result = run_in_virtual_time(run_outage(database_url, scenario))

    assert (result.published, result.failed, result.refused_logins) == (12, 0, 0)
    assert (result.double, result.lost(scenario)) == (0, 0)
    assert set(result.after.logins.values()) == {0 if has_sessions else 1}
    assert result.virtual_duration > scenario.duration


def test_posts_beside_many_due_posts_are_measured(database_url: str) -> None:
    load = Load(accounts=4, posts_each=2, call_time=timedelta(seconds=0.5), posts_per_minute=None)

    lateness = run_in_virtual_time(measure_lateness(database_url, load, due=50, seed=1))

    assert len(lateness.seconds) == 8
    assert all(0.5 <= seconds < 60 for seconds in lateness.seconds)
    assert lateness.busy_published == 50
