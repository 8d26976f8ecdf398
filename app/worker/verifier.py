"""One verification: the platform is asked whether the post is there, and the database is told."""

import asyncio
from collections.abc import Awaitable

import structlog

from app.domain.attempts import Publication
from app.domain.errors import InvalidInput, RequestError
from app.domain.findings import Finding
from app.platforms.protocol import Absence, Posting, make_posting
from app.services.claiming import Claim
from app.services.publishing import Told, report_verified
from app.worker.holds import Hold
from app.worker.insisting import insist
from app.worker.means import OPERATOR, Means
from app.worker.publisher import about, checked_publication
from app.worker.tally import ending_of

_FINDINGS = {
    Absence.NOT_THERE: Finding.NOT_PUBLISHED,
    Absence.CANNOT_SAY: Finding.STILL_UNKNOWN,
}

logger = structlog.stdlib.get_logger(__name__)


async def verify(means: Means, claim: Claim, hold: Hold) -> None:
    """Settle an unknown outcome, or say that it still is; where the lease ends first, nothing is said."""
    posting = make_posting(
        claim.lease.workspace_id, claim.post, claim.destination, claim.account, hold
    )
    found = await _look(means, claim, posting)
    if found is None:
        logger.info("no time to look", **about(claim))
        return
    where = found if isinstance(found, Publication) else None
    finding = Finding.PUBLISHED if isinstance(found, Publication) else _FINDINGS[found]

    def report() -> Awaitable[Told]:
        return report_verified(
            means.database,
            OPERATOR,
            claim.lease,
            finding,
            where,
            means.rules,
            new_id=means.edges.new_id,
            now=means.edges.now(),
        )

    try:
        told = await insist(report, means.edges, makes_sense=lambda: hold.is_held)
    except RequestError as error:
        logger.info("verification refused", **about(claim), reason=error.message)
    except Exception:  # somebody looks again when the lease has ended
        logger.warning(
            "verification not reported", **about(claim), finding=str(finding), exc_info=True
        )
    else:
        if finding is not Finding.STILL_UNKNOWN:
            means.tally.ended(ending_of(told.destination.state))
        logger.info("verified", **about(claim), finding=str(finding))


async def _look(means: Means, claim: Claim, posting: Posting) -> Publication | Absence | None:
    """None if the lease ended first: that says nothing of the platform, and anybody may look at once."""
    platform = means.platforms[claim.destination.platform]
    seconds_left = posting.deadline.seconds_left()
    if seconds_left <= 0:
        return None
    lease = asyncio.timeout(seconds_left)
    try:
        async with lease, asyncio.timeout(means.longest_look.total_seconds()):
            found = await platform.find(posting)
        if isinstance(found, Absence):
            return found
        return checked_publication(found, means.edges.now())
    except InvalidInput:
        logger.warning("an adapter's answer cannot be stored", **about(claim))
    except Exception:
        if lease.expired():
            return None
        logger.warning("a look at a platform failed", **about(claim), exc_info=True)
    return Absence.CANNOT_SAY
