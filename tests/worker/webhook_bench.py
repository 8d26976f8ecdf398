"""Receivers of webhooks on loopback, and workers that deliver to them in the test process."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from ipaddress import ip_network
from uuid import uuid4

import orjson

from app.db.core.database import Database
from app.domain.outbound_rules import OutboundRules
from app.outbound.client import OutboundClient
from app.services.secret_cipher import SecretCipher
from app.services.webhook_deliveries import WebhookDeliveryService
from app.worker.context import SystemFunctions
from app.worker.webhooks import MAX_TASKS, WebhookWorker, deliver_in_background
from tests.webhook_events import CIPHER
from tests.worker.worker_bench import TIMEOUT_SECONDS, FakeClock, RealClock

LOOPBACK_RULES = OutboundRules(True, (ip_network("127.0.0.0/8"),))


@dataclass(frozen=True, slots=True)
class ReceivedRequest:
    headers: dict[str, str]
    """By name in lower case."""
    body: bytes

    @property
    def event_id(self) -> str:
        return self.headers["webhook-id"]

    @property
    def number(self) -> int:
        """Number in the body of a delivery that `add_deliveries` added."""
        number: int = orjson.loads(self.body)["number"]
        return number


class Receiver:
    """HTTP server that answers each request with the next status of a script, and then with the last one."""

    def __init__(self, *statuses: int) -> None:
        self.received: list[ReceivedRequest] = []
        self.may_respond = asyncio.Event()
        self.may_respond.set()
        self.extra_headers = ""
        self.body = ""
        self.url = ""
        self._statuses = self._script(statuses or (204,))

    @asynccontextmanager
    async def running(self) -> AsyncIterator["Receiver"]:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/hook"
        try:
            yield self
        finally:
            server.close()

    @staticmethod
    def _script(statuses: Sequence[int]) -> Iterator[int]:
        yield from statuses
        while True:
            yield statuses[-1]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            _, *lines = (await reader.readuntil(b"\r\n\r\n")).decode().splitlines()
            pairs = (line.split(": ", 1) for line in lines if line)
            headers = {name.lower(): value for name, value in pairs}
            body = await reader.readexactly(int(headers["content-length"]))
            self.received.append(ReceivedRequest(headers, body))
            status = next(self._statuses)
            await self.may_respond.wait()
            content = self.body.encode()
            writer.write(
                f"HTTP/1.1 {status} X\r\nConnection: close\r\nContent-Length: {len(content)}\r\n"
                f"{self.extra_headers}\r\n".encode()
                + content
            )
            await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # the client was cancelled
        finally:
            writer.close()


@dataclass
class WebhookBench:
    """Dependencies of a test's workers."""

    database: Database
    clock: FakeClock | RealClock = field(default_factory=FakeClock)
    cipher: SecretCipher = CIPHER
    retry_schedule: Sequence[timedelta] = (timedelta(seconds=0.05),)
    random: Callable[[], float] = lambda: 0.0

    def worker(self, client: OutboundClient, *, max_tasks: int = MAX_TASKS) -> WebhookWorker:
        system = SystemFunctions(
            now=self.clock.now,
            monotonic=self.clock.monotonic,
            sleep=self.clock.sleep,
            new_id=uuid4,
            random=self.random,
        )
        service = WebhookDeliveryService(
            database=self.database,
            cipher=self.cipher,
            signing_key=bytes(32),
            retry_schedule=self.retry_schedule,
            new_id=uuid4,
            clock=self.clock.now,
            random=self.random,
        )
        poll_interval = timedelta(milliseconds=10)
        return WebhookWorker(
            service, client, system, max_tasks=max_tasks, poll_interval=poll_interval
        )

    @asynccontextmanager
    async def running_worker(
        self, shutdown_timeout: timedelta = timedelta(seconds=TIMEOUT_SECONDS)
    ) -> AsyncIterator[WebhookWorker]:
        """Run a worker; at exit it is stopped, and cancelled if its attempts outlast the timeout."""
        async with OutboundClient(LOOPBACK_RULES) as client:
            worker = self.worker(client)
            async with deliver_in_background(worker, shutdown_timeout):
                yield worker
