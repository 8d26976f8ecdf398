"""Every way in which a post can end, through the real loop on the sandbox: state, log and ledger."""

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest

from app.db.core.database import Database
from app.db.tools.integrity import find_problems
from app.domain.attempts import AttemptKind, Publication
from app.domain.destinations import DestinationState, ErrorCategory, Outcome
from app.platforms.protocol import LookupMiss, NotPublished, PublishRequest
from app.services.accounts import mark_reconnected
from app.services.expirations import settle_expired_leases
from app.services.retries import retry_one_post
from app.services.unit_of_work import WriteContext
from tests.factories import NOW, failed, published
from tests.worker.worker_bench import (
    SECOND,
    BlockedLookupPlatform,
    RealClock,
    ScriptedPlatform,
    SentPost,
    WorkerBench,
    add_sent_post,
    is_final,
    is_published,
    is_retry_scheduled,
    is_unknown,
    wait_until,
)

REGULAR = AttemptKind.REGULAR


def published_on_sandbox(
    sent: SentPost, account: str, *, seconds: float, attempts: int = 1
) -> DestinationState:
    """Published and reported so many seconds after it was due."""
    name = f"{sent.id.hex[:12]}-{attempts}"
    return published(
        NOW + timedelta(seconds=seconds),
        attempts=attempts,
        platform_post_id=name,
        platform_post_url=f"https://sandbox.example/{account}/{name}",
    )


async def test_one_that_succeeds_is_published_at_once(database: Database) -> None:
    sent, bench = await add_sent_post(database, "succeeds"), WorkerBench(database)
    async with bench.running_worker():
        state = await sent.wait_until(is_final)

    assert state == published_on_sandbox(sent, "succeeds", seconds=1)
    (attempt,) = await sent.attempts()
    assert (attempt.number, attempt.worker, attempt.outcome) == (1, "worker-1", Outcome.PUBLISHED)
    assert (attempt.started_at, attempt.finished_at) == (NOW, NOW + SECOND)
    assert [each.destination_id for each in bench.ledger.posts()] == [sent.id]
    assert str(bench.stats) == "published 1 · failed 0 · waiting 0 · unknown 0 · in flight 0"
    assert await find_problems(database) == []


async def test_a_slow_one_is_published_later(database: Database) -> None:
    sent, bench = await add_sent_post(database, "slow"), WorkerBench(database)
    async with bench.running_worker():
        state = await sent.wait_until(is_final)

    assert state == published_on_sandbox(sent, "slow", seconds=16)
    assert len(bench.ledger.posts()) == 1


async def test_a_rate_limited_one_waits_as_long_as_the_platform_says(database: Database) -> None:
    sent, bench = await add_sent_post(database, "rate-limited 20s"), WorkerBench(database)
    async with bench.running_worker():
        waiting = await sent.wait_until(is_retry_scheduled)
        assert waiting.next_retry_at == NOW + timedelta(seconds=21)
        assert waiting.error == "Too many posts. Try again in 20 seconds."
        assert waiting.round_attempts == 0
        await bench.clock.sleep(20)
        state = await sent.wait_until(is_final)

    expected = published_on_sandbox(sent, "rate-limited%2020s", seconds=22, attempts=2)
    assert state == replace(expected, round_attempts=1)
    first, second = await sent.attempts()
    assert first.failure is not None
    assert (first.failure.http_status, first.failure.retry_after) == (429, timedelta(seconds=20))
    assert (first.outcome, second.outcome) == (Outcome.FAILED, Outcome.PUBLISHED)
    assert len(bench.ledger.posts()) == 1


async def test_a_flaky_one_is_published_by_the_retry(database: Database) -> None:
    sent, bench = await add_sent_post(database, "flaky"), WorkerBench(database)
    async with bench.running_worker():
        state = await sent.wait_until(is_final)

    assert state == published_on_sandbox(sent, "flaky", seconds=2, attempts=2)
    assert await sent.attempt_summaries() == [
        (1, REGULAR, "failed", "OVERLOADED"),
        (2, REGULAR, "published", None),
    ]
    assert str(bench.stats) == "published 1 · failed 0 · waiting 1 · unknown 0 · in flight 0"
    assert len(bench.ledger.posts()) == 1


async def test_one_that_loses_its_token_is_published_after_reconnection(
    database: Database,
) -> None:
    sent, bench = await add_sent_post(database, "loses-token"), WorkerBench(database)
    async with bench.running_worker():
        lost = await sent.wait_until(is_final)
        assert lost == failed(
            error="The access to the account has ended. Reconnect it.",
            category=ErrorCategory.AUTH,
            code="TOKEN_EXPIRED",
            settled_at=NOW + SECOND,
        )
        errand = WriteContext(
            workspace_id=sent.workspace, actor=None, operation="test", now=bench.clock.now()
        )
        await mark_reconnected(database, errand, sent.account, None)
        await retry_one_post(
            database, errand, sent.post, account_ids=None, force=False, idempotency_key=None
        )
        state = await sent.wait_until(is_published)

    assert (state.attempts, state.published_at) == (2, NOW + 2 * SECOND)
    assert await sent.attempt_summaries() == [
        (1, REGULAR, "failed", "TOKEN_EXPIRED"),
        (2, REGULAR, "published", None),
    ]
    assert len(bench.ledger.posts()) == 1


async def test_one_whose_content_is_rejected_fails_at_once(database: Database) -> None:
    sent, bench = await add_sent_post(database, "rejects"), WorkerBench(database)
    async with bench.running_worker():
        state = await sent.wait_until(is_final)

    assert state == failed(
        error="The sandbox does not take this content.",
        category=ErrorCategory.CONTENT_REJECTED,
        code="CONTENT_REFUSED",
        settled_at=NOW + SECOND,
    )
    (attempt,) = await sent.attempts()
    assert attempt.failure is not None
    assert (attempt.failure.http_status, attempt.failure.raw) == (
        422,
        '{"error": "content refused"}',
    )
    assert bench.ledger.posts() == ()


async def test_one_that_times_out_after_publishing_is_found_and_never_sent_twice(
    database: Database,
) -> None:
    sent, bench = await add_sent_post(database, "times-out"), WorkerBench(database)
    async with bench.running_worker():
        state = await sent.wait_until(is_published)

    # Published after 1 s; the answer failed to come after 3 more, and the look took 1.
    assert state == replace(
        published_on_sandbox(sent, "times-out", seconds=1), settled_at=NOW + timedelta(seconds=5)
    )
    assert await sent.attempt_summaries() == [(1, REGULAR, "unknown", "OUTCOME_UNKNOWN")]
    assert str(bench.stats) == "published 1 · failed 0 · waiting 0 · unknown 1 · in flight 0"
    assert (len(bench.ledger.posts()), bench.ledger.count_duplicates()) == (1, 0)
    assert await find_problems(database) == []


async def test_what_cannot_be_said_stays_unknown_and_is_looked_at_later(
    database: Database,
) -> None:
    sent = await add_sent_post(database, "acme")
    platform = ScriptedPlatform(ConnectionResetError("token=abcdef123456"))
    async with WorkerBench(database, platforms={"sandbox": platform}).running_worker():
        state = await sent.wait_until(
            lambda state: is_unknown(state) and state.verifiable_at == NOW + timedelta(minutes=5)
        )

    assert state.error == (
        "The platform gave no answer (ConnectionResetError: token=[redacted])."
        " The post may be there all the same."
    )
    assert state.verification_token is None
    assert len(platform.calls) == 1


async def test_a_look_that_never_ends_is_broken_off_and_says_nothing_new(
    database: Database,
) -> None:
    sent = await add_sent_post(database, "acme")
    bench = WorkerBench(
        database,
        platforms={"sandbox": BlockedLookupPlatform(TimeoutError())},
        clock=RealClock(),
        lookup_timeout=timedelta(milliseconds=10),
    )
    async with bench.running_worker():
        state = await sent.wait_until(
            lambda state: (
                state.verifiable_at is not None and state.verifiable_at > NOW + timedelta(minutes=4)
            )
        )

    assert (state.outcome, state.verification_token) == (Outcome.UNKNOWN, None)


async def test_what_is_not_there_is_tried_again_until_its_attempts_are_spent(
    database: Database,
) -> None:
    sent = await add_sent_post(database, "acme")
    platform = ScriptedPlatform(TimeoutError(), LookupMiss.NOT_FOUND)
    async with WorkerBench(database, platforms={"sandbox": platform}).running_worker():
        state = await sent.wait_until(lambda state: state.outcome is Outcome.FAILED)

    assert [each.attempt for each in platform.calls] == [1, 2, 3, 4, 5]
    assert (state.attempts, state.error_code) == (5, "NOT_PUBLISHED")


@pytest.mark.parametrize(
    ("told_id", "told_url", "kept_id", "kept_url"),
    [
        ("42", "no address", "42", None),
        ("42", "https://[::1/", "42", None),
        ("42\n", "https://example.com/42", None, "https://example.com/42"),
        ("42", "https://example.com/a b", "42", "https://example.com/a%20b"),
    ],
)
async def test_what_an_adapter_says_wrongly_costs_no_published_post(
    database: Database, told_id: str, told_url: str, kept_id: str | None, kept_url: str | None
) -> None:
    sent = await add_sent_post(database, "acme")
    platform = ScriptedPlatform(
        Publication(
            platform_post_id=told_id,
            platform_post_url=told_url,
            published_at=NOW + timedelta(days=1),
        )
    )
    async with WorkerBench(database, platforms={"sandbox": platform}).running_worker():
        state = await sent.wait_until(is_final)

    assert state == published(NOW, platform_post_id=kept_id, platform_post_url=kept_url)


async def test_what_an_adapter_says_wrongly_of_a_failure_is_left_out(database: Database) -> None:
    sent = await add_sent_post(database, "acme")
    platform = ScriptedPlatform(
        NotPublished(
            ErrorCategory.PERMANENT,
            "\n",
            " ",
            http_status=7,
            retry_after=timedelta(seconds=-1),
            raw="secret=12345678",
        )
    )
    async with WorkerBench(database, platforms={"sandbox": platform}).running_worker():
        state = await sent.wait_until(is_final)

    (attempt,) = await sent.attempts()
    assert (state.error, state.error_code) == ("The platform refused the post.", "PERMANENT")
    assert attempt.failure is not None
    assert (attempt.failure.http_status, attempt.failure.raw) == (None, "secret=[redacted]")


async def test_a_call_that_never_ends_is_broken_off_and_unknown(database: Database) -> None:
    class HangingPlatform(ScriptedPlatform):
        async def publish(self, request: PublishRequest) -> Publication:
            await asyncio.Event().wait()
            raise AssertionError

    sent = await add_sent_post(database, "acme")
    bench = WorkerBench(
        database,
        platforms={"sandbox": HangingPlatform(TimeoutError())},
        publish_timeout=timedelta(milliseconds=100),
    )
    async with bench.running_worker():
        state = await sent.wait_until(is_final)

    assert state.outcome is Outcome.UNKNOWN


async def test_only_platforms_with_an_adapter_are_touched(database: Database) -> None:
    sent, other = (
        await add_sent_post(database, "acme"),
        await add_sent_post(database, "acme", platform="x"),
    )
    before = await other.state()
    async with WorkerBench(database).running_worker():
        await sent.wait_until(is_final)

    assert await other.state() == before


async def test_with_one_place_every_platform_has_its_turn(database: Database) -> None:
    platforms = {name: ScriptedPlatform(TimeoutError()) for name in ("x", "sandbox")}
    for name in [*platforms] * 3:
        await add_sent_post(database, "acme", platform=name)
    async with WorkerBench(database, platforms=platforms, concurrency=1).running_worker():
        await wait_until(lambda: all(len(each.calls) == 3 for each in platforms.values()))


async def test_a_lease_is_extended_for_as_long_as_a_call_takes(database: Database) -> None:
    sent = await add_sent_post(database, "slow 3s")
    clock = RealClock()
    lease = timedelta(seconds=1.5)
    bench = WorkerBench(database, clock=clock, lease=lease, latency=timedelta())
    async with bench.running_worker():
        async with asyncio.timeout(30):
            while not is_final(state := await sent.state()):
                await settle_expired_leases(database, clock.now())
                await asyncio.sleep(0.05)

    assert is_published(state)
    assert await sent.attempt_summaries() == [(1, REGULAR, "published", None)]


async def test_two_workers_publish_each_post_once(database: Database) -> None:
    bench = WorkerBench(database, concurrency=4)
    every = [await add_sent_post(database, "succeeds") for _ in range(12)]
    async with bench.running_worker(), bench.running_worker():
        for sent in every:
            await sent.wait_until(is_final)

    assert sorted(each.destination_id for each in bench.ledger.posts()) == sorted(
        sent.id for sent in every
    )
    assert bench.ledger.count_duplicates() == 0
    assert [len(await sent.attempts()) for sent in every] == [1] * 12
