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
    told_failure,
    told_publication,
)
from app.domain.destinations import ErrorCategory
from app.domain.errors import Conflict, InvalidInput, LeaseLost, RequestError
from app.domain.redaction import redacted, redacted_url
from app.domain.times import format_instant
from app.platforms.protocol import NotPublished, Posting, make_posting, not_called
from app.services.claiming import Claim
from app.services.publishing import (
    Told,
    release_claim,
    report_failed,
    report_published,
    report_unknown,
    start_attempt,
)
from app.worker.holds import Hold, kept
from app.worker.insisting import always, insist
from app.worker.means import OPERATOR, Means
from app.worker.tally import ending_of

Ended = Publication | NotPublished | Exception
"""How a call to a platform ended; any other exception leaves open whether it published."""

logger = structlog.stdlib.get_logger(__name__)


async def publish(
    means: Means, claim: Claim, hold: Hold, *, is_stopping: Callable[[], bool]
) -> None:
    """Publish what was claimed, or give it back. What cannot be told is settled when the lease ends."""
    posting = await _started(means, claim, hold, is_stopping)
    if posting is not None:
        ended = await _called(means, claim, hold, posting)
        await _report(means, claim, ended)


async def _started(
    means: Means, claim: Claim, hold: Hold, is_stopping: Callable[[], bool]
) -> Posting | None:
    """None if the platform must not be called."""

    def makes_sense() -> bool:
        return hold.is_held and not is_stopping()

    def start() -> Awaitable[tuple[Told, object]]:
        return start_attempt(
            means.database,
            OPERATOR,
            claim.lease,
            worker=means.name,
            new_id=means.edges.new_id,
            now=means.edges.now(),
        )

    if not makes_sense():
        await _give_back(means, claim, hold)
        return None
    try:
        told, _ = await insist(start, means.edges, makes_sense=makes_sense)
    except RequestError as error:
        logger.info("not started", **about(claim), reason=error.message)
        return None
    except Exception:  # noqa: BLE001 - the database is away, and may have heard it all the same
        await _give_back(means, claim, hold)
        return None
    workspace_id = claim.lease.workspace_id
    return make_posting(workspace_id, claim.post, told.destination, claim.account, hold)


async def _give_back(means: Means, claim: Claim, hold: Hold) -> None:
    """What no platform was called for."""

    def release() -> Awaitable[Told]:
        return release_claim(means.database, OPERATOR, claim.lease, now=means.edges.now())

    try:
        await insist(release, means.edges, makes_sense=lambda: hold.is_held)
    except LeaseLost:
        return
    except Conflict:  # it was started after all
        await _report(means, claim, not_called())
    except Exception:  # anybody's when its lease has ended
        logger.warning("not released", **about(claim), exc_info=True)
    else:
        logger.info("released", **about(claim))


async def _called(means: Means, claim: Claim, hold: Hold, posting: Posting) -> Ended:
    platform = means.platforms[claim.destination.platform]
    async with kept(means, claim.lease, hold):
        try:
            posting.require_time()
            async with asyncio.timeout(means.longest_call.total_seconds()):
                return await platform.publish(posting)
        except Exception as error:  # noqa: BLE001 - an adapter may raise whatever it likes
            return error


async def _report(means: Means, claim: Claim, ended: Ended) -> None:
    """Until it is stored; only what can never be stored, and a stop that has waited enough, end it before."""
    try:
        told = await insist(
            lambda: _told(means, claim, ended, means.edges.now()),
            means.edges,
            makes_sense=always,
        )
    except RequestError as error:
        logger.warning("report refused", **about(claim), **_of(ended), reason=error.message)
    except asyncio.CancelledError:
        logger.error(  # noqa: TRY400 - where it was waiting says nothing
            "not reported before the stop", **about(claim), **_of(ended)
        )
        raise
    else:
        state = told.destination.state
        means.tally.ended(ending_of(state))
        logger.info(
            "attempt ended",
            **about(claim),
            attempt=state.attempts,
            ending=str(ending_of(state)),
            receipt=str(told.receipt),
            **_of(ended),
        )


async def _told(means: Means, claim: Claim, ended: Ended, now: datetime) -> Told:
    new_id = means.edges.new_id
    about = (means.database, OPERATOR, claim.lease)
    if isinstance(ended, NotPublished):
        failure = _failure(ended)
        return await report_failed(*about, failure, means.rules, new_id=new_id, now=now)
    if isinstance(ended, Publication):
        try:
            where = checked_publication(ended, now)
        except InvalidInput as error:  # a mistake of the adapter
            ended = error
        else:
            return await report_published(*about, where, new_id=new_id, now=now)
    return await report_unknown(*about, _no_answer(ended), new_id=new_id, now=now)


def checked_publication(told: Publication, now: datetime) -> Publication:
    """As much of where it is as can be stored; InvalidInput where nothing can."""
    told = replace(told, published_at=min(told.published_at, now))
    by_id = replace(told, platform_post_url=None)
    by_url = replace(told, platform_post_id=None)
    for each in (told, by_id):
        try:
            return _checked(each, now)
        except InvalidInput:
            logger.warning("an adapter said where a post is in a way that cannot be stored")
    return _checked(by_url, now)


def _checked(told: Publication, now: datetime) -> Publication:
    return told_publication(told.platform_post_id, told.platform_post_url, told.published_at, now)


def _failure(told: NotPublished) -> Failure:
    """As it may be stored; a detail that cannot be right is left out."""
    message = told.message if told.message.strip() else "The platform refused the post."
    try:
        return told_failure(
            told.category,
            message,
            {
                "code": told.code,
                "http_status": told.http_status,
                "retry_after_seconds": _seconds(told.retry_after),
                "raw": told.raw,
            },
        )
    except InvalidInput:
        return told_failure(told.category, message, {"raw": told.raw})


def _seconds(retry_after: timedelta | None) -> int | None:
    """Rounded up, and in the range that is taken."""
    if retry_after is None:
        return None
    return -(-min(max(retry_after, timedelta()), MAX_RETRY_AFTER) // timedelta(seconds=1))


def _no_answer(error: Exception) -> Failure:
    said = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    return told_failure(
        ErrorCategory.UNCLASSIFIED,
        f"The platform gave no answer ({said}). The post may be there all the same.",
        {"raw": said},
    )


def about(claim: Claim) -> dict[str, str | int]:
    """What a log line says of a claim."""
    return {
        "workspace_id": str(claim.lease.workspace_id),
        "post_id": str(claim.post.id),
        "destination_id": str(claim.lease.destination_id),
        "platform": claim.destination.platform,
        "account_id": claim.account.id,
    }


def _of(ended: Ended) -> dict[str, str | None]:
    """What a log line says of the end of a call; all that there is of a publication."""
    if isinstance(ended, Publication):
        url = ended.platform_post_url
        return {
            "platform_post_id": ended.platform_post_id,
            "platform_post_url": url and redacted_url(url),
            "published_at": format_instant(ended.published_at),
        }
    return {"error": redacted(str(ended), max_length=MAX_MESSAGE_LENGTH)}
