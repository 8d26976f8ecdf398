"""Unit of work: one transaction in one workspace, with the events of everything that it saves."""

from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Self, TypeVar

from app.db.core.database import Database, Reader
from app.db.core.write_session import WriteSession
from app.db.repositories.accounts import load_accounts, lock_accounts, write_accounts
from app.db.repositories.events import append_events
from app.db.repositories.posts import (
    load_post_and_attempts_for_update,
    load_posts,
    load_posts_for_update,
    write_posts,
)
from app.domain.accounts import Account
from app.domain.attempts import Attempt
from app.domain.events import Event, account_events, post_events
from app.domain.ids import AccountId, ApiKeyId, DestinationId, PostId, WorkspaceId
from app.domain.posts import Post
from app.domain.settlement import Transition, lease_lost_error
from app.domain.times import truncate_to_ms
from app.services.media_check_plans import plan_media_checks

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class WriteContext:
    """The workspace, actor, operation and time of a write."""

    workspace_id: WorkspaceId
    actor: ApiKeyId | None
    """None for the operator and for the server itself."""
    operation: str
    """Name of the mutation or command, as stored in events."""
    now: datetime
    """Truncated to milliseconds, like all stored times."""
    person: str | None = None
    """Name of the person who uses the key, in a session."""

    @classmethod
    def without_actor(cls, workspace_id: WorkspaceId, operation: str, now: datetime) -> Self:
        """Return the context of a write by the operator or by the server itself."""
        return cls(workspace_id=workspace_id, actor=None, operation=operation, now=now)

    def __post_init__(self) -> None:
        object.__setattr__(self, "now", truncate_to_ms(self.now))


@dataclass(frozen=True, slots=True)
class Publisher:
    """Client or worker that publishes, with the workspaces in which it may."""

    workspace_id: WorkspaceId | None
    """The only workspace; None for all."""
    actor: ApiKeyId | None
    """None for the operator's own worker."""
    person: str | None = None
    """Name of the person who uses the key, in a session."""

    def write_context(
        self, workspace_id: WorkspaceId, operation: str, now: datetime
    ) -> WriteContext:
        """Return the context; raises LeaseLost for another workspace, to reveal nothing about it."""
        if self.workspace_id not in (None, workspace_id):
            raise lease_lost_error()
        return WriteContext(
            workspace_id=workspace_id,
            actor=self.actor,
            operation=operation,
            now=now,
            person=self.person,
        )


class UnitOfWork:
    """Reads and writes of one transaction, and the events that they cause.

    Lock order: posts, then accounts, then (by `append_events`) the workspace.
    """

    def __init__(self, session: WriteSession, reader: Reader, write_context: WriteContext) -> None:
        self.session = session
        self.reader = reader
        self.write_context = write_context
        self._posts: dict[PostId, Post] = {}
        self._accounts: dict[AccountId, Account] = {}
        self._events: list[Event] = []
        self.transitions: list[tuple[str, Transition]] = []
        """Saved transitions of destinations, each with its platform."""

    async def lock_accounts(self, ids: Collection[AccountId]) -> None:
        """Lock the accounts that exist until the transaction ends."""
        await lock_accounts(self.reader, ids)

    async def load_posts(self, ids: Collection[PostId]) -> dict[PostId, Post]:
        """Load the posts that exist, deleted ones included. Lock them first if they will be saved."""
        posts = await load_posts(self.reader, ids)
        self._posts |= posts
        return posts

    async def load_posts_for_update(self, ids: Collection[PostId]) -> dict[PostId, Post]:
        """Lock the posts that exist until the transaction ends, and load them."""
        posts = await load_posts_for_update(self.reader, ids)
        self._posts |= posts
        return posts

    async def load_post_and_attempts_for_update(
        self, post_id: PostId, destination_id: DestinationId
    ) -> tuple[Post, list[Attempt]] | None:
        """Lock and load a post, with the attempt log of one destination; None if it does not exist."""
        loaded = await load_post_and_attempts_for_update(self.reader, post_id, destination_id)
        if loaded is not None:
            self._posts[post_id] = loaded[0]
        return loaded

    async def load_accounts(self, ids: Collection[AccountId]) -> dict[AccountId, Account]:
        """Load the accounts that exist. Lock them first if they will be saved."""
        accounts = await load_accounts(self.reader, ids)
        self._accounts |= accounts
        return accounts

    async def save_posts(self, posts: Collection[Post]) -> None:
        """Save new posts, and changed posts that were locked and loaded before."""
        changed = [post for post in posts if self._posts.get(post.id) != post]
        await write_posts(self.session, changed, previous=self._posts)
        await plan_media_checks(
            self.session,
            [(self._posts.get(post.id), post) for post in changed],
            self.write_context.now,
        )
        for post in changed:
            self._events += post_events(self._posts.get(post.id), post)
            self._posts[post.id] = post

    async def save_accounts(self, accounts: Collection[Account]) -> None:
        """Save new accounts with allocated ids, and changed accounts that were locked and loaded."""
        changed = [account for account in accounts if self._accounts.get(account.id) != account]
        await write_accounts(self.session, changed, previous=self._accounts)
        for account in changed:
            self._events += account_events(self._accounts.get(account.id), account)
            self._accounts[account.id] = account

    def add_event(self, event: Event) -> None:
        """Add an event that no change of a saved state implies."""
        self._events.append(event)

    async def append_events(self) -> bool:
        """Append the events of everything saved, as the last step; return True if there are any."""
        await append_events(
            self.session,
            self._events,
            actor=self.write_context.actor,
            person=self.write_context.person,
            operation=self.write_context.operation,
            now=self.write_context.now,
        )
        return bool(self._events)


async def run_in_transaction(
    database: Database, write_context: WriteContext, work: Callable[[UnitOfWork], Awaitable[T]]
) -> T:
    """Run `work` in one transaction, append its events, commit, and notify of the commit and its transitions.

    Any exception rolls back. `work` may be repeated; see `PostgreSQLDriver.write`.
    """

    async def transaction(session: WriteSession) -> tuple[T, bool, UnitOfWork]:
        uow = UnitOfWork(session, database.reader_in(session), write_context)
        return await work(uow), await uow.append_events(), uow

    result, has_events, uow = await database.write(write_context.workspace_id, transaction)
    if has_events:
        database.notify_commit(write_context.workspace_id)
    for platform, transition in uow.transitions:
        database.notify_transition(platform, transition)
    return result
