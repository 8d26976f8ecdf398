"""What a resolver is given: the viewer, short reads of their workspace, loaders, the clock. No request."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import cached_property

import strawberry

from app.db.engine import Database, Reader
from app.domain.api_keys import Scope
from app.domain.cursors import CursorCodec
from app.domain.endings import RetryRules
from app.domain.errors import InvalidInput
from app.domain.idempotency import RepetitionKey, given_key
from app.domain.ids import NewId
from app.domain.leases import LeaseCodec, LeaseKind
from app.domain.retry_policy import RetryPolicies
from app.domain.times import Clock
from app.graphql.loaders import ListEntries, Loaders
from app.http.rate_limits import RequestCount
from app.http.state import RequestState
from app.services.api_keys import Viewer
from app.services.feeds import Feeds
from app.services.publishing import Publisher
from app.services.writing import Errand


class Patience:
    """How long one answer may still be held back, by all of its fields together."""

    def __init__(self, left: timedelta, is_stopping: Callable[[], bool]) -> None:
        """`is_stopping` tells when the server is to wait for nothing any more."""
        self._left = left
        self.is_stopping = is_stopping

    def take(self, wanted: timedelta) -> timedelta:
        """As much of it as is left."""
        taken = min(wanted, self._left)
        self._left -= taken
        return taken


@dataclass(slots=True, kw_only=True)
class Shared:
    """What all operations of a process have in common."""

    database: Database
    clock: Clock
    new_id: NewId
    """Makes the UUIDs of what is created."""
    random: Callable[[], float]
    """From 0 to below 1; draws when a failure is retried."""
    retry_policies: RetryPolicies
    longest_wait: timedelta
    """How long the answer to a request may be held back, until there is something to answer."""
    feeds: Feeds
    cursor_secret: bytes = b""
    """Set when the server has started; the same in all its processes."""
    stopping: asyncio.Event = field(default_factory=asyncio.Event)
    """From when on no answer is held back or kept open any more."""


@dataclass(kw_only=True)
class Context:
    """One operation's surroundings. It holds no session: `read()` opens a short one."""

    viewer: Viewer
    shared: Shared
    state: RequestState
    """Where facts for the log and the metrics are noted; has the request id."""
    list_entries: ListEntries
    max_values: int | None
    """Of a list or an object in the variables; None where their door has measured them."""
    request_count: RequestCount
    """Counts the request, when it is known what it is, and the posts that it creates."""
    same_request: RepetitionKey | None = None
    """By what a door knows a repetition for which the client sends no key."""
    refused_posts: Mapping[int, InvalidInput] = field(default_factory=dict)
    """Of several posts, those whose kind of value no input can carry, by their places among all."""

    def anew(self) -> "Context":
        """For the next answer to the same operation."""
        return replace(self, state=self.state.copy(), list_entries=self.list_entries.anew())

    @cached_property
    def loaders(self) -> Loaders:
        return Loaders(self.read, self.clock, self.list_entries)

    @cached_property
    def patience(self) -> Patience:
        return Patience(self.shared.longest_wait, self.shared.stopping.is_set)

    @property
    def database(self) -> Database:
        return self.shared.database

    @property
    def new_id(self) -> NewId:
        return self.shared.new_id

    def clock(self) -> datetime:
        return self.shared.clock()

    def read(self) -> Reader:
        """Reads of the viewer's workspace, each of its own instant."""
        return self.shared.database.read(self.viewer.workspace_id)

    def errand(self, operation: str) -> Errand:
        """What the viewer does now, in the viewer's workspace."""
        return Errand(
            workspace_id=self.viewer.workspace_id,
            actor=self.viewer.key_id,
            operation=operation,
            now=self.clock(),
        )

    @property
    def publisher(self) -> Publisher:
        """The viewer as a publisher: in their own workspace, or in all if their key reaches so far."""
        is_everywhere = Scope.PUBLISH_ALL in self.viewer.scopes
        workspace_id = None if is_everywhere else self.viewer.workspace_id
        return Publisher(workspace_id, self.viewer.key_id)

    @property
    def retry_rules(self) -> RetryRules:
        return RetryRules(self.shared.retry_policies, self.shared.random)

    def leases(self, kind: LeaseKind) -> LeaseCodec:
        return LeaseCodec(self.shared.cursor_secret, kind)

    def repetition_key(self, given: str | None) -> RepetitionKey | None:
        """By what a repetition of this request is known: the client's key, or what its door goes by."""
        return self.same_request if given is None else given_key(given, "idempotencyKey")

    def cursors(self, list_name: str) -> CursorCodec:
        """The cursors of one list in one order, valid in this workspace alone."""
        return CursorCodec(self.shared.cursor_secret, self.viewer.workspace_id, list_name)


Info = strawberry.Info[Context, None]
