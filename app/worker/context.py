"""Dependencies of a worker, counters of its results, and retries of its database calls."""

import asyncio
import random
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import TypeVar
from uuid import uuid4

import structlog

from app.domain.accounts import AccountPublisher
from app.domain.destinations import DestinationState, DestinationStatus, Outcome
from app.domain.errors import RequestError
from app.domain.ids import IdFactory
from app.observability.outages import Outage
from app.platforms.protocol import PlatformAdapter
from app.services.account_pauses import AccountPauses
from app.services.claims import ClaimService
from app.services.duplicate_checks import DuplicateCheckService
from app.services.publishing_secrets import PublishingSecrets
from app.services.reports import ReportService
from app.services.unit_of_work import Publisher

T = TypeVar("T")

OPERATOR_PUBLISHER = Publisher(workspace_id=None, actor=None)
"""The operator's own worker, which publishes in every workspace."""

_PUBLISH_TIMEOUT = timedelta(minutes=10)
"""An adapter that takes longer to publish is cancelled; the outcome is then unknown."""

_LOOKUP_TIMEOUT = timedelta(seconds=30)
"""A lookup that takes longer is inconclusive."""

logger = structlog.stdlib.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class SystemFunctions:
    """Clocks, ids and randomness."""

    now: Callable[[], datetime]
    monotonic: Callable[[], float]
    """Seconds that pass also while the process is stopped, whatever is done to the clock."""
    sleep: Callable[[float], Awaitable[None]]
    new_id: IdFactory
    random: Callable[[], float]
    """Returns a number from 0 to below 1."""


class AttemptResult(StrEnum):
    """Result of an attempt or of a verification."""

    PUBLISHED = "published"
    FAILED = "failed"
    WAITING = "waiting"
    """Failed, with an automatic retry planned."""
    UNKNOWN = "unknown"


class WorkerStats:
    """Counters of results, which call `on_change` after each change."""

    def __init__(self, on_change: Callable[["WorkerStats"], object] = lambda _: None) -> None:
        self._on_change = on_change
        self._results = Counter[AttemptResult]()
        self._in_flight = 0

    def record(self, result: AttemptResult) -> None:
        self._results[result] += 1
        self._on_change(self)

    def set_in_flight(self, count: int) -> None:
        """Set the number of claims being processed."""
        self._in_flight = count
        self._on_change(self)

    def __str__(self) -> str:
        counts = [f"{result} {self._results[result]}" for result in AttemptResult]
        return " · ".join((*counts, f"in flight {self._in_flight}"))


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerContext:
    """Everything that processing a claim depends on."""

    claims: ClaimService
    reports: ReportService
    secrets: PublishingSecrets
    pauses: AccountPauses
    duplicate_checks: DuplicateCheckService
    adapters: Mapping[AccountPublisher, PlatformAdapter]
    system: SystemFunctions
    stats: WorkerStats
    worker_name: str
    """Name of the worker in the attempt log."""
    lease_duration: timedelta
    publish_timeout: timedelta = _PUBLISH_TIMEOUT
    lookup_timeout: timedelta = _LOOKUP_TIMEOUT


def attempt_result(state: DestinationState) -> AttemptResult:
    """Return the result that a report has given a destination."""
    if state.status is DestinationStatus.PUBLISHED:
        return AttemptResult.PUBLISHED
    if state.outcome is Outcome.UNKNOWN:
        return AttemptResult.UNKNOWN
    if state.status is DestinationStatus.FAILED:
        return AttemptResult.FAILED
    return AttemptResult.WAITING


def make_system_functions(now: Callable[[], datetime]) -> SystemFunctions:
    return SystemFunctions(
        now=now,
        monotonic=_monotonic,
        sleep=asyncio.sleep,
        new_id=uuid4,
        random=random.SystemRandom().random,
    )


def _monotonic() -> float:
    if hasattr(time, "CLOCK_BOOTTIME"):  # continues while the machine sleeps, as leases do
        return time.clock_gettime(time.CLOCK_BOOTTIME)
    return time.monotonic()


async def retry_while(
    call: Callable[[], Awaitable[T]], system: SystemFunctions, *, should_retry: Callable[[], bool]
) -> T:
    """Return the result of `call`; retry it with backoff while `should_retry` returns True.

    A RequestError is raised immediately, any other exception once retrying makes no sense.
    """
    outage = Outage(logger, "database unavailable, retrying")
    while True:
        try:
            return await call()
        except RequestError:
            raise
        except Exception:
            if not should_retry():
                raise
            outage.record_failure()
        await system.sleep(outage.backoff_seconds(system.random))
