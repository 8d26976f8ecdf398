"""Checks platforms for second publications of posts, when no request can be delivered any more."""

import asyncio
from collections.abc import Sequence
from functools import partial

import structlog

from app.db.repositories.duplicate_checks import PendingCheck
from app.domain.attempts import Publication
from app.platforms.protocol import DuplicateFinder, PublishRequest, make_publish_request
from app.services.duplicate_checks import LeasedCheck, log_fields
from app.services.periodic import run_concurrently
from app.worker.context import WorkerContext
from app.worker.lease_renewal import LeaseTimer
from app.worker.publish import pause_account_if_limited, sanitize_publication
from app.worker.verify import has_new_credentials

logger = structlog.stdlib.get_logger(__name__)


async def check_due(context: WorkerContext) -> None:
    """Check some posts that are due, one of each account; one read if there are none."""
    await run_concurrently(_check(context, due) for due in await context.duplicate_checks.due())


async def _check(context: WorkerContext, due: PendingCheck) -> None:
    check = await context.duplicate_checks.lease(due)
    if check is None:
        return
    adapter = context.adapters.get(check.destination.publisher)
    found: Sequence[Publication] = ()
    if isinstance(adapter, DuplicateFinder):
        request = _request(context, check)
        try:
            async with asyncio.timeout(context.lookup_timeout.total_seconds()):
                found = await adapter.find_unreported(request)
            found = [sanitize_publication(each, context.system.now()) for each in found]
            if await has_new_credentials(context, request):
                found = ()
                logger.warning("duplicate check abandoned, new credentials", **log_fields(due))
        except Exception as error:
            await pause_account_if_limited(context, request, error)
            logger.warning("duplicate check failed", **log_fields(due), exc_info=True)
            return
    await context.duplicate_checks.report(check, found)


def _request(context: WorkerContext, check: LeasedCheck) -> PublishRequest:
    pending, monotonic = check.pending, context.system.monotonic
    return make_publish_request(
        pending.workspace_id,
        check.post,
        check.destination,
        check.account,
        attempt_started_at=pending.first_attempt_at,
        credentials=context.secrets.account_credentials(pending.workspace_id, check.account),
        checkpoint=context.secrets.unleased_checkpoint(
            pending.workspace_id, pending.destination_id
        ),
        deadline=LeaseTimer(context.lookup_timeout, requested_at=monotonic(), monotonic=monotonic),
        find_reported=partial(
            context.duplicate_checks.find_reported,
            pending.workspace_id,
            check.account,
            pending.first_attempt_at,
        ),
    )
