"""Publishers claim what is due, or what nobody knows the outcome of. What they then tell is in publishing."""

import math
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TypeAlias, TypeVar
from uuid import UUID

from app.db.attempts import attempts_by_destination_id
from app.db.engine import Database
from app.db.publishing import (
    lock_due,
    lock_unknown,
    workspaces_with_due,
    workspaces_with_unknown,
)
from app.domain.accounts import Account, blocking_message, blocking_reason
from app.domain.destinations import Destination
from app.domain.errors import ServiceUnavailable
from app.domain.ids import AccountId, DestinationId, NewId, PostId, WorkspaceId
from app.domain.leases import Lease
from app.domain.posts import Post
from app.domain.transitions import claimed, verifying, without_access
from app.services.publishing import Publisher
from app.services.writing import Writing, write

K = TypeVar("K")
T = TypeVar("T")

Chosen: TypeAlias = tuple[PostId, DestinationId]

WORKSPACES = 256
"""Among how many with something due a claim chooses; of more, from a random one on."""

POLL = timedelta(milliseconds=250)
"""How often somebody who waits for something to become due looks again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """How much a publisher takes, of what, and for how long."""

    limit: int
    lease: timedelta
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
    last_start: "Start | None" = None
    """Of the attempt whose outcome is to be verified; None where none is logged."""


@dataclass(frozen=True, slots=True)
class Start:
    """When an attempt was started, and by whom."""

    at: datetime
    worker: str | None


async def claim_destinations(
    database: Database, publisher: Publisher, wish: Wish, *, new_id: NewId, now: datetime
) -> list[Claim]:
    """What is due, the longest due first, a fair share of each workspace and platform.

    What is due on an account that cannot post is failed instead, as the server does by itself.
    """
    due = _Kind("claimDestinations", workspaces_with_due, lock_due, _lease_due)
    return await _claim(database, publisher, wish, due, new_id=new_id, now=now)


async def claim_verifications(
    database: Database, publisher: Publisher, wish: Wish, *, new_id: NewId, now: datetime
) -> list[Claim]:
    """Destinations of unknown outcome, for somebody to look whether they are published."""
    unknown = _Kind("claimVerifications", workspaces_with_unknown, lock_unknown, _lease_unknown)
    return await _claim(database, publisher, wish, unknown, new_id=new_id, now=now)


async def waiting_for(
    claim: Callable[[], Awaitable[list[Claim]]],
    wait: timedelta,
    sleep: Callable[[float], Awaitable[None]],
    is_stopping: Callable[[], bool],
) -> list[Claim]:
    """What can be claimed, at once or as soon as there is something; nothing when the time is up.

    Whoever is stopping waits no longer, and claims nothing more.
    """
    claims = await claim()
    for _ in range(wait // POLL):
        if claims or is_stopping():
            break
        await sleep(POLL.total_seconds())
        if is_stopping():
            break
        claims = await claim()
    return claims


@dataclass(frozen=True, slots=True)
class _Kind:
    """Where there is something to claim, how it is taken, and what is given out of it."""

    operation: str
    find_workspaces: Callable[..., Awaitable[list[WorkspaceId]]]
    lock: Callable[..., Awaitable[list[Chosen]]]
    lease: Callable[[Writing, Sequence[Chosen], timedelta, NewId], Awaitable[list[Claim]]]


async def _claim(
    database: Database,
    publisher: Publisher,
    wish: Wish,
    kind: _Kind,
    *,
    new_id: NewId,
    now: datetime,
) -> list[Claim]:
    start = WorkspaceId(new_id())
    async with database.read_all_workspaces() as connection:
        workspaces = await kind.find_workspaces(
            connection,
            now,
            platforms=wish.platforms,
            only=publisher.workspace_id,
            after=start,
            limit=WORKSPACES,
        )

    async def claim(workspace_id: WorkspaceId, limit: int) -> list[Claim]:
        errand = publisher.errand(workspace_id, kind.operation, now)

        async def work(writing: Writing) -> list[Claim]:
            async def lock(platform: str | None, share: int) -> list[Chosen]:
                return await kind.lock(writing.reader, errand.now, platform=platform, limit=share)

            chosen = await _fairly(_platforms(wish, new_id), limit, lock)
            return await kind.lease(writing, chosen, wish.lease, new_id)

        return await write(database, errand, work)

    return await _fairly(_from_any(workspaces, start), wish.limit, claim)


async def _fairly(
    among: Sequence[K], limit: int, take: Callable[[K, int], Awaitable[list[T]]]
) -> list[T]:
    """Of each its share; what one leaves is shared by those after it."""
    taken: list[T] = []
    for index, each in enumerate(among):
        share = math.ceil((limit - len(taken)) / (len(among) - index))
        if share > 0:
            try:
                taken += await take(each, share)
            except ServiceUnavailable:
                if not taken:
                    raise
                break  # what is taken already would wait out its lease if nobody were told of it
    return taken


def _platforms(wish: Wish, new_id: NewId) -> Sequence[str | None]:
    """Each once; None for all."""
    if wish.platforms is None:
        return [None]
    return _from_any(list(dict.fromkeys(wish.platforms)), new_id())


def _from_any(among: Sequence[K], chance: UUID) -> Sequence[K]:
    """The same from any one on and then around, each as likely, so that none is always the last."""
    first = chance.int % len(among) if among else 0
    return [*among[first:], *among[:first]]


async def _lease_due(
    writing: Writing, chosen: Sequence[Chosen], length: timedelta, new_id: NewId
) -> list[Claim]:
    now = writing.errand.now
    posts = await writing.posts({post_id for post_id, _ in chosen})
    accounts = await _accounts_of(writing, posts, chosen)
    leases: dict[DestinationId, Lease] = {}
    for post_id, destination_id in chosen:
        destination = posts[post_id].destination(destination_id)
        state = destination.state
        reason = blocking_reason(accounts[destination.account_id].connection, now)
        if reason is not None:
            state = without_access(state, blocking_message(reason), now)
        else:
            lease = Lease(writing.errand.workspace_id, destination_id, state.fence + 1, new_id())
            leases[destination_id] = lease
            state = claimed(state, lease.token, now + length)
        posts[post_id] = posts[post_id].with_state(destination_id, state, now)
    await writing.save_posts(list(posts.values()))
    return _claims(leases, posts, accounts, chosen, now + length)


async def _lease_unknown(
    writing: Writing, chosen: Sequence[Chosen], length: timedelta, new_id: NewId
) -> list[Claim]:
    now = writing.errand.now
    posts = await writing.posts({post_id for post_id, _ in chosen})
    accounts = await _accounts_of(writing, posts, chosen)
    leases: dict[DestinationId, Lease] = {}
    for post_id, destination_id in chosen:
        state = posts[post_id].destination(destination_id).state
        lease = Lease(writing.errand.workspace_id, destination_id, state.fence, new_id())
        leases[destination_id] = lease
        state = verifying(state, lease.token, now + length)
        posts[post_id] = posts[post_id].with_state(destination_id, state, now)
    await writing.save_posts(list(posts.values()))
    starts = await _last_starts(writing, [each for _, each in chosen])
    claims = _claims(leases, posts, accounts, chosen, now + length)
    return [replace(each, last_start=starts.get(each.lease.destination_id)) for each in claims]


async def _last_starts(
    writing: Writing, destination_ids: Sequence[DestinationId]
) -> Mapping[DestinationId, Start]:
    rows = await attempts_by_destination_id(writing.reader, destination_ids)
    return {row.destination_id: Start(row.started_at, row.worker) for row in rows}


async def _accounts_of(
    writing: Writing,
    posts: Mapping[PostId, Post],
    chosen: Sequence[Chosen],
) -> Mapping[AccountId, Account]:
    return await writing.accounts(
        {posts[post_id].destination(each).account_id for post_id, each in chosen}
    )


def _claims(
    leases: Mapping[DestinationId, Lease],
    posts: Mapping[PostId, Post],
    accounts: Mapping[AccountId, Account],
    chosen: Sequence[Chosen],
    expires_at: datetime,
) -> list[Claim]:
    """Of what was leased, in the order in which it was chosen."""
    claims = []
    for post_id, destination_id in chosen:
        if destination_id in leases:
            destination = posts[post_id].destination(destination_id)
            account = accounts[destination.account_id]
            claims.append(
                Claim(leases[destination_id], expires_at, posts[post_id], destination, account)
            )
    return claims
