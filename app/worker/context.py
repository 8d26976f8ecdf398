"""Dependencies of a worker, and retries of its database calls."""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TypeVar
from uuid import uuid4

import structlog

from app.domain.accounts import AccountPublisher
from app.domain.errors import RequestError
from app.domain.ids import IdFactory
from app.observability.outages import Outage
from app.platforms.protocol import PlatformAdapter
from app.services.account_pauses import AccountPauses
from app.services.circuit_breakers import CircuitBreakers
from app.services.claims import ClaimService
from app.services.duplicate_checks import DuplicateCheckService
from app.services.publishing_secrets import PublishingSecrets
from app.services.reports import ReportService
from app.services.unit_of_work import Publisher
from app.worker.connectivity import Connectivity
from app.worker.stats import WorkerStats

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


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerContext:
    """Everything that processing a claim depends on."""

    claims: ClaimService
    reports: ReportService
    secrets: PublishingSecrets
    pauses: AccountPauses
    breakers: CircuitBreakers
    connectivity: Connectivity
    duplicate_checks: DuplicateCheckService
    adapters: Mapping[AccountPublisher, PlatformAdapter]
    system: SystemFunctions
    stats: WorkerStats
    worker_name: str
    """Name of the worker in the attempt log."""
    lease_duration: timedelta
    publish_timeout: timedelta = _PUBLISH_TIMEOUT
    lookup_timeout: timedelta = _LOOKUP_TIMEOUT


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
