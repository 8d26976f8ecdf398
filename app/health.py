"""Routes for orchestrators and monitoring, without an API key: liveness, readiness and metrics."""

import asyncio
from collections.abc import Callable
from datetime import datetime, timedelta

import structlog
from starlette.responses import JSONResponse, Response

from app.db.core.database import Database
from app.db.repositories.overdue import count_overdue
from app.domain.errors import ServiceUnavailable
from app.domain.times import Clock
from app.http.paths import LIVENESS_PATH, METRICS_PATH, READINESS_PATH
from app.http.request import HttpRequest
from app.http.routing import Route
from app.observability.metrics import METRICS_CONTENT_TYPE, Metrics, render_metrics

_READINESS_TIMEOUT = timedelta(seconds=3)
"""Longest wait for the database; probes of orchestrators often wait no longer."""

_NO_ANSWER = f"The database did not answer within {_READINESS_TIMEOUT.total_seconds():g} s."

_METRICS_QUERY_TIMEOUT = timedelta(seconds=3)
"""Longest wait for the database during a scrape; Prometheus itself waits about 10 s."""

logger = structlog.stdlib.get_logger(__name__)


def probe_routes(
    database: Database, metrics: Metrics, flush_metrics: Callable[[], None], clock: Clock
) -> list[Route]:
    """Create the routes of liveness, readiness and metrics; `flush_metrics` counts all finished requests."""

    async def livez(_request: HttpRequest) -> Response:
        return JSONResponse({"status": "alive"})

    async def readyz(_request: HttpRequest) -> Response:
        try:
            async with asyncio.timeout(_READINESS_TIMEOUT.total_seconds()):
                await database.ping()
        except (ServiceUnavailable, TimeoutError) as error:
            reason = error.message if isinstance(error, ServiceUnavailable) else _NO_ANSWER
            return JSONResponse({"status": "unavailable", "reason": reason}, 503)
        return JSONResponse({"status": "ready"})

    async def metrics_page(_request: HttpRequest) -> Response:
        flush_metrics()
        page = render_metrics(
            metrics, overdue_count=await _count_overdue_destinations(database, clock())
        )
        return Response(page, headers={"Content-Type": METRICS_CONTENT_TYPE})

    return [
        Route(LIVENESS_PATH, {"GET": livez}),
        Route(READINESS_PATH, {"GET": readyz}),
        Route(METRICS_PATH, {"GET": metrics_page}),
    ]


async def _count_overdue_destinations(database: Database, now: datetime) -> int | None:
    """Count overdue destinations; return None if the database fails or is slow: other metrics matter too."""
    try:
        async with asyncio.timeout(_METRICS_QUERY_TIMEOUT.total_seconds()):
            return await count_overdue(database.all_workspaces, now)
    except Exception:
        logger.warning("overdue destinations not counted", exc_info=True)
        return None
