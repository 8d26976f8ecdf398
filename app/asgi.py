"""Builds the ASGI application from the settings, and its lifespan."""

import asyncio
import os
import random
import secrets
import sys
import time
import warnings
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Hashable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, closing, nullcontext
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

import structlog
from starlette.applications import Starlette
from starlette.types import Receive, Scope, Send

from app.db.core.database import Database, open_database
from app.db.migrations import check_schema_version
from app.domain.errors import PostResultsError, ServiceUnavailable
from app.domain.ids import WorkspaceId
from app.domain.times import Clock
from app.graphql.engine.executable_schema import create_schema
from app.graphql.engine.persisted_documents import create_document_store
from app.graphql.schema.context import AppState
from app.graphql.schema.inputs import DestinationFilterInput
from app.graphql.service import ConnectionTimeouts, GraphQLService
from app.graphql.subscription_stream import ResponseCache
from app.graphql.transport.http import GraphQLEndpoint, graphql_error_response
from app.graphql.transport.websocket import GraphQLWebSocketEndpoint, WebSocketConfig
from app.health import probe_routes
from app.http.application import HttpApplication, new_request_id
from app.http.concurrency import ConcurrencyLimiter, EvictingLimiter
from app.http.cors import Cors
from app.http.fair_queue import FairQueue
from app.http.memory_budget import MemoryBudget
from app.http.paths import (
    BOARD_PATH,
    DOCS_PATH,
    GRAPHIQL_PATH,
    GRAPHQL_PATH,
    REST_PATH,
    add_root_path,
)
from app.http.proxy_headers import ProxyHeaders
from app.http.rate_limits import RateLimits, client_network
from app.http.request import ApiRequest, HttpRequest, ResponseLimits
from app.http.responses import BytesResponse
from app.http.routing import ANY_METHOD, Route, Router
from app.http.session_cookies import ReadSession, SessionCookies, no_session
from app.maintenance import run_maintenance
from app.observability.logs import configure_logging
from app.observability.metrics import Metrics
from app.observability.request_recorder import RequestRecorder
from app.outbound.client import OutboundClient
from app.platforms import ADAPTER_PLATFORMS, make_adapters
from app.rest.endpoints import rest_routes
from app.rest.envelope import error_response, mutation_response
from app.rest.exports import export_routes
from app.runtime.computations import is_idle
from app.runtime.fair_slots import FairSlots
from app.runtime.garbage_collection import (
    CHECK_INTERVAL,
    FullCollections,
    tune_garbage_collection,
)
from app.runtime.shutdown import CLEANUP_LIMIT, limited_cleanup, on_shutdown_signal
from app.services.api_keys import CACHE_TTL, ApiKeyAuthenticator, LastUsedRecorder, Viewer
from app.services.board_counts import BoardCounter
from app.services.change_feed import ChangeFeed, run_change_notifier
from app.services.credentials import CredentialVerifier
from app.services.database_clock import DatabaseClock, keep_synchronized
from app.services.expirations import EXPIRATION_INTERVAL
from app.services.exports import ExportChunk, ExportFormat, export_destinations
from app.services.mastodon_authorization import MastodonAuthorizer
from app.services.outages import OutageReader
from app.services.periodic import exit_together, run_periodically
from app.services.proxy_users import ProxyUsers, open_proxy_users
from app.services.retry_policies import load_retry_policies
from app.services.secret_cipher import load_cipher
from app.services.sessions import SessionService
from app.services.webhooks import WebhookService
from app.services.workspaces import load_signing_key
from app.settings import Settings, SettingsError, read_settings
from app.web.board import BoardPage, documents_file
from app.web.docs import DocsPages
from app.web.graphiql import GraphiQLPage
from app.web.index import index_route
from app.web.sessions import SessionEndpoint
from app.web.static_files import STATIC_DIR
from app.worker.process import embedded_worker, webhook_delivery

_UNAUTHENTICATED_SOCKET_DIVISOR = 4
"""Divisor of MAX_SOCKETS for the additional limit on unauthenticated WebSockets."""

_PROBE = "probe"
"""Caller of all requests that check this server."""

_UNSTARTED_RESOLVER = "coroutine '.*_async_resolver' was never awaited"
"""Pattern of a warning that Python would print to the log."""

_LARGE_RESPONSE_RETRY_AFTER_SECONDS = 5
_MAX_LARGE_RESPONSE_BYTES = 256 << 20
"""Memory of large responses that wait until their clients have read them."""

_SWITCH_INTERVAL = timedelta(microseconds=100)
"""Time after which a thread gets the interpreter from a busy one.

A write on SQLite waits for the interpreter after each step of a statement, some 20 times. With Python's
default of 5 ms, a busy event loop could prolong it by 0.1 s.
"""

DEFAULT_CONNECTION_TIMEOUTS = ConnectionTimeouts()

logger = structlog.stdlib.get_logger(__name__)


def now_utc() -> datetime:
    """Return the current time of this machine in UTC."""
    return datetime.now(UTC)


def create_app_from_env() -> "Application":
    """Build the application of a server process; uvicorn's workers call this factory."""
    settings = read_settings(os.environ)
    configure_logging(settings.log_level, settings.log_format)
    try:
        app = create_app(settings, clock=DatabaseClock(now_utc), cleanup_limit=CLEANUP_LIMIT)
    except SettingsError as error:  # in a file that was changed since the server started
        logger.error(str(error))  # noqa: TRY400 - a traceback adds nothing
        sys.exit(1)
    tune_garbage_collection()
    sys.setswitchinterval(_SWITCH_INTERVAL.total_seconds())
    # If a client disconnects, graphql-core may not have started the resolvers of the items of a list.
    warnings.filterwarnings("ignore", _UNSTARTED_RESOLVER, RuntimeWarning)
    return app


def _too_many_large_responses() -> ServiceUnavailable:
    return ServiceUnavailable(
        "Too many large responses wait until their clients have read them, with this API key or in total."
        " Read each response to its end, or request smaller pages.",
        retry_after=_LARGE_RESPONSE_RETRY_AFTER_SECONDS,
    )


def create_app(
    settings: Settings,
    *,
    clock: Clock = now_utc,
    database: Database | None = None,
    expiration_interval: timedelta | None = EXPIRATION_INTERVAL,
    cleanup_limit: timedelta | None = None,
    api_key_cache_ttl: timedelta = CACHE_TTL,
    connection_timeouts: ConnectionTimeouts = DEFAULT_CONNECTION_TIMEOUTS,
    static_dir: Path = STATIC_DIR,
) -> "Application":
    """Build the whole service as an ASGI app.

    The app opens and closes its own database; the caller does so for a `database` it passes. Without an
    `expiration_interval`, the app settles no expirations. With a `cleanup_limit`, a shutdown that takes
    longer ends the process.
    """
    proxy_users = open_proxy_users(settings)
    proxy_headers = None
    if proxy_users is not None:
        proxy_headers = ProxyHeaders(proxy_users.user_header, proxy_users.group_header)
    own_database = None
    if database is None:
        database = own_database = open_database(settings)
    metrics = Metrics(ADAPTER_PLATFORMS)
    graphql_service = _build_graphql_service(
        settings,
        database,
        clock,
        metrics,
        api_key_cache_ttl,
        connection_timeouts,
        documents_file(static_dir),
        proxy_users,
    )
    app_state = graphql_service.app_state
    trusted_only = graphql_service.document_store.trusted_only
    key_prefix, demo_key = settings.api_key_prefix, settings.demo_key() if settings.demo else ""
    graphiql = GraphiQLPage(
        key_prefix=key_prefix,
        demo_key=demo_key,
        trusted_only=trusted_only,
        static_dir=static_dir,
    )
    board = BoardPage(key_prefix=key_prefix, demo_key=demo_key, static_dir=static_dir)
    api_page_path = DOCS_PATH if trusted_only else GRAPHIQL_PATH
    cookies = SessionCookies(settings.public_url, lambda: app_state.signing_key, proxy_headers)
    read_session, read_download = (
        (cookies.read, cookies.read_download) if settings.board else (no_session, no_session)
    )
    recorder = RequestRecorder(metrics)
    queue = FairQueue(
        partial(_identify_caller, graphql_service.authenticator), settings.request_timeout
    )
    http_endpoint = GraphQLEndpoint(
        graphql_service,
        graphiql_page=graphiql.render,
        read_session=read_session,
        max_body_bytes=settings.max_body_bytes,
    )
    router = Router(
        [
            Route(GRAPHQL_PATH, {ANY_METHOD: http_endpoint}),
            *rest_routes(graphql_service, clock, max_body_bytes=settings.max_body_bytes),
            *export_routes(
                graphql_service,
                partial(_open_export, app_state),
                read_download,
                FairSlots(settings.max_exports),
                settings.export_timeout,
            ),
            *([_session_route(graphql_service, cookies), *board.routes] if settings.board else []),
            index_route(lambda: BOARD_PATH if settings.board and board.is_built else api_page_path),
            *graphiql.routes,
            *DocsPages(links_graphiql=not trusted_only, static_dir=static_dir).routes,
            *probe_routes(
                database,
                metrics,
                recorder.flush,
                app_state.cipher,
                clock,
                monotonic=time.monotonic,
                is_draining=app_state.drain_event.is_set,
            ),
        ],
        f"This path was not found. GraphQL is at {{root}}{GRAPHQL_PATH}, the REST API under"
        f" {{root}}{REST_PATH}.",
    )
    return Application(
        http=HttpApplication(
            router,
            recorder=recorder,
            render=partial(_render_error, clock),
            cors=Cors(settings.cors_origins) if settings.cors_origins else None,
            default_rate_limit=app_state.rate_limits.default_status,
            is_draining=app_state.drain_event.is_set,
            queue=queue,
            response_limits=ResponseLimits(
                budget=MemoryBudget(_MAX_LARGE_RESPONSE_BYTES, _too_many_large_responses),
                send_timeout=graphql_service.timeouts.send_timeout,
                slow_period=graphql_service.timeouts.slow_client_period,
            ),
            timeout=settings.request_timeout,
            random_bytes=secrets.token_bytes,
            monotonic=time.monotonic,
        ),
        websocket=GraphQLWebSocketEndpoint(
            _websocket_config(settings, graphql_service, cookies, read_session, queue, metrics)
        ),
        root_path=settings.root_path,
        proxy_headers=proxy_headers,
        lifespan=partial(
            _lifespan,
            owned_database=own_database,
            settings=settings,
            graphql_service=graphql_service,
            proxy_users=proxy_users,
            recorder=recorder,
            metrics=metrics,
            clock=clock,
            expiration_interval=expiration_interval,
            cleanup_limit=cleanup_limit,
        ),
    )


class Application(Starlette):
    """ASGI app of the service: HTTP, WebSockets, and the lifespan of its background tasks."""

    def __init__(
        self,
        *,
        http: HttpApplication,
        websocket: GraphQLWebSocketEndpoint,
        root_path: str,
        proxy_headers: ProxyHeaders | None,
        lifespan: Callable[[Starlette], AbstractAsyncContextManager[None]],
    ) -> None:
        super().__init__(lifespan=lifespan)
        self._http = http
        self._websocket = websocket
        self._root_path = root_path
        self._proxy_headers = proxy_headers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._proxy_headers is not None:
            scope = self._proxy_headers.drop_untrusted(scope)
        if self._root_path:
            scope = add_root_path(scope, self._root_path)
        if scope["type"] == "http":
            await self._http(scope, receive, send)
        elif scope["type"] == "websocket" and scope["path"] == self._root_path + GRAPHQL_PATH:
            await self._websocket(scope, receive, send)
        else:  # the lifespan, and WebSockets of other paths, which Starlette rejects
            await super().__call__(scope, receive, send)


def _build_graphql_service(
    settings: Settings,
    database: Database,
    clock: Clock,
    metrics: Metrics,
    api_key_cache_ttl: timedelta,
    connection_timeouts: ConnectionTimeouts,
    board_documents_file: Path,
    proxy_users: ProxyUsers | None,
) -> GraphQLService:
    """Build the service that executes operations for every transport."""
    schema = create_schema(settings.graphql, use_fast_path=settings.fast_path)
    client = OutboundClient(settings.outbound_rules())
    cipher = load_cipher(settings)
    mastodon_authorizer = MastodonAuthorizer(client, cipher, clock)
    return GraphQLService(
        schema=schema,
        document_store=create_document_store(settings, schema, board_documents_file),
        app_state=AppState(
            database=database,
            clock=clock,
            new_id=uuid4,
            random=random.random,
            retry_policies=load_retry_policies(settings.retry_policy_file),
            change_feed=ChangeFeed(
                database,
                on_read=lambda events: metrics.changes_read(clock() - events[0].happened_at),
            ),
            board_counter=BoardCounter(database, clock, time.monotonic),
            outage_reader=OutageReader(database, clock, time.monotonic),
            webhooks=WebhookService(
                database=database,
                cipher=cipher,
                rules=settings.outbound_rules(),
                client=client,
                new_id=uuid4,
                random_bytes=secrets.token_bytes,
                clock=clock,
                monotonic=time.monotonic,
            ),
            cipher=cipher,
            credential_verifier=CredentialVerifier(
                make_adapters(
                    sandbox_file=settings.sandbox_file,
                    client=client,
                    now=clock,
                    sleep=asyncio.sleep,
                ),
                files=None,
                exchange_code=mastodon_authorizer.request_credentials,
            ),
            mastodon_authorizer=mastodon_authorizer,
            rate_limits=RateLimits(
                requests=settings.rate_limit,
                failed_authentications=settings.failed_auth_rate_limit,
                new_posts=settings.create_rate_limit,
                publishing=settings.publish_rate_limit,
                subscriptions=settings.subscribe_rate_limit,
                sessions=settings.board_rate_limit,
                now=clock,
            ),
            started_at=clock(),
            changes_retention=settings.changes_retention,
            max_wait=max(settings.request_timeout - settings.database_timeout, timedelta(0)),
        ),
        authenticator=ApiKeyAuthenticator(
            database,
            prefix=settings.api_key_prefix,
            monotonic=time.monotonic,
            cache_ttl=api_key_cache_ttl,
            proxy_users=proxy_users,
        ),
        key_usage=LastUsedRecorder(),
        subscription_limiter=ConcurrencyLimiter(
            "subscriptions",
            max_total=settings.max_subscriptions,
            max_per_key=settings.max_subscriptions_per_key,
            on_change=metrics.subscriptions_changed,
        ),
        timeouts=connection_timeouts,
        response_cache=ResponseCache(time.monotonic),
    )


def _websocket_config(
    settings: Settings,
    graphql_service: GraphQLService,
    cookies: SessionCookies,
    read_session: ReadSession,
    queue: FairQueue,
    metrics: Metrics,
) -> WebSocketConfig:
    """Collect the dependencies and limits of WebSockets."""
    return WebSocketConfig(
        service=graphql_service,
        queue=queue,
        metrics=metrics,
        new_request_id=lambda: new_request_id(secrets.token_bytes),
        allowed_origins=settings.cors_origins,
        is_own_origin=cookies.is_own_origin,
        read_session=read_session,
        authenticated_limiter=ConcurrencyLimiter(
            "WebSockets",
            max_total=settings.max_sockets,
            max_per_key=settings.max_subscriptions_per_key,
        ),
        unauthenticated_limiter=EvictingLimiter(
            max(1, settings.max_sockets // _UNAUTHENTICATED_SOCKET_DIVISOR)
        ),
        max_operations=settings.max_subscriptions_per_socket,
        operation_timeout=settings.request_timeout,
    )


@asynccontextmanager
async def _lifespan(
    _app: Starlette,
    *,
    owned_database: Database | None,
    settings: Settings,
    graphql_service: GraphQLService,
    proxy_users: ProxyUsers | None,
    recorder: RequestRecorder,
    metrics: Metrics,
    clock: Clock,
    expiration_interval: timedelta | None,
    cleanup_limit: timedelta | None,
) -> AsyncIterator[None]:
    """Run background tasks from before the first request until after the last one."""
    app_state, database = graphql_service.app_state, graphql_service.app_state.database
    # The recorder is closed last, because requests that the shutdown cancels are logged too.
    with (
        limited_cleanup(cleanup_limit) as begin_cleanup,
        closing(recorder),
        database.on_transition(metrics.transition_committed),
    ):
        async with owned_database or nullcontext():
            await check_schema_version(database)
            app_state.signing_key = await load_signing_key(settings, database)
            if proxy_users is not None:
                await proxy_users.store_keys(database, clock())
            async with (
                keep_synchronized(clock, database),
                run_change_notifier(database, app_state.change_feed.wake),
                run_periodically(
                    "garbage collection",
                    FullCollections(
                        lambda: is_idle() and not database.is_reading, time.monotonic
                    ).collect_if_due,
                    interval=CHECK_INTERVAL,
                ),
                run_maintenance(
                    database,
                    clock,
                    key_usage=graphql_service.key_usage,
                    event_retention=settings.changes_retention,
                    delivery_retention=settings.webhook_retention,
                    expiration_interval=expiration_interval,
                    retry_policies=app_state.retry_policies,
                ),
            ):
                webhooks = webhook_delivery(
                    settings,
                    database,
                    app_state.webhooks.client,
                    signing_key=app_state.signing_key,
                    now=clock,
                )
                worker = embedded_worker(
                    settings, database, app_state.webhooks.client, app_state.retry_policies, clock
                )
                async with app_state.webhooks.client, exit_together(webhooks, worker):
                    with on_shutdown_signal(
                        drain=app_state.drain_event.set,
                        stop=app_state.shutdown_event.set,
                        delay=settings.shutdown_delay,
                    ):
                        yield
                begin_cleanup()
                await graphql_service.response_cache.close()


def _session_route(graphql_service: GraphQLService, cookies: SessionCookies) -> Route:
    """Build the route of sign-in and sign-out, with the functions of packages that `web` does not import."""
    app_state = graphql_service.app_state

    async def authenticate(request: HttpRequest) -> Viewer:
        return (await graphql_service.authenticate_and_charge(request)).viewer

    def respond(request: HttpRequest, data: dict[str, Any]) -> BytesResponse:
        return mutation_response(request, data, app_state.clock(), status=200)

    sessions = SessionService(app_state.database, app_state.clock, secrets.token_bytes)
    return SessionEndpoint(sessions, cookies, authenticate=authenticate, respond=respond).route


def _open_export(
    app_state: AppState,
    workspace_id: WorkspaceId,
    destinations: DestinationFilterInput,
    export_format: str,
    *,
    use_gzip: bool,
    adds_end: bool,
) -> AsyncGenerator[ExportChunk, None]:
    """Export destinations for the REST API, which does not import services."""
    return export_destinations(
        app_state.database,
        workspace_id,
        destinations.to_criteria(),
        export_format=ExportFormat(export_format),
        use_gzip=use_gzip,
        adds_end=adds_end,
        now=app_state.clock(),
    )


def _identify_caller(authenticator: ApiKeyAuthenticator, request: ApiRequest) -> Hashable:
    """Return the API key if it is known, else the address; probes are a caller of their own.

    An unknown key counts as its address: otherwise a client could pass for many callers.
    """
    if request.is_probe:
        return _PROBE
    token = request.token
    key_id = authenticator.cached_key_id(token) if isinstance(token, str) else None
    if key_id:
        return key_id
    return request.client_address and client_network(request.client_address)


def _render_error(clock: Clock, request: HttpRequest, error: PostResultsError) -> BytesResponse:
    """Format an error in the style of the called API: GraphQL on its path, else the REST envelope."""
    if request.path == request.root_path + GRAPHQL_PATH:
        accept = request.combined_header(b"accept")
        return graphql_error_response(accept, request.request_id, error)
    return error_response(request, error, clock())
