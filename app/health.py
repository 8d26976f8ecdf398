"""What an orchestrator and a monitor ask of a server process; no key needed. What is counted is elsewhere."""

import asyncio
from datetime import datetime, timedelta

import structlog
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from app.db.core.database import Database
from app.db.repositories.destinations import count_overdue
from app.domain.errors import ServiceUnavailable
from app.domain.times import Clock
from app.observability.metrics import METRICS_CONTENT_TYPE, Metrics, render_metrics

METRICS_QUERY_TIMEOUT = timedelta(seconds=3)
"""How long a reading of the metrics may wait for the database; whoever reads them waits some 10 s."""

logger = structlog.stdlib.get_logger(__name__)


def probe_routes(database: Database, metrics: Metrics, clock: Clock) -> list[Route]:
    """Whether it lives, whether it can answer, and what it has counted."""

    async def livez(_request: Request) -> Response:
        return JSONResponse({"status": "alive"})

    async def readyz(_request: Request) -> Response:
        try:
            await database.ping()
        except ServiceUnavailable as error:
            return JSONResponse({"status": "unavailable", "reason": error.message}, 503)
        return JSONResponse({"status": "ready"})

    async def metrics_page(_request: Request) -> Response:
        page = render_metrics(
            metrics, overdue_count=await _count_overdue_destinations(database, clock())
        )
        return Response(page, headers={"Content-Type": METRICS_CONTENT_TYPE})

    return [Route("/livez", livez), Route("/readyz", readyz), Route("/metrics", metrics_page)]


async def _count_overdue_destinations(database: Database, now: datetime) -> int | None:
    """None where the database does not say it soon: all else is to be read all the same."""
    try:
        async with (
            asyncio.timeout(METRICS_QUERY_TIMEOUT.total_seconds()),
            database.unscoped_connection() as connection,
        ):
            return await count_overdue(connection, now)
    except Exception:
        logger.warning("overdue destinations not counted", exc_info=True)
        return None
