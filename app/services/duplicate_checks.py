"""Checks for second publications: a platform is searched once more for a post that is published there.

A request of an earlier attempt may have been delivered after a lookup did not find the post. The check is
planned in the transaction that stores the publication, and due when no request can be delivered any more.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog

from app.db.core.database import Database, Reader
from app.db.repositories.account_pauses import find_pause
from app.db.repositories.accounts import load_accounts
from app.db.repositories.attempts import load_attempts
from app.db.repositories.duplicate_checks import (
    PendingCheck,
    delete_check,
    due_checks,
    lease_check,
    postpone_check,
    posts_without_known_publication,
    reported_publications,
)
from app.db.repositories.posts import load_posts, post_ids_by_destination_id
from app.domain.accounts import Account, blocking_reason
from app.domain.attempts import Publication
from app.domain.ids import IdFactory
from app.domain.leases import Lease
from app.domain.posts import Post
from app.domain.settlement import settle_duplicates
from app.domain.times import Clock
from app.services.claims import AttemptStart, Claim
from app.services.reports import load_locked_destination, save_transition
from app.services.unit_of_work import UnitOfWork, WriteContext, run_in_transaction

DUPLICATE_CHECK_INTERVAL = timedelta(seconds=10)
"""Interval at which a worker checks some accounts, one post of each."""

_MAX_CONCURRENT = 20
"""Accounts that a worker checks at a time."""

_LEASE = timedelta(seconds=90)
"""Time after which another worker repeats a check. Longer than a lookup."""

_FIRST_DELAY, _MAX_DELAY = timedelta(minutes=1), timedelta(hours=6)
"""Bounds of the wait after a check without a result, which grows fourfold."""

_MAX_ATTEMPTS = 8
"""Checks without a result, over 18 hours, after which none follows."""

_MAX_OPEN_POSTS = 200
"""Unsettled posts of an account that are compared with a post; with more, the result is not certain."""

logger = structlog.stdlib.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class LeasedCheck:
    """A leased check of a published destination."""

    pending: PendingCheck
    claim: Claim
    """The destination in the form of a claim, whose last attempt start is that of the first attempt."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DuplicateCheckService:
    """Checks of all workspaces."""

    database: Database
    new_id: IdFactory
    clock: Clock

    async def lease_due(self) -> list[LeasedCheck]:
        """Lease some due checks, one for each account that can be asked now; one read if there are none."""
        due = await due_checks(self.database.all_workspaces, self.clock(), limit=_MAX_CONCURRENT)
        leased = [await self._lease(pending) for pending in due]
        return [check for check in leased if check is not None]

    async def _lease(self, pending: PendingCheck) -> LeasedCheck | None:
        """Lease a check; None if another worker has, or if its account is paused or has no access."""
        reader = self.database.reader(pending.workspace_id)
        paused_until = await find_pause(reader, pending.account_id, self.clock())
        if paused_until is not None:
            await self._set_time(pending, paused_until)
            return None
        expires_at = self.clock() + _LEASE
        leased = await self.database.write(
            lambda session: lease_check(session, pending, until=expires_at)
        )
        if leased is None:
            return None
        account = (await load_accounts(reader, [leased.account_id]))[leased.account_id]
        if blocking_reason(account.access, self.clock()) is not None:
            await self.postpone(leased)
            return None
        return LeasedCheck(leased, await self._load(reader, leased, account, expires_at))

    async def _load(
        self, reader: Reader, leased: PendingCheck, account: Account, expires_at: datetime
    ) -> Claim:
        destination_id = leased.destination_id
        post_id = (await post_ids_by_destination_id(reader, [destination_id]))[destination_id]
        post = (await load_posts(reader, [post_id]))[post_id]
        destination = post.destination(destination_id)
        fence, token = destination.state.fence, self.new_id()
        lease = Lease(leased.workspace_id, post_id, destination_id, fence, token)
        start = min(attempt.started_at for attempt in await load_attempts(reader, destination_id))
        return Claim(lease, expires_at, post, destination, account, AttemptStart(start, None))

    async def postpone(self, leased: PendingCheck) -> None:
        """End a check without a result; it is repeated later, up to a number of times."""
        if leased.attempts >= _MAX_ATTEMPTS:
            await self.dismiss(leased)
            logger.warning("duplicate check abandoned", **_log_fields(leased))
            return
        delay: timedelta = min(_FIRST_DELAY * 4 ** (leased.attempts - 1), _MAX_DELAY)
        await self._set_time(leased, self.clock() + delay)

    async def _set_time(self, pending: PendingCheck, time: datetime) -> None:
        await self.database.write(lambda session: postpone_check(session, pending, until=time))

    async def dismiss(self, leased: PendingCheck) -> None:
        """End a check that finds nothing."""
        await self.database.write(lambda session: delete_check(session, leased))

    async def report(self, check: LeasedCheck, found: Sequence[Publication]) -> None:
        """Store what the platform has besides the reported publications as duplicates, and end the check.

        Stores nothing once the lease is lost. The check is postponed while what was found may be another post
        with the same text, whose outcome is not known.
        """
        leased, claim = check.pending, check.claim
        if not found:
            await self.dismiss(leased)
            return
        write_context = WriteContext(
            workspace_id=leased.workspace_id,
            actor=None,
            operation="checkDuplicates",
            now=self.clock(),
        )

        async def work(uow: UnitOfWork) -> int | None:
            post = (await uow.load_posts_for_update([claim.post.id]))[claim.post.id]
            await uow.lock_accounts([leased.account_id])  # one check at a time compares and stores
            locked = await load_locked_destination(uow, post, leased.destination_id)
            # Read before the reported publications, so that no post becomes reported in between.
            may_be_of_other_post = await _may_be_of_other_post(uow, claim)
            transitions = settle_duplicates(
                locked.state,
                locked.history,
                found,
                reported=await reported_publications(uow.reader, leased.account_id, _since(claim)),
                now=write_context.now,
            )
            if transitions and may_be_of_other_post:
                return None
            if not await delete_check(uow.session, leased):
                return 0
            for transition in transitions:
                await save_transition(uow, locked, transition)
            return len(transitions)

        count = await run_in_transaction(self.database, write_context, work)
        if count is None:
            await self.postpone(leased)
        elif count:
            logger.warning("duplicates found", count=count, **_log_fields(leased))


async def _may_be_of_other_post(uow: UnitOfWork, claim: Claim) -> bool:
    """Return whether another post with the same text may be published on the account, but not reported."""
    ids = await posts_without_known_publication(
        uow.reader, claim.account.id, _since(claim), limit=_MAX_OPEN_POSTS
    )
    posts = await uow.load_posts(set(ids))
    text = _text(claim.post, claim)
    return len(ids) == _MAX_OPEN_POSTS or any(_text(post, claim) == text for post in posts.values())


def _text(post: Post, claim: Claim) -> str:
    return post.content_for_platform(claim.destination.platform).strip()


def _since(claim: Claim) -> datetime:
    """Return the start of the first attempt."""
    start = claim.last_attempt_start
    return claim.destination.created_at if start is None else start.started_at


def _log_fields(leased: PendingCheck) -> dict[str, str | int]:
    return {
        "workspace_id": str(leased.workspace_id),
        "destination_id": str(leased.destination_id),
        "account_id": leased.account_id,
    }
