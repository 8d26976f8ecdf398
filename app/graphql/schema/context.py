"""What a resolver is given: the viewer, short reads of their workspace, loaders, the clock. No request."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import cached_property

import strawberry

from app.db.core.database import Database, Reader
from app.domain.api_keys import Scope
from app.domain.cursors import CursorCodec
from app.domain.errors import InvalidInput
from app.domain.idempotency import IdempotencyKey, parse_client_key
from app.domain.ids import IdFactory
from app.domain.leases import LeaseCodec, LeaseKind
from app.domain.retry_policy import RetryPolicies
from app.domain.settlement import RetryDecider
from app.domain.times import Clock
from app.graphql.loading.loaders import ListSizeLimit, Loaders
from app.http.rate_limits import RateLimitCharge
from app.http.state import RequestState
from app.services.api_keys import Viewer
from app.services.change_feed import ChangeFeed
from app.services.reports import Publisher
from app.services.unit_of_work import WriteContext


class WaitBudget:
    """How long one answer may still be held back, by all of its fields together."""

    def __init__(self, remaining: timedelta, is_stopping: Callable[[], bool]) -> None:
        """`is_stopping` tells when the server is to wait for nothing any more."""
        self._remaining = remaining
        self.is_stopping = is_stopping

    def consume(self, requested: timedelta) -> timedelta:
        """As much of it as is left."""
        taken = min(requested, self._remaining)
        self._remaining -= taken
        return taken


@dataclass(slots=True, kw_only=True)
class AppState:
    """What all operations of a process have in common."""

    database: Database
    clock: Clock
    new_id: IdFactory
    """Makes the UUIDs of what is created."""
    random: Callable[[], float]
    """From 0 to below 1; draws when a failure is retried."""
    retry_policies: RetryPolicies
    max_wait: timedelta
    """How long the answer to a request may be held back, until there is something to answer."""
    change_feed: ChangeFeed
    cursor_secret: bytes = b""
    """Set when the server has started; the same in all its processes."""
    shutdown_event: asyncio.Event = field(default_factory=asyncio.Event)
    """From when on no answer is held back or kept open any more."""


@dataclass(kw_only=True)
class Context:
    """One operation's surroundings. It holds no session: `read()` opens a short one."""

    viewer: Viewer
    app_state: AppState
    state: RequestState
    """Where facts for the log and the metrics are noted; has the request id."""
    list_limit: ListSizeLimit
    max_values: int | None
    """Of a list or an object in the variables; None where their door has measured them."""
    rate_limit_charge: RateLimitCharge
    """Counts the request, when it is known what it is, and the posts that it creates."""
    implicit_idempotency_key: IdempotencyKey | None = None
    """By what a door knows a repetition for which the client sends no key."""
    rejected_posts: Mapping[int, InvalidInput] = field(default_factory=dict)
    """Of several posts, those whose kind of value no input can carry, by their places among all."""

    def for_next_event(self) -> "Context":
        """For the next answer to the same operation."""
        return replace(self, state=self.state.copy(), list_limit=self.list_limit.for_next_event())

    @cached_property
    def loaders(self) -> Loaders:
        return Loaders(self.read, self.clock, self.list_limit)

    @cached_property
    def wait_budget(self) -> WaitBudget:
        return WaitBudget(self.app_state.max_wait, self.app_state.shutdown_event.is_set)

    @property
    def database(self) -> Database:
        return self.app_state.database

    @property
    def new_id(self) -> IdFactory:
        return self.app_state.new_id

    def clock(self) -> datetime:
        return self.app_state.clock()

    def read(self) -> Reader:
        """Reads of the viewer's workspace, each of its own instant."""
        return self.app_state.database.read(self.viewer.workspace_id)

    def write_context(self, operation: str) -> WriteContext:
        """What the viewer does now, in the viewer's workspace."""
        return WriteContext(
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
    def retry_decider(self) -> RetryDecider:
        return RetryDecider(self.app_state.retry_policies, self.app_state.random)

    def lease_codec(self, kind: LeaseKind) -> LeaseCodec:
        return LeaseCodec(self.app_state.cursor_secret, kind)

    def idempotency_key(self, client_key: str | None) -> IdempotencyKey | None:
        """By what a repetition of this request is known: the client's key, or what its door goes by."""
        return (
            self.implicit_idempotency_key
            if client_key is None
            else parse_client_key(client_key, "idempotencyKey")
        )

    def cursor_codec(self, list_name: str) -> CursorCodec:
        """The cursors of one list in one order, valid in this workspace alone."""
        return CursorCodec(self.app_state.cursor_secret, self.viewer.workspace_id, list_name)


Info = strawberry.Info[Context, None]
