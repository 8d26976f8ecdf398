"""Retries by hand: of one post, or of whatever failed and matches. Which may be is the domain's to say."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from uuid import UUID

from app.db.core.database import Database
from app.db.core.paging import Page, PageRequest
from app.db.repositories.accounts import load_accounts
from app.db.repositories.destinations import DestinationCriteria, retry_candidates
from app.db.repositories.posts import load_posts
from app.domain.accounts import Account
from app.domain.cursors import KeysetPosition
from app.domain.destinations import DestinationStatus
from app.domain.errors import InvalidInput
from app.domain.idempotency import IdempotencyKey, canonicalize
from app.domain.ids import AccountId, DestinationId, PostId
from app.domain.manual_retries import RetryDecision, RetryRefusal, retry_destinations, retry_post
from app.domain.posts import Post
from app.domain.times import format_instant, parse_instant
from app.services.idempotency import StoredOutcome, run_idempotently
from app.services.posts import get_post_for_update
from app.services.unit_of_work import UnitOfWork, WriteContext, run_in_transaction


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
    end_position: KeysetPosition | None
    """Of the last one that was looked at, to go on from; None where there was none."""


async def retry_one_post(
    database: Database,
    write_context: WriteContext,
    post_id: PostId,
    *,
    account_ids: Collection[AccountId] | None,
    force: bool,
    idempotency_key: IdempotencyKey | None,
) -> list[DestinationRetry]:
    """Retry what failed of a post, or of it on some accounts; `force` takes unknown outcomes too."""

    async def work(uow: UnitOfWork) -> StoredOutcome:
        async def retry() -> StoredOutcome:
            post = await get_post_for_update(uow, post_id)
            accounts = await uow.load_accounts({each.account_id for each in post.destinations})
            changed, decisions = retry_post(
                post, accounts, account_ids=account_ids, force=force, now=write_context.now
            )
            await uow.save_posts([changed])
            return {"retries": [_retry_to_json(post_id, each) for each in decisions]}

        accounts = None if account_ids is None else sorted(set(account_ids))
        request = {"post": str(post_id), "only": accounts, "force": force}
        return await run_idempotently(uow, idempotency_key, request, retry)

    return _retries_from_json(await run_in_transaction(database, write_context, work))


async def retry_matching(
    database: Database,
    write_context: WriteContext,
    destination_filter: DestinationCriteria,
    page: PageRequest,
    idempotency_key: IdempotencyKey | None,
) -> RetriedPage:
    """Retry what matches and may be retried, a page of at most MAX_RETRIES in one transaction.

    Only failed ones unless the filter names statuses. InvalidInput for one that everything matches.
    """
    narrowed = _with_default_status(destination_filter)

    async def work(uow: UnitOfWork) -> StoredOutcome:
        async def retry() -> StoredOutcome:
            found = await retry_candidates(uow.reader, narrowed, page, write_context.now)
            post_ids = {row.post_id for row in found.rows}
            await uow.lock_posts(post_ids)
            posts = await uow.load_posts(post_ids)
            accounts = await uow.load_accounts({row.account_id for row in found.rows})
            changed, outcome = _apply_retries(found, posts, accounts, write_context)
            await uow.save_posts(changed)
            return outcome

        return await run_idempotently(
            uow, idempotency_key, [canonicalize(destination_filter), canonicalize(page)], retry
        )

    return _page_from_json(await run_in_transaction(database, write_context, work))


async def dry_run_retry_matching(
    database: Database,
    write_context: WriteContext,
    destination_filter: DestinationCriteria,
    page: PageRequest,
) -> RetriedPage:
    """What `retry_matching` would decide now; nothing is written, and nobody waits for it."""
    narrowed = _with_default_status(destination_filter)
    reader = database.read(write_context.workspace_id)
    found = await retry_candidates(reader, narrowed, page, write_context.now)
    posts = await load_posts(reader, {row.post_id for row in found.rows})
    accounts = await load_accounts(reader, {row.account_id for row in found.rows})
    _, outcome = _apply_retries(found, posts, accounts, write_context)
    return _page_from_json(outcome)


def _with_default_status(destination_filter: DestinationCriteria) -> DestinationCriteria:
    """The filter, for failed ones unless it names statuses."""
    criteria = asdict(destination_filter)
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
    return (
        replace(destination_filter, status=[DestinationStatus.FAILED])
        if destination_filter.status is None
        else destination_filter
    )


def _apply_retries(
    candidates: Page,
    posts: Mapping[PostId, Post],
    accounts: Mapping[AccountId, Account],
    write_context: WriteContext,
) -> tuple[list[Post], StoredOutcome]:
    """The posts as they are to be saved, and what is told; what was deleted meanwhile is passed over."""
    chosen = {row.id for row in candidates.rows}
    changed: list[Post] = []
    told: dict[DestinationId, StoredOutcome] = {}
    for post in posts.values():
        if post.deleted_at is None:
            after, decisions = retry_destinations(
                post, accounts, chosen, force=False, now=write_context.now
            )
            changed.append(after)
            told |= {each.destination.id: _retry_to_json(post.id, each) for each in decisions}
    last = candidates.rows[-1] if candidates.rows else None
    return changed, {
        "retries": [told[row.id] for row in candidates.rows if row.id in told],
        "has_more": candidates.has_next_page,
        "end": last and [format_instant(last.created_at), str(last.id)],
    }


def _retry_to_json(post_id: PostId, decision: RetryDecision) -> StoredOutcome:
    destination = decision.destination
    return {
        "destination_id": str(destination.id),
        "post_id": str(post_id),
        "account_id": destination.account_id,
        "platform": destination.platform,
        "refusal": decision.refusal,
    }


def _retries_from_json(outcome: StoredOutcome) -> list[DestinationRetry]:
    told: Sequence[StoredOutcome] = outcome["retries"]
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


def _page_from_json(outcome: StoredOutcome) -> RetriedPage:
    end = outcome["end"]
    return RetriedPage(
        retries=_retries_from_json(outcome),
        has_more=outcome["has_more"],
        end_position=end and KeysetPosition(parse_instant(end[0]), end[1]),
    )
