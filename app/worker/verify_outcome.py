"""Verifies one unknown outcome: look the post up on its platform, and report the finding."""

import asyncio

import structlog

from app.domain.attempts import Publication
from app.domain.errors import InvalidInput, RequestError
from app.domain.verification import VerificationFinding
from app.platforms.protocol import LookupFailure, PublishRequest
from app.platforms.server_contacts import recorded_contacts
from app.services.claims import Claim, claim_log_fields
from app.worker.call_results import (
    can_repeat,
    pause_account_if_limited,
    record_contacts,
    sanitize_publication,
)
from app.worker.context import WorkerContext, retry_while
from app.worker.lease_renewal import LeaseTimer
from app.worker.publish_requests import make_claim_request
from app.worker.stats import attempt_result

_FINDING_BY_FAILURE = {
    LookupFailure.NOT_FOUND: VerificationFinding.NOT_PUBLISHED,
    LookupFailure.INCONCLUSIVE: VerificationFinding.STILL_UNKNOWN,
}

logger = structlog.stdlib.get_logger(__name__)


async def verify_outcome(context: WorkerContext, claim: Claim, lease_timer: LeaseTimer) -> None:
    """Settle an unknown outcome, or report that it is still unknown.

    Reports nothing without the lease, and if another key has encrypted the checkpoint since the claim.
    """
    if not await context.secrets.checkpoint(claim).is_readable():
        logger.info("verification skipped, checkpoint not readable", **claim_log_fields(claim))
        return
    start = claim.last_attempt_start
    started_at = claim.destination.created_at if start is None else start.started_at
    request = make_claim_request(context, claim, claim.destination, started_at, lease_timer)
    with recorded_contacts() as contacts:
        lookup = await _look_up(context, claim, request)
    # Together: the report would be refused if the lease expired while the breakers are stored.
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(record_contacts(context, claim, contacts))
        if lookup is None:
            logger.info("verification skipped, lease expired", **claim_log_fields(claim))
        else:
            await _report(context, claim, lease_timer, request, lookup)


async def _report(
    context: WorkerContext,
    claim: Claim,
    lease_timer: LeaseTimer,
    request: PublishRequest,
    lookup: Publication | LookupFailure,
) -> None:
    """Report the finding while the lease is held; without a report, the outcome can be verified again."""
    publication: Publication | None = None
    may_be_repeated = False
    if isinstance(lookup, Publication):
        finding, publication = VerificationFinding.PUBLISHED, lookup
        may_be_repeated = await can_repeat(context, request)
    else:
        finding = _FINDING_BY_FAILURE[lookup]

    try:
        result = await retry_while(
            lambda: context.reports.report_verified(
                claim.lease, finding, publication, may_be_repeated=may_be_repeated
            ),
            context.system,
            should_retry=lambda: lease_timer.is_held,
        )
    except RequestError as error:
        logger.info("verification rejected", **claim_log_fields(claim), reason=error.message)
    except Exception:
        logger.warning(
            "verification report failed",
            **claim_log_fields(claim),
            finding=str(finding),
            exc_info=True,
        )
    else:
        if finding is not VerificationFinding.STILL_UNKNOWN:
            context.stats.record(attempt_result(result.destination.state))
        logger.info("outcome verified", **claim_log_fields(claim), finding=str(finding))


async def _look_up(
    context: WorkerContext, claim: Claim, request: PublishRequest
) -> Publication | LookupFailure | None:
    """Look the post up; None if the lease expired first, which says nothing about the platform."""
    adapter = context.adapters[claim.destination.publisher]
    seconds_left = request.deadline.seconds_left()
    if seconds_left <= 0:
        return None
    lease_timeout = asyncio.timeout(seconds_left)
    try:
        async with lease_timeout, asyncio.timeout(context.lookup_timeout.total_seconds()):
            lookup = await adapter.look_up(request)
            if lookup is LookupFailure.NOT_FOUND and await has_new_credentials(context, request):
                lookup = LookupFailure.INCONCLUSIVE
        if isinstance(lookup, LookupFailure):
            return lookup
        return sanitize_publication(lookup, context.system.now(), claim_log_fields(claim))
    except InvalidInput:
        logger.warning("invalid lookup result dropped", **claim_log_fields(claim))
    except Exception as error:
        if lease_timeout.expired():
            return None
        await pause_account_if_limited(context, request, error)
        logger.warning("platform lookup failed", **claim_log_fields(claim), exc_info=True)
    return LookupFailure.INCONCLUSIVE


async def has_new_credentials(context: WorkerContext, request: PublishRequest) -> bool:
    """Return True if a lookup may have searched another account or server than the attempt published on."""
    credentials = context.secrets.account_credentials(request.workspace_id, request.account)
    return await credentials.have_changed_since(request.attempt_started_at)
