"""Manual retries of one post, or of all destinations that match a filter."""

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

import msgspec

from app.db.core.database import Database, Reader
from app.db.core.paging import Page, PageRequest
from app.db.core.statements import AnyRow
from app.db.repositories.accounts import load_accounts
from app.db.repositories.board_counts import account_access, blocked_account_ids
from app.db.repositories.checkpoints import delete_checkpoints
from app.db.repositories.destination_filters import DestinationCriteria
from app.db.repositories.retries import count_retry_states, retry_candidates
from app.domain.destinations import DestinationStatus, Outcome
from app.domain.idempotency import IdempotencyKey
from app.domain.ids import AccountId, DestinationId, PostId
from app.domain.manual_retries import (
    ManualRetryDecision,
    RetryRefusal,
    retry_destinations,
    retry_post,
    retry_refusal,
)
from app.domain.posts import Post
from app.services.bulk_actions import BulkAction, RefusalCounts
from app.services.idempotency import StoredOutcome, run_idempotently
from app.services.posts import get_post_for_update
from app.services.unit_of_work import UnitOfWork, WriteContext


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryDecision:
    """Decision about a destination; without a refusal it is queued again."""

    destination_id: DestinationId
    post_id: PostId
    account_id: AccountId
    platform: str
    refusal: RetryRefusal | None


async def retry_one_post(
    database: Database,
    write_context: WriteContext,
    post_id: PostId,
    *,
    account_ids: Collection[AccountId] | None,
    force: bool,
    idempotency_key: IdempotencyKey | None,
) -> list[RetryDecision]:
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
        await _delete_checkpoints_of_forced_retries(uow, post, changed)
        stored = [_to_retry_decision(post_id, decision) for decision in decisions]
        return {"decisions": msgspec.to_builtins(stored)}

    only = None if account_ids is None else sorted(set(account_ids))
    request = {"post": str(post_id), "only": only, "force": force}
    outcome = await run_idempotently(database, write_context, idempotency_key, request, work)
    return msgspec.convert(outcome["decisions"], list[RetryDecision])


async def _delete_checkpoints_of_forced_retries(uow: UnitOfWork, before: Post, after: Post) -> None:
    """Delete what describes the publication whose outcome stays unknown, so that no attempt continues it."""
    forced = [
        new.id
        for old, new in zip(before.destinations, after.destinations, strict=True)
        if new.state.forced_rounds > old.state.forced_rounds
    ]
    if forced:
        await delete_checkpoints(uow.session, forced)


class RetryAction(BulkAction[DestinationCriteria, RetryDecision]):
    """Manual retry of failed destinations."""

    criteria_type = DestinationCriteria
    decision_type = RetryDecision

    def restrict(self, criteria: DestinationCriteria) -> DestinationCriteria:
        """Restrict the filter to failed destinations unless it names statuses."""
        if criteria.status is not None:
            return criteria
        return replace(criteria, status=[DestinationStatus.FAILED])

    def exclude_refused(self, criteria: DestinationCriteria) -> DestinationCriteria:
        return criteria.with_outcome(Outcome.FAILED)

    async def read_page(
        self, reader: Reader, criteria: DestinationCriteria, request: PageRequest, now: datetime
    ) -> Page:
        return await retry_candidates(reader, criteria, request, now)

    async def read_planned_page(
        self, reader: Reader, criteria: DestinationCriteria, request: PageRequest, now: datetime
    ) -> Page:
        """Leave out the accounts that cannot post, whose destinations the dry run has counted as refused."""
        blocked = await blocked_account_ids(reader, now)
        return await retry_candidates(reader, criteria, request, now, excluded_accounts=blocked)

    async def count_by_refusal(
        self, reader: Reader, criteria: DestinationCriteria, now: datetime
    ) -> RefusalCounts:
        rows = await count_retry_states(reader, criteria, now)
        access = await account_access(reader)  # read last, so that it has the accounts of all rows
        counts: RefusalCounts = Counter()
        for row in rows:
            state = (row.status, row.outcome, access[row.account_id])
            refusal = retry_refusal(*state, is_imported=False, force=False, now=now)
            counts[refusal] += row.destinations - row.imported
            counts[RetryRefusal.IMPORTED] += row.imported
        return counts

    async def decide(
        self, reader: Reader, posts: Sequence[Post], rows: Sequence[AnyRow], now: datetime
    ) -> tuple[list[Post], list[RetryDecision]]:
        ids = {row.id for row in rows}
        accounts = await load_accounts(reader, {row.account_id for row in rows})
        changed: list[Post] = []
        decisions: dict[DestinationId, RetryDecision] = {}
        for post in posts:
            changed_post, post_decisions = retry_destinations(
                post, accounts, ids, force=False, now=now
            )
            changed.append(changed_post)
            for decision in post_decisions:
                decisions[decision.destination.id] = _to_retry_decision(post.id, decision)
        return changed, [decisions[row.id] for row in rows]


def _to_retry_decision(post_id: PostId, decision: ManualRetryDecision) -> RetryDecision:
    destination = decision.destination
    return RetryDecision(
        destination_id=destination.id,
        post_id=post_id,
        account_id=destination.account_id,
        platform=destination.platform,
        refusal=decision.refusal,
    )
