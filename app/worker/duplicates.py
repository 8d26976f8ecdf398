"""Checks platforms for second publications of posts, when no request can be delivered any more."""

import asyncio

import structlog

from app.platforms.protocol import DuplicateFinder
from app.services.duplicate_checks import DuplicateCheckService, LeasedCheck
from app.worker.context import WorkerContext
from app.worker.lease_renewal import LeaseTimer
from app.worker.publish import (
    log_fields,
    pause_account_if_limited,
    request_of_claim,
    sanitize_publication,
)

logger = structlog.stdlib.get_logger(__name__)


async def check_due(context: WorkerContext, service: DuplicateCheckService) -> None:
    """Check some posts that are due, one of each account; one read if there are none."""
    checks = await service.lease_due()
    results = await asyncio.gather(
        *(_check(context, service, check) for check in checks), return_exceptions=True
    )
    for result in results:
        if result is not None:
            raise result


async def _check(
    context: WorkerContext, service: DuplicateCheckService, check: LeasedCheck
) -> None:
    claim = check.claim
    adapter = context.adapters.get(claim.destination.publisher)
    start = claim.last_attempt_start
    if not isinstance(adapter, DuplicateFinder) or start is None:
        await service.dismiss(check.pending)
        return
    timeout = context.lookup_timeout
    timer = LeaseTimer(
        timeout,
        requested_at=context.system.monotonic(),
        monotonic=context.system.monotonic,
    )
    request = request_of_claim(context, claim, claim.destination, start.started_at, timer)
    try:
        async with asyncio.timeout(timeout.total_seconds()):
            found = await adapter.find_unreported(request)
        publications = [sanitize_publication(each, context.system.now()) for each in found]
    except Exception as error:
        await pause_account_if_limited(context, claim, request, error)
        logger.warning("duplicate check failed", **log_fields(claim), exc_info=True)
        await service.postpone(check.pending)
        return
    await service.report(check, publications)
