"""Publishes one claim: start the attempt, call the platform at most once, and report the result."""

import asyncio
from collections.abc import Callable
from datetime import timedelta
from functools import partial

import structlog

from app.domain.attempts import (
    MAX_MESSAGE_LENGTH,
    MAX_RETRY_AFTER,
    Attempt,
    Failure,
    FailureDetails,
    Publication,
    validate_failure,
)
from app.domain.destinations import ErrorCategory
from app.domain.errors import Conflict, InvalidInput, LeaseLost, RequestError
from app.domain.times import format_instant
from app.domain.validation.redaction import redact, redact_url
from app.platforms.protocol import (
    NotPublished,
    OutcomeUnknown,
    PublishRequest,
    not_called_error,
)
from app.platforms.server_contacts import ServerContacts, recorded_contacts
from app.services.claims import Claim, claim_log_fields
from app.services.reports import ReportResult
from app.worker.call_results import (
    can_repeat,
    pause_account_if_limited,
    record_contacts,
    sanitize_publication,
)
from app.worker.context import WorkerContext, retry_while
from app.worker.lease_renewal import LeaseTimer, renew_lease
from app.worker.publish_requests import make_claim_request
from app.worker.stats import attempt_result

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
    if request is None:
        await record_contacts(context, claim, ServerContacts())
        return
    async with (
        renew_lease(context, claim.lease, lease_timer) as stop_renewals,
        asyncio.TaskGroup() as tasks,
    ):
        with recorded_contacts() as contacts:
            call_result = await _call_platform(context, claim, request)
        # From here, a result that is not reported is lost. The report begins before anything else is awaited,
        # and not as a task: one that is cancelled before it has begun would not log its result.
        stop_renewals()
        tasks.create_task(pause_account_if_limited(context, request, call_result))
        waits_for_server = tasks.create_task(record_contacts(context, claim, contacts))
        await _report(context, claim, request, call_result, waits_for_server)


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
        started = await retry_while(
            partial(_start_if_readable, context, claim), context.system, should_retry=may_start
        )
    except RequestError as error:
        logger.info("attempt not started", **claim_log_fields(claim), reason=error.message)
        return None
    except Exception:  # noqa: BLE001 - the database is unavailable, but may have stored the start
        await _release(context, claim, lease_timer)
        return None
    if started is None:
        await _release(context, claim, lease_timer)
        return None
    result, attempt = started
    return make_claim_request(context, claim, result.destination, attempt.started_at, lease_timer)


async def _start_if_readable(
    context: WorkerContext, claim: Claim
) -> tuple[ReportResult, Attempt] | None:
    """Start the attempt; returns None if another key has encrypted the checkpoint since the claim."""
    is_first = claim.destination.state.attempts == 0  # nothing has saved a checkpoint
    if is_first or await context.secrets.checkpoint(claim).is_readable():
        return await context.reports.start_attempt(claim.lease, context.worker_name)
    return None


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
        await _report(context, claim, None, not_called_error(), None)
    except Exception:  # claimable again once the lease expires
        logger.warning("claim release failed", **claim_log_fields(claim), exc_info=True)
    else:
        logger.info("claim released", **claim_log_fields(claim))


async def _call_platform(
    context: WorkerContext, claim: Claim, request: PublishRequest
) -> CallResult:
    adapter = context.adapters[claim.destination.publisher]
    try:
        request.check_deadline()
        async with asyncio.timeout(context.publish_timeout.total_seconds()):
            return await adapter.publish(request)
    except Exception as error:  # noqa: BLE001 - an adapter may raise anything
        return error


async def _report(
    context: WorkerContext,
    claim: Claim,
    request: PublishRequest | None,
    call_result: CallResult,
    waits_for_server: asyncio.Task[bool] | None,
) -> None:
    """Report until the result is stored, rejected, or the shutdown timeout has passed.

    Without a request, no platform was called. `waits_for_server` returns True if an open breaker decides
    about the next attempt. Only the report of a failure needs this, and waits for it.
    """
    reported = _sanitize(context, claim, call_result)
    try:
        may_be_repeated = (
            request is not None
            and isinstance(reported, Publication)
            and await can_repeat(context, request)
        )
        is_waiting = (
            waits_for_server is not None
            and isinstance(reported, NotPublished)
            and await waits_for_server
        )
        report_result = await retry_while(
            lambda: _send_report(
                context,
                claim,
                reported,
                may_be_repeated=may_be_repeated,
                waits_for_server=is_waiting,
            ),
            context.system,
            should_retry=lambda: True,
        )
    except RequestError as error:
        logger.warning(
            "report rejected",
            **claim_log_fields(claim),
            **_result_log_fields(call_result),
            reason=error.message,
        )
    except asyncio.CancelledError:
        logger.error(  # noqa: TRY400 - the traceback shows only where it waited
            "report abandoned at shutdown",
            **claim_log_fields(claim),
            **_result_log_fields(call_result),
        )
        raise
    else:
        state = report_result.destination.state
        context.stats.record(attempt_result(state))
        logger.info(
            "attempt ended",
            **claim_log_fields(claim),
            attempt=state.attempts,
            result=str(attempt_result(state)),
            receipt=str(report_result.receipt),
            **_result_log_fields(call_result),
        )


def _sanitize(context: WorkerContext, claim: Claim, call_result: CallResult) -> CallResult:
    """Return the result to report; a publication without a valid id and URL leaves the outcome unknown."""
    if not isinstance(call_result, Publication):
        return call_result
    try:
        return sanitize_publication(call_result, context.system.now(), claim_log_fields(claim))
    except InvalidInput as error:
        return OutcomeUnknown(
            f"The platform answered without a usable id or URL of the post: {error.message} The post may be"
            " published all the same."
        )


async def _send_report(
    context: WorkerContext,
    claim: Claim,
    call_result: CallResult,
    *,
    may_be_repeated: bool,
    waits_for_server: bool,
) -> ReportResult:
    reports, lease = context.reports, claim.lease
    if isinstance(call_result, NotPublished):
        return await reports.report_failed(
            lease, _to_failure(call_result), waits_for_server=waits_for_server
        )
    if isinstance(call_result, Publication):
        return await reports.report_published(lease, call_result, may_be_repeated=may_be_repeated)
    return await reports.report_unknown(lease, _unknown_outcome_failure(call_result))


def _to_failure(error: NotPublished) -> Failure:
    """Return the failure to report."""
    message = error.message if error.message.strip() else "The platform refused the post."
    details: FailureDetails = {
        "code": error.code,
        "http_status": error.http_status,
        "retry_after_seconds": _whole_seconds(error.retry_after),
        "raw": error.raw,
        "not_sent": error.not_sent,
    }
    return _make_failure(error.category, message, details)


def _whole_seconds(retry_after: timedelta | None) -> int | None:
    """Round up to whole seconds, limited to the valid range."""
    if retry_after is None:
        return None
    return -(-min(max(retry_after, timedelta()), MAX_RETRY_AFTER) // timedelta(seconds=1))


def _unknown_outcome_failure(error: Exception) -> Failure:
    """Return the failure to report."""
    if isinstance(error, OutcomeUnknown):
        details: FailureDetails = {"http_status": error.http_status, "raw": error.raw}
        return _make_failure(ErrorCategory.UNCLASSIFIED, error.message, details)
    description = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    return validate_failure(
        ErrorCategory.UNCLASSIFIED,
        f"The platform gave no answer ({description}). The post may be published all the same.",
        {"raw": description},
    )


def _make_failure(category: ErrorCategory, message: str, details: FailureDetails) -> Failure:
    """Return a failure with its details, or only with the response if others are invalid."""
    try:
        return validate_failure(category, message, details)
    except InvalidInput:
        return validate_failure(category, message, {"raw": details["raw"]})


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
