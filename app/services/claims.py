"""Claims: publishers lease due destinations, and unknown outcomes to verify. Reports are in reports.py."""

import math
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TypeAlias, TypeVar
from uuid import UUID

from app.db.core.database import Database, Reader
from app.db.repositories.attempts import attempts_by_destination_id
from app.db.repositories.claims import (
    lock_due_destinations,
    lock_unknown_outcomes,
    workspaces_with_due_destinations,
    workspaces_with_unknown_outcomes,
)
from app.domain.accounts import Account, blocking_message, blocking_reason
from app.domain.destinations import Destination, DestinationState
from app.domain.errors import ServiceUnavailable
from app.domain.ids import DestinationId, IdFactory, PostId, WorkspaceId
from app.domain.leases import Lease
from app.domain.posts import Post
from app.domain.transitions import auth_failed, claimed, verification_claimed
from app.services.reports import Publisher
from app.services.unit_of_work import UnitOfWork, run_in_transaction

K = TypeVar("K")
T = TypeVar("T")

DestinationRef: TypeAlias = tuple[PostId, DestinationId]

_MAX_CLAIM_WORKSPACES = 256
"""Maximum workspaces that one claim considers; with more, it starts at a random one."""

CLAIM_POLL_INTERVAL = timedelta(milliseconds=250)
"""Interval at which a waiting claim checks for due destinations."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimRequest:
    """Number and platforms of the destinations to claim, and the lease duration."""

    limit: int
    lease_duration: timedelta
    platforms: Sequence[str] | None
    """None for all platforms, an empty list for none."""


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


async def claim_destinations(
    database: Database,
    publisher: Publisher,
    request: ClaimRequest,
    *,
    new_id: IdFactory,
    now: datetime,
) -> list[Claim]:
    """Lease due destinations, the longest due first, in fair shares of each workspace and platform.

    Destinations on accounts that cannot publish fail instead, as periodic maintenance would fail them.
    """
    return await _claim(database, publisher, request, _DUE, new_id=new_id, now=now)


async def claim_verifications(
    database: Database,
    publisher: Publisher,
    request: ClaimRequest,
    *,
    new_id: IdFactory,
    now: datetime,
) -> list[Claim]:
    """Lease destinations of unknown outcome, so that the caller checks whether they are published."""
    return await _claim(database, publisher, request, _UNKNOWN, new_id=new_id, now=now)


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


@dataclass(frozen=True, slots=True)
class _ClaimKind:
    """The queries and the state transition of one kind of claim: due destinations or verifications."""

    operation: str
    find_workspaces: Callable[..., Awaitable[list[WorkspaceId]]]
    """Finds workspaces that have such destinations, without locks."""
    lock: Callable[..., Awaitable[list[DestinationRef]]]
    """Locks up to `limit` such destinations of a platform (None: of any), skipping locked ones."""
    transition: Callable[[DestinationState, Account, UUID, datetime, datetime], DestinationState]
    """Called with state, account, lease token, lease expiry and `now`; returns the new state.

    It has no lease if the account cannot publish.
    """
    load_attempt_starts: Callable[
        [Reader, Sequence[DestinationId]], Awaitable[Mapping[DestinationId, AttemptStart]]
    ]


def _claim_due(
    state: DestinationState, account: Account, token: UUID, expires_at: datetime, now: datetime
) -> DestinationState:
    reason = blocking_reason(account.access, now)
    if reason is not None:
        return auth_failed(state, blocking_message(reason), now)
    return claimed(state, token, expires_at)


async def _load_attempt_starts(
    reader: Reader, destination_ids: Sequence[DestinationId]
) -> Mapping[DestinationId, AttemptStart]:
    rows = await attempts_by_destination_id(reader, destination_ids)
    return {row.destination_id: AttemptStart(row.started_at, row.worker) for row in rows}


async def _no_attempt_starts(
    _reader: Reader, _destination_ids: Sequence[DestinationId]
) -> Mapping[DestinationId, AttemptStart]:
    return {}


_DUE = _ClaimKind(
    "claimDestinations",
    workspaces_with_due_destinations,
    lock_due_destinations,
    _claim_due,
    _no_attempt_starts,
)
_UNKNOWN = _ClaimKind(
    "claimVerifications",
    workspaces_with_unknown_outcomes,
    lock_unknown_outcomes,
    lambda state, _account, token, expires_at, _now: verification_claimed(state, token, expires_at),
    _load_attempt_starts,
)


async def _claim(
    database: Database,
    publisher: Publisher,
    request: ClaimRequest,
    kind: _ClaimKind,
    *,
    new_id: IdFactory,
    now: datetime,
) -> list[Claim]:
    """Claim in one transaction for each workspace; the limit is shared fairly by workspaces and platforms."""
    rotation_start = WorkspaceId(new_id())
    async with database.unscoped_connection() as connection:
        workspaces = await kind.find_workspaces(
            connection,
            now,
            platforms=request.platforms,
            workspace_id=publisher.workspace_id,
            rotation_start=rotation_start,
            limit=_MAX_CLAIM_WORKSPACES,
        )

    async def claim(workspace_id: WorkspaceId, limit: int) -> list[Claim]:
        write_context = publisher.write_context(workspace_id, kind.operation, now)

        async def work(uow: UnitOfWork) -> list[Claim]:
            async def lock(platform: str | None, share: int) -> list[DestinationRef]:
                return await kind.lock(
                    uow.reader, write_context.now, platform=platform, limit=share
                )

            platforms = _rotated_platforms(request, new_id)
            destination_refs = await _distribute_fairly(platforms, limit, lock)
            return await _lease(uow, kind, destination_refs, request.lease_duration, new_id)

        return await run_in_transaction(database, write_context, work)

    return await _distribute_fairly(_rotate(workspaces, rotation_start), request.limit, claim)


async def _distribute_fairly(
    groups: Sequence[K], limit: int, take: Callable[[K, int], Awaitable[list[T]]]
) -> list[T]:
    """Call `take(group, share)` for each group until `limit` items are taken.

    A share is an equal part of the remaining limit. ServiceUnavailable is raised only if nothing was taken.
    """
    taken: list[T] = []
    for index, group in enumerate(groups):
        share = math.ceil((limit - len(taken)) / (len(groups) - index))
        if share > 0:
            try:
                taken += await take(group, share)
            except ServiceUnavailable:
                if not taken:
                    raise
                break  # otherwise the destinations taken so far would wait for their lease to expire
    return taken


def _rotated_platforms(request: ClaimRequest, new_id: IdFactory) -> Sequence[str | None]:
    """Return the requested platforms without repetitions, rotated; a single None for all."""
    if request.platforms is None:
        return [None]
    return _rotate(list(dict.fromkeys(request.platforms)), new_id())


def _rotate(items: Sequence[K], random_id: UUID) -> Sequence[K]:
    """Return the items, rotated to a random start so that none is always the last."""
    first = random_id.int % len(items) if items else 0
    return [*items[first:], *items[:first]]


async def _lease(
    uow: UnitOfWork,
    kind: _ClaimKind,
    destination_refs: Sequence[DestinationRef],
    lease_duration: timedelta,
    new_id: IdFactory,
) -> list[Claim]:
    """Apply the transition to locked destinations, save them, and return a claim for each new lease."""
    now = uow.write_context.now
    expires_at = now + lease_duration
    posts = await uow.load_posts({post_id for post_id, _ in destination_refs})
    accounts = await uow.load_accounts(
        {posts[post_id].destination(id_).account_id for post_id, id_ in destination_refs}
    )
    leases: list[tuple[PostId, Lease]] = []
    for post_id, destination_id in destination_refs:
        destination, token = posts[post_id].destination(destination_id), new_id()
        account = accounts[destination.account_id]
        state = kind.transition(destination.state, account, token, expires_at, now)
        posts[post_id] = posts[post_id].with_state(destination_id, state, now)
        # Neither token is the new one if the destination failed, because its account cannot publish.
        if token in (state.lease_token, state.verification_token):
            lease = Lease(
                uow.write_context.workspace_id, post_id, destination_id, state.fence, token
            )
            leases.append((post_id, lease))
    await uow.save_posts(list(posts.values()))
    starts = await kind.load_attempt_starts(
        uow.reader, [lease.destination_id for _, lease in leases]
    )
    claims = []
    for post_id, lease in leases:
        destination = posts[post_id].destination(lease.destination_id)
        account = accounts[destination.account_id]
        start = starts.get(destination.id)
        claims.append(Claim(lease, expires_at, posts[post_id], destination, account, start))
    return claims
