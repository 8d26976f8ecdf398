"""Publishes one claim: start the attempt, call the platform at most once, and report the result."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from http import HTTPStatus

import structlog

from app.domain.account_pauses import RemainingCalls
from app.domain.attempts import (
    MAX_MESSAGE_LENGTH,
    MAX_RETRY_AFTER,
    Failure,
    FailureDetails,
    Publication,
    validate_failure,
    validate_publication,
)
from app.domain.destinations import Destination, ErrorCategory
from app.domain.errors import Conflict, InvalidInput, LeaseLost, RequestError
from app.domain.times import format_instant
from app.domain.validation.redaction import redact, redact_url
from app.platforms.protocol import (
    NotPublished,
    OutcomeUnknown,
    PublishRequest,
    make_publish_request,
    not_called_error,
)
from app.services.claims import Claim
from app.services.reports import ReportResult
from app.worker.context import WorkerContext, attempt_result, retry_while
from app.worker.lease_renewal import LeaseTimer, renew_lease

CallResult = Publication | NotPublished | Exception
"""Result of a platform call; an exception other than NotPublished leaves the outcome unknown."""

logger = structlog.stdlib.get_logger(__name__)


async def publish(
    context: WorkerContext,
    claim: Claim,
    lease_timer: LeaseTimer,
    *,
    is_stopping: Callable[[], bool],
) -> None:
    """Publish a claimed destination, or release it. An unreported result is settled at lease expiry."""
    request = await _start(context, claim, lease_timer, is_stopping)
    if request is not None:
        call_result = await _call_platform(context, claim, lease_timer, request)
        # Together: neither waits for the other, and the report logs its result if it is abandoned.
        await asyncio.gather(
            pause_account_if_limited(context, request, call_result),
            _report(context, claim, call_result),
        )


async def _start(
    context: WorkerContext, claim: Claim, lease_timer: LeaseTimer, is_stopping: Callable[[], bool]
) -> PublishRequest | None:
    """Start the attempt; returns None if the platform must not be called."""

    def may_start() -> bool:
        return lease_timer.is_held and not is_stopping()

    if not may_start():
        await _release(context, claim, lease_timer)
        return None
    try:
        result, attempt = await retry_while(
            lambda: context.reports.start_attempt(claim.lease, context.worker_name),
            context.system,
            should_retry=may_start,
        )
    except RequestError as error:
        logger.info("attempt not started", **log_fields(claim), reason=error.message)
        return None
    except Exception:  # noqa: BLE001 - the database is unavailable, but may have stored the start
        await _release(context, claim, lease_timer)
        return None
    return request_of_claim(context, claim, result.destination, attempt.started_at, lease_timer)


async def _release(context: WorkerContext, claim: Claim, lease_timer: LeaseTimer) -> None:
    """Release a claim for which no platform was called."""
    try:
        await retry_while(
            lambda: context.reports.release_claim(claim.lease),
            context.system,
            should_retry=lambda: lease_timer.is_held,
        )
    except LeaseLost:
        return
    except Conflict:  # the start was stored after all
        await _report(context, claim, not_called_error())
    except Exception:  # claimable again once the lease expires
        logger.warning("claim release failed", **log_fields(claim), exc_info=True)
    else:
        logger.info("claim released", **log_fields(claim))


async def _call_platform(
    context: WorkerContext, claim: Claim, lease_timer: LeaseTimer, request: PublishRequest
) -> CallResult:
    adapter = context.adapters[claim.destination.publisher]
    async with renew_lease(context, claim.lease, lease_timer):
        try:
            request.check_deadline()
            async with asyncio.timeout(context.publish_timeout.total_seconds()):
                return await adapter.publish(request)
        except Exception as error:  # noqa: BLE001 - an adapter may raise anything
            return error


async def _report(context: WorkerContext, claim: Claim, call_result: CallResult) -> None:
    """Report until the result is stored, rejected, or the shutdown timeout has passed."""
    try:
        report_result = await retry_while(
            lambda: _send_report(context, claim, call_result),
            context.system,
            should_retry=lambda: True,
        )
    except RequestError as error:
        logger.warning(
            "report rejected",
            **log_fields(claim),
            **_result_log_fields(call_result),
            reason=error.message,
        )
    except asyncio.CancelledError:
        logger.error(  # noqa: TRY400 - the traceback shows only where it waited
            "report abandoned at shutdown", **log_fields(claim), **_result_log_fields(call_result)
        )
        raise
    else:
        state = report_result.destination.state
        context.stats.record(attempt_result(state))
        logger.info(
            "attempt ended",
            **log_fields(claim),
            attempt=state.attempts,
            result=str(attempt_result(state)),
            receipt=str(report_result.receipt),
            **_result_log_fields(call_result),
        )


async def _send_report(
    context: WorkerContext, claim: Claim, call_result: CallResult
) -> ReportResult:
    reports, lease = context.reports, claim.lease
    if isinstance(call_result, NotPublished):
        return await reports.report_failed(lease, _to_failure(call_result))
    if isinstance(call_result, Publication):
        try:
            publication = sanitize_publication(call_result, context.system.now())
        except InvalidInput as error:  # a bug in the adapter
            call_result = error
        else:
            return await reports.report_published(lease, publication)
    return await reports.report_unknown(lease, _unknown_outcome_failure(call_result))


def sanitize_publication(publication: Publication, now: datetime) -> Publication:
    """Drop the invalid one of id and URL; raises InvalidInput if neither is valid."""
    publication = replace(publication, published_at=min(publication.published_at, now))
    by_id = replace(publication, platform_post_url=None)
    by_url = replace(publication, platform_post_id=None)
    for candidate in (publication, by_id):
        try:
            return _validate(candidate, now)
        except InvalidInput:
            logger.warning("invalid publication details dropped")
    return _validate(by_url, now)


def _validate(publication: Publication, now: datetime) -> Publication:
    return validate_publication(
        publication.platform_post_id, publication.platform_post_url, publication.published_at, now
    )


def _to_failure(error: NotPublished) -> Failure:
    """Return the failure to report; invalid details are left out."""
    message = error.message if error.message.strip() else "The platform refused the post."
    try:
        return validate_failure(
            error.category,
            message,
            {
                "code": error.code,
                "http_status": error.http_status,
                "retry_after_seconds": _whole_seconds(error.retry_after),
                "raw": error.raw,
            },
        )
    except InvalidInput:
        return validate_failure(error.category, message, {"raw": error.raw})


def _whole_seconds(retry_after: timedelta | None) -> int | None:
    """Round up to whole seconds, limited to the valid range."""
    if retry_after is None:
        return None
    return -(-min(max(retry_after, timedelta()), MAX_RETRY_AFTER) // timedelta(seconds=1))


def _unknown_outcome_failure(error: Exception) -> Failure:
    """Return the failure to report; an invalid status is left out."""
    if isinstance(error, OutcomeUnknown):
        details: FailureDetails = {"http_status": error.http_status, "raw": error.raw}
        try:
            return validate_failure(ErrorCategory.UNCLASSIFIED, error.message, details)
        except InvalidInput:
            return validate_failure(ErrorCategory.UNCLASSIFIED, error.message, {"raw": error.raw})
    description = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    return validate_failure(
        ErrorCategory.UNCLASSIFIED,
        f"The platform gave no answer ({description}). The post may be published all the same.",
        {"raw": description},
    )


def request_of_claim(
    context: WorkerContext,
    claim: Claim,
    destination: Destination,
    attempt_started_at: datetime,
    lease_timer: LeaseTimer,
) -> PublishRequest:
    """Return the request for a claim's adapter; the destination may have changed since the claim."""
    return make_publish_request(
        claim.lease.workspace_id,
        claim.post,
        destination,
        claim.account,
        attempt_started_at=attempt_started_at,
        credentials=context.secrets.credentials(claim),
        checkpoint=context.secrets.checkpoint(claim),
        deadline=lease_timer,
        find_reported=partial(
            context.duplicate_checks.find_reported,
            claim.lease.workspace_id,
            claim.account,
            attempt_started_at,
        ),
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


def log_fields(claim: Claim) -> dict[str, str | int]:
    """Return log fields that identify a claim."""
    return {
        "workspace_id": str(claim.lease.workspace_id),
        "post_id": str(claim.post.id),
        "destination_id": str(claim.lease.destination_id),
        "platform": claim.destination.platform,
        "account_id": claim.account.id,
    }


def _result_log_fields(call_result: CallResult) -> dict[str, str | None]:
    """Return log fields of a call's result; those of a publication suffice to record it by hand."""
    if isinstance(call_result, Publication):
        url = call_result.platform_post_url
        return {
            "platform_post_id": call_result.platform_post_id,
            "platform_post_url": url and redact_url(url),
            "published_at": format_instant(call_result.published_at),
        }
    return {"error": redact(str(call_result), max_length=MAX_MESSAGE_LENGTH)}
