"""One verification: the platform is asked whether the post is there, and the database is told."""

import asyncio
from collections.abc import Awaitable

import structlog

from app.domain.attempts import Publication
from app.domain.errors import InvalidInput, RequestError
from app.domain.verification import VerificationFinding
from app.platforms.protocol import LookupMiss, PublishRequest, make_publish_request
from app.services.claims import Claim
from app.services.reports import ReportResult, report_verified
from app.worker.context import OPERATOR_PUBLISHER, WorkerContext
from app.worker.lease_renewal import LeaseTimer
from app.worker.publisher import log_fields, sanitize_publication
from app.worker.retry import retry_while
from app.worker.stats import attempt_result

_FINDINGS_BY_MISS = {
    LookupMiss.NOT_FOUND: VerificationFinding.NOT_PUBLISHED,
    LookupMiss.INCONCLUSIVE: VerificationFinding.STILL_UNKNOWN,
}

logger = structlog.stdlib.get_logger(__name__)


async def verify(context: WorkerContext, claim: Claim, lease_timer: LeaseTimer) -> None:
    """Settle an unknown outcome, or say that it still is; where the lease ends first, nothing is said."""
    posting = make_publish_request(
        claim.lease.workspace_id, claim.post, claim.destination, claim.account, lease_timer
    )
    found = await _look_up(context, claim, posting)
    if found is None:
        logger.info("no time to look", **log_fields(claim))
        return
    where = found if isinstance(found, Publication) else None
    finding = (
        VerificationFinding.PUBLISHED
        if isinstance(found, Publication)
        else _FINDINGS_BY_MISS[found]
    )

    def report() -> Awaitable[ReportResult]:
        return report_verified(
            context.database,
            OPERATOR_PUBLISHER,
            claim.lease,
            finding,
            where,
            context.retry_decider,
            new_id=context.runtime.new_id,
            now=context.runtime.now(),
        )

    try:
        told = await retry_while(report, context.runtime, should_retry=lambda: lease_timer.is_held)
    except RequestError as error:
        logger.info("verification refused", **log_fields(claim), reason=error.message)
    except Exception:  # somebody looks again when the lease has ended
        logger.warning(
            "verification not reported", **log_fields(claim), finding=str(finding), exc_info=True
        )
    else:
        if finding is not VerificationFinding.STILL_UNKNOWN:
            context.stats.record(attempt_result(told.destination.state))
        logger.info("verified", **log_fields(claim), finding=str(finding))


async def _look_up(
    context: WorkerContext, claim: Claim, request: PublishRequest
) -> Publication | LookupMiss | None:
    """None if the lease ended first: that says nothing of the platform, and anybody may look at once."""
    platform = context.platforms[claim.destination.platform]
    seconds_left = request.deadline.seconds_left()
    if seconds_left <= 0:
        return None
    lease = asyncio.timeout(seconds_left)
    try:
        async with lease, asyncio.timeout(context.lookup_timeout.total_seconds()):
            found = await platform.look_up(request)
        if isinstance(found, LookupMiss):
            return found
        return sanitize_publication(found, context.runtime.now())
    except InvalidInput:
        logger.warning("an adapter's answer cannot be stored", **log_fields(claim))
    except Exception:
        if lease.expired():
            return None
        logger.warning("a look at a platform failed", **log_fields(claim), exc_info=True)
    return LookupMiss.INCONCLUSIVE
