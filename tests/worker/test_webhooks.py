"""Delivery of webhooks by workers, to receivers on loopback."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar
from uuid import UUID, uuid4

import orjson
import structlog
from sqlalchemy import select, update
from standardwebhooks import Webhook as StandardWebhook

from app.db.core.database import Database
from app.db.core.write_session import Transaction
from app.db.models import Webhook, WebhookDeliveryAttempt
from app.db.repositories.webhooks import last_poll
from app.domain.errors import ServiceUnavailable
from app.domain.ids import PostId, WebhookId, WorkspaceId
from app.domain.webhooks.deliveries import DeliveryState, DeliveryStatus
from app.domain.webhooks.endpoints import DisabledReason
from app.domain.webhooks.event_types import WebhookEventType
from app.outbound.client import OutboundClient, OutboundRequest, OutboundResponse
from app.outbound.errors import OutboundError, OutboundFailure
from app.services.secret_cipher import SecretCipher, new_secrets_key, webhook_row_name
from app.services.webhook_deliveries import LEASE_DURATION
from app.worker.webhooks import deliver_in_background
from tests.factories import NOW, add_account, add_workspace
from tests.raw_statements import run_raw
from tests.webhook_events import (
    add_deliveries,
    add_events,
    connected,
    stored_deliveries,
    stored_webhook,
)
from tests.webhook_receiver import (
    LOOPBACK_RULES,
    ReceiverResponse,
    WebhookReceiver,
    respond_in_turn,
)
from tests.webhook_rows import SECRET, add_webhook
from tests.worker.webhook_bench import WebhookBench
from tests.worker.worker_bench import TIMEOUT_SECONDS, FakeClock, RealClock, wait_until

T = TypeVar("T")

PENDING = DeliveryState(next_attempt_at=NOW)
MS, SECOND = timedelta(milliseconds=1), timedelta(seconds=1)


class UnavailableDatabase(Database):
    """A database whose writes can fail."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.is_unavailable = False
        self.refused_writes = 0

    async def _write(self, run: Callable[[Transaction], Awaitable[T]]) -> T:
        if self.is_unavailable:
            self.refused_writes += 1
            raise ServiceUnavailable("The disk is gone.")
        return await super()._write(run)


class CountingClock(FakeClock):
    """A clock that counts how often it is read: each poll reads it."""

    readings = 0

    def now(self) -> datetime:
        self.readings += 1
        return super().now()

    async def wait_for_polls(self) -> None:
        readings = self.readings + 20
        await wait_until(lambda: self.readings >= readings)


@dataclass(frozen=True, slots=True)
class Target:
    """An endpoint with a receiver and pending deliveries."""

    database: Database
    workspace: WorkspaceId
    webhook_id: WebhookId

    async def states(self) -> list[DeliveryState]:
        """States of the deliveries in the order of their events."""
        deliveries = await stored_deliveries(self.database, self.workspace, self.webhook_id)
        return [each.state for each in deliveries]

    async def wait_until_settled(self, *statuses: DeliveryStatus) -> list[DeliveryState]:
        """States, once they have these statuses, by default all delivered."""
        async with asyncio.timeout(TIMEOUT_SECONDS):
            while True:
                states = await self.states()
                if [each.status for each in states] == [*statuses] or (
                    not statuses and all(each.delivered_at for each in states)
                ):
                    return states
                await asyncio.sleep(0.01)


async def add_target(
    database: Database,
    receiver: WebhookReceiver,
    pending: int = 1,
    *,
    post_id: UUID | None = None,
    workspace: WorkspaceId | None = None,
    **fields: Any,
) -> Target:
    workspace = workspace or await add_workspace(database)
    columns = {"url": receiver.url, "last_success_at": NOW, **fields}
    webhook_id = await add_webhook(database, workspace, **columns)
    post = None if post_id is None else PostId(post_id)
    await add_deliveries(database, workspace, webhook_id, [PENDING] * pending, post_id=post)
    return Target(database, workspace, webhook_id)


def numbers_received(receiver: WebhookReceiver) -> list[int]:
    return [request.number for request in receiver.received]


async def attempts(database: Database) -> Sequence[tuple[int, int | None, str | None, str | None]]:
    """Number, status, error and body of each stored attempt, by delivery."""
    statement = select(
        WebhookDeliveryAttempt.number,
        WebhookDeliveryAttempt.status_code,
        WebhookDeliveryAttempt.error,
        WebhookDeliveryAttempt.response_body,
    ).order_by(WebhookDeliveryAttempt.delivery_id, WebhookDeliveryAttempt.number)
    async with database.read_connection() as connection:
        return [tuple(row) for row in await connection.execute(statement)]  # type: ignore[misc]


# Requests.


async def test_event_is_delivered_signed(database: Database) -> None:
    workspace, bench = await add_workspace(database), WebhookBench(database)
    account = await add_account(database, workspace)
    async with WebhookReceiver().running() as receiver, bench.running_worker():
        target = await add_target(database, receiver, 0, workspace=workspace)
        await add_events(database, workspace, connected(account))
        await wait_until(lambda: len(receiver.received) == 1)
        (state,) = await target.wait_until_settled(DeliveryStatus.DELIVERED)

    (request,) = receiver.received
    (delivery,) = await stored_deliveries(database, workspace, target.webhook_id)
    assert request.body == delivery.body.encode()
    assert request.event_id == str(delivery.event_id) == orjson.loads(request.body)["event_id"]
    assert request.headers["content-type"] == "application/json"
    assert request.headers["user-agent"].startswith("post-results/")
    assert datetime.fromtimestamp(int(request.headers["webhook-timestamp"]), UTC) == NOW
    standard = StandardWebhook(SECRET).sign(request.event_id, NOW, request.body.decode())
    assert request.headers["webhook-signature"] == standard
    assert "x-posteverywhere-previous-signature" not in request.headers
    assert state == DeliveryState(
        next_attempt_at=None, attempts=1, round_attempts=1, delivered_at=NOW
    )
    assert await attempts(database) == [(1, 204, None, "")]


async def test_deliveries_of_one_post_arrive_in_order(database: Database) -> None:
    async with WebhookReceiver().running() as receiver:
        target = await add_target(database, receiver, 50, post_id=uuid4())
        async with WebhookBench(database).running_worker():
            await target.wait_until_settled()

    assert numbers_received(receiver) == [*range(1, 51)]


async def test_each_endpoint_gets_each_delivery_once_from_several_workers(
    database: Database,
) -> None:
    bench = WebhookBench(database)
    async with WebhookReceiver().running() as first, WebhookReceiver().running() as second:
        targets = [await add_target(database, each, 60) for each in (first, second)]
        async with bench.running_worker(), bench.running_worker(), bench.running_worker():
            for target in targets:
                await target.wait_until_settled()

    for receiver in (first, second):
        assert sorted(numbers_received(receiver)) == [*range(1, 61)]


async def test_receiver_that_never_answers_delays_no_other(database: Database) -> None:
    async with WebhookReceiver().running() as silent, WebhookReceiver().running() as other:
        silent.may_respond.clear()
        blocked = await add_target(database, silent, 30)
        target = await add_target(database, other, 30)
        async with WebhookBench(database).running_worker(SECOND):
            await wait_until(lambda: len(silent.received) == 20)
            await target.wait_until_settled()
            assert [state.attempts for state in await blocked.states()] == [0] * 30


# Failures.


async def test_failed_delivery_is_retried_by_the_schedule(database: Database) -> None:
    bench = WebhookBench(database, RealClock())
    message = "Out of order. token=s3cr3t-t0k3n"
    responses = [ReceiverResponse(status, message) for status in (500, 200)]
    async with WebhookReceiver(*responses).running() as receiver:
        target = await add_target(database, receiver)
        async with bench.running_worker():
            (state,) = await target.wait_until_settled(DeliveryStatus.DELIVERED)

    assert (state.attempts, state.round_attempts) == (2, 2)
    first, second = receiver.received
    assert (first.event_id, first.body) == (second.event_id, second.body)
    body = "Out of order. token=[redacted]"
    error = "The receiver answered 500 Internal Server Error; a delivery needs a status from 200 to 299."
    assert await attempts(database) == [(1, 500, error, body), (2, 200, None, body)]


async def test_delivery_waits_for_its_next_attempt_and_is_then_given_up(database: Database) -> None:
    clock = FakeClock()
    async with WebhookReceiver(503).running() as receiver:
        target = await add_target(database, receiver)
        async with WebhookBench(database, clock).running_worker():
            (waiting,) = await target.wait_until_settled(DeliveryStatus.RETRYING)
            assert waiting.next_attempt_at == NOW + 50 * MS
            clock.seconds += 0.05
            (state,) = await target.wait_until_settled(DeliveryStatus.GIVEN_UP)

    assert state.given_up_at == NOW + 50 * MS
    assert len(receiver.received) == 2


async def test_retry_after_prolongs_the_wait(database: Database) -> None:
    response = ReceiverResponse(429, headers=["Retry-After: 120"])
    async with WebhookReceiver(response).running() as receiver:
        target = await add_target(database, receiver)
        async with WebhookBench(database).running_worker():
            (state,) = await target.wait_until_settled(DeliveryStatus.RETRYING)

    assert state.next_attempt_at == NOW + timedelta(seconds=120)


async def test_hostile_response_is_a_failed_attempt(database: Database) -> None:
    """NUL, which PostgreSQL cannot store, and a date beyond all numbers."""
    date = f"Wed, 15 Apr 2026 15:02:00 +{'9' * 30}"
    response = ReceiverResponse(400, "\0" * 10 + "x" * 5_000, [f"Retry-After: {date}"])
    async with WebhookReceiver(response).running() as receiver:
        target = await add_target(database, receiver)
        async with WebhookBench(database).running_worker():
            (state,) = await target.wait_until_settled(DeliveryStatus.RETRYING)

    assert state.next_attempt_at == NOW + 50 * MS
    ((_, status, _, body),) = await attempts(database)
    assert (status, (body or "")[:11], len(body or "")) == (400, "\ufffd" * 10 + "x", 2_048)


async def test_redirect_is_not_followed(database: Database) -> None:
    async with WebhookReceiver().running() as receiver, WebhookReceiver().running() as other:
        receiver.respond = respond_in_turn(
            ReceiverResponse(302, headers=[f"Location: {other.url}"])
        )
        target = await add_target(database, receiver)
        async with WebhookBench(database).running_worker():
            await target.wait_until_settled(DeliveryStatus.RETRYING)

    ((_, status, error, _),) = await attempts(database)
    assert (status, error) == (
        302,
        "The receiver answered 302 Found. Redirects are not followed: enter the URL that it redirects to.",
    )
    assert other.received == []


async def test_connection_that_is_refused_is_a_failed_attempt(database: Database) -> None:
    async with WebhookReceiver().running() as receiver:
        pass
    target = await add_target(database, receiver)
    async with WebhookBench(database).running_worker():
        await target.wait_until_settled(DeliveryStatus.RETRYING)

    ((number, status, error, body),) = await attempts(database)
    assert (number, status, body) == (1, None, None)
    assert (error or "").startswith("127.0.0.1 refused the connection to port ")


async def test_process_without_the_key_leaves_deliveries_to_another(database: Database) -> None:
    other = WebhookBench(database, cipher=SecretCipher([new_secrets_key()]))
    async with WebhookReceiver().running() as receiver:
        targets = [await add_target(database, receiver) for _ in range(2)]
        with structlog.testing.capture_logs() as logs:
            async with other.running_worker():
                await wait_until(lambda: len(logs) == 2)
                async with WebhookBench(database).running_worker():
                    for target in targets:
                        (state,) = await target.wait_until_settled()
                        assert state.attempts == 1

    assert len(receiver.received) == 2
    assert {(entry["event"], entry["webhook_id"]) for entry in logs} == {
        ("webhook secret not decrypted", str(target.webhook_id)) for target in targets
    }


async def test_secret_that_was_not_decrypted_is_read_again_after_a_minute(
    database: Database,
) -> None:
    clock, cipher = CountingClock(), SecretCipher([new_secrets_key()])
    async with WebhookReceiver().running() as receiver:
        target = await add_target(database, receiver)
        with structlog.testing.capture_logs() as logs:
            async with WebhookBench(database, clock, cipher).running_worker():
                await wait_until(lambda: bool(logs))
                secret = cipher.encrypt(
                    SECRET, webhook_row_name(target.workspace, target.webhook_id)
                )
                await database.write_all_workspaces(
                    lambda session: run_raw(
                        session, update(Webhook).values(encrypted_secret=secret)
                    )
                )
                await clock.wait_for_polls()
                assert receiver.received == []
                clock.seconds += 60
                await target.wait_until_settled()

    assert len(receiver.received) == 1


async def test_gone_receiver_is_disabled_and_reported_to_another_endpoint(
    database: Database,
) -> None:
    workspace = await add_workspace(database)
    async with WebhookReceiver(410).running() as gone, WebhookReceiver().running() as other:
        disabled = await add_target(database, gone, workspace=workspace, name="CRM")
        event_types = [WebhookEventType.WEBHOOK_DISABLED]
        await add_target(database, other, 0, workspace=workspace, event_types=event_types)
        async with WebhookBench(database).running_worker():
            await wait_until(lambda: len(other.received) == 1)

    webhook = await stored_webhook(database, workspace, disabled.webhook_id)
    assert webhook.endpoint.disabled_reason is DisabledReason.GONE
    body = orjson.loads(other.received[0].body)
    assert (body["event"], body["data"]["name"]) == ("webhook.disabled", "CRM")
    assert len(gone.received) == 1


# Interruptions.


async def test_cancelled_worker_is_followed_by_another_after_the_lease(database: Database) -> None:
    clock = FakeClock()
    bench = WebhookBench(database, clock)
    async with WebhookReceiver().running() as receiver:
        receiver.may_respond.clear()
        target = await add_target(database, receiver)
        async with bench.running_worker(SECOND):
            await wait_until(lambda: len(receiver.received) == 1)
        (leased,) = await target.states()
        assert (leased.attempts, leased.next_attempt_at) == (0, NOW + LEASE_DURATION)

        receiver.may_respond.set()
        async with bench.running_worker():
            clock.seconds += LEASE_DURATION.total_seconds()
            (state,) = await target.wait_until_settled(DeliveryStatus.DELIVERED)

    first, second = receiver.received
    assert (first.event_id, first.body) == (second.event_id, second.body)
    assert (state.attempts, state.delivered_at) == (1, NOW + LEASE_DURATION)


async def test_stop_completes_running_attempts_and_releases_the_others(database: Database) -> None:
    async with WebhookReceiver().running() as receiver:
        receiver.may_respond.clear()
        target = await add_target(database, receiver, 30, post_id=uuid4())
        async with WebhookBench(database).running_worker() as worker:
            await wait_until(lambda: len(receiver.received) == 1)
            worker.stop()
            receiver.may_respond.set()

    first, *others = await target.states()
    assert first.status is DeliveryStatus.DELIVERED
    assert others == [PENDING] * 29
    assert numbers_received(receiver) == [1]


async def test_attempts_that_outlast_the_shutdown_timeout_are_left_to_their_lease(
    database: Database,
) -> None:
    async with WebhookReceiver().running() as receiver:
        receiver.may_respond.clear()
        target = await add_target(database, receiver, 2)
        async with WebhookBench(database).running_worker(SECOND):
            await wait_until(lambda: len(receiver.received) == 2)

    assert [state.next_attempt_at for state in await target.states()] == [NOW + LEASE_DURATION] * 2


async def test_worker_suspended_during_a_batch_starts_no_attempt_after_its_lease(
    database: Database,
) -> None:
    clock = FakeClock()
    async with WebhookReceiver().running() as receiver:
        receiver.may_respond.clear()
        target = await add_target(database, receiver, 3, post_id=uuid4())
        async with WebhookBench(database, clock).running_worker() as worker:
            await wait_until(lambda: len(receiver.received) == 1)
            clock.seconds += 40  # the time that the last attempt needs is not left
            worker.stop()
            receiver.may_respond.set()

    first, *others = await target.states()
    assert first.delivered_at == NOW + timedelta(seconds=40)
    assert {state.next_attempt_at for state in others} == {NOW + timedelta(seconds=40)}
    assert len(receiver.received) == 1


async def test_results_during_a_database_outage_are_stored_afterwards(database_url: str) -> None:
    async with (
        UnavailableDatabase(database_url) as database,
        WebhookReceiver().running() as receiver,
    ):
        receiver.may_respond.clear()
        target = await add_target(database, receiver, 2)
        with structlog.testing.capture_logs() as logs:
            async with WebhookBench(database, RealClock()).running_worker():
                await wait_until(lambda: len(receiver.received) == 2)
                database.is_unavailable = True
                receiver.may_respond.set()
                await wait_until(lambda: database.refused_writes > 3)
                database.is_unavailable = False
                states = await target.wait_until_settled()

    assert [state.attempts for state in states] == [1, 1]
    assert len(receiver.received) == 2
    assert "database unavailable, retrying" in {entry["event"] for entry in logs}


async def test_worker_goes_on_after_a_database_outage(database_url: str) -> None:
    async with (
        UnavailableDatabase(database_url) as database,
        WebhookReceiver().running() as receiver,
    ):
        database.is_unavailable = True
        workspace = WorkspaceId(uuid4())
        async with WebhookBench(database, RealClock()).running_worker():
            await wait_until(lambda: database.refused_writes > 3)
            database.is_unavailable = False
            await add_workspace(database, id=workspace)
            account = await add_account(database, workspace)
            await add_target(database, receiver, 0, workspace=workspace)
            await add_events(database, workspace, connected(account))
            await wait_until(lambda: len(receiver.received) == 1)


class SelectiveClient(OutboundClient):
    """A client that replaces the request of one event."""

    def __init__(
        self, event_id: UUID, replacement: Callable[[], Awaitable[OutboundResponse]]
    ) -> None:
        super().__init__(LOOPBACK_RULES)
        self._event_id = str(event_id)
        self._replacement = replacement

    async def send(self, request: OutboundRequest) -> OutboundResponse:
        if request.headers["webhook-id"] == self._event_id:
            return await self._replacement()
        return await super().send(request)


async def fail() -> OutboundResponse:
    raise ValueError("a bug")


async def hang() -> OutboundResponse:
    await asyncio.sleep(TIMEOUT_SECONDS)
    raise AssertionError


async def find_no_socket() -> OutboundResponse:
    raise OutboundError(OutboundFailure.NO_FREE_SOCKET, "No free sockets.")


async def test_unexpected_error_of_an_attempt_concerns_no_other(database: Database) -> None:
    async with WebhookReceiver().running() as receiver:
        target = await add_target(database, receiver, 3)
        _, second, _ = await stored_deliveries(database, target.workspace, target.webhook_id)
        with structlog.testing.capture_logs() as logs:
            async with SelectiveClient(second.event_id, fail) as client:
                worker = WebhookBench(database).worker(client)
                async with deliver_in_background(worker, timedelta(seconds=TIMEOUT_SECONDS)):
                    await target.wait_until_settled(
                        DeliveryStatus.DELIVERED, DeliveryStatus.RETRYING, DeliveryStatus.DELIVERED
                    )

    assert sorted(numbers_received(receiver)) == [1, 3]
    (entry,) = [each for each in logs if each["log_level"] == "error"]
    assert (entry["event"], entry["event_id"]) == ("webhook request failed", str(second.event_id))
    assert [error for _, _, error, _ in await attempts(database) if error] == [
        "The request could not be sent because of an error of this service. Its operator finds it in the"
        " log by the id of the event."
    ]


async def test_ended_attempts_are_stored_if_another_outlasts_the_shutdown_timeout(
    database: Database,
) -> None:
    silent = WebhookReceiver()
    silent.may_respond.clear()
    async with WebhookReceiver().running() as receiver, silent.running():
        target = await add_target(database, receiver, 3)
        await add_target(database, silent, 1, workspace=target.workspace)
        _, second, _ = await stored_deliveries(database, target.workspace, target.webhook_id)
        async with SelectiveClient(second.event_id, hang) as client:
            worker = WebhookBench(database).worker(client)
            async with deliver_in_background(worker, SECOND):
                await wait_until(lambda: len(receiver.received) == 2 and len(silent.received) == 1)

    assert [(each.status, each.next_attempt_at) for each in await target.states()] == [
        (DeliveryStatus.DELIVERED, None),
        (DeliveryStatus.PENDING, NOW + LEASE_DURATION),
        (DeliveryStatus.DELIVERED, None),
    ]


async def test_receiver_is_not_blamed_if_this_process_has_no_socket(database: Database) -> None:
    async with WebhookReceiver().running() as receiver:
        target = await add_target(database, receiver, 1)
        (delivery,) = await stored_deliveries(database, target.workspace, target.webhook_id)
        clock = CountingClock()
        with structlog.testing.capture_logs() as logs:
            async with SelectiveClient(delivery.event_id, find_no_socket) as client:
                worker = WebhookBench(database, clock).worker(client)
                async with deliver_in_background(worker, timedelta(seconds=TIMEOUT_SECONDS)):
                    await wait_until(lambda: bool(logs))
                    await clock.wait_for_polls()

    assert await target.states() == [PENDING]
    webhook = await stored_webhook(database, target.workspace, target.webhook_id)
    assert (webhook.endpoint.consecutive_failures, await attempts(database)) == (0, [])
    assert [(each["event"], each["log_level"]) for each in logs] == [
        ("webhook request not sent", "warning")
    ]


async def test_number_of_concurrent_attempts_to_a_receiver_is_limited(database: Database) -> None:
    async with WebhookReceiver().running() as receiver:
        receiver.may_respond.clear()
        target = await add_target(database, receiver, 30)
        async with WebhookBench(database).running_worker():
            await wait_until(lambda: len(receiver.received) == 20)
            await asyncio.sleep(0.1)
            assert len(receiver.received) == 20
            receiver.may_respond.set()
            await target.wait_until_settled()


async def test_number_of_concurrent_receivers_is_limited(database: Database) -> None:
    async with WebhookReceiver().running() as receiver:
        receiver.may_respond.clear()
        targets = [await add_target(database, receiver) for _ in range(3)]
        clock = CountingClock()
        async with OutboundClient(LOOPBACK_RULES) as client:
            worker = WebhookBench(database, clock).worker(client, max_tasks=2)
            async with deliver_in_background(worker, timedelta(seconds=TIMEOUT_SECONDS)):
                await wait_until(lambda: len(receiver.received) == 2)
                await clock.wait_for_polls()
                assert len(receiver.received) == 2
                receiver.may_respond.set()
                for target in targets:
                    await target.wait_until_settled()


async def test_single_task_attempts_failed_deliveries_again(database: Database) -> None:
    async with WebhookReceiver(500, 204).running() as receiver:
        target = await add_target(database, receiver)
        async with OutboundClient(LOOPBACK_RULES) as client:
            worker = WebhookBench(database, RealClock()).worker(client, max_tasks=1)
            async with deliver_in_background(worker, timedelta(seconds=TIMEOUT_SECONDS)):
                await target.wait_until_settled()

    assert len(receiver.received) == 2


async def test_worker_records_that_it_polls(database: Database) -> None:
    clock = FakeClock()
    async with WebhookBench(database, clock).running_worker(), asyncio.timeout(TIMEOUT_SECONDS):
        for seconds in (0, 20):
            clock.seconds = seconds
            while await last_poll(database.all_workspaces) != clock.now():  # noqa: ASYNC110
                await asyncio.sleep(0.01)
