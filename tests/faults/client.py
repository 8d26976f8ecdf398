"""Client that reads, creates and publishes posts during a fault, and measures how the service recovers."""

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from uuid import UUID

import httpx

from tests.flood import SeededData
from tests.load_client import REPORT_PUBLISHED, START_ATTEMPT
from tests.retrying_client import CREATE_POST, RetryingClient

_READ = "query($id: UUID!) { post(postId: $id) { destinations { platform status } } }"
_CLAIM = (
    "mutation($input: ClaimDestinationsInput!)"
    " { claimDestinations(input: $input) { claims { destinationId leaseToken } } }"
)
_CLAIM_VERIFICATIONS = (
    "mutation($input: ClaimVerificationsInput!)"
    " { claimVerifications(input: $input) { claims { destinationId verificationToken } } }"
)
_REPORT_VERIFIED = (
    "mutation($input: ReportVerifiedInput!) { reportVerified(input: $input) { receipt } }"
)
_LEASE_SECONDS = 20
_PUBLISH_WITHIN = 10
"""Seconds after a claim in which a destination may be published; later, the lease may have expired."""
_WORKER_SECONDS = 10
"""Time for the worker to publish a post, which takes it about a second."""
_CONTENT_BYTES = 1500
"""Random bytes of a post, so that a full disk has no space for a few posts."""
_READINESS_TIMEOUT = 4
"""Seconds until a health check counts as failed."""


async def is_ready(http: httpx.AsyncClient, url: str) -> bool:
    """Check `/readyz` of one server, on a new connection, as a proxy does."""
    try:
        headers = {"Connection": "close"}
        response = await http.get(f"{url}/readyz", headers=headers, timeout=_READINESS_TIMEOUT)
    except httpx.TransportError:
        return False
    return response.status_code == 200


class FaultClient:
    """Repeats operations of each kind until they succeed.

    Each post is due immediately and has two accounts. The worker publishes one of them on the sandbox. This
    client publishes the other one on a platform of its own, `published`.
    """

    def __init__(
        self,
        requests: RetryingClient,
        data: SeededData,
        sandbox_account: int,
        probed_url: str,
        readers: int,
    ) -> None:
        self.requests = requests
        self.created: dict[str, str] = {}
        """Reference → post id of each created post."""
        self.published: list[UUID] = []
        """Destinations in the order in which they were published."""
        self.reported: set[UUID] = set()
        """Destinations whose report was answered."""
        self.reads = 0
        self._accounts = [data.account, sandbox_account]
        self._probed_url = probed_url
        self._readers = readers
        self._latest_post = ""
        self._successes: dict[str, list[tuple[float, float]]] = {}
        """Monotonic times of the begin and the end of each successful operation, by kind."""
        self._stops_creating = asyncio.Event()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Run in the background, at first without a fault until each kind of operation has succeeded."""
        async with httpx.AsyncClient() as http, asyncio.TaskGroup() as group:

            async def check_readiness() -> bool:
                return await is_ready(http, self._probed_url)

            tasks = [
                group.create_task(self._repeat("create", self._create, 0.5)),
                group.create_task(self._repeat("claim", self._claim_and_publish, 0.1)),
                group.create_task(self._repeat("verify", self._verify, 1)),
                group.create_task(self._repeat("readiness", check_readiness, 0.2)),
            ]
            await self._until_recovered(0, {"create"})
            tasks += [
                group.create_task(self._repeat("worker", self._wait_for_worker, 0)),
                group.create_task(self._repeat("read", self._read, 0.1)),
                *(
                    group.create_task(self._repeat("continuous read", self._read, 0))
                    for _ in range(self._readers)
                ),
            ]
            try:
                await self._until_recovered(0, self.kinds)
                yield
            finally:
                for task in tasks:
                    task.cancel()

    @property
    def kinds(self) -> set[str]:
        """Kinds of operations that must recover."""
        return {"create", "claim", "report", "readiness", "worker", "read"}

    def stop_creating(self) -> None:
        self._stops_creating.set()

    async def recovery(self, fault_ended_at: float, limit: float) -> tuple[float, str]:
        """Seconds from the end of the fault until each kind of operation has succeeded, and the last kind.

        Waits at most `limit` seconds; after that, the number is infinite.
        """
        with suppress(TimeoutError):
            async with asyncio.timeout(limit):
                await self._until_recovered(fault_ended_at, self.kinds)
        last, kind = max((self._first_success(kind, fault_ended_at), kind) for kind in self.kinds)
        return last - fault_ended_at, kind

    async def _until_recovered(self, since: float, kinds: set[str]) -> None:
        while any(self._first_success(kind, since) == float("inf") for kind in kinds):  # noqa: ASYNC110
            await asyncio.sleep(0.02)

    def _first_success(self, kind: str, since: float) -> float:
        """Time of the first success after `since`; infinity without one.

        A publication of the worker counts if the post was created after `since`. It may have been published
        earlier otherwise.
        """
        for begin, end in self._successes.get(kind, []):
            if (begin if kind == "worker" else end) >= since:
                return end
        return float("inf")

    async def _repeat(
        self, kind: str, operation: Callable[[], Awaitable[bool]], pause: float
    ) -> None:
        while True:
            begin = time.monotonic()
            if await operation():
                self._count_success(kind, begin)
            await asyncio.sleep(pause)

    def _count_success(self, kind: str, begin: float) -> None:
        self._successes.setdefault(kind, []).append((begin, time.monotonic()))

    async def _read(self) -> bool:
        await self.requests.execute(_READ, id=self._latest_post)
        self.reads += 1
        return True

    async def _create(self) -> bool:
        if self._stops_creating.is_set():
            return False
        reference = secrets.token_hex(8)
        post = {
            "content": secrets.token_hex(_CONTENT_BYTES),
            "reference": reference,
            "accountIds": self._accounts,
            "idempotencyKey": reference,
        }
        data = await self.requests.execute(CREATE_POST, input=post)
        self._latest_post = self.created[reference] = data["createPost"]["post"]["postId"]
        return True

    async def _wait_for_worker(self) -> bool:
        """Wait until the worker has published the post that was created last, or for some seconds."""
        post, ends_at = self._latest_post, time.monotonic() + _WORKER_SECONDS
        while time.monotonic() < ends_at:
            data = await self.requests.execute(_READ, id=post)
            states = {each["platform"]: each["status"] for each in data["post"]["destinations"]}
            if states["sandbox"] == "PUBLISHED":
                return True
            await asyncio.sleep(0.1)
        return False

    async def _claim_and_publish(self) -> bool:
        begin = time.monotonic()
        claim = {"limit": 5, "leaseSeconds": _LEASE_SECONDS, "platforms": ["instagram"]}
        data = await self.requests.execute(_CLAIM, input=claim)
        for each in data["claimDestinations"]["claims"]:
            await self._publish(UUID(each["destinationId"]), each["leaseToken"], begin)
        return True

    async def _publish(self, destination: UUID, lease_token: str, claimed_at: float) -> None:
        begin, lease = time.monotonic(), {"leaseToken": lease_token}
        started = await self.requests.execute(
            START_ATTEMPT, allowed_codes={"LEASE_LOST"}, input=lease
        )
        if started and time.monotonic() < claimed_at + _PUBLISH_WITHIN:
            self.published.append(destination)
            report = {**lease, "platformPostId": destination.hex}
            await self.requests.execute(REPORT_PUBLISHED, input=report)
            self.reported.add(destination)
            self._count_success("report", begin)

    async def _verify(self) -> bool:
        claim = {"limit": 10, "leaseSeconds": _LEASE_SECONDS, "platforms": ["instagram"]}
        data = await self.requests.execute(_CLAIM_VERIFICATIONS, input=claim)
        for each in data["claimVerifications"]["claims"]:
            is_published = UUID(each["destinationId"]) in self.published
            finding = {
                "verificationToken": each["verificationToken"],
                "finding": "PUBLISHED" if is_published else "NOT_PUBLISHED",
            }
            await self.requests.execute(
                _REPORT_VERIFIED, allowed_codes={"LEASE_LOST"}, input=finding
            )
        return True
