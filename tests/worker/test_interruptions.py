"""Tests of workers that are stopped, suspended or cut off: no result is lost, no post published twice."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import timedelta
from typing import TypeVar

import structlog

from app.db.core.database import Database
from app.db.core.write_session import Transaction
from app.domain.accounts import AccountPublisher
from app.domain.attempts import AttemptKind
from app.domain.destinations import Outcome
from app.domain.errors import ServiceUnavailable
from app.services.expirations import settle_expired_leases
from tests.db.core.intercepting_driver import InterceptingDriver
from tests.factories import NOW, queued
from tests.worker.worker_bench import (
    LEASE,
    PUBLICATION,
    SECOND,
    BlockedLookupPlatform,
    BlockedPlatform,
    FakeClock,
    RealClock,
    ScriptedPlatform,
    WorkerBench,
    add_sent_post,
    is_final,
    is_published,
    is_unknown,
    wait_until,
)

SANDBOX = AccountPublisher.SANDBOX

T = TypeVar("T")

REGULAR, LATE = AttemptKind.REGULAR, AttemptKind.LATE


class UnavailableDatabase(Database):
    """A database whose writes can fail, with hooks after a claim and after a started attempt."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.is_unavailable = False
        self.refused_writes = 0
        self.on_started: Callable[[], Awaitable[None]] | None = None
        """Called once, after the first started attempt."""
        self.on_claimed: Callable[[], None] = lambda: None

    async def _write(self, run: Callable[[Transaction], Awaitable[T]]) -> T:
        if self.is_unavailable:
            self.refused_writes += 1
            raise ServiceUnavailable("The disk is gone.")
        result = await super()._write(run)
        outcome = result[0] if isinstance(result, tuple) else result
        if isinstance(outcome, list) and outcome:
            self.on_claimed()
        if isinstance(outcome, tuple) and self.on_started is not None:
            hook, self.on_started = self.on_started, None
            await hook()
        return result


# Stopping.


async def test_stop_waits_for_started_attempts(database: Database) -> None:
    sent, platform = await add_sent_post(database, "acme"), BlockedPlatform()
    async with WorkerBench(database, adapters={SANDBOX: platform}).running_worker() as worker:
        await wait_until(lambda: len(platform.calls) == 1)
        worker.stop()
        late = await add_sent_post(database, "late")
        await asyncio.sleep(0.1)
        assert (await sent.state()).attempts == 1
        platform.may_respond.set()

    assert (await sent.state()).outcome is Outcome.PUBLISHED
    assert await late.state() == queued()


async def test_stop_releases_claims_that_are_not_started(database_url: str) -> None:
    async with UnavailableDatabase(database_url) as database:
        sent, platform = await add_sent_post(database, "acme"), BlockedPlatform()
        bench = WorkerBench(database, adapters={SANDBOX: platform})
        with structlog.testing.capture_logs() as logs:
            worker = bench.worker()
            database.on_claimed = worker.stop
            await worker.run()

        assert platform.calls == []
        assert (await sent.state(), await sent.attempts()) == (replace(queued(), fence=1), [])
        assert [entry["event"] for entry in logs] == ["claim released"]


async def test_claim_that_outlasts_the_shutdown_timeout_is_abandoned(database_url: str) -> None:
    driver = InterceptingDriver()
    async with Database(database_url, wrap_driver=driver) as database, asyncio.timeout(5):
        driver.before_statement = asyncio.Event().wait
        bench = WorkerBench(database, shutdown_timeout=timedelta(milliseconds=50))
        with structlog.testing.capture_logs() as logs:
            async with bench.running_worker():
                await wait_until(lambda: driver.running == 1)

    assert [entry["event"] for entry in logs] == ["shutdown timeout exceeded"]


async def test_worker_that_is_stopped_before_it_starts_claims_nothing(database: Database) -> None:
    sent = await add_sent_post(database, "acme")
    async with WorkerBench(database).running_worker():
        pass

    assert await sent.state() == queued()


async def test_attempt_that_outlasts_the_shutdown_timeout_is_left_to_its_lease(
    database: Database,
) -> None:
    sent, platform = await add_sent_post(database, "acme"), BlockedPlatform()
    bench = WorkerBench(
        database, adapters={SANDBOX: platform}, shutdown_timeout=timedelta(milliseconds=50)
    )
    async with bench.running_worker():
        await wait_until(lambda: len(platform.calls) == 1)

    state = await sent.state()
    assert (state.attempts, state.outcome, state.started_at) == (1, Outcome.NONE, NOW)
    assert state.lease_expires_at == NOW + bench.lease
    await settle_expired_leases(database, NOW + bench.lease)
    assert is_unknown(await sent.state())


async def test_unreported_publication_is_logged_at_shutdown(database_url: str) -> None:
    async with UnavailableDatabase(database_url) as database:
        sent, platform = await add_sent_post(database, "acme"), BlockedPlatform()
        bench = WorkerBench(
            database, adapters={SANDBOX: platform}, shutdown_timeout=timedelta(milliseconds=50)
        )
        with structlog.testing.capture_logs() as logs:
            async with bench.running_worker():
                await wait_until(lambda: len(platform.calls) == 1)
                database.is_unavailable = True
                platform.may_respond.set()
                await wait_until(lambda: database.refused_writes > 1)

    (entry,) = (entry for entry in logs if entry["log_level"] == "error")
    assert entry["event"] == "report abandoned at shutdown"
    assert (entry["destination_id"], entry["platform_post_id"]) == (str(sent.id), "42")


# Suspended.


async def test_worker_suspended_past_its_lease_does_not_call_the_platform(
    database_url: str,
) -> None:
    """As by SIGSTOP right after the start of the attempt: only the clocks go on."""
    clock = FakeClock()
    async with UnavailableDatabase(database_url) as database:

        async def advance_clock() -> None:
            clock.seconds += 61
            await settle_expired_leases(database, clock.now())

        database.on_started = advance_clock
        sent, bench = await add_sent_post(database, "acme"), WorkerBench(database, clock=clock)
        async with bench.running_worker():
            state = await sent.wait_until(is_published)

        assert state.attempts == 2
        assert await sent.attempt_summaries() == [
            (1, REGULAR, "unknown", "OUTCOME_UNKNOWN"),
            (2, REGULAR, "published", None),
            (None, LATE, "failed", "NOT_CALLED"),
        ]
        assert [post.attempt for post in bench.store.posts()] == [2]


async def test_worker_suspended_before_the_start_releases_its_claim(database_url: str) -> None:
    clock = FakeClock()
    async with UnavailableDatabase(database_url) as database:

        def advance_clock() -> None:
            clock.seconds += 56  # within the lease, but inside its safety margin
            database.on_claimed = lambda: None

        database.on_claimed = advance_clock
        sent, platform = await add_sent_post(database, "acme"), ScriptedPlatform(PUBLICATION)
        async with WorkerBench(
            database, adapters={SANDBOX: platform}, clock=clock
        ).running_worker():
            state = await sent.wait_until(is_final)

        assert (state.fence, state.attempts, len(platform.calls)) == (2, 1, 1)


async def test_worker_suspended_before_a_lookup_leaves_it_to_lease_expiry(
    database_url: str,
) -> None:
    clock = FakeClock()
    async with UnavailableDatabase(database_url) as database:

        def advance_clock() -> None:
            clock.seconds += 56  # within the lease, but inside its safety margin
            database.on_claimed = lambda: None

        def advance_before_lookup() -> None:
            database.on_claimed = advance_clock

        database.on_claimed = advance_before_lookup
        sent, platform = (
            await add_sent_post(database, "acme"),
            ScriptedPlatform(TimeoutError(), PUBLICATION),
        )
        bench = WorkerBench(database, adapters={SANDBOX: platform}, clock=clock)
        with structlog.testing.capture_logs() as logs:
            async with bench.running_worker():
                await wait_until(
                    lambda: "verification skipped, lease expired" in [e["event"] for e in logs]
                )
                state = await sent.state()
                assert (state.outcome, state.verifiable_at) == (Outcome.UNKNOWN, NOW + LEASE)
                clock.seconds += 4
                state = await sent.wait_until(is_published)

    assert (state.platform_post_id, state.settled_at) == ("42", NOW + LEASE)


async def test_lookup_that_outlasts_its_lease_is_repeated(database: Database) -> None:
    sent, platform = (
        await add_sent_post(database, "acme"),
        BlockedLookupPlatform(TimeoutError(), PUBLICATION),
    )
    bench = WorkerBench(database, adapters={SANDBOX: platform}, clock=RealClock(), lease=SECOND)
    async with bench.running_worker():
        await wait_until(lambda: platform.lookups == 1)
        platform.may_respond.set()
        await sent.wait_until(is_published)

    assert (platform.lookups, len(platform.calls)) == (2, 1)


# Database unavailable.


async def test_publication_during_a_database_outage_is_reported_afterwards(
    database_url: str,
) -> None:
    async with UnavailableDatabase(database_url) as database:
        sent, platform = await add_sent_post(database, "acme"), BlockedPlatform()
        bench = WorkerBench(database, adapters={SANDBOX: platform})
        with structlog.testing.capture_logs() as logs:
            async with bench.running_worker():
                await wait_until(lambda: len(platform.calls) == 1)
                database.is_unavailable = True
                platform.may_respond.set()
                await wait_until(lambda: database.refused_writes > 20)
                database.is_unavailable = False
                state = await sent.wait_until(is_final)

        assert (state.outcome, state.platform_post_id) == (Outcome.PUBLISHED, "42")
        assert len(platform.calls) == 1
        events = [entry["event"] for entry in logs]
        assert events.count("database unavailable, retrying") == 1


async def test_platform_is_not_called_until_the_start_is_stored(database_url: str) -> None:
    async with UnavailableDatabase(database_url) as database:
        sent, platform = await add_sent_post(database, "acme"), ScriptedPlatform(PUBLICATION)

        async def lose_response() -> None:
            database.is_unavailable = True
            raise ServiceUnavailable("The connection broke.")

        database.on_started = lose_response
        bench = WorkerBench(database, adapters={SANDBOX: platform}, clock=RealClock())
        async with bench.running_worker():
            await wait_until(lambda: database.refused_writes > 3)
            assert platform.calls == []
            database.is_unavailable = False
            state = await sent.wait_until(is_final)

        assert (state.outcome, state.attempts, len(platform.calls)) == (Outcome.PUBLISHED, 1, 1)


async def test_start_not_confirmed_in_time_is_reported_as_not_called(database_url: str) -> None:
    clock = FakeClock()
    async with UnavailableDatabase(database_url) as database:
        sent, platform = await add_sent_post(database, "acme"), ScriptedPlatform(PUBLICATION)

        async def lose_response() -> None:
            clock.seconds += 56  # within the lease, but inside its safety margin
            raise ServiceUnavailable("The connection broke.")

        database.on_started = lose_response
        async with WorkerBench(
            database, adapters={SANDBOX: platform}, clock=clock
        ).running_worker():
            state = await sent.wait_until(is_final)

        assert await sent.attempt_summaries() == [
            (1, REGULAR, "failed", "NOT_CALLED"),
            (2, REGULAR, "published", None),
        ]
        assert (state.attempts, [call.attempt for call in platform.calls]) == (2, [2])
