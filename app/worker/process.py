"""The process of a lone worker: from the settings to its end by a signal. Nothing listens in it."""

import asyncio
import secrets
import signal
from collections.abc import Callable

import click

from app import __version__
from app.db.core.database import Database
from app.db.migrations import migrate
from app.domain.retry_policy import RetryPolicies
from app.domain.times import Clock
from app.observability.logs import configure_logging
from app.platforms.adapters import check_sandbox_file
from app.pubsub.protocol import ignore_wake_up
from app.services.blocked_accounts import fail_due_on_blocked_accounts
from app.services.change_notifications import run_change_notifier
from app.services.expired_leases import settle_expired_leases
from app.services.periodic import PERIODIC_INTERVAL, run_periodically
from app.services.retry_policies import load_retry_policies
from app.settings import Settings
from app.worker.factory import describe_worker, make_worker, worker_stats

_STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)


def run_worker(settings: Settings, now: Clock) -> None:
    """Publish until a signal says stop; a second one ends the process at once."""
    configure_logging(settings.log_level, settings.log_format)
    policies = load_retry_policies(settings.retry_policy_file)
    check_sandbox_file(settings.sandbox_file)
    asyncio.run(_run_worker(settings, policies, now))


async def _run_worker(settings: Settings, policies: RetryPolicies, now: Clock) -> None:
    async with Database(
        settings.database_url,
        pool_size=settings.database_pool_size,
        timeout=settings.database_timeout,
    ) as database:
        await migrate(database, now=now(), random_bytes=secrets.token_bytes)

        async def settle_leases() -> None:
            await settle_expired_leases(database, now())

        async def fail_due_posts() -> None:
            await fail_due_on_blocked_accounts(database, now())

        with worker_stats() as tally:
            worker = make_worker(settings, database, policies, tally, now)
            _stop_on_signals(worker.stop)
            click.echo(f"post-results {__version__}\n{describe_worker(settings)}")
            # As every server does, so that nothing is stuck while one worker lives.
            async with (
                run_change_notifier(database, ignore_wake_up),
                run_periodically(settle_leases, interval=PERIODIC_INTERVAL),
                run_periodically(fail_due_posts, interval=PERIODIC_INTERVAL),
            ):
                await worker.run()


def _stop_on_signals(stop: Callable[[], None]) -> None:
    loop = asyncio.get_running_loop()

    def on_first_signal() -> None:
        for each in _STOP_SIGNALS:
            loop.remove_signal_handler(each)
            signal.signal(each, signal.SIG_DFL)
        stop()

    for each in _STOP_SIGNALS:
        loop.add_signal_handler(each, on_first_signal)
