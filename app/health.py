"""Routes for orchestrators and monitoring, without an API key: liveness, readiness and metrics."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from math import inf
from typing import Generic, TypeVar

import structlog
from starlette.responses import JSONResponse, Response

from app.db.core.database import Database
from app.db.core.failures import describe_failure, is_storage_failure
from app.db.repositories.outages import count_open_breakers
from app.db.repositories.overdue import read_backlog
from app.domain.circuit_breakers import PROBE_TIMEOUT
from app.domain.errors import ServiceUnavailable
from app.domain.times import Clock
from app.http.paths import LIVENESS_PATH, METRICS_PATH, READINESS_PATH
from app.http.request import HttpRequest
from app.http.routing import Route
from app.observability.metrics import METRICS_CONTENT_TYPE, Metrics, render_metrics
from app.services.missing_keys import count_unreadable_secrets
from app.services.secret_cipher import SecretCipher

T = TypeVar("T")

_READINESS_TIMEOUT = timedelta(seconds=3)
"""Longest wait for the database; probes of orchestrators often wait no longer."""

_NO_ANSWER = f"The database did not answer within {_READINESS_TIMEOUT.total_seconds():g} s."

_DRAINING = "The server is shutting down."

_QUERY_TIMEOUT = timedelta(seconds=3)
"""Longest wait for numbers of the database, also during a scrape; Prometheus itself waits about 10 s."""

_WARNING_TIMEOUT = timedelta(milliseconds=200)
"""Longest time by which the numbers for warnings delay an answer about readiness."""

_NO_STORE = {"Cache-Control": "no-store"}
"""Headers of every answer, which a cache in between would make untrue."""

_CACHE_TTL = timedelta(seconds=10)
"""Time after which a process reads numbers again, however often it is probed and scraped."""

logger = structlog.stdlib.get_logger(__name__)


def probe_routes(
    database: Database,
    metrics: Metrics,
    flush_metrics: Callable[[], None],
    cipher: SecretCipher,
    clock: Clock,
    *,
    monotonic: Callable[[], float],
    is_draining: Callable[[], bool],
) -> list[Route]:
    """Create the routes of liveness, readiness and metrics; `flush_metrics` counts all finished requests.

    From a shutdown signal on `is_draining` returns True, and the server is not ready for new clients.
    """

    async def livez(_request: HttpRequest) -> Response:
        return JSONResponse({"status": "alive"}, headers=_NO_STORE)

    backlog = CachedRead(
        lambda: read_backlog(database.all_workspaces, clock()), "backlog not read", monotonic
    )
    unreadable = CachedRead(
        lambda: count_unreadable_secrets(database, cipher, clock()),
        "unreadable secrets not counted",
        monotonic,
    )

    breakers = CachedRead(
        lambda: count_open_breakers(database.all_workspaces, clock() - PROBE_TIMEOUT),
        "open circuit breakers not counted",
        monotonic,
    )

    async def unready_reason() -> str | None:
        if is_draining():
            return _DRAINING
        try:
            async with asyncio.timeout(_READINESS_TIMEOUT.total_seconds()):
                await database.ping()
        except (ServiceUnavailable, TimeoutError) as error:
            return _reason(error)
        return None

    async def readyz(_request: HttpRequest) -> Response:
        reason = await unready_reason()
        if reason is not None:
            return _unavailable(reason)
        secrets = await unreadable.get(_WARNING_TIMEOUT)
        warnings = {"warnings": secrets.warnings} if secrets and secrets.warnings else {}
        return JSONResponse({"status": "ready", **warnings}, headers=_NO_STORE)

    async def metrics_page(_request: HttpRequest) -> Response:
        flush_metrics()
        reason, current_backlog, current_unreadable, current_breakers = await asyncio.gather(
            unready_reason(),
            backlog.get(_QUERY_TIMEOUT),
            unreadable.get(_QUERY_TIMEOUT),
            breakers.get(_QUERY_TIMEOUT),
        )
        page = render_metrics(
            metrics,
            is_ready=reason is None,
            backlog=current_backlog,
            unreadable=current_unreadable,
            breakers=current_breakers,
            now=clock(),
        )
        return Response(page, headers={**_NO_STORE, "Content-Type": METRICS_CONTENT_TYPE})

    return [
        Route(LIVENESS_PATH, {"GET": livez}),
        Route(READINESS_PATH, {"GET": readyz}),
        Route(METRICS_PATH, {"GET": metrics_page}),
    ]


class CachedRead(Generic[T]):
    """Numbers of the database that one task at a time reads for all probes, at most every _CACHE_TTL."""

    def __init__(
        self,
        read: Callable[[], Awaitable[T]],
        failure_event: str,
        monotonic: Callable[[], float],
    ) -> None:
        self._read = read
        self._failure_event = failure_event
        self._monotonic = monotonic
        self._value: T | None = None
        self._fresh_until = -inf
        self._task: asyncio.Task[None] | None = None

    async def get(self, max_wait: timedelta) -> T | None:
        """Return what was read last, after a wait up to `max_wait` if it is older than _CACHE_TTL.

        Returns None before the first read has ended, and if the last one failed: other metrics matter too.
        """
        if self._monotonic() >= self._fresh_until:
            if self._task is None or self._task.done():
                self._task = asyncio.create_task(self._refresh())
            await asyncio.wait({self._task}, timeout=max_wait.total_seconds())
        return self._value

    async def _refresh(self) -> None:
        """Read the value. A failure is also not repeated before _CACHE_TTL has passed, and is logged."""
        try:
            async with asyncio.timeout(_QUERY_TIMEOUT.total_seconds()):
                self._value = await self._read()
        except Exception:
            self._value = None
            logger.warning(self._failure_event, exc_info=True)
        self._fresh_until = self._monotonic() + _CACHE_TTL.total_seconds()


def _reason(error: ServiceUnavailable | TimeoutError) -> str:
    """Return a sentence for the operator; the cause only if it is the disk or the file of the database."""
    if isinstance(error, TimeoutError):
        return _NO_ANSWER
    if error.__cause__ is not None and is_storage_failure(error.__cause__):
        return f"The database cannot be used: {describe_failure(error.__cause__)}"
    return error.message


def _unavailable(reason: str) -> Response:
    return JSONResponse({"status": "unavailable", "reason": reason}, 503, _NO_STORE)
