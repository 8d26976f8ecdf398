"""Publishers claim what is due, or what nobody knows the outcome of. What they then tell is in publishing."""

import math
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TypeVar

from app.db.engine import Database
from app.db.publishing import (
    lock_due,
    lock_unknown,
    workspaces_with_due,
    workspaces_with_unknown,
)
from app.domain.accounts import Account, blocking_message, blocking_reason
from app.domain.destinations import Destination
from app.domain.ids import AccountId, DestinationId, NewId, PostId, WorkspaceId
from app.domain.leases import Lease
from app.domain.posts import Post
from app.domain.transitions import claimed, verifying, without_access
from app.services.publishing import Publisher
from app.services.writing import Writing, write

K = TypeVar("K")
T = TypeVar("T")

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


async def claim_destinations(
    database: Database, publisher: Publisher, wish: Wish, *, new_id: NewId, now: datetime
) -> list[Claim]:
    """What is due, the longest due first, a fair share of each workspace and platform.

    What is due on an account that cannot post is failed instead, as the server does by itself.
    """
    async with database.read_all_workspaces() as connection:
        workspaces = await workspaces_with_due(
            connection,
            now,
            platforms=wish.platforms,
            only=publisher.workspace_id,
            after=WorkspaceId(new_id()),
            limit=wish.limit,
        )

    async def claim(workspace_id: WorkspaceId, limit: int) -> list[Claim]:
        errand = publisher.errand(workspace_id, "claimDestinations", now)

        async def work(writing: Writing) -> list[Claim]:
            chosen = await _fairly(
                _platforms(wish, new_id),
                limit,
                lambda platform, share: lock_due(
                    writing.reader, errand.now, platform=platform, limit=share
                ),
            )
            return await _claim(writing, chosen, wish.lease, new_id)

        return await write(database, errand, work)

    return await _fairly(workspaces, wish.limit, claim)


async def claim_verifications(
    database: Database, publisher: Publisher, wish: Wish, *, new_id: NewId, now: datetime
) -> list[Claim]:
    """Destinations of unknown outcome, for somebody to look whether they are published."""
    async with database.read_all_workspaces() as connection:
        workspaces = await workspaces_with_unknown(
            connection,
            now,
            only=publisher.workspace_id,
            after=WorkspaceId(new_id()),
            limit=wish.limit,
        )

    async def claim(workspace_id: WorkspaceId, limit: int) -> list[Claim]:
        errand = publisher.errand(workspace_id, "claimVerifications", now)

        async def work(writing: Writing) -> list[Claim]:
            chosen = await _fairly(
                _platforms(wish, new_id),
                limit,
                lambda platform, share: lock_unknown(
                    writing.reader, errand.now, platform=platform, limit=share
                ),
            )
            return await _claim_verifications(writing, chosen, wish.lease, new_id)

        return await write(database, errand, work)

    return await _fairly(workspaces, wish.limit, claim)


async def waiting_for(
    claim: Callable[[], Awaitable[list[Claim]]],
    wait: timedelta,
    sleep: Callable[[float], Awaitable[None]],
) -> list[Claim]:
    """What can be claimed, at once or as soon as there is something; nothing when the time is up."""
    claims = await claim()
    for _ in range(wait // POLL):
        if claims:
            break
        await sleep(POLL.total_seconds())
        claims = await claim()
    return claims


async def _fairly(
    among: Sequence[K], limit: int, take: Callable[[K, int], Awaitable[list[T]]]
) -> list[T]:
    """Of each its share; what one leaves is shared by those after it."""
    taken: list[T] = []
    for index, each in enumerate(among):
        share = math.ceil((limit - len(taken)) / (len(among) - index))
        if share > 0:
            taken += await take(each, share)
    return taken


def _platforms(wish: Wish, new_id: NewId) -> Sequence[str | None]:
    """Each once, from any one on and then around, so that none is always the last; None for all."""
    if not wish.platforms:
        return [None] if wish.platforms is None else []
    platforms = list(dict.fromkeys(wish.platforms))
    first = new_id().int % len(platforms)
    return platforms[first:] + platforms[:first]


async def _claim(
    writing: Writing,
    chosen: Sequence[tuple[PostId, DestinationId]],
    length: timedelta,
    new_id: NewId,
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


async def _claim_verifications(
    writing: Writing,
    chosen: Sequence[tuple[PostId, DestinationId]],
    length: timedelta,
    new_id: NewId,
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
    return _claims(leases, posts, accounts, chosen, now + length)


async def _accounts_of(
    writing: Writing,
    posts: Mapping[PostId, Post],
    chosen: Sequence[tuple[PostId, DestinationId]],
) -> Mapping[AccountId, Account]:
    return await writing.accounts(
        {posts[post_id].destination(each).account_id for post_id, each in chosen}
    )


def _claims(
    leases: Mapping[DestinationId, Lease],
    posts: Mapping[PostId, Post],
    accounts: Mapping[AccountId, Account],
    chosen: Sequence[tuple[PostId, DestinationId]],
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
