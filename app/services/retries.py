"""Retries by hand: of one post, or of whatever failed and matches. Which may be is the domain's to say."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from uuid import UUID

from app.db.account_writes import load_accounts
from app.db.destinations import DestinationFilter, retry_candidates
from app.db.engine import Database
from app.db.pages import Page, PageRequest
from app.db.post_writes import load_posts
from app.domain.accounts import Account
from app.domain.cursors import Position
from app.domain.destinations import DestinationStatus
from app.domain.errors import InvalidInput
from app.domain.idempotency import RepetitionKey, canonical
from app.domain.ids import AccountId, DestinationId, PostId
from app.domain.posts import Post
from app.domain.retrying import RetryDecision, RetryRefusal, retry_destinations, retry_post
from app.domain.times import format_instant, parse_instant
from app.services.posts import locked_post
from app.services.repetition import Outcome, once
from app.services.writing import Errand, Writing, write


@dataclass(frozen=True, slots=True)
class DestinationRetry:
    """What was decided about a destination; without a refusal it is queued again."""

    destination_id: DestinationId
    post_id: PostId
    account_id: AccountId
    platform: str
    refusal: RetryRefusal | None


@dataclass(frozen=True, slots=True)
class RetriedPage:
    """What was decided about the destinations of a page, in its order."""

    retries: list[DestinationRetry]
    has_more: bool
    end: Position | None
    """Of the last one that was looked at, to go on from; None where there was none."""


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
            return {"retries": [_told(post_id, each) for each in decisions]}

        accounts = None if only is None else sorted(set(only))
        request = {"post": str(post_id), "only": accounts, "force": force}
        return await once(writing, key, request, retry)

    return _retries(await write(database, errand, work))


async def retry_matching(
    database: Database,
    errand: Errand,
    wanted: DestinationFilter,
    page: PageRequest,
    key: RepetitionKey | None,
) -> RetriedPage:
    """Retry what matches and may be retried, a page of at most MAX_RETRIES in one transaction.

    Only failed ones unless the filter names statuses. InvalidInput for one that everything matches.
    """
    narrowed = _narrowed(wanted)

    async def work(writing: Writing) -> Outcome:
        async def retry() -> Outcome:
            found = await retry_candidates(writing.reader, narrowed, page, errand.now)
            post_ids = {row.post_id for row in found.rows}
            await writing.lock_posts(post_ids)
            posts = await writing.posts(post_ids)
            accounts = await writing.accounts({row.account_id for row in found.rows})
            changed, outcome = _decided(found, posts, accounts, errand)
            await writing.save_posts(changed)
            return outcome

        return await once(writing, key, [canonical(wanted), canonical(page)], retry)

    return _page(await write(database, errand, work))


async def rehearse_retry_matching(
    database: Database, errand: Errand, wanted: DestinationFilter, page: PageRequest
) -> RetriedPage:
    """What `retry_matching` would decide now; nothing is written, and nobody waits for it."""
    narrowed = _narrowed(wanted)
    reader = database.read(errand.workspace_id)
    found = await retry_candidates(reader, narrowed, page, errand.now)
    posts = await load_posts(reader, {row.post_id for row in found.rows})
    accounts = await load_accounts(reader, {row.account_id for row in found.rows})
    _, outcome = _decided(found, posts, accounts, errand)
    return _page(outcome)


def _narrowed(wanted: DestinationFilter) -> DestinationFilter:
    """The filter, for failed ones unless it names statuses."""
    criteria = asdict(wanted)
    if criteria["overdue"] is False:  # as everything is that failed
        del criteria["overdue"]
    for name in ("status", "outcome"):
        if criteria[name]:
            del criteria[name]
    if all(value is None for value in criteria.values()):
        raise InvalidInput(
            "The filter matches everything: name posts, accounts, platforms, errors, times or"
            " attempts.",
            argument="filter",
        )
    return replace(wanted, status=[DestinationStatus.FAILED]) if wanted.status is None else wanted


def _decided(
    found: Page,
    posts: Mapping[PostId, Post],
    accounts: Mapping[AccountId, Account],
    errand: Errand,
) -> tuple[list[Post], Outcome]:
    """The posts as they are to be saved, and what is told; what was deleted meanwhile is passed over."""
    chosen = {row.id for row in found.rows}
    changed: list[Post] = []
    told: dict[DestinationId, Outcome] = {}
    for post in posts.values():
        if post.deleted_at is None:
            after, decisions = retry_destinations(
                post, accounts, chosen, force=False, now=errand.now
            )
            changed.append(after)
            told |= {each.destination.id: _told(post.id, each) for each in decisions}
    last = found.rows[-1] if found.rows else None
    return changed, {
        "retries": [told[row.id] for row in found.rows if row.id in told],
        "has_more": found.has_next_page,
        "end": last and [format_instant(last.created_at), str(last.id)],
    }


def _told(post_id: PostId, decision: RetryDecision) -> Outcome:
    destination = decision.destination
    return {
        "destination_id": str(destination.id),
        "post_id": str(post_id),
        "account_id": destination.account_id,
        "platform": destination.platform,
        "refusal": decision.refusal,
    }


def _retries(outcome: Outcome) -> list[DestinationRetry]:
    told: Sequence[Outcome] = outcome["retries"]
    return [
        DestinationRetry(
            destination_id=DestinationId(UUID(each["destination_id"])),
            post_id=PostId(UUID(each["post_id"])),
            account_id=AccountId(each["account_id"]),
            platform=each["platform"],
            refusal=each["refusal"] and RetryRefusal(each["refusal"]),
        )
        for each in told
    ]


def _page(outcome: Outcome) -> RetriedPage:
    end = outcome["end"]
    return RetriedPage(
        retries=_retries(outcome),
        has_more=outcome["has_more"],
        end=end and Position(parse_instant(end[0]), end[1]),
    )
