"""Results of platform calls: makes publications valid, and pauses accounts whose rate limit is used up."""

import asyncio
from collections.abc import Mapping
from datetime import datetime, timedelta
from http import HTTPStatus

import structlog

from app.domain.account_pauses import RemainingCalls
from app.domain.attempts import Publication, usable_publication
from app.domain.circuit_breakers import ServerFailure
from app.domain.destinations import ErrorCategory
from app.domain.times import format_instant
from app.platforms.protocol import (
    DuplicateFinder,
    NotPublished,
    OutcomeUnknown,
    PublishRequest,
)
from app.platforms.server_contacts import ServerContacts
from app.services.claims import Claim, claim_log_fields
from app.worker.context import WorkerContext

_CAN_REPEAT_TIMEOUT = timedelta(seconds=5)
"""Time for the answer whether a platform can repeat a request. The report of a publication waits for it."""

logger = structlog.stdlib.get_logger(__name__)


def sanitize_publication(
    publication: Publication, now: datetime, log_fields: Mapping[str, str | int]
) -> Publication:
    """Return the publication without an invalid id or URL, published no later than `now`.

    Raises InvalidInput if neither is valid. `log_fields` identify the destination.
    """
    usable = usable_publication(publication, now)
    given = (publication.platform_post_id, publication.platform_post_url)
    stored = (usable.platform_post_id, usable.platform_post_url)
    if [value is None for value in given] != [value is None for value in stored]:
        logger.warning("invalid publication details dropped", **log_fields)
    return usable


async def can_repeat(context: WorkerContext, request: PublishRequest) -> bool:
    """Return whether the platform may publish a post once more if the network repeats its request."""
    adapter = context.adapters[request.account.publisher]
    if not isinstance(adapter, DuplicateFinder):
        return False
    try:
        async with asyncio.timeout(_CAN_REPEAT_TIMEOUT.total_seconds()):
            return await adapter.can_repeat(request)
    except Exception:  # the search that this plans only costs requests
        logger.warning(
            "idempotency of platform not read", account_id=request.account.id, exc_info=True
        )
        return True


async def record_contacts(context: WorkerContext, claim: Claim, contacts: ServerContacts) -> bool:
    """Report to the circuit breakers how the servers of an attempt answered, if any was called.

    Returns True if the destination has to wait for a breaker that is open now.
    """
    try:
        return await _record_contacts(context, claim, contacts)
    except Exception:  # the database is unavailable; the report is more important
        logger.warning("server contact not stored", **claim_log_fields(claim), exc_info=True)
        return False


async def _record_contacts(context: WorkerContext, claim: Claim, contacts: ServerContacts) -> bool:
    for answered in contacts.answered:
        context.connectivity.record_answer(answered)
    origin = contacts.last_origin
    if (
        origin is not None
        and contacts.last_failure is ServerFailure.UNREACHABLE
        and not await context.connectivity.has_network(origin)
    ):
        contacts = ServerContacts()  # the calls show nothing of the servers
    return await context.breakers.record_calls(
        claim.lease.workspace_id, claim.account, claim.server, contacts
    )


async def pause_account_if_limited(
    context: WorkerContext, request: PublishRequest, result: object
) -> None:
    """Pause an account if the result of a request, or an answer before it, shows a rate limit is used up.

    Without the pause, the next calls for the account would be refused, each on its own.
    """
    remaining = request.rate_limit.remaining
    if isinstance(result, NotPublished) and result.category is ErrorCategory.RATE_LIMITED:
        remaining = RemainingCalls(0, result.retry_after)
    elif isinstance(result, OutcomeUnknown) and result.http_status == HTTPStatus.TOO_MANY_REQUESTS:
        remaining = RemainingCalls(0, None)
    if remaining is None:
        return
    account = {"workspace_id": str(request.workspace_id), "account_id": request.account.id}
    try:
        until = await context.pauses.pause_if_used_up(
            request.workspace_id, request.account.id, remaining
        )
    except Exception:  # the database is unavailable; the report is more important
        logger.warning("account pause not stored", **account, exc_info=True)
        return
    if until is not None:
        logger.info("account paused", **account, paused_until=format_instant(until))
