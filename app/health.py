"""Routes for orchestrators and monitoring, without an API key: liveness, readiness and metrics."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import TypeVar

import structlog
from cachetools import TTLCache
from starlette.responses import JSONResponse, Response

from app.db.core.database import Database
from app.db.core.failures import describe_failure, is_storage_failure
from app.db.repositories.overdue import read_backlog
from app.domain.credentials import UnreadableSecretCounts
from app.domain.destinations import Backlog
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

_METRICS_QUERY_TIMEOUT = timedelta(seconds=3)
"""Longest wait for the database during a scrape; Prometheus itself waits about 10 s."""

_NO_STORE = {"Cache-Control": "no-store"}
"""Headers of every answer, which a cache in between would make untrue."""

_CACHE_TTL = timedelta(seconds=10)
"""Time for which a process serves numbers that it has read, however often it is probed and scraped."""

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

    backlogs: TTLCache[None, Backlog] = TTLCache(1, _CACHE_TTL.total_seconds(), monotonic)
    unreadable: TTLCache[None, UnreadableSecretCounts] = TTLCache(
        1, _CACHE_TTL.total_seconds(), monotonic
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
        secrets = await current_unreadable()
        warning = (
            {} if secrets is None or secrets.problem is None else {"warnings": [secrets.problem]}
        )
        return JSONResponse({"status": "ready", **warning}, headers=_NO_STORE)

    async def current_backlog() -> Backlog | None:
        return await _read_cached(
            backlogs, lambda: read_backlog(database.all_workspaces, clock()), "backlog not read"
        )

    async def current_unreadable() -> UnreadableSecretCounts | None:
        return await _read_cached(
            unreadable,
            lambda: count_unreadable_secrets(database, cipher, clock()),
            "unreadable secrets not counted",
        )

    async def metrics_page(_request: HttpRequest) -> Response:
        flush_metrics()
        reason, backlog, secrets = await asyncio.gather(
            unready_reason(), current_backlog(), current_unreadable()
        )
        page = render_metrics(
            metrics,
            is_ready=reason is None,
            backlog=backlog,
            unreadable=secrets,
            now=clock(),
        )
        return Response(page, headers={**_NO_STORE, "Content-Type": METRICS_CONTENT_TYPE})

    return [
        Route(LIVENESS_PATH, {"GET": livez}),
        Route(READINESS_PATH, {"GET": readyz}),
        Route(METRICS_PATH, {"GET": metrics_page}),
    ]


def _reason(error: ServiceUnavailable | TimeoutError) -> str:
    """Return a sentence for the operator; the cause only if it is the disk or the file of the database."""
    if isinstance(error, TimeoutError):
        return _NO_ANSWER
    if error.__cause__ is not None and is_storage_failure(error.__cause__):
        return f"The database cannot be used: {describe_failure(error.__cause__)}"
    return error.message


def _unavailable(reason: str) -> Response:
    return JSONResponse({"status": "unavailable", "reason": reason}, 503, _NO_STORE)


async def _read_cached(
    cache: TTLCache[None, T], read: Callable[[], Awaitable[T]], failure_event: str
) -> T | None:
    """Return cached numbers of the database, or read them.

    Logs an event and returns None if the database fails or is slow: other metrics matter too.
    """
    if (cached := cache.get(None)) is not None:
        return cached
    try:
        async with asyncio.timeout(_METRICS_QUERY_TIMEOUT.total_seconds()):
            cache[None] = result = await read()
    except Exception:
        logger.warning(failure_event, exc_info=True)
        return None
    return result
