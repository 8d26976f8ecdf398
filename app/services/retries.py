"""Manual retries of one post, or of all destinations that match a filter."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from types import MappingProxyType
from uuid import UUID

from app.db.core.database import Database
from app.db.core.paging import Page, PageRequest
from app.db.repositories.accounts import load_accounts
from app.db.repositories.destination_filters import DestinationCriteria
from app.db.repositories.destinations import retry_candidates
from app.db.repositories.posts import load_posts
from app.domain.accounts import Account
from app.domain.destinations import DestinationStatus
from app.domain.errors import InvalidInput
from app.domain.idempotency import IdempotencyKey, canonicalize
from app.domain.ids import AccountId, DestinationId, PostId
from app.domain.manual_retries import (
    ManualRetryDecision,
    RetryRefusal,
    retry_destinations,
    retry_post,
)
from app.domain.posts import Post
from app.domain.signing import KeysetPosition
from app.domain.times import format_instant, parse_instant
from app.services.idempotency import StoredOutcome, run_idempotently
from app.services.posts import get_post_for_update
from app.services.unit_of_work import UnitOfWork, WriteContext


@dataclass(frozen=True, slots=True)
class StoredRetryDecision:
    """Decision about a destination; without a refusal it is queued again."""

    destination_id: DestinationId
    post_id: PostId
    account_id: AccountId
    platform: str
    refusal: RetryRefusal | None


@dataclass(frozen=True, slots=True)
class RetriedPage:
    """Decisions about the destinations of a page, in page order."""

    retries: list[StoredRetryDecision]
    has_more: bool
    end_position: KeysetPosition | None
    """Position of the page's last destination, to continue from; None for an empty page."""


async def retry_one_post(
    database: Database,
    write_context: WriteContext,
    post_id: PostId,
    *,
    account_ids: Collection[AccountId] | None,
    force: bool,
    idempotency_key: IdempotencyKey | None,
) -> list[StoredRetryDecision]:
    """Retry the failed destinations of a post, or those on some accounts.

    `force` includes unknown outcomes.
    """

    async def work(uow: UnitOfWork) -> StoredOutcome:
        post = await get_post_for_update(uow, post_id)
        accounts = await uow.load_accounts(
            {destination.account_id for destination in post.destinations}
        )
        changed, decisions = retry_post(
            post, accounts, account_ids=account_ids, force=force, now=write_context.now
        )
        await uow.save_posts([changed])
        return {"retries": [_retry_to_json(post_id, decision) for decision in decisions]}

    only = None if account_ids is None else sorted(set(account_ids))
    request = {"post": str(post_id), "only": only, "force": force}
    return _retries_from_json(
        await run_idempotently(database, write_context, idempotency_key, request, work)
    )


async def retry_matching(
    database: Database,
    write_context: WriteContext,
    criteria: DestinationCriteria,
    page: PageRequest,
    idempotency_key: IdempotencyKey | None,
) -> RetriedPage:
    """Retry the matching destinations of a page of at most MAX_RETRIES, in one transaction.

    Only failed ones match unless the filter names statuses. Raises InvalidInput for a filter that everything
    matches.
    """
    candidate_filter = _candidate_filter(criteria)

    async def work(uow: UnitOfWork) -> StoredOutcome:
        candidates = await retry_candidates(uow.reader, candidate_filter, page, write_context.now)
        post_ids = {row.post_id for row in candidates.rows}
        posts = await uow.load_posts_for_update(post_ids)
        accounts = await uow.load_accounts({row.account_id for row in candidates.rows})
        changed, outcome = _apply_retries(candidates, posts, accounts, write_context)
        await uow.save_posts(changed)
        return outcome

    request = [canonicalize(criteria), canonicalize(page)]
    return _page_from_json(
        await run_idempotently(database, write_context, idempotency_key, request, work)
    )


async def dry_run_retry_matching(
    database: Database,
    write_context: WriteContext,
    criteria: DestinationCriteria,
    page: PageRequest,
) -> RetriedPage:
    """Return the result that `retry_matching` would have now; writes nothing and takes no lock."""
    candidate_filter = _candidate_filter(criteria)
    reader = database.reader(write_context.workspace_id)
    candidates = await retry_candidates(reader, candidate_filter, page, write_context.now)
    posts = await load_posts(reader, {row.post_id for row in candidates.rows})
    accounts = await load_accounts(reader, {row.account_id for row in candidates.rows})
    _, outcome = _apply_retries(candidates, posts, accounts, write_context)
    return _page_from_json(outcome)


_MATCH_ALL_FAILED: Mapping[str, object] = MappingProxyType(
    {"overdue": False, "retrying": False, "duplicated": False, "search": ""}
)
"""Values of filters that all failed destinations match."""


def _candidate_filter(criteria: DestinationCriteria) -> DestinationCriteria:
    """Return the filter, restricted to failed destinations unless it names statuses.

    Raises InvalidInput if it matches all failed destinations.
    """
    selective = {
        name
        for name, value in asdict(criteria).items()
        if value is not None
        and value != _MATCH_ALL_FAILED.get(name)
        and not (value and name in ("status", "outcome"))
    }
    if not selective:
        raise InvalidInput(
            "The filter matches everything: name posts, accounts, platforms, errors, causes, times,"
            " attempts, a text or a reference.",
            argument="filter",
        )
    if criteria.status is not None:
        return criteria
    return replace(criteria, status=[DestinationStatus.FAILED])


def _apply_retries(
    candidates: Page,
    posts: Mapping[PostId, Post],
    accounts: Mapping[AccountId, Account],
    write_context: WriteContext,
) -> tuple[list[Post], StoredOutcome]:
    """Return the posts to save and the outcome to store; posts deleted meanwhile are skipped."""
    candidate_ids = {row.id for row in candidates.rows}
    changed: list[Post] = []
    retries: dict[DestinationId, StoredOutcome] = {}
    for post in posts.values():
        if post.deleted_at is None:
            after, decisions = retry_destinations(
                post, accounts, candidate_ids, force=False, now=write_context.now
            )
            changed.append(after)
            for decision in decisions:
                retries[decision.destination.id] = _retry_to_json(post.id, decision)
    last = candidates.rows[-1] if candidates.rows else None
    return changed, {
        "retries": [retries[row.id] for row in candidates.rows if row.id in retries],
        "has_more": candidates.has_next_page,
        "end": last and [format_instant(last.created_at), str(last.id)],
    }


def _retry_to_json(post_id: PostId, decision: ManualRetryDecision) -> StoredOutcome:
    destination = decision.destination
    return {
        "destination_id": str(destination.id),
        "post_id": str(post_id),
        "account_id": destination.account_id,
        "platform": destination.platform,
        "refusal": decision.refusal,
    }


def _retries_from_json(outcome: StoredOutcome) -> list[StoredRetryDecision]:
    retries: Sequence[StoredOutcome] = outcome["retries"]
    return [
        StoredRetryDecision(
            destination_id=DestinationId(UUID(retry["destination_id"])),
            post_id=PostId(UUID(retry["post_id"])),
            account_id=AccountId(retry["account_id"]),
            platform=retry["platform"],
            refusal=retry["refusal"] and RetryRefusal(retry["refusal"]),
        )
        for retry in retries
    ]


def _page_from_json(outcome: StoredOutcome) -> RetriedPage:
    end = outcome["end"]
    return RetriedPage(
        retries=_retries_from_json(outcome),
        has_more=outcome["has_more"],
        end_position=end and KeysetPosition(parse_instant(end[0]), end[1]),
    )
