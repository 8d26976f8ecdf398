"""Context of one operation, as `info.context`: viewer, database reads, loaders, clock and limits."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import cached_property, partial

import strawberry

from app.db.core.database import Database, Reader
from app.domain.api_keys import Scope
from app.domain.credentials import NewCredentials
from app.domain.errors import InvalidInput
from app.domain.idempotency import IdempotencyKey, parse_client_key
from app.domain.ids import IdFactory
from app.domain.leases import LeaseCodec, LeaseKind
from app.domain.retry_policy import RetryPolicies
from app.domain.settlement import RetryDecider
from app.domain.signing import CursorCodec
from app.domain.times import Clock
from app.graphql.loading.loaders import Loaders
from app.graphql.loading.response_limit import ResponseLimit
from app.graphql.schema.lookahead import Selection, selection_of
from app.http.rate_limits import RateLimits
from app.http.request import ApiRequest
from app.services import missing_keys
from app.services.api_keys import Viewer
from app.services.board_counts import BoardCounter
from app.services.bulk_plans import CriteriaT, PlanCodec
from app.services.change_feed import ChangeFeed
from app.services.claims import ClaimService
from app.services.credentials import CredentialsToSet, CredentialVerifier, prepare_credentials
from app.services.mastodon_authorization import MastodonAuthorizer
from app.services.outages import OutageReader
from app.services.reports import ReportService
from app.services.secret_cipher import SecretCipher
from app.services.unit_of_work import Publisher, WriteContext
from app.services.webhooks import WebhookService

_JSON_CHARACTERS_PER_VALUE = 25
"""Characters of JSON that take as long to decode and encode as another value takes to complete."""


class WaitBudget:
    """Time that one response may still wait, shared by all of its fields."""

    def __init__(self, remaining: timedelta, is_stopping: Callable[[], bool]) -> None:
        """Set the remaining time; `is_stopping` returns True once the server shuts down."""
        self._remaining = remaining
        self.is_stopping = is_stopping

    def consume(self, requested: timedelta) -> timedelta:
        """Take up to the requested time from the budget and return what was granted."""
        taken = min(requested, self._remaining)
        self._remaining -= taken
        return taken


@dataclass(slots=True, kw_only=True)
class AppState:
    """State shared by all operations of a process."""

    database: Database
    clock: Clock
    new_id: IdFactory
    """Function that creates the UUIDs of new objects."""
    random: Callable[[], float]
    """Function that returns a random number from 0 to below 1, for the jitter of retries."""
    retry_policies: RetryPolicies
    max_wait: timedelta
    """Longest time that a long-polling request may wait for a result."""
    change_feed: ChangeFeed
    board_counter: BoardCounter
    outage_reader: OutageReader
    webhooks: WebhookService
    cipher: SecretCipher
    credential_verifier: CredentialVerifier
    mastodon_authorizer: MastodonAuthorizer
    rate_limits: RateLimits
    started_at: datetime
    """Time when this process started."""
    changes_retention: timedelta
    """Time for which changes are stored."""
    signing_key: bytes = b""
    """Secret of cursors and lease tokens; set on startup, the same in all processes."""
    drain_event: asyncio.Event = field(default_factory=asyncio.Event)
    """Event that is set by a shutdown signal; from then on each response closes its connection."""
    shutdown_event: asyncio.Event = field(default_factory=asyncio.Event)
    """Event that is set when SHUTDOWN_DELAY has passed; from then on no response waits or stays open."""


@dataclass(kw_only=True)
class Context:
    """State of one operation. Holds no database session: each statement of the reader has its own."""

    viewer: Viewer
    app_state: AppState
    reader: Reader
    """Reader of the viewer's workspace; each of its statements sees the latest commit."""
    request: ApiRequest
    """Request id, data for the log and the metrics, and whether a rate limit has counted the request."""
    response_limit: ResponseLimit
    max_argument_values: int | None
    """Maximum number of values in a list or object of the variables; None for REST, with its own limits."""
    implicit_idempotency_key: IdempotencyKey | None = None
    """Key by which the API recognizes a repeated request without a client key."""
    rejected_posts: Mapping[int, InvalidInput] = field(default_factory=dict)
    """Errors of bulk-created posts that no `PostInput` can represent, by their index."""
    unknown_members: Mapping[int, InvalidInput] = field(default_factory=dict)
    """Errors of members that posts do not have, by the index of the post; 0 for a single post."""

    def for_next_event(self) -> "Context":
        """Return the context for the next response of a subscription."""
        return replace(
            self,
            reader=self.database.reader(self.viewer.workspace_id),  # with no rows read yet
            response_limit=self.response_limit.for_next_event(),
        )

    def for_thread(self) -> "Context":
        """Return the context for another event loop, in which loaders of its own are created."""
        return replace(self)

    @cached_property
    def loaders(self) -> Loaders:
        return Loaders(
            self.reader,
            partial(missing_keys.read_worker_key_times, self.database),
            partial(
                missing_keys.accounts_with_unreadable_checkpoints,
                self.database,
                self.viewer.workspace_id,
            ),
            self.app_state.clock,
            self.response_limit,
        )

    @cached_property
    def wait_budget(self) -> WaitBudget:
        return WaitBudget(self.app_state.max_wait, self.app_state.shutdown_event.is_set)

    @property
    def value_count(self) -> int:
        """Number of values that a response may have: rows, entries of lists, and parts of JSON."""
        parts = self.reader.json_character_count // _JSON_CHARACTERS_PER_VALUE
        return self.reader.row_count + self.response_limit.entry_count + parts

    @property
    def database(self) -> Database:
        return self.app_state.database

    def charge_posts(self, count: int) -> None:
        """Count created posts; raises BulkLimitExceeded or RateLimitExceeded."""
        self.app_state.rate_limits.charge_posts(self.request, count)

    @property
    def new_id(self) -> IdFactory:
        return self.app_state.new_id

    def clock(self) -> datetime:
        return self.app_state.clock()

    def write_context(self, operation: str) -> WriteContext:
        """Describe a write of the viewer in their workspace, for events and the log."""
        return WriteContext(
            workspace_id=self.viewer.workspace_id,
            actor=self.viewer.key_id,
            operation=operation,
            now=self.clock(),
            person=self.person,
        )

    @property
    def person(self) -> str | None:
        """Name of the person who is signed in; None for an API key or without a name."""
        return None if self.viewer.session is None else self.viewer.session.person

    @property
    def publisher(self) -> Publisher:
        """Viewer as a publisher: of one workspace, or of all with the scope PUBLISH_ALL."""
        is_publish_all = Scope.PUBLISH_ALL in self.viewer.scopes
        workspace_id = None if is_publish_all else self.viewer.workspace_id
        return Publisher(workspace_id, self.viewer.key_id, self.person)

    @property
    def claims(self) -> ClaimService:
        state = self.app_state
        return ClaimService(
            database=state.database,
            publisher=self.publisher,
            key_ids=None,
            policies=state.retry_policies,
            new_id=state.new_id,
            clock=state.clock,
        )

    @property
    def reports(self) -> ReportService:
        return self.reports_at(self.clock())

    def reports_at(self, now: datetime) -> ReportService:
        """Return the service for reports at this time, which is also the default of reported times."""
        state = self.app_state
        return ReportService(
            database=state.database,
            publisher=self.publisher,
            retry_decider=self.retry_decider,
            new_id=state.new_id,
            clock=lambda: now,
        )

    @property
    def retry_decider(self) -> RetryDecider:
        return RetryDecider(self.app_state.retry_policies, self.app_state.random)

    def lease_codec(self, kind: LeaseKind) -> LeaseCodec:
        return LeaseCodec(self.app_state.signing_key, kind)

    def idempotency_key(self, client_key: str | None) -> IdempotencyKey | None:
        """Return the client's idempotency key, or the implicit one of the API."""
        return (
            self.implicit_idempotency_key
            if client_key is None
            else parse_client_key(client_key, "idempotencyKey")
        )

    def credentials_to_set(self, credentials: NewCredentials) -> CredentialsToSet:
        """Prepare credentials of a request for storing; raises Conflict if the server cannot store any."""
        state = self.app_state
        return prepare_credentials(credentials, state.cipher, state.signing_key)

    def use_credential_verifier(self) -> CredentialVerifier:
        """Count a verification of credentials, and return its service; raises RateLimitExceeded."""
        self.app_state.rate_limits.charge_verification(self.request)
        return self.app_state.credential_verifier

    def use_mastodon_authorizer(self) -> MastodonAuthorizer:
        """Count an authorization like a verification, and return its service.

        Raises Conflict if the server could not encrypt it, and RateLimitExceeded.
        """
        state = self.app_state
        state.cipher.require_key()
        state.rate_limits.charge_verification(self.request)
        return state.mastodon_authorizer

    def cursor_codec(self, list_name: str) -> CursorCodec:
        """Return the codec for cursors of one list in one order, valid in this workspace only."""
        return CursorCodec(self.app_state.signing_key, self.viewer.workspace_id, list_name)

    def plan_codec(self, operation: str, criteria_type: type[CriteriaT]) -> PlanCodec[CriteriaT]:
        """Return the codec for plans of one bulk action, valid in this workspace only."""
        key, workspace_id = self.app_state.signing_key, self.viewer.workspace_id
        return PlanCodec(key, workspace_id, operation, criteria_type)


class Info(strawberry.Info[Context, None]):
    """Argument of resolvers: the context, and what the document selects of the field."""

    @property
    def selection(self) -> Selection:
        return selection_of(self._raw_info)
