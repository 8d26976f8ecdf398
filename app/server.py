"""Starts the server: binds the port, migrates the database, prints the URLs, and runs uvicorn."""

import asyncio
import os
import secrets
import signal
import socket
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from uuid import uuid4

import click
import uvicorn
from uvicorn.config import STARTUP_FAILURE
from uvicorn.supervisors import Multiprocess

from app import __version__
from app.asgi import now_utc
from app.db.core.database import open_database
from app.db.migrations import migrate
from app.db.tools.pooler_check import check_pooler
from app.demo import load_demo, send_demo_posts
from app.graphql.engine.executable_schema import create_schema
from app.graphql.engine.persisted_documents import create_document_store
from app.http.paths import GRAPHIQL_PATH, GRAPHQL_PATH, READINESS_PATH, REST_PATH
from app.http.websocket_protocol import WebSocketProtocol
from app.observability.logs import configure_logging
from app.platforms import check_sandbox_file
from app.services.retry_policies import load_retry_policies
from app.services.workspaces import create_first_workspace
from app.settings import Settings, SettingsError
from app.worker.process import describe_worker

if sys.platform != "win32":
    import resource

_DEMO_POST_ID = "f47ac10b-58cc-4372-a567-0e02b2c3d479"
_BACKLOG = 2048
_MAX_FRAME_BYTES = 64 * 1024
_PING_INTERVAL_SECONDS = 20.0
_PONG_TIMEOUT_SECONDS = 10.0
"""Limit of the wait for a pong; a frozen client is closed after the ping interval plus this time."""
_TCP_USER_TIMEOUT_MS = 30_000
"""Time for which sent data may stay unacknowledged; no other timeout ends such a connection."""
_STARTUP_TIMEOUT_SECONDS = 60
"""Time for a server process to start; validating a long list of trusted documents takes a while."""


def serve_forever(settings: Settings) -> None:
    """Serve until a signal. The port is bound before the database is changed."""
    configure_logging(settings.log_level, settings.log_format)
    # Each process reads these files itself; reading them here reports an error once, in a sentence.
    create_document_store(
        settings, create_schema(settings.graphql, use_fast_path=settings.fast_path)
    )
    load_retry_policies(settings.retry_policy_file)
    if settings.with_worker:
        check_sandbox_file(settings.sandbox_file)
    listener = _bind(settings)
    _raise_fd_limit()
    with listener, _multiprocess_metrics(settings):
        api_key = asyncio.run(_bootstrap_database(settings))
        click.echo(_startup_banner(settings, listener, api_key))
        config = uvicorn.Config(
            "app.asgi:create_app_from_env",
            factory=True,
            workers=settings.workers,
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=bool(settings.trusted_proxies),
            forwarded_allow_ips=list(settings.trusted_proxies),
            backlog=_BACKLOG,
            ws=WebSocketProtocol,
            ws_max_size=_MAX_FRAME_BYTES,
            ws_ping_interval=_PING_INTERVAL_SECONDS,
            ws_ping_timeout=_PONG_TIMEOUT_SECONDS,
            # Compression takes more memory than the rest of a socket, and most messages are short.
            ws_per_message_deflate=False,
            timeout_graceful_shutdown=round(settings.shutdown_timeout.total_seconds()),
            timeout_worker_healthcheck=_STARTUP_TIMEOUT_SECONDS,
        )
        _run_server(config, listener)


def _run_server(config: uvicorn.Config, listener: socket.socket) -> None:
    """Run uvicorn until a signal; exit with STARTUP_FAILURE if the app did not start."""
    if config.workers > 1:
        supervisor = Multiprocess(config, sockets=[listener])
        supervisor.run()
        has_started = all(process.exitcode != STARTUP_FAILURE for process in supervisor.processes)
    else:
        # After a graceful shutdown uvicorn raises the signal again.
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: sys.exit(0))
        server = uvicorn.Server(config)
        server.run(sockets=[listener])
        has_started = server.started
    if not has_started:
        sys.exit(STARTUP_FAILURE)


def _bind(settings: Settings) -> socket.socket:
    try:
        family = socket.getaddrinfo(settings.host, settings.port, type=socket.SOCK_STREAM)[0][0]
        listener = socket.socket(family, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if hasattr(socket, "TCP_USER_TIMEOUT"):  # on Linux; accepted connections inherit it
            listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _TCP_USER_TIMEOUT_MS)
        listener.bind((settings.host, settings.port))
        listener.listen(_BACKLOG)
    except OSError as error:
        raise SettingsError(
            f"HOST {settings.host} and PORT {settings.port} cannot be used: {error.strerror}."
        ) from None
    listener.set_inheritable(True)
    return listener


def _raise_fd_limit() -> None:
    """Raise the soft limit of open files to the hard limit: many sockets exceed the default."""
    if sys.platform == "win32":
        return  # Windows has no such limit
    _, hard_limit = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(ValueError, OSError):  # some systems refuse an unlimited value
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard_limit, hard_limit))


@contextmanager
def _multiprocess_metrics(settings: Settings) -> Iterator[None]:
    """Give several server processes a shared directory for metrics during the context."""
    if settings.workers == 1:
        yield
        return
    with tempfile.TemporaryDirectory(prefix="post-results-metrics-") as directory:
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = directory
        yield


async def _bootstrap_database(settings: Settings) -> str | None:
    """Migrate, then load the demo or create the first workspace; return the API key to print, if any."""
    now = now_utc()
    async with open_database(settings) as database:
        await check_pooler(database)
        await migrate(database, now=now, random_bytes=secrets.token_bytes)
        if settings.demo:
            token = settings.demo_key()
            await load_demo(database, token=token, api_key_prefix=settings.api_key_prefix, now=now)
            if settings.with_worker:
                await send_demo_posts(database, new_id=uuid4, now=now_utc())
            return token
        return await create_first_workspace(
            database,
            key_prefix=settings.api_key_prefix,
            now=now,
            random_bytes=secrets.token_bytes,
        )


def _startup_banner(settings: Settings, listener: socket.socket, api_key: str | None) -> str:
    host, port = listener.getsockname()[:2]
    url = f"http://{f'[{host}]' if ':' in host else host}:{port}{settings.root_path}"
    lines = [
        f"post-results {__version__}",
        f"  GraphQL  {url}{GRAPHQL_PATH}",
        f"  REST     {url}{REST_PATH}",
        *([] if settings.trusted_documents else [f"  explore  {url}{GRAPHIQL_PATH}"]),
        f"  ready?   {url}{READINESS_PATH}",
        *([describe_worker(settings)] if settings.with_worker else []),
    ]
    if api_key and settings.demo:
        results = f"{url}{REST_PATH}/posts/{_DEMO_POST_ID}/results"
        lines += [
            f"  key      {api_key}",
            "Try it:",
            f"  curl -H 'Authorization: Bearer {api_key}' {results}",
        ]
    elif api_key:
        lines += [
            f"  key      {api_key}",
            "           This is the API key of the new workspace. Store it: it is shown only once.",
        ]
    return "\n".join(lines)
