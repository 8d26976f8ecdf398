"""DataLoaders: what rows need from other tables, in one statement per batch. Named by what and key.

They do not cache: a socket's context lives as long as the socket, and would serve stale rows.
"""

from collections import defaultdict
from collections.abc import Awaitable, Callable, Hashable, Iterable, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from typing import TypeVar

from strawberry.dataloader import DataLoader

from app.db import accounts, attempts, destinations, posts
from app.db.engine import AnyRow, Reader
from app.domain.accounts import ACTIVITY_WINDOW
from app.domain.ids import AccountId, DestinationId, PostId

KEYS_PER_STATEMENT = 10_000
"""Either engine refuses a statement with more than about 32,000 parameters."""

Key = TypeVar("Key", bound=Hashable)
Read = Callable[[], AbstractAsyncContextManager[Reader]]
Query = Callable[[Reader, Sequence[Key]], Awaitable[Sequence[AnyRow]]]


class Loaders:
    """One of each, sharing a way to read."""

    def __init__(self, read: Read, clock: Callable[[], datetime]) -> None:
        async def activity(reader: Reader, ids: Sequence[AccountId]) -> Sequence[AnyRow]:
            return await accounts.activity_by_account_id(reader, ids, clock() - ACTIVITY_WINDOW)

        self.posts_by_id: DataLoader[PostId, AnyRow | None] = _one(read, posts.posts_by_id, "id")
        self.destinations_by_id: DataLoader[DestinationId, AnyRow | None] = _one(
            read, destinations.destinations_by_id, "id"
        )
        self.destinations_by_post_id: DataLoader[PostId, list[AnyRow]] = _many(
            read, destinations.destinations_by_post_id, "post_id"
        )
        self.accounts_by_id: DataLoader[AccountId, AnyRow | None] = _one(
            read, accounts.accounts_by_id, "id"
        )
        self.activity_by_account_id: DataLoader[AccountId, AnyRow | None] = _one(
            read, activity, "account_id"
        )
        self.attempts_by_destination_id: DataLoader[DestinationId, list[AnyRow]] = _many(
            read, attempts.attempts_by_destination_id, "destination_id"
        )


def _one(read: Read, query: Query[Key], key_column: str) -> DataLoader[Key, AnyRow | None]:
    """At most one row for each key."""

    async def load(keys: list[Key]) -> list[AnyRow | None]:
        found = {getattr(row, key_column): row for row in await _fetch(read, query, keys)}
        return [found.get(key) for key in keys]

    return DataLoader(load_fn=load, cache=False)


def _many(read: Read, query: Query[Key], key_column: str) -> DataLoader[Key, list[AnyRow]]:
    """Any number of rows for each key, in the query's order."""

    async def load(keys: list[Key]) -> list[list[AnyRow]]:
        found: defaultdict[Key, list[AnyRow]] = defaultdict(list)
        for row in await _fetch(read, query, keys):
            found[getattr(row, key_column)].append(row)
        return [found[key] for key in keys]

    return DataLoader(load_fn=load, cache=False)


async def _fetch(read: Read, query: Query[Key], keys: Iterable[Key]) -> Sequence[AnyRow]:
    wanted = list(dict.fromkeys(keys))
    rows: list[AnyRow] = []
    async with read() as reader:
        for start in range(0, len(wanted), KEYS_PER_STATEMENT):
            rows.extend(await query(reader, wanted[start : start + KEYS_PER_STATEMENT]))
    return rows
