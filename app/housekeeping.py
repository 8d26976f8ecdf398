"""What a server process does by itself again and again, beside answering. Services know how."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

from app.background import repeated
from app.db.engine import Database
from app.db.sqlite import STATISTICS_AGE
from app.domain.times import Clock
from app.services.access import fail_what_lacks_access
from app.services.api_keys import KeyUsage
from app.services.changes import forget_old_changes
from app.services.leases import settle_lost_leases
from app.services.repetition import forget_old_requests

KEY_USAGE_AGE = timedelta(seconds=30)
"""How late it may be written when a key was last used."""
CHANGES_AGE = timedelta(minutes=10)
"""How much longer than they have to be changes may be kept, or a tenth of that time if it is less."""
REQUESTS_AGE = timedelta(minutes=10)
"""How much longer than it counts the answer to a request may be kept, to be told to its repetitions."""


@asynccontextmanager
async def keeping_house(
    database: Database,
    clock: Clock,
    *,
    key_usage: KeyUsage,
    changes_kept_for: timedelta,
    tick: timedelta,
) -> AsyncIterator[None]:
    """Within it, what is due is seen to every `tick`, and what nobody needs any more is forgotten."""

    async def write_key_usage() -> None:
        await key_usage.flush(database)

    async def fail_due_posts() -> None:
        await fail_what_lacks_access(database, clock())

    async def settle_leases() -> None:
        await settle_lost_leases(database, clock())

    async def forget_requests() -> None:
        await forget_old_requests(database, clock())

    async def forget_changes() -> None:
        await forget_old_changes(database, clock(), kept_for=changes_kept_for)

    async with (
        repeated(database.refresh_statistics, every=STATISTICS_AGE),
        repeated(write_key_usage, every=KEY_USAGE_AGE),
        repeated(fail_due_posts, every=tick),
        repeated(settle_leases, every=tick),
        repeated(forget_requests, every=REQUESTS_AGE),
        repeated(forget_changes, every=min(CHANGES_AGE, changes_kept_for / 10)),
    ):
        yield
