"""Tests that the answer of a platform is reported before anything else is stored, or logged at shutdown."""

import asyncio
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

import pytest
import structlog

from app.db.core.database import Database
from app.domain.accounts import AccountPublisher
from app.domain.attempts import Publication
from app.domain.destinations import ErrorCategory, Outcome
from app.domain.leases import Lease
from app.outbound.errors import OutboundFailure
from app.platforms.protocol import LookupFailure, NotPublished, OutcomeUnknown, PublishRequest
from app.platforms.server_contacts import record_failure, record_status
from app.services.circuit_breakers import CircuitBreakers
from app.services.claims import ClaimRequest
from app.services.reports import ReportService
from app.worker.context import WorkerContext
from app.worker.lease_renewal import LeaseTimer
from app.worker.publish import publish
from app.worker.verify_outcome import verify_outcome
from tests.factories import NOW
from tests.worker.worker_bench import (
    PUBLICATION,
    SECOND,
    BlockedPlatform,
    RealClock,
    ScriptedPlatform,
    WorkerBench,
    add_sent_post,
    is_published,
    wait_until,
)

SANDBOX = AccountPublisher.SANDBOX
SERVER_URL = "https://server.example/api"
NO_ANSWER = OutcomeUnknown("The server did not answer.")
NOT_PUBLISHED = NotPublished(ErrorCategory.CONTENT_REJECTED, "TOO_LONG", "The text is too long.")


class AnsweringPlatform(ScriptedPlatform):
    """A platform that records whether its server answered, as adapters do."""

    async def publish(self, request: PublishRequest) -> Publication:
        if self.publish_result is NO_ANSWER:
            record_failure(SERVER_URL, OutboundFailure.TIMEOUT, may_have_been_sent=True)
        else:
            record_status(SERVER_URL, 200)
        return await super().publish(request)

    async def look_up(self, request: PublishRequest) -> Publication | LookupFailure:
        record_status(SERVER_URL, 200)
        return await super().look_up(request)


class BlockedBreakers(CircuitBreakers):
    """Breakers that store no result, because the database does not respond."""

    def __init__(self, database: Database) -> None:
        super().__init__(database, "worker-1", clock=lambda: NOW, random=lambda: 0.5)
        self.called = asyncio.Event()

    async def record_calls(self, *_: Any, **__: Any) -> bool:
        self.called.set()
        await asyncio.Event().wait()
        raise AssertionError


@dataclass(frozen=True)
class BlockedRenewals(ReportService):
    """Reports, of which the renewal of a lease waits until `may_renew` is set."""

    called: asyncio.Event = field(default_factory=asyncio.Event)
    may_renew: asyncio.Event = field(default_factory=asyncio.Event)

    async def extend_lease(self, lease: Lease, lease_duration: timedelta) -> datetime:
        self.called.set()
        await self.may_renew.wait()
        return await super().extend_lease(lease, lease_duration)


def blocked_renewals(context: WorkerContext) -> BlockedRenewals:
    reports = context.reports
    return BlockedRenewals(
        database=reports.database,
        publisher=reports.publisher,
        retry_decider=reports.retry_decider,
        new_id=reports.new_id,
        clock=reports.clock,
    )


def claim_request(context: WorkerContext) -> ClaimRequest:
    return ClaimRequest(limit=1, lease_duration=context.lease_duration, publishers=(SANDBOX,))


def lease_timer(context: WorkerContext) -> LeaseTimer:
    monotonic = context.system.monotonic
    return LeaseTimer(context.lease_duration, requested_at=monotonic(), monotonic=monotonic)


async def start_publishing(context: WorkerContext) -> asyncio.Task[None]:
    """Publish the only due destination in a task."""
    (claim,) = await context.claims.claim_destinations(claim_request(context))
    return asyncio.create_task(
        publish(context, claim, lease_timer(context), is_stopping=lambda: False)
    )


async def cancel(task: asyncio.Task[None]) -> None:
    """Cancel a running task, as a worker does at the end of its shutdown."""
    assert not task.done()
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


@pytest.mark.parametrize(
    ("result", "outcome"), [(PUBLICATION, Outcome.PUBLISHED), (NO_ANSWER, Outcome.UNKNOWN)]
)
async def test_result_is_reported_while_the_breakers_wait_for_the_database(
    database: Database, result: Publication | OutcomeUnknown, outcome: Outcome
) -> None:
    sent = await add_sent_post(database, "acme")
    context = WorkerBench(database, adapters={SANDBOX: AnsweringPlatform(result)}).context()
    breakers = BlockedBreakers(context.reports.database)
    with structlog.testing.capture_logs() as logs:
        task = await start_publishing(replace(context, breakers=breakers))
        await breakers.called.wait()
        await sent.wait_until(lambda state: state.outcome is outcome)
        await wait_until(lambda: bool(logs))
        await cancel(task)

    assert [entry["event"] for entry in logs] == ["attempt ended"]


async def test_failure_is_logged_at_shutdown_while_the_breakers_wait_for_the_database(
    database: Database,
) -> None:
    sent = await add_sent_post(database, "acme")
    context = WorkerBench(database, adapters={SANDBOX: AnsweringPlatform(NOT_PUBLISHED)}).context()
    breakers = BlockedBreakers(context.reports.database)
    with structlog.testing.capture_logs() as logs:
        task = await start_publishing(replace(context, breakers=breakers))
        await breakers.called.wait()
        await cancel(task)

    assert (await sent.state()).outcome is Outcome.NONE
    assert logs == [
        {
            "event": "report abandoned at shutdown",
            "log_level": "error",
            "workspace_id": str(sent.workspace),
            "post_id": str(sent.post),
            "destination_id": str(sent.id),
            "platform": "sandbox",
            "account_id": sent.account,
            "error": "The text is too long.",
        }
    ]


async def test_publication_is_reported_while_a_renewal_of_the_lease_waits(
    database: Database,
) -> None:
    sent, platform = await add_sent_post(database, "acme"), BlockedPlatform()
    bench = WorkerBench(database, adapters={SANDBOX: platform}, clock=RealClock(), lease=SECOND)
    reports = blocked_renewals(bench.context())
    with structlog.testing.capture_logs() as logs:
        task = await start_publishing(replace(bench.context(), reports=reports))
        await reports.called.wait()
        platform.may_respond.set()
        await sent.wait_until(is_published)
        reports.may_renew.set()
        await task

    # The renewal fails, because the report has ended the lease. This is no loss of the lease.
    assert [entry["event"] for entry in logs] == ["attempt ended"]


async def test_finding_is_reported_while_the_breakers_wait_for_the_database(
    database: Database,
) -> None:
    sent = await add_sent_post(database, "acme")
    platform = AnsweringPlatform(NO_ANSWER, PUBLICATION)
    context = WorkerBench(database, adapters={SANDBOX: platform}).context()
    await (await start_publishing(context))
    (claim,) = await context.claims.claim_verifications(claim_request(context))
    breakers = BlockedBreakers(context.reports.database)
    task = asyncio.create_task(
        verify_outcome(replace(context, breakers=breakers), claim, lease_timer(context))
    )
    await breakers.called.wait()
    await sent.wait_until(is_published)
    await cancel(task)
