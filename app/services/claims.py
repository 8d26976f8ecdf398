"""Claims: publishers lease due destinations, and unknown outcomes to verify. Reports are in reports.py."""

import math
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import TypeAlias, TypeVar
from uuid import UUID

from app.db.core.database import Database, Reader
from app.db.repositories.attempts import attempts_by_destination_id
from app.db.repositories.claims import (
    ClaimGroup,
    ClaimTime,
    lock_destinations,
    readable_accounts_to_claim_from,
    workspaces_to_claim_from,
    workspaces_with_unreadable_secrets,
)
from app.domain.accounts import Account, AccountPublisher, blocking_message, blocking_reason
from app.domain.destinations import Destination, DestinationState
from app.domain.errors import ServiceUnavailable
from app.domain.ids import DestinationId, IdFactory, PostId, WorkspaceId
from app.domain.leases import Lease
from app.domain.operations import CLAIM_VERIFICATIONS
from app.domain.posts import Post
from app.domain.times import Clock
from app.domain.transitions import auth_failed, claimed, verification_claimed
from app.services.unit_of_work import Publisher, UnitOfWork, run_in_transaction

K = TypeVar("K")
T = TypeVar("T")

DestinationRef: TypeAlias = tuple[PostId, DestinationId]

_MAX_CLAIM_WORKSPACES = 256
"""Maximum workspaces that one claim considers; with more, it starts at a random one."""

CLAIM_POLL_INTERVAL = timedelta(milliseconds=250)
"""Interval at which a waiting claim checks for due destinations."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimRequest:
    """Number, publishers and platforms of the destinations to claim, and the lease duration."""

    limit: int
    lease_duration: timedelta
    publishers: Sequence[AccountPublisher]
    platforms: Sequence[str] | None = None
    """None for all platforms, an empty list for none."""

    @property
    def groups(self) -> Sequence[ClaimGroup]:
        """Destinations that get equal shares of the limit."""
        platforms = [None] if self.platforms is None else list(dict.fromkeys(self.platforms))
        return [
            ClaimGroup(publisher, platform)
            for publisher in self.publishers
            for platform in platforms
        ]


@dataclass(frozen=True, slots=True)
class AttemptStart:
    """Time and worker of an attempt's start."""

    started_at: datetime
    worker: str | None


@dataclass(frozen=True, slots=True)
class Claim:
    """A leased destination, with everything that a publisher needs."""

    lease: Lease
    expires_at: datetime
    post: Post
    destination: Destination
    account: Account
    last_attempt_start: AttemptStart | None
    """Start of the attempt to verify; None if none is logged."""


@dataclass(frozen=True, slots=True)
class _Queue:
    """Destinations that can be claimed for one purpose."""

    operation: str
    claim_time: ClaimTime
    lease: Callable[[DestinationState, UUID, datetime], DestinationState]


_DUE = _Queue("claimDestinations", ClaimTime.CLAIMABLE, claimed)
_UNKNOWN = _Queue(CLAIM_VERIFICATIONS, ClaimTime.VERIFIABLE, verification_claimed)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimService:
    """Claims of one publisher."""

    database: Database
    publisher: Publisher
    key_ids: Collection[str] | None
    """Keys of a worker, which claims nothing whose credentials or checkpoint it cannot decrypt.

    None for clients of the API, whose accounts have no credentials here.
    """
    new_id: IdFactory
    clock: Clock

    async def claim_destinations(self, request: ClaimRequest) -> list[Claim]:
        """Lease due destinations, the longest due first, in fair shares of each workspace and group.

        Destinations on accounts that cannot publish fail instead, as periodic maintenance would fail them.
        """
        return await self._claim(request, _DUE)

    async def claim_verifications(self, request: ClaimRequest) -> list[Claim]:
        """Lease destinations of unknown outcome, so that the caller checks whether they are published."""
        return await self._claim(request, _UNKNOWN)

    async def _claim(self, request: ClaimRequest, queue: _Queue) -> list[Claim]:
        """Claim in one transaction for each workspace; workspaces and groups share the limit fairly."""
        now, rotation_start = self.clock(), WorkspaceId(self.new_id())
        workspaces = await workspaces_to_claim_from(
            self.database.all_workspaces,
            queue.claim_time,
            now,
            groups=request.groups,
            workspace_id=self.publisher.workspace_id,
            rotation_start=rotation_start,
            limit=_MAX_CLAIM_WORKSPACES,
        )

        groups = await self._groups_by_workspace(request, queue, workspaces, now)

        async def claim(workspace_id: WorkspaceId, limit: int) -> list[Claim]:
            write_context = self.publisher.write_context(workspace_id, queue.operation, now)
            work = partial(self._lock_and_lease, request, groups[workspace_id], queue, limit)
            return await run_in_transaction(self.database, write_context, work)

        # Rotated once more: the ids of few workspaces divide the range of ids into unequal parts.
        with_work = _rotate([each for each in workspaces if groups[each]], rotation_start)
        return await _distribute_fairly(with_work, request.limit, claim)

    async def _groups_by_workspace(
        self,
        request: ClaimRequest,
        queue: _Queue,
        workspace_ids: Sequence[WorkspaceId],
        now: datetime,
    ) -> Mapping[WorkspaceId, Sequence[ClaimGroup]]:
        """Return the groups of each workspace; with unreadable secrets, those of its accounts."""
        groups = dict.fromkeys(workspace_ids, request.groups)
        if self.key_ids is None or not workspace_ids:
            return groups
        for workspace_id in await workspaces_with_unreadable_secrets(
            self.database.all_workspaces, workspace_ids, self.key_ids
        ):
            groups[workspace_id] = await readable_accounts_to_claim_from(
                self.database.reader(workspace_id),
                queue.claim_time,
                now,
                groups=request.groups,
                key_ids=self.key_ids,
            )
        return groups

    async def _lock_and_lease(
        self,
        request: ClaimRequest,
        groups: Sequence[ClaimGroup],
        queue: _Queue,
        limit: int,
        uow: UnitOfWork,
    ) -> list[Claim]:
        locked: dict[ClaimGroup, list[DestinationRef]] = {group: [] for group in groups}

        async def lock(group: ClaimGroup, share: int) -> list[DestinationRef]:
            # Selects those again that this transaction has already locked.
            destinations = await lock_destinations(
                uow.reader,
                queue.claim_time,
                uow.write_context.now,
                group=group,
                key_ids=self.key_ids or (),
                limit=len(locked[group]) + share,
            )
            added = [each for each in destinations if each not in locked[group]][:share]
            locked[group] += added
            return added

        destinations = await _distribute_fairly(_rotate(groups, self.new_id()), limit, lock)
        return await self._lease(request, queue, destinations, uow)

    async def _lease(
        self,
        request: ClaimRequest,
        queue: _Queue,
        destinations: Sequence[DestinationRef],
        uow: UnitOfWork,
    ) -> list[Claim]:
        """Lease the locked destinations, or fail those whose account cannot publish; return the claims."""
        now = uow.write_context.now
        expires_at = now + request.lease_duration
        posts = await uow.load_posts({post_id for post_id, _ in destinations})
        accounts = await uow.load_accounts(
            {posts[post_id].destination(id_).account_id for post_id, id_ in destinations}
        )
        leases: list[Lease] = []
        for post_id, destination_id in destinations:
            destination, token = posts[post_id].destination(destination_id), self.new_id()
            reason = blocking_reason(accounts[destination.account_id].access, now)
            if queue is _DUE and reason is not None:
                state = auth_failed(destination.state, blocking_message(reason), now)
            else:
                state = queue.lease(destination.state, token, expires_at)
                workspace_id = uow.write_context.workspace_id
                leases.append(Lease(workspace_id, post_id, destination_id, state.fence, token))
            posts[post_id] = posts[post_id].with_state(destination_id, state, now)
        await uow.save_posts(list(posts.values()))
        starts: Mapping[DestinationId, AttemptStart] = {}
        if queue is _UNKNOWN:
            starts = await _attempt_starts(uow.reader, [lease.destination_id for lease in leases])
        claims = []
        for lease in leases:
            post = posts[lease.post_id]
            destination = post.destination(lease.destination_id)
            account, start = accounts[destination.account_id], starts.get(destination.id)
            claims.append(Claim(lease, expires_at, post, destination, account, start))
        return claims


async def poll_for_claims(
    claim: Callable[[], Awaitable[list[Claim]]],
    wait: timedelta,
    sleep: Callable[[float], Awaitable[None]],
    is_stopping: Callable[[], bool],
) -> list[Claim]:
    """Call `claim` until it returns claims; return an empty list once `wait` has passed.

    A stopping process waits no longer and claims nothing more.
    """
    claims = await claim()
    for _ in range(wait // CLAIM_POLL_INTERVAL):
        if claims or is_stopping():
            break
        await sleep(CLAIM_POLL_INTERVAL.total_seconds())
        if is_stopping():
            break
        claims = await claim()
    return claims


def claim_log_fields(claim: Claim) -> dict[str, str | int]:
    """Return log fields that identify a claim."""
    return {
        "workspace_id": str(claim.lease.workspace_id),
        "post_id": str(claim.post.id),
        "destination_id": str(claim.lease.destination_id),
        "platform": claim.destination.platform,
        "account_id": claim.account.id,
    }


async def _attempt_starts(
    reader: Reader, destination_ids: Sequence[DestinationId]
) -> Mapping[DestinationId, AttemptStart]:
    """Return the last logged start of each destination that has one."""
    rows = await attempts_by_destination_id(reader, destination_ids)
    return {row.destination_id: AttemptStart(row.started_at, row.worker) for row in rows}


async def _distribute_fairly(
    groups: Sequence[K], limit: int, take: Callable[[K, int], Awaitable[list[T]]]
) -> list[T]:
    """Call `take(group, share)` for each group, then for those with more items, until `limit` are taken.

    A share is an equal part of the remaining limit; what a group leaves goes to those after it, so groups in
    random order have equal shares on average. Each call takes an item or is the last of its group, so there
    are at most as many calls as groups and items together. ServiceUnavailable is raised only if nothing
    was taken.
    """
    taken: list[T] = []
    while groups and len(taken) < limit:
        groups_with_more: list[K] = []
        for index, group in enumerate(groups):
            share = math.ceil((limit - len(taken)) / (len(groups) - index))
            if share == 0:
                break
            try:
                items = await take(group, share)
            except ServiceUnavailable:
                if not taken:
                    raise
                return taken  # otherwise the destinations taken so far would wait for their lease to expire
            taken += items
            if len(items) == share:
                groups_with_more.append(group)
        groups = groups_with_more
    return taken


def _rotate(items: Sequence[K], random_id: UUID) -> Sequence[K]:
    """Return the items, rotated to a random start so that none is always the last."""
    first = random_id.int % len(items) if items else 0
    return [*items[first:], *items[:first]]
