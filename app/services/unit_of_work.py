"""One transaction in one workspace, on somebody's behalf: what it loads, saves and tells. No rules."""

from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar

from app.db.core.database import Database, Reader, WriteSession
from app.db.repositories.accounts import (
    insert_accounts,
    load_accounts,
    lock_accounts,
    update_accounts,
)
from app.db.repositories.events import append_events
from app.db.repositories.posts import load_posts, lock_posts, write_posts
from app.domain.accounts import Account
from app.domain.events import Event, account_events, post_events
from app.domain.ids import AccountId, ApiKeyId, PostId, WorkspaceId
from app.domain.posts import Post
from app.domain.times import truncate_to_ms

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class WriteContext:
    """Who does what, where and when."""

    workspace_id: WorkspaceId
    actor: ApiKeyId | None
    """None for the operator and for the server itself."""
    operation: str
    """As events tell it: the name of the mutation or command."""
    now: datetime
    """Cut to milliseconds, as everything is stored."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "now", truncate_to_ms(self.now))


class UnitOfWork:
    """The transaction of an errand. Posts are locked before accounts, and the workspace is last."""

    def __init__(self, session: WriteSession, reader: Reader, write_context: WriteContext) -> None:
        self.session = session
        self.reader = reader
        self.errand = write_context
        self._posts: dict[PostId, Post] = {}
        self._accounts: dict[AccountId, Account] = {}
        self._events: list[Event] = []

    async def lock_posts(self, ids: Collection[PostId]) -> None:
        """Nobody else changes those that exist until the end."""
        await lock_posts(self.reader, ids)

    async def lock_accounts(self, ids: Collection[AccountId]) -> None:
        """Nobody else changes those that exist until the end."""
        await lock_accounts(self.reader, ids)

    async def load_posts(self, ids: Collection[PostId]) -> dict[PostId, Post]:
        """Those that exist, deleted ones too; lock them before if they will be saved."""
        found = await load_posts(self.reader, ids)
        self._posts |= found
        return found

    async def load_accounts(self, ids: Collection[AccountId]) -> dict[AccountId, Account]:
        """Those that exist; lock them before if they will be saved."""
        found = await load_accounts(self.reader, ids)
        self._accounts |= found
        return found

    async def save_posts(self, posts: Collection[Post]) -> None:
        """New ones, and changed ones that were locked and loaded."""
        changed = [each for each in posts if self._posts.get(each.id) != each]
        await write_posts(self.session, self.errand.workspace_id, changed, previous=self._posts)
        for each in changed:
            self._events += post_events(self._posts.get(each.id), each)
            self._posts[each.id] = each

    async def save_accounts(self, accounts: Collection[Account]) -> None:
        """New ones, whose numbers are reserved, and changed ones that were locked and loaded."""
        changed = [each for each in accounts if self._accounts.get(each.id) != each]
        known = self._accounts.keys()
        workspace_id = self.errand.workspace_id
        await insert_accounts(
            self.session, workspace_id, [each for each in changed if each.id not in known]
        )
        await update_accounts(
            self.session, workspace_id, [each for each in changed if each.id in known]
        )
        for each in changed:
            self._events += account_events(self._accounts.get(each.id), each)
            self._accounts[each.id] = each

    def add_event(self, event: Event) -> None:
        """Append what no change of a state tells."""
        self._events.append(event)

    async def append_events(self) -> bool:
        """Append the events of everything that was saved; the last that a transaction does.

        Whether there is any.
        """
        await append_events(
            self.session,
            self.errand.workspace_id,
            self._events,
            actor=self.errand.actor,
            operation=self.errand.operation,
            now=self.errand.now,
        )
        return bool(self._events)


async def run_in_transaction(
    database: Database, write_context: WriteContext, work: Callable[[UnitOfWork], Awaitable[T]]
) -> T:
    """Run an errand in one transaction; on any exception nothing is kept."""

    has_events = False

    async def transaction(session: WriteSession) -> T:
        nonlocal has_events
        reader = database.reader_in(session, write_context.workspace_id)
        writing = UnitOfWork(session, reader, write_context)
        result = await work(writing)
        has_events = await writing.append_events()
        return result

    result = await database.write(transaction)
    if has_events:
        database.notify_commit(write_context.workspace_id)
    return result
