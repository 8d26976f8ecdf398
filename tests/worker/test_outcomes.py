"""Tests of every publishing result, through the worker's loop on the sandbox: state, attempts, store."""

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest
import structlog

from app.db.core.database import Database
from app.db.tools.integrity import find_problems
from app.domain.accounts import AccountPublisher
from app.domain.attempts import AttemptKind, Publication
from app.domain.destinations import DestinationState, ErrorCategory, Outcome
from app.platforms.protocol import LookupFailure, NotPublished
from app.services.accounts import mark_reconnected
from app.services.expirations import settle_expired_leases
from app.services.retries import retry_one_post
from app.services.unit_of_work import WriteContext
from tests.factories import NOW, failed, published
from tests.worker.worker_bench import (
    PUBLICATION,
    SECOND,
    BlockedLookupPlatform,
    BlockedPlatform,
    RealClock,
    ScriptedPlatform,
    SentPost,
    WorkerBench,
    add_sent_post,
    count_duplicates,
    is_final,
    is_published,
    is_retry_scheduled,
    is_unknown,
    wait_until,
)

EXTERNAL, SANDBOX = AccountPublisher.EXTERNAL, AccountPublisher.SANDBOX

REGULAR = AttemptKind.REGULAR


def published_on_sandbox(
    sent: SentPost, account: str, *, seconds: float, attempts: int = 1
) -> DestinationState:
    """State of a destination published and reported `seconds` after it was due."""
    name = f"{sent.id.hex[:12]}-{attempts}"
    return published(
        NOW + timedelta(seconds=seconds),
        attempts=attempts,
        platform_post_id=name,
        platform_post_url=f"https://sandbox.example/{account}/{name}",
    )


@pytest.mark.parametrize(("account", "seconds"), [("succeeds", 1), ("slow", 16)])
async def test_due_post_is_published(database: Database, account: str, seconds: int) -> None:
    sent, bench = await add_sent_post(database, account), WorkerBench(database)
    async with bench.running_worker():
        state = await sent.wait_until(is_final)

    assert state == published_on_sandbox(sent, account, seconds=seconds)
    (attempt,) = await sent.attempts()
    assert (attempt.number, attempt.worker, attempt.outcome) == (1, "worker-1", Outcome.PUBLISHED)
    assert (attempt.started_at, attempt.finished_at) == (NOW, NOW + seconds * SECOND)
    assert [post.destination_id for post in bench.store.posts()] == [sent.id]
    assert str(bench.stats) == "published 1 · failed 0 · waiting 0 · unknown 0 · in flight 0"
    assert await find_problems(database) == []


async def test_rate_limited_post_is_retried_after_the_platforms_delay(database: Database) -> None:
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
    assert len(bench.store.posts()) == 1


async def test_auth_failure_is_published_after_reconnection_and_retry(database: Database) -> None:
    sent, bench = await add_sent_post(database, "loses-token"), WorkerBench(database)
    async with bench.running_worker():
        lost = await sent.wait_until(is_final)
        assert lost == failed(
            error="The access to the account has ended. Reconnect it.",
            category=ErrorCategory.AUTH,
            code="TOKEN_EXPIRED",
            settled_at=NOW + SECOND,
        )
        write_context = WriteContext.without_actor(sent.workspace, "test", bench.clock.now())
        await mark_reconnected(database, write_context, sent.account, None, idempotency_key=None)
        await retry_one_post(
            database, write_context, sent.post, account_ids=None, force=False, idempotency_key=None
        )
        state = await sent.wait_until(is_published)

    assert (state.attempts, state.published_at) == (2, NOW + 2 * SECOND)
    assert await sent.attempt_summaries() == [
        (1, REGULAR, "failed", "TOKEN_EXPIRED"),
        (2, REGULAR, "published", None),
    ]
    assert len(bench.store.posts()) == 1


async def test_only_a_forced_retry_changes_the_publication_key(database: Database) -> None:
    sent = await add_sent_post(database, "acme")
    platform = ScriptedPlatform(NotPublished(ErrorCategory.TRANSIENT, "TIMEOUT", "No answer."))
    bench = WorkerBench(database, adapters={SANDBOX: platform})

    async def retry(expected: Outcome, *, force: bool = False) -> None:
        """Retry, and wait for the outcome."""
        attempts = len(platform.calls)
        context = WriteContext.without_actor(sent.workspace, "test", bench.clock.now())
        await retry_one_post(
            database, context, sent.post, account_ids=None, force=force, idempotency_key=None
        )
        await sent.wait_until(
            lambda state: state.outcome is expected and len(platform.calls) > attempts
        )

    async with bench.running_worker():
        await sent.wait_until(is_final)
        assert len(platform.calls) == 5
        platform.publish_result = ConnectionResetError()
        platform.lookup_result = LookupFailure.NOT_FOUND
        await retry(Outcome.FAILED)
        assert len(platform.calls) == 10
        platform.lookup_result = LookupFailure.INCONCLUSIVE
        await retry(Outcome.UNKNOWN)
        platform.publish_result = NotPublished(ErrorCategory.CONTENT_REJECTED, "NO", "No.")
        await retry(Outcome.FAILED, force=True)
        platform.publish_result = PUBLICATION
        await retry(Outcome.PUBLISHED, force=True)

    keys = [str(sent.id)] * 11 + [f"{sent.id}-1"] * 2
    assert [call.publication_key for call in platform.calls] == keys
    assert await find_problems(database) == []


async def test_timeout_after_publishing_is_verified_and_never_published_twice(
    database: Database,
) -> None:
    sent, bench = await add_sent_post(database, "times-out"), WorkerBench(database)
    async with bench.running_worker():
        state = await sent.wait_until(is_published)

    # Publishing takes 1 s, the timeout 3 s more, and the lookup 1 s.
    assert state == replace(
        published_on_sandbox(sent, "times-out", seconds=1), settled_at=NOW + timedelta(seconds=5)
    )
    assert await sent.attempt_summaries() == [(1, REGULAR, "unknown", "OUTCOME_UNKNOWN")]
    assert str(bench.stats) == "published 1 · failed 0 · waiting 0 · unknown 1 · in flight 0"
    assert (len(bench.store.posts()), count_duplicates(bench.store)) == (1, 0)
    assert await find_problems(database) == []


async def test_inconclusive_lookup_stays_unknown_and_is_repeated_later(database: Database) -> None:
    sent = await add_sent_post(database, "acme")
    platform = ScriptedPlatform(ConnectionResetError("token=abcdef123456"))
    async with WorkerBench(database, adapters={SANDBOX: platform}).running_worker():
        state = await sent.wait_until(
            lambda state: is_unknown(state) and state.verifiable_at == NOW + timedelta(seconds=15)
        )

    assert state.error == (
        "The platform gave no answer (ConnectionResetError: token=[redacted])."
        " The post may be published all the same."
    )
    assert state.verification_token is None
    assert len(platform.calls) == 1


async def test_hanging_lookup_is_cancelled_and_inconclusive(database: Database) -> None:
    sent = await add_sent_post(database, "acme")
    bench = WorkerBench(
        database,
        adapters={SANDBOX: BlockedLookupPlatform(TimeoutError())},
        clock=RealClock(),
        lookup_timeout=timedelta(milliseconds=10),
    )
    async with bench.running_worker():
        state = await sent.wait_until(
            lambda state: (
                state.verification_token is None
                and state.verifiable_at is not None
                and state.verifiable_at > NOW + timedelta(seconds=14)
            )
        )

    assert (state.outcome, state.verification_token) == (Outcome.UNKNOWN, None)


async def test_post_not_found_is_retried_until_its_attempts_are_used_up(database: Database) -> None:
    sent = await add_sent_post(database, "acme")
    platform = ScriptedPlatform(TimeoutError(), LookupFailure.NOT_FOUND)
    async with WorkerBench(database, adapters={SANDBOX: platform}).running_worker():
        state = await sent.wait_until(lambda state: state.outcome is Outcome.FAILED)

    assert [call.attempt for call in platform.calls] == [1, 2, 3, 4, 5]
    assert (state.attempts, state.error_code) == (5, "NOT_PUBLISHED")


@pytest.mark.parametrize(
    ("given_id", "given_url", "stored_id", "stored_url"),
    [
        ("42", "no address", "42", None),
        ("42", "https://[::1/", "42", None),
        ("42\n", "https://example.com/42", None, "https://example.com/42"),
        ("42", "https://example.com/a b", "42", "https://example.com/a%20b"),
    ],
)
async def test_invalid_publication_details_do_not_lose_the_publication(
    database: Database, given_id: str, given_url: str, stored_id: str | None, stored_url: str | None
) -> None:
    sent = await add_sent_post(database, "acme")
    platform = ScriptedPlatform(
        Publication(
            platform_post_id=given_id,
            platform_post_url=given_url,
            published_at=NOW + timedelta(days=1),
        )
    )
    with structlog.testing.capture_logs() as logs:
        async with WorkerBench(database, adapters={SANDBOX: platform}).running_worker():
            state = await sent.wait_until(is_final)

    assert state == published(NOW, platform_post_id=stored_id, platform_post_url=stored_url)
    dropped = [each for each in logs if each["event"] == "invalid publication details dropped"]
    assert [each["destination_id"] for each in dropped] == (
        [] if stored_id and stored_url else [str(sent.id)]
    )


async def test_publication_without_valid_details_leaves_the_outcome_unknown(
    database: Database,
) -> None:
    sent = await add_sent_post(database, "acme")
    platform = ScriptedPlatform(
        Publication(platform_post_id="42\n", platform_post_url="no address", published_at=NOW)
    )
    with structlog.testing.capture_logs() as logs:
        async with WorkerBench(database, adapters={SANDBOX: platform}).running_worker():
            state = await sent.wait_until(is_final)

    assert (state.outcome, state.error) == (
        Outcome.UNKNOWN,
        "The platform answered without a usable id or URL of the post: platformPostUrl must be a URL that"
        " starts with http:// or https://. The post may be published all the same.",
    )
    assert "invalid publication details dropped" not in {each["event"] for each in logs}


async def test_invalid_failure_details_are_left_out(database: Database) -> None:
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
    async with WorkerBench(database, adapters={SANDBOX: platform}).running_worker():
        state = await sent.wait_until(is_final)

    (attempt,) = await sent.attempts()
    assert (state.error, state.error_code) == ("The platform refused the post.", "PERMANENT")
    assert attempt.failure is not None
    assert (attempt.failure.http_status, attempt.failure.raw) == (None, "secret=[redacted]")


async def test_hanging_publish_call_is_cancelled_and_unknown(database: Database) -> None:
    sent = await add_sent_post(database, "acme")
    bench = WorkerBench(
        database,
        adapters={SANDBOX: BlockedPlatform()},
        publish_timeout=timedelta(milliseconds=100),
    )
    async with bench.running_worker():
        state = await sent.wait_until(is_final)

    assert state.outcome is Outcome.UNKNOWN


async def test_platforms_without_adapter_are_not_claimed(database: Database) -> None:
    sent, other = (
        await add_sent_post(database, "acme"),
        await add_sent_post(database, "acme", platform="x"),
    )
    before = await other.state()
    async with WorkerBench(database).running_worker():
        await sent.wait_until(is_final)

    assert await other.state() == before


async def test_single_slot_serves_all_adapters(database: Database) -> None:
    adapters = {publisher: ScriptedPlatform(TimeoutError()) for publisher in (EXTERNAL, SANDBOX)}
    for platform in ["x", "sandbox"] * 3:
        await add_sent_post(database, "acme", platform=platform)
    async with WorkerBench(database, adapters=adapters, concurrency=1).running_worker():
        await wait_until(lambda: all(len(each.calls) == 3 for each in adapters.values()))


async def test_lease_is_renewed_during_a_long_call(database: Database) -> None:
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
    posts = [await add_sent_post(database, "succeeds") for _ in range(12)]
    async with bench.running_worker(), bench.running_worker():
        for sent in posts:
            await sent.wait_until(is_final)

    assert sorted(post.destination_id for post in bench.store.posts()) == sorted(
        sent.id for sent in posts
    )
    assert count_duplicates(bench.store) == 0
    assert [len(await sent.attempts()) for sent in posts] == [1] * 12
