"""Checks for second publications: a platform is searched once more for a post that is published there.

A request of an earlier attempt may have been delivered after a lookup did not find the post, or the network
may have repeated one. The check is planned in the transaction that stores the publication, and due when no
request can be delivered any more.
"""

from collections.abc import Collection, Sequence, Set
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial

import structlog

from app.db.core.database import Database
from app.db.core.write_session import WriteSession
from app.db.repositories.accounts import accounts_of_same_user, load_accounts
from app.db.repositories.duplicate_checks import (
    PendingCheck,
    delete_check,
    due_checks,
    lease_check,
    posts_without_known_publication,
    reported_publications,
)
from app.db.repositories.posts import load_posts
from app.domain.accounts import Account, blocking_reason
from app.domain.attempts import Publication
from app.domain.destinations import Destination
from app.domain.ids import AccountId, IdFactory, WorkspaceId
from app.domain.posts import Post
from app.domain.retry_policy import CHECK_BACKOFF
from app.domain.settlement import MAX_DUPLICATE_AGE, settle_duplicates
from app.domain.times import Clock
from app.domain.validation.text import comparable_text
from app.services.publishing_secrets import database_errors
from app.services.reports import load_locked_destination, save_transition
from app.services.unit_of_work import UnitOfWork, WriteContext, run_in_transaction

DUPLICATE_CHECK_INTERVAL = timedelta(seconds=10)
"""Interval at which a worker checks some accounts, by one search of each."""

_MAX_CONCURRENT = 20
"""Accounts that a worker checks at a time."""

_MAX_POSTS_OF_SEARCH = 50
"""Posts of an account that one search is for."""

_SEARCH_PERIOD = timedelta(hours=1)
"""Longest time between the first attempts of the posts of a search, which reads all posts since the first."""

_MAX_CHECKS = 8
"""Maximum number of checks; the last one runs about 18 hours after the first."""

_MAX_OPEN_POSTS = 200
"""Posts that one statement reads to compare their texts; with as many, others may be missing, so the result
is not certain."""

logger = structlog.stdlib.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class LeasedCheck:
    """A leased check, with what a search for the post needs."""

    pending: PendingCheck
    post: Post
    destination: Destination
    account: Account


@dataclass(frozen=True, slots=True, kw_only=True)
class DuplicateCheckService:
    """Checks of all workspaces."""

    database: Database
    key_ids: Collection[str]
    """Keys of the worker, which checks nothing whose credentials or checkpoint it cannot decrypt."""
    new_id: IdFactory
    clock: Clock

    async def find_reported(
        self, workspace_id: WorkspaceId, account: Account, attempt_started_at: datetime
    ) -> Set[str]:
        """Return the ids and URLs that are reported, among those that a search for an attempt may find."""
        reader = self.database.reader(workspace_id)
        with database_errors():
            account_ids = await accounts_of_same_user(reader, account)
            since = attempt_started_at - MAX_DUPLICATE_AGE
            return await reported_publications(reader, account_ids, since)

    async def due(self) -> Sequence[Sequence[PendingCheck]]:
        """Return some due checks by account, each group for one search."""
        groups = await due_checks(
            self.database.all_workspaces,
            self.clock(),
            key_ids=self.key_ids,
            max_accounts=_MAX_CONCURRENT,
            max_of_account=_MAX_POSTS_OF_SEARCH,
        )
        return [
            [
                each
                for each in group
                if abs(each.first_attempt_at - group[0].first_attempt_at) <= _SEARCH_PERIOD
            ]
            for group in groups
        ]

    async def lease(self, due: Sequence[PendingCheck]) -> Sequence[LeasedCheck]:
        """Lease checks of one account, or delete those that are over; leaves out what others have changed.

        Checks of an account without access are repeated, like those that fail.
        """
        now = self.clock()
        workspace_id, account_id = due[0].workspace_id, due[0].account_id

        async def lease_all(session: WriteSession) -> Sequence[PendingCheck]:
            leased = []
            for each in due:
                check_at = next_check_at(each.attempts, now)
                if check_at is not None:
                    leased.append(await lease_check(session, each, check_at))
                elif await delete_check(session, each):
                    logger.warning("duplicate check abandoned", **check_log_fields(each))
            return [each for each in leased if each is not None]

        checks = await self.database.write(workspace_id, lease_all)
        if not checks:
            return []
        reader = self.database.reader(workspace_id)
        account = (await load_accounts(reader, [account_id]))[account_id]
        if blocking_reason(account.access, now) is not None:
            return []
        posts = await load_posts(reader, [each.post_id for each in checks])
        return [
            LeasedCheck(
                each,
                posts[each.post_id],
                posts[each.post_id].destination(each.destination_id),
                account,
            )
            for each in checks
        ]

    async def report(self, check: LeasedCheck, found: Sequence[Publication]) -> None:
        """Store what the platform has besides the reported publications as duplicates, and end the check.

        Stores nothing once the lease is lost. The check is repeated while what was found may be another post
        with the same text, whose outcome is not known.
        """
        pending = check.pending
        if not found:
            await self.database.write(pending.workspace_id, partial(delete_check, check=pending))
            return
        write_context = WriteContext.without_actor(
            pending.workspace_id, "checkDuplicates", self.clock()
        )

        async def work(uow: UnitOfWork) -> int:
            post = (await uow.load_posts_for_update([pending.post_id]))[pending.post_id]
            account_ids = await accounts_of_same_user(uow.reader, check.account)
            await uow.lock_accounts(account_ids)  # one check at a time compares and stores
            locked = await load_locked_destination(uow, post, pending.destination_id)
            since = pending.first_attempt_at - MAX_DUPLICATE_AGE
            # Read before the reported publications, so that no post becomes reported in between.
            may_be_of_other_post = await _may_be_of_other_post(uow, check, account_ids, since)
            duplicates = settle_duplicates(
                locked.state,
                locked.history,
                found,
                reported=await reported_publications(uow.reader, account_ids, since),
                new_id=self.new_id,
                now=write_context.now,
            )
            is_ambiguous = bool(duplicates) and may_be_of_other_post
            if is_ambiguous or not await delete_check(uow.session, pending):
                return 0
            for transition in duplicates:
                await save_transition(uow, locked, transition)
            return len(duplicates)

        if count := await run_in_transaction(self.database, write_context, work):
            logger.warning("duplicates found", count=count, **check_log_fields(pending))


def next_check_at(attempts: int, now: datetime) -> datetime | None:
    """Return the time of the check after one that begins now; None if all checks have begun.

    This is also the end of the lease, because the shortest wait is longer than a search.
    """
    return None if attempts == _MAX_CHECKS else now + CHECK_BACKOFF.max_backoff(attempts + 1)


def check_log_fields(check: PendingCheck) -> dict[str, str | int]:
    """Return log fields that identify a check."""
    return {
        "workspace_id": str(check.workspace_id),
        "destination_id": str(check.destination_id),
        "account_id": check.account_id,
    }


async def _may_be_of_other_post(
    uow: UnitOfWork, check: LeasedCheck, account_ids: Sequence[AccountId], since: datetime
) -> bool:
    """Return whether another post with the same text may be published on the accounts, but not reported."""
    ids = await posts_without_known_publication(
        uow.reader, account_ids, since, limit=_MAX_OPEN_POSTS
    )
    posts = await uow.load_posts(ids)
    platform = check.destination.platform
    texts = {comparable_text(post.content_for_platform(platform)) for post in posts.values()}
    own_text = comparable_text(check.post.content_for_platform(platform))
    return len(ids) >= _MAX_OPEN_POSTS or own_text in texts
