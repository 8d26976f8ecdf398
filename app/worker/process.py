"""The process of a lone worker: from the settings to its end by a signal. Nothing listens in it."""

import asyncio
import secrets
import signal
from collections.abc import Callable

import click

from app import __version__
from app.background import TICK, repeated
from app.db.engine import Database
from app.db.migrations import migrate
from app.domain.retry_policy import RetryPolicies
from app.domain.times import Clock
from app.observability.logs import configure_logging
from app.platforms.adapters import check_sandbox_file
from app.pubsub.protocol import wake_nobody
from app.services.access import fail_what_lacks_access
from app.services.leases import settle_lost_leases
from app.services.retry_policies import load_retry_policies
from app.services.wakeups import telling_of_changes
from app.settings import Settings
from app.worker.starting import describe_worker, make_worker, watched

_STOPPING = (signal.SIGTERM, signal.SIGINT)


def work_forever(settings: Settings, now: Clock) -> None:
    """Publish until a signal says stop; a second one ends the process at once."""
    configure_logging(settings.log_level, settings.log_format)
    policies = load_retry_policies(settings.retry_policy_file)
    check_sandbox_file(settings.sandbox_file)
    asyncio.run(_work(settings, policies, now))


async def _work(settings: Settings, policies: RetryPolicies, now: Clock) -> None:
    async with Database(
        settings.database_url,
        pool_size=settings.database_pool_size,
        timeout=settings.database_timeout,
    ) as database:
        await migrate(database, now=now(), random_bytes=secrets.token_bytes)

        async def settle_leases() -> None:
            await settle_lost_leases(database, now())

        async def fail_due_posts() -> None:
            await fail_what_lacks_access(database, now())

        with watched() as tally:
            worker = make_worker(settings, database, policies, tally, now)
            _stop_on_signals(worker.stop)
            click.echo(f"post-results {__version__}\n{describe_worker(settings)}")
            # As every server does, so that nothing is stuck while one worker lives.
            async with (
                telling_of_changes(database, wake_nobody),
                repeated(settle_leases, every=TICK),
                repeated(fail_due_posts, every=TICK),
            ):
                await worker.run()


def _stop_on_signals(stop: Callable[[], None]) -> None:
    loop = asyncio.get_running_loop()

    def first() -> None:
        for each in _STOPPING:
            loop.remove_signal_handler(each)
            signal.signal(each, signal.SIG_DFL)
        stop()

    for each in _STOPPING:
        loop.add_signal_handler(each, first)
