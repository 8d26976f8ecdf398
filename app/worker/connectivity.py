"""Distinguishes a server that cannot be reached from a worker without a network."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta

import structlog
from cachetools import TTLCache

from app.db.core.database import Database
from app.db.repositories.server_failures import other_origins
from app.outbound.client import OutboundClient, OutboundRequest
from app.outbound.errors import OutboundError

Reach = Callable[[str], Awaitable[bool]]
"""Function that returns whether a server can be connected to."""

_MIN_SERVERS, _MAX_SERVERS = 2, 3
"""Other servers that a worker tries to reach before it takes its own network for interrupted.

A single one may be that of a workspace which turns it off to stop the others.
"""

_RECENT_SECONDS = 10.0
"""Time for which the last answer of a server, or the last check, is believed."""

_MAX_RECENT_ANSWERS = 1_000
"""Servers whose answers are cached; one suffices to show that the network works."""

_TIMEOUT = timedelta(seconds=5)

logger = structlog.stdlib.get_logger(__name__)


class Connectivity:
    """Connectivity of one worker, which claims nothing and opens no breaker while it reaches no server.

    With accounts on fewer than three servers, the two cannot be distinguished, and the server is at fault.
    """

    def __init__(self, database: Database, reach: Reach, monotonic: Callable[[], float]) -> None:
        self._database = database
        self._reach = reach
        self._monotonic = monotonic
        self._lock = asyncio.Lock()
        self._recent_answers: TTLCache[str, None] = TTLCache(
            _MAX_RECENT_ANSWERS, _RECENT_SECONDS, monotonic
        )
        """Servers that have answered a call lately."""
        self._checked_at = -_RECENT_SECONDS
        self._offline_origins: list[str] = []
        """Servers of which none was reached at the last check; empty while the worker has a network."""

    def record_answer(self, origin: str) -> None:
        """Record that a server has answered a call."""
        self._recent_answers[origin] = None

    async def has_network(self, unreachable_origin: str) -> bool:
        """Return False if other servers cannot be reached either after one could not."""
        async with self._lock:
            if any(origin != unreachable_origin for origin in self._recent_answers):
                return True
            if self._is_checked:
                return not self._offline_origins
            others = await other_origins(
                self._database.all_workspaces, unreachable_origin, limit=_MAX_SERVERS
            )
            if len(others) < _MIN_SERVERS:
                return True
            return await self._check([*others, unreachable_origin])

    async def may_claim(self) -> bool:
        """Return False while no server can be reached; checks that again at most every ten seconds."""
        async with self._lock:
            if not self._offline_origins:
                return True
            return not self._is_checked and await self._check(self._offline_origins)

    @property
    def _is_checked(self) -> bool:
        return self._monotonic() - self._checked_at < _RECENT_SECONDS

    async def _check(self, origins: list[str]) -> bool:
        """Try to reach servers, and log if the network begins to be interrupted, or works again."""
        was_offline = bool(self._offline_origins)
        is_online = any(await asyncio.gather(*map(self._reach, origins)))
        self._checked_at = self._monotonic()
        self._offline_origins = [] if is_online else origins
        if is_online and was_offline:
            logger.info("network available, claims resumed")
        elif not is_online and not was_offline:
            logger.error("no server reached, claims stopped", servers=origins)
        return is_online


async def reach_server(client: OutboundClient, origin: str) -> bool:
    """Return whether a server accepts a connection; any answer will do."""
    request = OutboundRequest(
        method="HEAD", url=f"{origin}/", timeout=_TIMEOUT, max_response_bytes=1024, pool_key=origin
    )
    try:
        await client.send(request)
    except OutboundError as error:
        return error.may_have_been_sent
    return True
