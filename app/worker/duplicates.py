"""Checks platforms for second publications of posts, when no request can be delivered any more."""

import asyncio
from collections.abc import Sequence

import structlog

from app.db.repositories.duplicate_checks import PendingCheck
from app.domain.attempts import Publication
from app.platforms.protocol import DuplicateFinder
from app.services.duplicate_checks import check_log_fields
from app.services.periodic import run_concurrently
from app.worker.call_results import pause_account_if_limited, sanitize_publication
from app.worker.context import WorkerContext
from app.worker.publish_requests import make_check_request
from app.worker.verify_outcome import has_new_credentials

logger = structlog.stdlib.get_logger(__name__)


async def check_due(context: WorkerContext) -> None:
    """Check some posts that are due, one of each account. Makes one read if none are due."""
    await run_concurrently(_check(context, due) for due in await context.duplicate_checks.due())


async def _check(context: WorkerContext, due: PendingCheck) -> None:
    check = await context.duplicate_checks.lease(due)
    if check is None:
        return
    adapter = context.adapters.get(check.destination.publisher)
    found: Sequence[Publication] = ()
    if isinstance(adapter, DuplicateFinder):
        request, log_fields = make_check_request(context, check), check_log_fields(due)
        try:
            async with asyncio.timeout(context.lookup_timeout.total_seconds()):
                found = await adapter.find_unreported(request)
            now = context.system.now()
            found = [sanitize_publication(each, now, log_fields) for each in found]
            if await has_new_credentials(context, request):
                found = ()
                logger.warning("duplicate check abandoned, new credentials", **log_fields)
        except Exception as error:
            await pause_account_if_limited(context, request, error)
            logger.warning("duplicate check failed", **log_fields, exc_info=True)
            return
    await context.duplicate_checks.report(check, found)
