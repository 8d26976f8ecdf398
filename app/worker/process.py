"""Workers built from settings: as a process of their own, or embedded in a server process."""

import asyncio
import logging
import os
import secrets
import signal
import socket
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import (
    AbstractAsyncContextManager,
    AbstractContextManager,
    asynccontextmanager,
    contextmanager,
    nullcontext,
)
from functools import partial

import click

from app import __version__
from app.db.core.database import Database, open_database
from app.db.migrations import migrate
from app.db.tools.pooler_check import check_pooler
from app.domain.retry_policy import RetryPolicies
from app.domain.settlement import RetryDecider
from app.domain.times import Clock
from app.observability.logs import configure_logging
from app.observability.status_line import open_status_line
from app.outbound.client import OutboundClient
from app.platforms import check_sandbox_file, make_adapters
from app.pubsub.notifier import ignore_wake_up
from app.runtime.file_limits import open_file_limit, raise_file_limit
from app.runtime.shutdown import CLEANUP_LIMIT, limited_cleanup
from app.services.account_pauses import AccountPauses
from app.services.change_feed import run_change_notifier
from app.services.circuit_breakers import WORKER_REPORT_INTERVAL, CircuitBreakers
from app.services.claims import ClaimService
from app.services.credential_files import CredentialFiles
from app.services.database_clock import DatabaseClock, keep_synchronized
from app.services.duplicate_checks import DUPLICATE_CHECK_INTERVAL, DuplicateCheckService
from app.services.expirations import EXPIRATION_INTERVAL, run_expirations
from app.services.media_checks import MediaCheckService
from app.services.missing_keys import (
    RECORD_INTERVAL,
    key_warnings,
    record_keys,
    require_readable_accounts,
    require_readable_webhooks,
)
from app.services.periodic import exit_together, run_periodically
from app.services.publishing_secrets import PublishingSecrets
from app.services.reports import ReportService
from app.services.retry_policies import load_retry_policies
from app.services.secret_cipher import load_cipher
from app.services.stored_credential_verification import (
    VERIFICATION_INTERVAL,
    StoredCredentialVerifier,
)
from app.services.webhook_deliveries import WebhookDeliveryService
from app.services.workspaces import load_signing_key
from app.settings import Settings, SettingsError
from app.worker.connectivity import Connectivity, reach_server
from app.worker.context import (
    OPERATOR_PUBLISHER,
    SystemFunctions,
    WorkerContext,
    make_system_functions,
)
from app.worker.duplicates import check_due
from app.worker.media_checks import MediaChecker, check_media_in_background
from app.worker.stats import WorkerStats
from app.worker.webhooks import (
    FILES_PER_TASK,
    MAX_TASKS,
    WebhookWorker,
    deliver_in_background,
)
from app.worker.worker import Worker, run_in_background

_STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)


def run_worker(settings: Settings, now: Clock) -> None:
    """Publish and deliver webhooks until the first stop signal; a second one ends the process immediately."""
    policies = _prepare_process(settings)
    asyncio.run(_publish_and_deliver_webhooks(settings, policies, DatabaseClock(now)))


def run_webhook_worker(settings: Settings, now: Clock) -> None:
    """Deliver webhooks until the first stop signal; a second one ends the process immediately.

    Raises SettingsError if the settings disable webhooks.
    """
    if not settings.webhooks:
        raise SettingsError(
            "WEBHOOKS=no leaves nothing to do for a worker that only delivers webhooks."
        )
    policies = _prepare_process(settings)
    asyncio.run(_only_deliver_webhooks(settings, policies, DatabaseClock(now)))


def describe_worker(settings: Settings) -> str:
    """Return a line of the startup banner."""
    return f"  worker   publishes {settings.worker_concurrency} posts at a time"


def warning_lines(warnings: Sequence[str]) -> list[str]:
    """Return lines of the startup banner."""
    return [f"  warning  {warning}" for warning in warnings]


@asynccontextmanager
async def embedded_worker(
    settings: Settings,
    database: Database,
    client: OutboundClient,
    policies: RetryPolicies,
    now: Clock,
) -> AsyncIterator[None]:
    """Run a worker in a server process, if the settings enable it.

    It has a status line only if the server is a single process.
    """
    if not settings.with_worker:
        yield
        return
    stats = _worker_stats() if settings.workers == 1 else nullcontext(WorkerStats())
    async with _publishing(settings, database, client, policies, now, stats):
        yield


@asynccontextmanager
async def webhook_delivery(
    settings: Settings,
    database: Database,
    client: OutboundClient,
    *,
    signing_key: bytes,
    now: Clock,
) -> AsyncIterator[None]:
    """Deliver webhooks inside the context, if the settings enable it, and have a key to sign them."""
    if not (settings.webhooks and settings.secrets_key):
        yield
        return
    system = make_system_functions(now)
    service = WebhookDeliveryService(
        database=database,
        cipher=load_cipher(settings),
        signing_key=signing_key,
        retry_schedule=settings.webhook_retry_schedule,
        new_id=system.new_id,
        clock=now,
        random=system.random,
    )
    worker = WebhookWorker(service, client, system, max_tasks=_max_webhook_tasks())
    async with deliver_in_background(worker, settings.shutdown_timeout):
        yield


def _max_webhook_tasks() -> int:
    """Return the endpoints to deliver to at a time, for which a quarter of the open files is enough."""
    limit = open_file_limit()
    return MAX_TASKS if limit is None else min(MAX_TASKS, max(2, limit // 4 // FILES_PER_TASK))


def _prepare_process(settings: Settings) -> RetryPolicies:
    """Configure the process, and check the files that settings name; return the retry policies."""
    configure_logging(settings.log_level, settings.log_format)
    raise_file_limit()
    policies = load_retry_policies(settings.retry_policy_file)
    check_sandbox_file(settings.sandbox_file)
    return policies


async def _publish_and_deliver_webhooks(
    settings: Settings, policies: RetryPolicies, clock: DatabaseClock
) -> None:
    async with _open_connections(settings, policies, clock) as (database, client):
        await require_readable_accounts(database, settings, clock())
        signing_key = await load_signing_key(settings, database)
        await _run_until_stopped(
            [
                describe_worker(settings),
                *warning_lines(await key_warnings(database, settings)),
            ],
            webhook_delivery(settings, database, client, signing_key=signing_key, now=clock),
            _publishing(settings, database, client, policies, clock, _worker_stats()),
        )


async def _only_deliver_webhooks(
    settings: Settings, policies: RetryPolicies, clock: DatabaseClock
) -> None:
    async with _open_connections(settings, policies, clock) as (database, client):
        await require_readable_webhooks(database, settings)
        signing_key = await load_signing_key(settings, database)
        await _run_until_stopped(
            [
                "  worker   delivers webhooks, and publishes nothing",
                *warning_lines(await key_warnings(database, settings)),
            ],
            webhook_delivery(settings, database, client, signing_key=signing_key, now=clock),
        )


@asynccontextmanager
async def _open_connections(
    settings: Settings, policies: RetryPolicies, clock: DatabaseClock
) -> AsyncIterator[tuple[Database, OutboundClient]]:
    """Open the database, migrated, with its background tasks, and a client; limit the time to close them."""
    client = OutboundClient(settings.outbound_rules())
    with limited_cleanup(CLEANUP_LIMIT) as begin_cleanup:
        async with open_database(settings) as database:
            await check_pooler(database)
            await migrate(database, now=clock(), random_bytes=secrets.token_bytes)
            async with (
                keep_synchronized(clock, database),
                run_change_notifier(database, ignore_wake_up),
                run_expirations(database, clock, policies, interval=EXPIRATION_INTERVAL),
                client,
            ):
                yield database, client
                begin_cleanup()


async def _run_until_stopped(
    banner: Sequence[str], *services: AbstractAsyncContextManager[None]
) -> None:
    """Print the version and the lines of the banner, and run the services until a stop signal."""
    stopped = asyncio.Event()
    _stop_on_signals(stopped.set)
    click.echo("\n".join([f"post-results {__version__}", *banner]))
    async with exit_together(*services):
        await stopped.wait()


@asynccontextmanager
async def _publishing(
    settings: Settings,
    database: Database,
    client: OutboundClient,
    policies: RetryPolicies,
    now: Clock,
    worker_stats: AbstractContextManager[WorkerStats],
) -> AsyncIterator[None]:
    """Publish inside the context."""
    with worker_stats as stats:
        context = make_context(
            settings,
            database,
            client,
            policies,
            stats,
            make_system_functions(now),
            worker_name=f"{socket.gethostname()}/{os.getpid()}",
        )
        async with (
            publish_in_background(context, settings, database),
            _media_checks(context, settings, database, client),
        ):
            yield


def _media_checks(
    context: WorkerContext, settings: Settings, database: Database, client: OutboundClient
) -> AbstractAsyncContextManager[None]:
    """Check the media of posts before they are due, unless the settings forbid it."""
    if not settings.media_check_bytes_per_hour:
        return nullcontext()
    service = MediaCheckService(
        database=database,
        client=client,
        max_bytes=settings.media_check_bytes_per_hour,
        new_id=context.system.new_id,
        clock=context.system.now,
    )
    return check_media_in_background(MediaChecker(service, context.connectivity))


@asynccontextmanager
async def publish_in_background(
    context: WorkerContext, settings: Settings, database: Database
) -> AsyncIterator[None]:
    """Publish, verify stored credentials, and check for duplicates inside the context."""
    now = context.system.now
    worker = Worker(
        context,
        concurrency=settings.worker_concurrency,
        shutdown_timeout=settings.shutdown_timeout,
    )
    verifier = StoredCredentialVerifier(
        database=database, secrets=context.secrets, adapters=context.adapters, clock=now
    )
    credential_verification = run_periodically(
        "verify_credentials", verifier.verify_due, interval=VERIFICATION_INTERVAL
    )
    duplicate_check = run_periodically(
        "check_duplicates", partial(check_due, context), interval=DUPLICATE_CHECK_INTERVAL
    )
    key_record = run_periodically(
        "record_worker_keys",
        lambda: record_keys(database, context.secrets.cipher, now()),
        interval=RECORD_INTERVAL,
    )
    worker_report = run_periodically(
        "report_worker", context.breakers.report_worker, interval=WORKER_REPORT_INTERVAL
    )
    async with exit_together(
        worker_report,
        key_record,
        credential_verification,
        duplicate_check,
        run_in_background(worker),
    ):
        yield


def make_context(
    settings: Settings,
    database: Database,
    client: OutboundClient,
    policies: RetryPolicies,
    stats: WorkerStats,
    system: SystemFunctions,
    *,
    worker_name: str,
) -> WorkerContext:
    """Build the dependencies of a worker; `worker_name` is unique among the workers of the database."""
    now = system.now
    cipher = load_cipher(settings)
    return WorkerContext(
        claims=ClaimService(
            database=database,
            publisher=OPERATOR_PUBLISHER,
            key_ids=cipher.key_ids,
            policies=policies,
            new_id=system.new_id,
            clock=now,
        ),
        reports=ReportService(
            database=database,
            publisher=OPERATOR_PUBLISHER,
            retry_decider=RetryDecider(policies, system.random),
            new_id=system.new_id,
            clock=now,
        ),
        secrets=PublishingSecrets(
            database=database,
            cipher=cipher,
            files=CredentialFiles(settings.credentials_dir),
            clock=now,
            sleep=system.sleep,
        ),
        pauses=AccountPauses(database=database, clock=now),
        breakers=CircuitBreakers(
            database=database, worker_name=worker_name, clock=now, random=system.random
        ),
        connectivity=Connectivity(database, partial(reach_server, client), system.monotonic),
        duplicate_checks=DuplicateCheckService(
            database=database, key_ids=cipher.key_ids, new_id=system.new_id, clock=now
        ),
        adapters=make_adapters(
            sandbox_file=settings.sandbox_file, client=client, now=now, sleep=system.sleep
        ),
        system=system,
        stats=stats,
        worker_name=worker_name,
        lease_duration=settings.worker_lease,
    )


@contextmanager
def _worker_stats() -> Iterator[WorkerStats]:
    """Show stats on a status line if there is a terminal, instead of a log line per attempt."""
    with open_status_line() as line:
        if line is None:
            yield WorkerStats()
            return
        logger = logging.getLogger("app.worker")
        level = logger.level
        if not logger.isEnabledFor(logging.DEBUG):
            logger.setLevel(max(logger.getEffectiveLevel(), logging.WARNING))
        try:
            yield WorkerStats(lambda stats: line.show(str(stats)))
        finally:
            logger.setLevel(level)


def _stop_on_signals(stop: Callable[[], None]) -> None:
    loop = asyncio.get_running_loop()

    def on_first_signal() -> None:
        for number in _STOP_SIGNALS:
            loop.remove_signal_handler(number)
            signal.signal(number, signal.SIG_DFL)
        stop()

    for number in _STOP_SIGNALS:
        loop.add_signal_handler(number, on_first_signal)
