"""Retries by hand: of one post, or of whatever failed and matches. Which may be is the domain's to say."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from uuid import UUID

from app.db.engine import Database
from app.domain.idempotency import RepetitionKey
from app.domain.ids import AccountId, DestinationId, PostId
from app.domain.retrying import RetryDecision, RetryRefusal, retry_post
from app.services.posts import locked_post
from app.services.repetition import Outcome, once
from app.services.writing import Errand, Writing, write

MAX_RETRIES = 1000
"""Destinations of one call: so many are decided in a transaction that nobody waits for long."""


@dataclass(frozen=True, slots=True)
class DestinationRetry:
    """What was decided about a destination; without a refusal it is queued again."""

    destination_id: DestinationId
    refusal: RetryRefusal | None


async def retry_one_post(
    database: Database,
    errand: Errand,
    post_id: PostId,
    *,
    only: Collection[AccountId] | None,
    force: bool,
    key: RepetitionKey | None,
) -> list[DestinationRetry]:
    """Retry what failed of a post, or of it on some accounts; `force` takes unknown outcomes too."""

    async def work(writing: Writing) -> Outcome:
        async def retry() -> Outcome:
            post = await locked_post(writing, post_id)
            accounts = await writing.accounts({each.account_id for each in post.destinations})
            changed, decisions = retry_post(post, accounts, only=only, force=force, now=errand.now)
            await writing.save_posts([changed])
            return _outcome(decisions)

        request = {"post": str(post_id), "only": only and sorted(only), "force": force}
        return await once(writing, key, request, retry)

    return _retries(await write(database, errand, work))


def _outcome(decisions: Sequence[RetryDecision]) -> Outcome:
    return {
        "retries": [
            {"destination_id": str(each.destination.id), "refusal": each.refusal}
            for each in decisions
        ]
    }


def _retries(outcome: Outcome) -> list[DestinationRetry]:
    return [
        DestinationRetry(
            DestinationId(UUID(each["destination_id"])),
            each["refusal"] and RetryRefusal(each["refusal"]),
        )
        for each in outcome["retries"]
    ]
