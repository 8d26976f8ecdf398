"""One claim from its start to its report: called once or not at all, and told to the database."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import datetime, timedelta

import structlog

from app.domain.attempts import (
    MAX_MESSAGE_LENGTH,
    MAX_RETRY_AFTER,
    Failure,
    Publication,
    validate_failure,
    validate_publication,
)
from app.domain.destinations import ErrorCategory
from app.domain.errors import Conflict, InvalidInput, LeaseLost, RequestError
from app.domain.times import format_instant
from app.domain.validation.redaction import redact, redact_url
from app.platforms.protocol import (
    NotPublished,
    PublishRequest,
    make_publish_request,
    not_called_error,
)
from app.services.claims import Claim
from app.services.reports import (
    ReportResult,
    release_claim,
    report_failed,
    report_published,
    report_unknown,
    start_attempt,
)
from app.worker.context import OPERATOR_PUBLISHER, WorkerContext
from app.worker.lease_renewal import LeaseTimer, renew_lease
from app.worker.retry import always_retry, retry_while
from app.worker.stats import attempt_result

CallResult = Publication | NotPublished | Exception
"""How a call to a platform ended; any other exception leaves open whether it published."""

logger = structlog.stdlib.get_logger(__name__)


async def publish(
    context: WorkerContext,
    claim: Claim,
    lease_timer: LeaseTimer,
    *,
    is_stopping: Callable[[], bool],
) -> None:
    """Publish what was claimed, or give it back. What cannot be told is settled when the lease ends."""
    posting = await _start(context, claim, lease_timer, is_stopping)
    if posting is not None:
        ended = await _call_platform(context, claim, lease_timer, posting)
        await _report(context, claim, ended)


async def _start(
    context: WorkerContext, claim: Claim, lease_timer: LeaseTimer, is_stopping: Callable[[], bool]
) -> PublishRequest | None:
    """None if the platform must not be called."""

    def may_start() -> bool:
        return lease_timer.is_held and not is_stopping()

    def start() -> Awaitable[tuple[ReportResult, object]]:
        return start_attempt(
            context.database,
            OPERATOR_PUBLISHER,
            claim.lease,
            worker=context.worker_name,
            new_id=context.runtime.new_id,
            now=context.runtime.now(),
        )

    if not may_start():
        await _release(context, claim, lease_timer)
        return None
    try:
        told, _ = await retry_while(start, context.runtime, should_retry=may_start)
    except RequestError as error:
        logger.info("not started", **log_fields(claim), reason=error.message)
        return None
    except Exception:  # noqa: BLE001 - the database is away, and may have heard it all the same
        await _release(context, claim, lease_timer)
        return None
    workspace_id = claim.lease.workspace_id
    return make_publish_request(
        workspace_id, claim.post, told.destination, claim.account, lease_timer
    )


async def _release(context: WorkerContext, claim: Claim, lease_timer: LeaseTimer) -> None:
    """What no platform was called for."""

    def release() -> Awaitable[ReportResult]:
        return release_claim(
            context.database, OPERATOR_PUBLISHER, claim.lease, now=context.runtime.now()
        )

    try:
        await retry_while(release, context.runtime, should_retry=lambda: lease_timer.is_held)
    except LeaseLost:
        return
    except Conflict:  # it was started after all
        await _report(context, claim, not_called_error())
    except Exception:  # anybody's when its lease has ended
        logger.warning("not released", **log_fields(claim), exc_info=True)
    else:
        logger.info("released", **log_fields(claim))


async def _call_platform(
    context: WorkerContext, claim: Claim, lease_timer: LeaseTimer, request: PublishRequest
) -> CallResult:
    platform = context.platforms[claim.destination.platform]
    async with renew_lease(context, claim.lease, lease_timer):
        try:
            request.check_deadline()
            async with asyncio.timeout(context.publish_timeout.total_seconds()):
                return await platform.publish(request)
        except Exception as error:  # noqa: BLE001 - an adapter may raise whatever it likes
            return error


async def _report(context: WorkerContext, claim: Claim, call_result: CallResult) -> None:
    """Until it is stored; only what can never be stored, and a stop that has waited enough, end it before."""
    try:
        told = await retry_while(
            lambda: _send_report(context, claim, call_result, context.runtime.now()),
            context.runtime,
            should_retry=always_retry,
        )
    except RequestError as error:
        logger.warning(
            "report refused",
            **log_fields(claim),
            **_result_log_fields(call_result),
            reason=error.message,
        )
    except asyncio.CancelledError:
        logger.error(  # noqa: TRY400 - where it was waiting says nothing
            "not reported before the stop", **log_fields(claim), **_result_log_fields(call_result)
        )
        raise
    else:
        state = told.destination.state
        context.stats.record(attempt_result(state))
        logger.info(
            "attempt ended",
            **log_fields(claim),
            attempt=state.attempts,
            ending=str(attempt_result(state)),
            receipt=str(told.receipt),
            **_result_log_fields(call_result),
        )


async def _send_report(
    context: WorkerContext, claim: Claim, call_result: CallResult, now: datetime
) -> ReportResult:
    new_id = context.runtime.new_id
    about = (context.database, OPERATOR_PUBLISHER, claim.lease)
    if isinstance(call_result, NotPublished):
        failure = _to_failure(call_result)
        return await report_failed(*about, failure, context.retry_decider, new_id=new_id, now=now)
    if isinstance(call_result, Publication):
        try:
            where = sanitize_publication(call_result, now)
        except InvalidInput as error:  # a mistake of the adapter
            call_result = error
        else:
            return await report_published(*about, where, new_id=new_id, now=now)
    return await report_unknown(*about, _no_answer_failure(call_result), new_id=new_id, now=now)


def sanitize_publication(publication: Publication, now: datetime) -> Publication:
    """As much of where it is as can be stored; InvalidInput where nothing can."""
    publication = replace(publication, published_at=min(publication.published_at, now))
    by_id = replace(publication, platform_post_url=None)
    by_url = replace(publication, platform_post_id=None)
    for each in (publication, by_id):
        try:
            return _validate(each, now)
        except InvalidInput:
            logger.warning("an adapter said where a post is in a way that cannot be stored")
    return _validate(by_url, now)


def _validate(publication: Publication, now: datetime) -> Publication:
    return validate_publication(
        publication.platform_post_id, publication.platform_post_url, publication.published_at, now
    )


def _to_failure(error: NotPublished) -> Failure:
    """As it may be stored; a detail that cannot be right is left out."""
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
    """Rounded up, and in the range that is taken."""
    if retry_after is None:
        return None
    return -(-min(max(retry_after, timedelta()), MAX_RETRY_AFTER) // timedelta(seconds=1))


def _no_answer_failure(error: Exception) -> Failure:
    said = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    return validate_failure(
        ErrorCategory.UNCLASSIFIED,
        f"The platform gave no answer ({said}). The post may be there all the same.",
        {"raw": said},
    )


def log_fields(claim: Claim) -> dict[str, str | int]:
    """What a log line says of a claim."""
    return {
        "workspace_id": str(claim.lease.workspace_id),
        "post_id": str(claim.post.id),
        "destination_id": str(claim.lease.destination_id),
        "platform": claim.destination.platform,
        "account_id": claim.account.id,
    }


def _result_log_fields(call_result: CallResult) -> dict[str, str | None]:
    """What a log line says of the end of a call; all that there is of a publication."""
    if isinstance(call_result, Publication):
        url = call_result.platform_post_url
        return {
            "platform_post_id": call_result.platform_post_id,
            "platform_post_url": url and redact_url(url),
            "published_at": format_instant(call_result.published_at),
        }
    return {"error": redact(str(call_result), max_length=MAX_MESSAGE_LENGTH)}
