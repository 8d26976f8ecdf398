"""A worker that is stopped, held up or cut off from its database: nothing is lost, nothing goes out twice."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import timedelta
from typing import TypeVar

import structlog

from app.db.core.database import Database, WriteSession
from app.domain.attempts import AttemptKind, Publication
from app.domain.destinations import Outcome
from app.domain.errors import ServiceUnavailable
from app.platforms.protocol import PublishRequest
from app.services.expirations import settle_expired_leases
from app.services.reports import ReportResult
from tests.factories import NOW, queued
from tests.worker.worker_bench import (
    LEASE,
    SECOND,
    BlockedLookupPlatform,
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

T = TypeVar("T")

REGULAR, LATE = AttemptKind.REGULAR, AttemptKind.LATE
PUBLICATION = Publication(platform_post_id="42", platform_post_url=None, published_at=NOW)


class HeldPlatform(ScriptedPlatform):
    """A platform that publishes when the test lets it."""

    def __init__(self) -> None:
        super().__init__(PUBLICATION)

    async def publish(self, request: PublishRequest) -> Publication:
        self.calls.append(request)
        await self.may_answer.wait()
        return PUBLICATION


class UnavailableDatabase(Database):
    """Cannot be written to while it is away; says what it was told before it answers."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.is_away = False
        self.refused_writes = 0
        self.last_reported: Callable[[], Awaitable[None]] | None = None
        """Asked once, at the first report."""
        self.on_claimed: Callable[[], None] = lambda: None

    async def write(self, work: Callable[[WriteSession], Awaitable[T]]) -> T:
        if self.is_away:
            self.refused_writes += 1
            raise ServiceUnavailable("The disk is gone.")
        result = await super().write(work)
        if isinstance(result, list) and result:
            self.on_claimed()
        told = result[0] if isinstance(result, tuple) else result
        if isinstance(told, ReportResult) and self.last_reported is not None:
            hook, self.last_reported = self.last_reported, None
            await hook()
        return result


# Stopping.


async def test_a_stop_waits_for_what_is_started(database: Database) -> None:
    sent, platform = await add_sent_post(database, "acme"), HeldPlatform()
    async with WorkerBench(database, platforms={"sandbox": platform}).running_worker() as worker:
        await wait_until(lambda: len(platform.calls) == 1)
        worker.stop()
        late = await add_sent_post(database, "late")
        await asyncio.sleep(0.1)
        assert (await sent.state()).attempts == 1
        platform.may_answer.set()

    assert (await sent.state()).outcome is Outcome.PUBLISHED
    assert await late.state() == queued()


async def test_a_stop_gives_back_what_is_not_started(database_url: str) -> None:
    async with UnavailableDatabase(database_url) as database:
        sent, platform = await add_sent_post(database, "acme"), HeldPlatform()
        bench = WorkerBench(database, platforms={"sandbox": platform})
        with structlog.testing.capture_logs() as logs:
            worker = bench.worker()
            database.on_claimed = worker.stop
            await worker.run()

        assert platform.calls == []
        assert (await sent.state(), await sent.attempts()) == (replace(queued(), fence=1), [])
        assert [each["event"] for each in logs] == ["released"]


async def test_a_stop_leaves_to_its_lease_what_does_not_end_in_time(database: Database) -> None:
    sent, platform = await add_sent_post(database, "acme"), HeldPlatform()
    bench = WorkerBench(
        database, platforms={"sandbox": platform}, shutdown_timeout=timedelta(milliseconds=50)
    )
    async with bench.running_worker():
        await wait_until(lambda: len(platform.calls) == 1)

    state = await sent.state()
    assert (state.attempts, state.outcome, state.started_at) == (1, Outcome.NONE, NOW)
    assert state.lease_expires_at == NOW + bench.lease
    await settle_expired_leases(database, NOW + bench.lease)
    assert is_unknown(await sent.state())


async def test_a_published_post_that_could_not_be_reported_is_logged_at_the_stop(
    database_url: str,
) -> None:
    async with UnavailableDatabase(database_url) as database:
        sent, platform = await add_sent_post(database, "acme"), HeldPlatform()
        bench = WorkerBench(
            database, platforms={"sandbox": platform}, shutdown_timeout=timedelta(milliseconds=50)
        )
        with structlog.testing.capture_logs() as logs:
            async with bench.running_worker():
                await wait_until(lambda: len(platform.calls) == 1)
                database.is_away = True
                platform.may_answer.set()
                await wait_until(lambda: database.refused_writes > 1)

    (line,) = (each for each in logs if each["log_level"] == "error")
    assert line["event"] == "not reported before the stop"
    assert (line["destination_id"], line["platform_post_id"]) == (str(sent.id), "42")


# Held up.


async def test_a_worker_that_was_held_up_past_its_lease_does_not_call(database_url: str) -> None:
    """As by SIGSTOP right after the start of the attempt: the clocks run on, and it knows of nothing."""
    clock = FakeClock()
    async with UnavailableDatabase(database_url) as database:

        async def advance_clock() -> None:
            clock.seconds += 61
            await settle_expired_leases(database, clock.now())

        database.last_reported = advance_clock
        sent, bench = await add_sent_post(database, "acme"), WorkerBench(database, clock=clock)
        async with bench.running_worker():
            state = await sent.wait_until(is_published)

        assert state.attempts == 2
        assert await sent.attempt_summaries() == [
            (1, REGULAR, "unknown", "OUTCOME_UNKNOWN"),
            (2, REGULAR, "published", None),
            (None, LATE, "failed", "NOT_CALLED"),
        ]
        assert [each.attempt for each in bench.ledger.posts()] == [2]


async def test_a_worker_that_was_held_up_before_the_start_gives_back(database_url: str) -> None:
    clock = FakeClock()
    async with UnavailableDatabase(database_url) as database:

        def advance_clock() -> None:
            clock.seconds += 56  # within the lease, but within its margin too
            database.on_claimed = lambda: None

        database.on_claimed = advance_clock
        sent, platform = await add_sent_post(database, "acme"), ScriptedPlatform(PUBLICATION)
        async with WorkerBench(
            database, platforms={"sandbox": platform}, clock=clock
        ).running_worker():
            state = await sent.wait_until(is_final)

        assert (state.fence, state.attempts, len(platform.calls)) == (2, 1, 1)


async def test_a_worker_that_was_held_up_before_a_look_leaves_it_to_the_end_of_the_lease(
    database_url: str,
) -> None:
    clock = FakeClock()
    async with UnavailableDatabase(database_url) as database:

        def advance_clock() -> None:
            clock.seconds += 56  # within the lease, but within its margin too
            database.on_claimed = lambda: None

        def advance_before_lookup() -> None:
            database.on_claimed = advance_clock

        database.on_claimed = advance_before_lookup
        sent, platform = (
            await add_sent_post(database, "acme"),
            ScriptedPlatform(TimeoutError(), PUBLICATION),
        )
        bench = WorkerBench(database, platforms={"sandbox": platform}, clock=clock)
        with structlog.testing.capture_logs() as logs:
            async with bench.running_worker():
                await wait_until(lambda: "no time to look" in [each["event"] for each in logs])
                state = await sent.state()
                assert (state.outcome, state.verifiable_at) == (Outcome.UNKNOWN, NOW + LEASE)
                clock.seconds += 4
                state = await sent.wait_until(is_published)

    assert (state.platform_post_id, state.settled_at) == ("42", NOW + LEASE)


async def test_a_look_that_outlasts_its_lease_says_nothing_and_is_followed_by_another(
    database: Database,
) -> None:
    sent, platform = (
        await add_sent_post(database, "acme"),
        BlockedLookupPlatform(TimeoutError(), PUBLICATION),
    )
    bench = WorkerBench(database, platforms={"sandbox": platform}, clock=RealClock(), lease=SECOND)
    async with bench.running_worker():
        await wait_until(lambda: platform.lookups == 1)
        platform.may_answer.set()
        await sent.wait_until(is_published)

    assert (platform.lookups, len(platform.calls)) == (2, 1)


# The database is away.


async def test_what_was_published_while_the_database_was_away_is_reported_afterwards(
    database_url: str,
) -> None:
    async with UnavailableDatabase(database_url) as database:
        sent, platform = await add_sent_post(database, "acme"), HeldPlatform()
        bench = WorkerBench(database, platforms={"sandbox": platform})
        with structlog.testing.capture_logs() as logs:
            async with bench.running_worker():
                await wait_until(lambda: len(platform.calls) == 1)
                database.is_away = True
                platform.may_answer.set()
                await wait_until(lambda: database.refused_writes > 20)
                database.is_away = False
                state = await sent.wait_until(is_final)

        assert (state.outcome, state.platform_post_id) == (Outcome.PUBLISHED, "42")
        assert len(platform.calls) == 1
        events = [each["event"] for each in logs]
        assert events.count("the database does not answer; trying again") == 1


async def test_no_platform_is_called_while_the_start_cannot_be_stored(database_url: str) -> None:
    async with UnavailableDatabase(database_url) as database:
        sent, platform = await add_sent_post(database, "acme"), ScriptedPlatform(PUBLICATION)

        async def lose_response() -> None:
            database.is_away = True
            raise ServiceUnavailable("The connection broke.")

        database.last_reported = lose_response
        bench = WorkerBench(database, platforms={"sandbox": platform}, clock=RealClock())
        async with bench.running_worker():
            await wait_until(lambda: database.refused_writes > 3)
            assert platform.calls == []
            database.is_away = False
            state = await sent.wait_until(is_final)

        assert (state.outcome, state.attempts, len(platform.calls)) == (Outcome.PUBLISHED, 1, 1)


async def test_a_start_that_nobody_confirmed_in_time_is_told_as_not_called(
    database_url: str,
) -> None:
    clock = FakeClock()
    async with UnavailableDatabase(database_url) as database:
        sent, platform = await add_sent_post(database, "acme"), ScriptedPlatform(PUBLICATION)

        async def lose_response() -> None:
            clock.seconds += 56  # within the lease, but within its margin too
            raise ServiceUnavailable("The connection broke.")

        database.last_reported = lose_response
        async with WorkerBench(
            database, platforms={"sandbox": platform}, clock=clock
        ).running_worker():
            state = await sent.wait_until(is_final)

        assert await sent.attempt_summaries() == [
            (1, REGULAR, "failed", "NOT_CALLED"),
            (2, REGULAR, "published", None),
        ]
        assert (state.attempts, [each.attempt for each in platform.calls]) == (2, [2])
