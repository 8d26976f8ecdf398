"""Publishers claim what is due, or what nobody knows the outcome of. What they then tell is in publishing."""

import math
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TypeAlias, TypeVar
from uuid import UUID

from app.db.core.database import Database
from app.db.repositories.attempts import attempts_by_destination_id
from app.db.repositories.claims import (
    lock_due_destinations,
    lock_unknown_outcomes,
    workspaces_with_due_destinations,
    workspaces_with_unknown_outcomes,
)
from app.domain.accounts import Account, blocking_message, blocking_reason
from app.domain.destinations import Destination
from app.domain.errors import ServiceUnavailable
from app.domain.ids import AccountId, DestinationId, IdFactory, PostId, WorkspaceId
from app.domain.leases import Lease
from app.domain.posts import Post
from app.domain.transitions import auth_failed, claimed, verification_claimed
from app.services.reports import Publisher
from app.services.unit_of_work import UnitOfWork, run_in_transaction

K = TypeVar("K")
T = TypeVar("T")

DestinationRef: TypeAlias = tuple[PostId, DestinationId]

MAX_CLAIM_WORKSPACES = 256
"""Among how many with something due a claim chooses; of more, from a random one on."""

CLAIM_POLL_INTERVAL = timedelta(milliseconds=250)
"""How often somebody who waits for something to become due looks again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimRequest:
    """How much a publisher takes, of what, and for how long."""

    limit: int
    lease_duration: timedelta
    platforms: Sequence[str] | None
    """None for all, an empty list for none."""


@dataclass(frozen=True, slots=True)
class Claim:
    """A destination that was given out, with all that a publisher needs."""

    lease: Lease
    expires_at: datetime
    post: Post
    destination: Destination
    account: Account
    last_attempt_start: "AttemptStart | None" = None
    """Of the attempt whose outcome is to be verified; None where none is logged."""


@dataclass(frozen=True, slots=True)
class AttemptStart:
    """When an attempt was started, and by whom."""

    started_at: datetime
    worker: str | None


async def claim_destinations(
    database: Database,
    publisher: Publisher,
    request: ClaimRequest,
    *,
    new_id: IdFactory,
    now: datetime,
) -> list[Claim]:
    """What is due, the longest due first, a fair share of each workspace and platform.

    What is due on an account that cannot post is failed instead, as the server does by itself.
    """
    due = _ClaimKind(
        "claimDestinations", workspaces_with_due_destinations, lock_due_destinations, _lease_due
    )
    return await _claim(database, publisher, request, due, new_id=new_id, now=now)


async def claim_verifications(
    database: Database,
    publisher: Publisher,
    request: ClaimRequest,
    *,
    new_id: IdFactory,
    now: datetime,
) -> list[Claim]:
    """Destinations of unknown outcome, for somebody to look whether they are published."""
    unknown = _ClaimKind(
        "claimVerifications",
        workspaces_with_unknown_outcomes,
        lock_unknown_outcomes,
        _lease_unknown,
    )
    return await _claim(database, publisher, request, unknown, new_id=new_id, now=now)


async def poll_for_claims(
    claim: Callable[[], Awaitable[list[Claim]]],
    wait: timedelta,
    sleep: Callable[[float], Awaitable[None]],
    is_stopping: Callable[[], bool],
) -> list[Claim]:
    """What can be claimed, at once or as soon as there is something; nothing when the time is up.

    Whoever is stopping waits no longer, and claims nothing more.
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
    """Where there is something to claim, how it is taken, and what is given out of it."""

    operation: str
    find_workspaces: Callable[..., Awaitable[list[WorkspaceId]]]
    lock: Callable[..., Awaitable[list[DestinationRef]]]
    lease: Callable[
        [UnitOfWork, Sequence[DestinationRef], timedelta, IdFactory], Awaitable[list[Claim]]
    ]


async def _claim(
    database: Database,
    publisher: Publisher,
    request: ClaimRequest,
    kind: _ClaimKind,
    *,
    new_id: IdFactory,
    now: datetime,
) -> list[Claim]:
    start = WorkspaceId(new_id())
    async with database.unscoped_connection() as connection:
        workspaces = await kind.find_workspaces(
            connection,
            now,
            platforms=request.platforms,
            workspace_id=publisher.workspace_id,
            rotation_start=start,
            limit=MAX_CLAIM_WORKSPACES,
        )

    async def claim(workspace_id: WorkspaceId, limit: int) -> list[Claim]:
        errand = publisher.write_context(workspace_id, kind.operation, now)

        async def work(uow: UnitOfWork) -> list[Claim]:
            async def lock(platform: str | None, share: int) -> list[DestinationRef]:
                return await kind.lock(uow.reader, errand.now, platform=platform, limit=share)

            chosen = await _take_fair_shares(_rotated_platforms(request, new_id), limit, lock)
            return await kind.lease(uow, chosen, request.lease_duration, new_id)

        return await run_in_transaction(database, errand, work)

    return await _take_fair_shares(_rotate(workspaces, start), request.limit, claim)


async def _take_fair_shares(
    groups: Sequence[K], limit: int, take: Callable[[K, int], Awaitable[list[T]]]
) -> list[T]:
    """Of each its share; what one leaves is shared by those after it."""
    taken: list[T] = []
    for index, each in enumerate(groups):
        share = math.ceil((limit - len(taken)) / (len(groups) - index))
        if share > 0:
            try:
                taken += await take(each, share)
            except ServiceUnavailable:
                if not taken:
                    raise
                break  # what is taken already would wait out its lease if nobody were told of it
    return taken


def _rotated_platforms(request: ClaimRequest, new_id: IdFactory) -> Sequence[str | None]:
    """Each once; None for all."""
    if request.platforms is None:
        return [None]
    return _rotate(list(dict.fromkeys(request.platforms)), new_id())


def _rotate(items: Sequence[K], random_id: UUID) -> Sequence[K]:
    """The same from any one on and then around, each as likely, so that none is always the last."""
    first = random_id.int % len(items) if items else 0
    return [*items[first:], *items[:first]]


async def _lease_due(
    uow: UnitOfWork,
    destination_refs: Sequence[DestinationRef],
    lease_duration: timedelta,
    new_id: IdFactory,
) -> list[Claim]:
    now = uow.errand.now
    posts = await uow.load_posts({post_id for post_id, _ in destination_refs})
    accounts = await _load_claimed_accounts(uow, posts, destination_refs)
    leases: dict[DestinationId, Lease] = {}
    for post_id, destination_id in destination_refs:
        destination = posts[post_id].destination(destination_id)
        state = destination.state
        reason = blocking_reason(accounts[destination.account_id].connection, now)
        if reason is not None:
            state = auth_failed(state, blocking_message(reason), now)
        else:
            lease = Lease(uow.errand.workspace_id, destination_id, state.fence + 1, new_id())
            leases[destination_id] = lease
            state = claimed(state, lease.token, now + lease_duration)
        posts[post_id] = posts[post_id].with_state(destination_id, state, now)
    await uow.save_posts(list(posts.values()))
    return _build_claims(leases, posts, accounts, destination_refs, now + lease_duration)


async def _lease_unknown(
    uow: UnitOfWork,
    destination_refs: Sequence[DestinationRef],
    lease_duration: timedelta,
    new_id: IdFactory,
) -> list[Claim]:
    now = uow.errand.now
    posts = await uow.load_posts({post_id for post_id, _ in destination_refs})
    accounts = await _load_claimed_accounts(uow, posts, destination_refs)
    leases: dict[DestinationId, Lease] = {}
    for post_id, destination_id in destination_refs:
        state = posts[post_id].destination(destination_id).state
        lease = Lease(uow.errand.workspace_id, destination_id, state.fence, new_id())
        leases[destination_id] = lease
        state = verification_claimed(state, lease.token, now + lease_duration)
        posts[post_id] = posts[post_id].with_state(destination_id, state, now)
    await uow.save_posts(list(posts.values()))
    starts = await _load_attempt_starts(uow, [each for _, each in destination_refs])
    claims = _build_claims(leases, posts, accounts, destination_refs, now + lease_duration)
    return [
        replace(each, last_attempt_start=starts.get(each.lease.destination_id)) for each in claims
    ]


async def _load_attempt_starts(
    uow: UnitOfWork, destination_ids: Sequence[DestinationId]
) -> Mapping[DestinationId, AttemptStart]:
    rows = await attempts_by_destination_id(uow.reader, destination_ids)
    return {row.destination_id: AttemptStart(row.started_at, row.worker) for row in rows}


async def _load_claimed_accounts(
    uow: UnitOfWork,
    posts: Mapping[PostId, Post],
    destination_refs: Sequence[DestinationRef],
) -> Mapping[AccountId, Account]:
    return await uow.load_accounts(
        {posts[post_id].destination(each).account_id for post_id, each in destination_refs}
    )


def _build_claims(
    leases: Mapping[DestinationId, Lease],
    posts: Mapping[PostId, Post],
    accounts: Mapping[AccountId, Account],
    destination_refs: Sequence[DestinationRef],
    expires_at: datetime,
) -> list[Claim]:
    """Of what was leased, in the order in which it was chosen."""
    claims = []
    for post_id, destination_id in destination_refs:
        if destination_id in leases:
            destination = posts[post_id].destination(destination_id)
            account = accounts[destination.account_id]
            claims.append(
                Claim(leases[destination_id], expires_at, posts[post_id], destination, account)
            )
    return claims
