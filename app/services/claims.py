"""Claims: publishers lease due destinations, and unknown outcomes to verify. Reports are in reports.py."""

import math
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TypeVar
from uuid import UUID

from app.db.core.database import Database, Reader
from app.db.repositories.attempts import attempts_by_destination_id
from app.db.repositories.claims import (
    ClaimableAccount,
    ClaimableDestination,
    ClaimableWorkspace,
    ClaimGroup,
    ClaimTime,
    accounts_to_claim_from,
    lock_destinations,
    workspaces_to_claim_from,
)
from app.db.repositories.outages import outages_by_account_id
from app.domain.account_commands import fail_after_outage
from app.domain.accounts import Account, AccountPublisher, blocking_reason
from app.domain.circuit_breakers import AccountServer, ServerKey
from app.domain.destinations import Destination, DestinationState, is_held_on
from app.domain.errors import ServiceUnavailable
from app.domain.ids import AccountId, DestinationId, IdFactory, WorkspaceId
from app.domain.leases import Lease
from app.domain.operations import CLAIM_DESTINATIONS, CLAIM_VERIFICATIONS
from app.domain.posts import Post
from app.domain.retry_policy import RetryPolicies
from app.domain.times import Clock
from app.domain.transitions import claimed, content_rejected, verification_claimed
from app.services.circuit_breakers import begin_probe
from app.services.post_contents import find_content_errors
from app.services.unit_of_work import Publisher, UnitOfWork, run_in_transaction

K = TypeVar("K")
T = TypeVar("T")

_MAX_CLAIM_WORKSPACES = 256
"""Maximum workspaces that one claim considers; with more, it starts at a random one."""

_MAX_CLAIM_ACCOUNTS = 256
"""Maximum accounts of a workspace that one claim considers; with more, it starts at a random one."""

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
        """Destinations of each publisher, on each of the platforms or on all."""
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
    server: AccountServer | None
    """Breakers that the claim has passed; None before a worker has published on the account."""
    last_attempt_start: AttemptStart | None
    """Start of the attempt to verify; None if none is logged."""


@dataclass(frozen=True, slots=True)
class _Queue:
    """Destinations that can be claimed for one purpose."""

    operation: str
    claim_time: ClaimTime
    lease: Callable[[DestinationState, UUID, datetime], DestinationState]


_DUE = _Queue(CLAIM_DESTINATIONS, ClaimTime.CLAIMABLE, claimed)
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
    policies: RetryPolicies
    """Decide how long a destination waits for a server that does not answer."""
    new_id: IdFactory
    clock: Clock

    async def claim_destinations(self, request: ClaimRequest) -> list[Claim]:
        """Lease due destinations, on each account the longest due first.

        Workspaces have fair shares, and so have the accounts of each workspace. Destinations
        whose content does not fit the schema of their platform fail instead.
        """
        return await self._claim(request, _DUE)

    async def claim_verifications(self, request: ClaimRequest) -> list[Claim]:
        """Lease destinations of unknown outcome, so that the caller checks whether they are published."""
        return await self._claim(request, _UNKNOWN)

    async def _claim(self, request: ClaimRequest, queue: _Queue) -> list[Claim]:
        """Claim in one transaction for each workspace; the workspaces share the limit fairly."""
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

        async def claim(workspace: ClaimableWorkspace, limit: int) -> list[Claim]:
            return await self._claim_in_workspace(request, queue, workspace, limit, now)

        # Rotated once more: the ids of few workspaces divide the range of ids into unequal parts.
        return await _distribute_fairly(_rotate(workspaces, rotation_start), request.limit, claim)

    async def _claim_in_workspace(
        self,
        request: ClaimRequest,
        queue: _Queue,
        workspace: ClaimableWorkspace,
        limit: int,
        now: datetime,
    ) -> list[Claim]:
        """Claim in one transaction; the accounts of the workspace share the limit fairly."""
        random_id = self.new_id()
        accounts = await accounts_to_claim_from(
            self.database.reader(workspace.id),
            queue.claim_time,
            now,
            publishers=request.publishers,
            platforms=request.platforms,
            key_ids=self.key_ids,
            rotation_start=AccountId(random_id.int % workspace.next_account_id),
            limit=_MAX_CLAIM_ACCOUNTS,
        )
        if not accounts:
            return []

        async def work(uow: UnitOfWork) -> list[Claim]:
            servers = {account.id: account.server for account in accounts}
            rotated = _rotate(accounts, random_id)
            probes = await self._lock_probes(queue, rotated, limit, servers, uow)
            others = [account.id for account in rotated if not account.needs_probe]
            locked = await self._lock(queue, others, limit - len(probes), uow)
            return await self._lease(request, queue, [*probes, *locked], servers, uow)

        write_context = self.publisher.write_context(workspace.id, queue.operation, now)
        return await run_in_transaction(self.database, write_context, work)

    async def _lock_probes(
        self,
        queue: _Queue,
        accounts: Sequence[ClaimableAccount],
        limit: int,
        servers: dict[AccountId, AccountServer | None],
        uow: UnitOfWork,
    ) -> list[ClaimableDestination]:
        """Lock one destination for each open breaker whose probe is due; `servers` receives the probes."""
        probes: list[ClaimableDestination] = []
        probed_servers: set[ServerKey] = set()
        """Servers that this claim or another one probes."""
        for account_id, server in accounts:
            if len(probes) == limit:
                break
            if server is None or not server.needs_probe:
                continue
            if server.server_is_open and server.key in probed_servers:
                continue
            locked = await self._lock(queue, [account_id], 1, uow)
            if not locked:
                continue
            if server.key is not None:
                probed_servers.add(server.key)
            probe = await begin_probe(uow.session, account_id, server, uow.write_context.now)
            if probe is not None:
                servers[account_id] = probe
                probes += locked
        return probes

    async def _lock(
        self, queue: _Queue, account_ids: Sequence[AccountId], limit: int, uow: UnitOfWork
    ) -> list[ClaimableDestination]:
        """Lock up to `limit` destinations, in equal shares of the accounts as far as each has enough."""
        locked: list[ClaimableDestination] = []
        waiting = deque(account_ids)
        while waiting and len(locked) < limit:
            remaining = limit - len(locked)
            batch = [waiting.popleft() for _ in range(min(remaining, len(waiting)))]
            share = remaining // len(batch)
            found = await lock_destinations(
                uow.reader,
                queue.claim_time,
                uow.write_context.now,
                account_ids=batch,
                locked_ids=[each.id for each in locked],
                key_ids=self.key_ids,
                limit_per_account=share,
            )
            locked += found
            counts = Counter(each.account_id for each in found)
            waiting += [account_id for account_id in batch if counts[account_id] == share]
        return locked

    async def _lease(
        self,
        request: ClaimRequest,
        queue: _Queue,
        destinations: Sequence[ClaimableDestination],
        servers: Mapping[AccountId, AccountServer | None],
        uow: UnitOfWork,
    ) -> list[Claim]:
        """Lease the locked destinations, except if the account cannot post any more, or holds them.

        Those that would be published, but whose content does not fit their platform, or that have waited too
        long for their server, fail instead.
        """
        now = uow.write_context.now
        expires_at = now + request.lease_duration
        posts = await uow.load_posts({each.post_id for each in destinations})
        accounts = await uow.load_accounts({each.account_id for each in destinations})
        content_errors: Mapping[DestinationId, str] = {}
        if queue is _DUE:
            content_errors = await find_content_errors(
                uow.reader,
                [
                    (posts[each.post_id], posts[each.post_id].destination(each.id))
                    for each in destinations
                ],
            )
        probed = [id_ for id_ in accounts if (server := servers[id_]) and server.needs_probe]
        outages = await outages_by_account_id(uow.reader, probed) if queue is _DUE else {}
        leases: list[Lease] = []
        for account_id, post_id, destination_id in destinations:
            account, state = accounts[account_id], posts[post_id].destination(destination_id).state
            if queue is _DUE and (
                blocking_reason(account.access, now) is not None
                or is_held_on(state, account.reconnection)
            ):
                continue
            if account_id in outages:
                max_wait = self.policies.max_wait_for_server(account.platform)
                post = fail_after_outage(
                    posts[post_id], account_id, outages[account_id], max_wait, now
                )
                if post is not posts[post_id]:
                    posts[post_id] = post
                    continue
            if destination_id in content_errors:
                state = content_rejected(state, content_errors[destination_id], now)
            else:
                token, workspace_id = self.new_id(), uow.write_context.workspace_id
                state = queue.lease(state, token, expires_at)
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
            server = servers[account.id]
            claims.append(Claim(lease, expires_at, post, destination, account, server, start))
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
