"""Periodic maintenance tasks of a server process; the services implement them."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

from app.db.core.database import Database
from app.db.core.sqlite import STATISTICS_MAX_AGE
from app.domain.times import Clock
from app.services.api_keys import LastUsedRecorder
from app.services.blocked_accounts import fail_due_on_blocked_accounts
from app.services.expired_leases import settle_expired_leases
from app.services.idempotency import prune_idempotency_keys
from app.services.periodic import run_periodically
from app.services.retention import prune_events

KEY_USAGE_FLUSH_INTERVAL = timedelta(seconds=30)
"""Delay until the last use of a key is stored."""
EVENT_PRUNE_INTERVAL = timedelta(minutes=10)
"""Events outlive their retention by at most this, or by a tenth of the retention if that is less."""
IDEMPOTENCY_PRUNE_INTERVAL = timedelta(minutes=10)
"""Idempotency keys outlive their validity by at most this."""


@asynccontextmanager
async def run_maintenance(
    database: Database,
    clock: Clock,
    *,
    key_usage: LastUsedRecorder,
    event_retention: timedelta,
    maintenance_interval: timedelta,
) -> AsyncIterator[None]:
    """Run maintenance during the context: settle what is due every `maintenance_interval`, and prune."""

    async def flush_key_usage() -> None:
        await key_usage.flush(database)

    async def fail_posts_of_blocked_accounts() -> None:
        await fail_due_on_blocked_accounts(database, clock())

    async def settle_leases_past_expiry() -> None:
        await settle_expired_leases(database, clock())

    async def prune_idempotency() -> None:
        await prune_idempotency_keys(database, clock())

    async def prune_old_events() -> None:
        await prune_events(database, clock(), retention=event_retention)

    async with (
        run_periodically(database.refresh_statistics, interval=STATISTICS_MAX_AGE),
        run_periodically(flush_key_usage, interval=KEY_USAGE_FLUSH_INTERVAL),
        run_periodically(fail_posts_of_blocked_accounts, interval=maintenance_interval),
        run_periodically(settle_leases_past_expiry, interval=maintenance_interval),
        run_periodically(prune_idempotency, interval=IDEMPOTENCY_PRUNE_INTERVAL),
        run_periodically(
            prune_old_events, interval=min(EVENT_PRUNE_INTERVAL, event_retention / 10)
        ),
    ):
        yield
