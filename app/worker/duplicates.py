"""Checks platforms for second publications of posts, when no request can be delivered any more."""

import asyncio
from collections.abc import Sequence

import structlog

from app.db.repositories.duplicate_checks import PendingCheck
from app.domain.attempts import Publication
from app.platforms.protocol import DuplicateFinder, PublishRequest
from app.services.duplicate_checks import LeasedCheck, check_log_fields
from app.services.periodic import run_concurrently
from app.worker.call_results import pause_account_if_limited, sanitize_publication
from app.worker.context import WorkerContext
from app.worker.publish_requests import make_check_request
from app.worker.verify_outcome import has_new_credentials

logger = structlog.stdlib.get_logger(__name__)


async def check_due(context: WorkerContext) -> None:
    """Check some posts that are due, by one search of each account. Makes one read if none are due."""
    await run_concurrently(_check(context, due) for due in await context.duplicate_checks.due())


async def _check(context: WorkerContext, due: Sequence[PendingCheck]) -> None:
    """Search the platform of one account for the posts of its checks, and report what is found."""
    checks = await context.duplicate_checks.lease(due)
    if not checks:
        return
    requests = [make_check_request(context, check) for check in checks]
    adapter = context.adapters.get(checks[0].destination.publisher)
    found: Sequence[Sequence[Publication]] = [()] * len(checks)
    if isinstance(adapter, DuplicateFinder):
        try:
            async with asyncio.timeout(context.lookup_timeout.total_seconds()):
                found = await adapter.find_unreported(requests)
            found = [
                await _usable_results(context, *each)
                for each in zip(checks, requests, found, strict=True)
            ]
        except Exception as error:
            await pause_account_if_limited(context, requests[0], error)
            log_fields = check_log_fields(checks[0].pending)
            logger.warning("duplicate check failed", **log_fields, exc_info=True)
            return
    for check, publications in zip(checks, found, strict=True):
        await context.duplicate_checks.report(check, publications)


async def _usable_results(
    context: WorkerContext,
    check: LeasedCheck,
    request: PublishRequest,
    found: Sequence[Publication],
) -> Sequence[Publication]:
    """Return the valid publications; none if the search may have been that of another account."""
    log_fields = check_log_fields(check.pending)
    now = context.system.now()
    valid = [sanitize_publication(each, now, log_fields) for each in found]
    if not await has_new_credentials(context, request):
        return valid
    logger.warning("duplicate check abandoned, new credentials", **log_fields)
    return ()
