"""Periodic maintenance of the database by a server process."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from datetime import datetime, timedelta
from functools import partial

import structlog

from app.db.core.database import Database
from app.db.core.sqlite import STATISTICS_INTERVAL
from app.domain.retry_policy import RetryPolicies
from app.domain.times import Clock
from app.observability.outages import Outage
from app.services.account_pauses import prune_pauses
from app.services.api_keys import LastUsedRecorder
from app.services.circuit_breakers import prune_breakers
from app.services.expirations import (
    prune_checkpoints,
    prune_deliveries,
    prune_events,
    prune_idempotency_keys,
    run_expirations,
)
from app.services.periodic import run_periodically
from app.services.post_contents import check_waiting_posts
from app.services.sessions import prune_sessions

_KEY_USAGE_FLUSH_INTERVAL = timedelta(seconds=30)
"""Maximum delay until the last use of an API key is stored."""
_EVENT_PRUNE_INTERVAL = timedelta(minutes=10)
"""Longest time that events stay after their retention, unless a tenth of the retention is shorter."""
_DELIVERY_PRUNE_INTERVAL = timedelta(minutes=10)
"""Longest time that deliveries of webhooks stay after their retention, unless a tenth of it is shorter."""
_IDEMPOTENCY_PRUNE_INTERVAL = timedelta(minutes=10)
"""Longest time that a stored outcome stays after its idempotency key has expired."""
_CHECKPOINT_PRUNE_INTERVAL = timedelta(hours=1)
"""Longest time that checkpoints stay after their retention."""
_PAUSE_PRUNE_INTERVAL = timedelta(hours=1)
"""Longest time that the pause of an account stays stored after its end."""
_BREAKER_PRUNE_INTERVAL = timedelta(hours=1)
"""Longest time that the closed breaker of a server stays stored."""
_SESSION_PRUNE_INTERVAL = timedelta(minutes=10)
"""Longest time that a session stays stored after it has expired."""
_CONTENT_CHECK_INTERVAL = timedelta(minutes=10)
"""Time after which a failed check of the waiting posts is repeated; a completed one is not."""

logger = structlog.stdlib.get_logger(__name__)


@asynccontextmanager
async def run_maintenance(
    database: Database,
    clock: Clock,
    *,
    key_usage: LastUsedRecorder,
    event_retention: timedelta,
    delivery_retention: timedelta,
    expiration_interval: timedelta | None,
    retry_policies: RetryPolicies,
) -> AsyncIterator[None]:
    """Run all maintenance tasks.

    Those that settle expirations run every `expiration_interval`, or not at all if it is None.
    """

    def repeat(
        name: str, task: Callable[[Database, datetime], Awaitable[None]], interval: timedelta
    ) -> AbstractAsyncContextManager[None]:
        return run_periodically(name, lambda: task(database, clock()), interval=interval)

    expirations = (
        nullcontext()
        if expiration_interval is None
        else run_expirations(database, clock, retry_policies, interval=expiration_interval)
    )
    async with (
        run_periodically(
            "refresh_statistics", database.refresh_statistics, interval=STATISTICS_INTERVAL
        ),
        expirations,
        repeat("check_waiting_posts", check_waiting_posts, _CONTENT_CHECK_INTERVAL),
        repeat("prune_idempotency_keys", prune_idempotency_keys, _IDEMPOTENCY_PRUNE_INTERVAL),
        repeat("prune_checkpoints", prune_checkpoints, _CHECKPOINT_PRUNE_INTERVAL),
        repeat("prune_pauses", prune_pauses, _PAUSE_PRUNE_INTERVAL),
        repeat("prune_breakers", prune_breakers, _BREAKER_PRUNE_INTERVAL),
        repeat("prune_sessions", prune_sessions, _SESSION_PRUNE_INTERVAL),
        repeat(
            "prune_events",
            partial(prune_events, retention=event_retention),
            min(_EVENT_PRUNE_INTERVAL, event_retention / 10),
        ),
        repeat(
            "prune_deliveries",
            partial(prune_deliveries, retention=delivery_retention),
            min(_DELIVERY_PRUNE_INTERVAL, delivery_retention / 10),
        ),
        _flush_key_usage(database, key_usage),
    ):
        yield


@asynccontextmanager
async def _flush_key_usage(database: Database, key_usage: LastUsedRecorder) -> AsyncIterator[None]:
    """Store the last use of keys at every interval, and once more at exit."""
    flush = partial(key_usage.flush, database)
    async with run_periodically("flush_key_usage", flush, interval=_KEY_USAGE_FLUSH_INTERVAL):
        yield
    with Outage(logger, "last use of keys not stored").suppress():
        await flush()
