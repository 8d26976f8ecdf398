"""The application: its doors, its edge and its life from start to stop. Listening is in app.server."""

import asyncio
import gc
import os
import random
import secrets
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, nullcontext
from datetime import UTC, datetime, timedelta
from functools import partial
from uuid import uuid4

import structlog
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from app.background import TICK
from app.db.engine import Database
from app.db.migrations import check_schema_version
from app.db.workspaces import deployment_secret
from app.domain.errors import MethodNotAllowed, NotFound, PostResultsError
from app.domain.times import Clock
from app.explorer.page import Explorer
from app.graphql.app import GraphQLEndpoint, graphql_error
from app.graphql.context import Shared
from app.graphql.documents import Documents, make_documents
from app.graphql.door import GraphQLDoor
from app.graphql.schema import make_schema
from app.graphql.sockets.handshake import SocketEndpoint
from app.graphql.sockets.terms import Terms
from app.graphql.streams.answers import SharedAnswers
from app.graphql.streams.times import Times
from app.housekeeping import keeping_house
from app.http.cors import with_cors
from app.http.deadline import Deadline
from app.http.last_resort import LastResort
from app.http.places import Places
from app.http.rate_limits import RateLimits
from app.http.requests import Requests, new_request_id
from app.http.root_path import UnderRootPath
from app.http.state import request_state
from app.observability.logs import configure_logging
from app.observability.metrics import Metrics
from app.observability.requests import Observer
from app.observability.sockets import SocketObserver
from app.probes import probe_routes
from app.rest.envelope import envelope_error
from app.rest.routes import rest_routes
from app.services.api_keys import BELIEVED_FOR, Keys, KeyUsage
from app.services.feeds import Feeds
from app.services.retry_policies import load_retry_policies
from app.services.wakeups import telling_of_changes
from app.settings import Settings, SettingsError, read_settings
from app.stopping import told_to_stop
from app.worker.starting import worker_beside

GRAPHQL_PATH = "/graphql"

_GARBAGE_THRESHOLDS = (5_000, 20, 10)
"""A connection that was open for long is found by none but the third; thousands may come back at once."""

_SHARE_OF_UNKNOWN = 4
"""Of all WebSockets, a fourth may be of clients that have not said yet who they are."""

DEFAULT_TIMES = Times()

logger = structlog.stdlib.get_logger(__name__)


def now_utc() -> datetime:
    """The one clock of the running service."""
    return datetime.now(UTC)


def from_environment() -> Starlette:
    """The application of a server process, as uvicorn's workers make it."""
    settings = read_settings(os.environ)
    configure_logging(settings.log_level, settings.log_format)
    try:
        app = create_app(settings)
    except SettingsError as error:  # in a file that was changed while the server ran
        logger.error(str(error))  # noqa: TRY400 - a traceback says nothing more
        sys.exit(1)
    _look_for_garbage_less_often()
    return app


def _look_for_garbage_less_often() -> None:
    """What is there by now stays for good, and an answer makes thousands of objects that are soon gone.

    With Python's own thresholds answers wait for looks at all of it again and again.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_GARBAGE_THRESHOLDS)


def create_app(
    settings: Settings,
    *,
    clock: Clock = now_utc,
    database: Database | None = None,
    tick: timedelta = TICK,
    keys_believed_for: timedelta = BELIEVED_FOR,
    times: Times = DEFAULT_TIMES,
) -> Starlette:
    """The whole service as an ASGI app. At its stop it closes its database, but not one that was given."""
    own_database = None
    if database is None:
        database = own_database = Database(
            settings.database_url,
            pool_size=settings.database_pool_size,
            timeout=settings.database_timeout,
        )
    metrics = Metrics()
    rate_limits = RateLimits(
        requests=settings.rate_limit,
        failed_authentications=settings.failed_auth_rate_limit,
        new_posts=settings.create_rate_limit,
        publishing=settings.publish_rate_limit,
        subscribing=settings.subscribe_rate_limit,
        now=clock,
    )
    keys = Keys(
        database,
        prefix=settings.api_key_prefix,
        monotonic=time.monotonic,
        believed_for=keys_believed_for,
    )
    door = _door(settings, database, clock, keys, rate_limits, metrics, times)
    documents = make_documents(settings, door.schema)
    explorer = Explorer(
        key_prefix=settings.api_key_prefix,
        demo_key=settings.demo_key() if settings.demo else "",
        trusted_only=documents.trusted_only,
    )
    observer = Observer(metrics)
    render = _Renderer(clock)
    endpoint = GraphQLEndpoint(
        door,
        documents,
        page=explorer.page,
        max_body_bytes=settings.max_body_bytes,
        max_list_entries=settings.graphql.list_entries,
        max_values=settings.graphql.ids,
    )
    sockets = SocketEndpoint(
        _terms(settings, door, documents, SocketObserver(metrics)), origins=settings.cors_origins
    )
    app = Starlette(
        routes=[
            *explorer.routes,
            *rest_routes(door, clock, max_body_bytes=settings.max_body_bytes),
            *probe_routes(database, metrics, clock),
        ],
        lifespan=partial(
            _life, closing=own_database, settings=settings, door=door, clock=clock, tick=tick
        ),
        exception_handlers={HTTPException: render.http_exception},
        middleware=[
            Middleware(UnderRootPath, root_path=settings.root_path),
            Middleware(
                Requests,
                observer=observer,
                rate_limits=rate_limits,
                random_bytes=secrets.token_bytes,
                monotonic=time.monotonic,
            ),
            Middleware(with_cors, settings.cors_origins, render),
            Middleware(LastResort, render=render, report=observer.request_failed),
            Middleware(Deadline, timeout=settings.request_timeout, render=render),
            Middleware(_GraphQLFirst, endpoint=endpoint, sockets=sockets),
        ],
    )
    # An answer without a body would be a surprise, and a POST must not be sent twice.
    app.router.redirect_slashes = False
    return app


def _door(
    settings: Settings,
    database: Database,
    clock: Clock,
    keys: Keys,
    rate_limits: RateLimits,
    metrics: Metrics,
    times: Times,
) -> GraphQLDoor:
    """What runs operations, for every endpoint."""
    return GraphQLDoor(
        schema=make_schema(settings.graphql, is_fast=settings.fast_path),
        shared=Shared(
            database=database,
            clock=clock,
            new_id=uuid4,
            random=random.random,
            retry_policies=load_retry_policies(settings.retry_policy_file),
            feeds=Feeds(database),
            longest_wait=max(settings.request_timeout - settings.database_timeout, timedelta(0)),
        ),
        rate_limits=rate_limits,
        keys=keys,
        key_usage=KeyUsage(),
        places=Places(
            "subscriptions",
            in_all=settings.max_subscriptions,
            per_key=settings.max_subscriptions_per_key,
            count=metrics.subscriptions_changed,
        ),
        times=times,
        answers=SharedAnswers(time.monotonic),
    )


def _terms(
    settings: Settings, door: GraphQLDoor, documents: Documents, observer: SocketObserver
) -> Terms:
    """Under which WebSockets are served."""
    return Terms(
        door=door,
        documents=documents,
        observer=observer,
        new_request_id=lambda: new_request_id(secrets.token_bytes),
        sockets=Places(
            "WebSockets",
            in_all=settings.max_sockets,
            per_key=settings.max_subscriptions_per_key,
        ),
        unknown_sockets=Places(
            "WebSockets of clients that have not said who they are",
            in_all=max(1, settings.max_sockets // _SHARE_OF_UNKNOWN),
            per_key=settings.max_sockets,
        ),
        max_operations=settings.max_subscriptions_per_socket,
        max_list_entries=settings.graphql.list_entries,
        max_values=settings.graphql.ids,
        answer_within=settings.request_timeout,
        times=door.times,
    )


@asynccontextmanager
async def _life(
    _app: Starlette,
    *,
    closing: Database | None,
    settings: Settings,
    door: GraphQLDoor,
    clock: Clock,
    tick: timedelta,
) -> AsyncIterator[None]:
    """From before the first request to after the last one."""
    shared, database = door.shared, door.shared.database
    async with closing or nullcontext():
        await check_schema_version(database)
        shared.cursor_secret = await _cursor_secret(settings, database)
        async with (
            telling_of_changes(database, shared.feeds.wake),
            keeping_house(
                database,
                clock,
                key_usage=door.key_usage,
                changes_kept_for=settings.changes_retention,
                tick=tick,
            ),
            worker_beside(settings, database, shared.retry_policies, clock),
        ):
            # A signal comes at any moment, also between two steps of whoever looks whether to stop.
            stop = partial(asyncio.get_running_loop().call_soon_threadsafe, shared.stopping.set)
            with told_to_stop(stop):
                yield
            await door.answers.end()


def _is_graphql(scope: Scope) -> bool:
    path: str = scope["path"]
    return path.removeprefix(scope.get("root_path", "")) == GRAPHQL_PATH


class _GraphQLFirst:
    """Serves the one path that most requests ask for, without a look through the table of routes."""

    def __init__(self, app: ASGIApp, *, endpoint: GraphQLEndpoint, sockets: SocketEndpoint) -> None:
        self.app = app
        self._endpoint = endpoint
        self._sockets = sockets

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and _is_graphql(scope):
            request_state(scope)["route"] = GRAPHQL_PATH
            await self._endpoint(scope, receive, send)
        elif scope["type"] == "websocket" and _is_graphql(scope):
            await self._sockets(scope, receive, send)
        else:
            await self.app(scope, receive, send)


class _Renderer:
    """Gives an error the form of the door that it was met at."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def __call__(self, scope: Scope, error: PostResultsError) -> Response:
        if _is_graphql(scope):
            return graphql_error(scope, error)
        return envelope_error(scope, error, self._clock())

    def http_exception(self, request: Request, exception: Exception) -> Response:
        """What Starlette's router refuses: unknown paths, and methods that a path does not have."""
        assert isinstance(exception, HTTPException)  # noqa: S101 - registered for nothing else
        headers = dict(exception.headers or {})
        error: PostResultsError
        if exception.status_code == 405:
            # The router names the methods in the order of a set: another one in each process.
            headers["Allow"] = ", ".join(sorted(headers["Allow"].split(", ")))
            error = MethodNotAllowed(
                f"{request.method} is not possible here; use {headers['Allow']}."
            )
        else:
            root = request.scope.get("root_path", "")
            error = NotFound(
                f"This path was not found. GraphQL is at {root}{GRAPHQL_PATH}, the REST API under"
                f" {root}/v1."
            )
        response = self(request.scope, error)
        response.headers.update(headers)
        return response


async def _cursor_secret(settings: Settings, database: Database) -> bytes:
    if settings.secret_key is not None:
        return settings.secret_key.encode()
    async with database.read_all_workspaces() as connection:
        return await deployment_secret(connection)
