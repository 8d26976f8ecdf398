"""From the settings to a listening server: bind, migrate, load, say where it is, serve. No requests."""

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
from app.db.core.database import Database
from app.db.migrations import migrate
from app.demo import load_demo, send_demo_posts
from app.graphql.engine.executable_schema import create_schema
from app.graphql.engine.persisted_documents import create_document_store
from app.http.websocket_protocol import WebSocketProtocol
from app.observability.logs import configure_logging
from app.platforms.adapters import check_sandbox_file
from app.services.retries import load_retry_policies
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
"""Seconds; whoever is frozen or was cut off is let go after both."""
_TCP_USER_TIMEOUT_MS = 30_000
"""Milliseconds that the other side may take nothing of what is sent; nothing else ends such a connection."""
_STARTUP_TIMEOUT_SECONDS = 60
"""What a process gets to start, or one that takes its place; to check a long list of documents takes some."""


def serve_forever(settings: Settings) -> None:
    """Serve until a signal says stop. The port is taken before anything is changed."""
    configure_logging(settings.log_level, settings.log_format)
    # Each process reads these files itself; what is wrong with one is to be told once, in a sentence.
    create_document_store(
        settings, create_schema(settings.graphql, use_fast_path=settings.fast_path)
    )
    load_retry_policies(settings.retry_policy_file)
    if settings.with_worker:
        check_sandbox_file(settings.sandbox_file)
    listening = _bind(settings)
    _raise_fd_limit()
    with listening, _multiprocess_metrics(settings):
        key = asyncio.run(_bootstrap_database(settings))
        click.echo(_startup_banner(settings, listening, key))
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
            # It would take more memory than all else of a socket, and most messages are short.
            ws_per_message_deflate=False,
            timeout_graceful_shutdown=round(settings.shutdown_timeout.total_seconds()),
            timeout_worker_healthcheck=_STARTUP_TIMEOUT_SECONDS,
        )
        _run_server(config, listening)


def _run_server(config: uvicorn.Config, listener: socket.socket) -> None:
    """Answer requests until a signal says stop; exits with a failure if the app did not start."""
    if config.workers > 1:
        supervisor = Multiprocess(config, sockets=[listener])
        supervisor.run()
        has_started = all(each.exitcode != STARTUP_FAILURE for each in supervisor.processes)
    else:
        # After a signal the server stops in order, and then raises the same signal again.
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
        listening = socket.socket(family, socket.SOCK_STREAM)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if hasattr(socket, "TCP_USER_TIMEOUT"):  # on Linux; connections have what they came in by
            listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _TCP_USER_TIMEOUT_MS)
        listening.bind((settings.host, settings.port))
        listening.listen(_BACKLOG)
    except OSError as error:
        raise SettingsError(
            f"HOST {settings.host} and PORT {settings.port} cannot be used: {error.strerror}."
        ) from None
    listening.set_inheritable(True)
    return listening


def _raise_fd_limit() -> None:
    """As many as the operator allows at most: the ordinary limit of open files is soon reached by sockets."""
    if sys.platform == "win32":
        return  # which has no such limit
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(ValueError, OSError):  # where there is no limit at all, some systems refuse
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


@contextmanager
def _multiprocess_metrics(settings: Settings) -> Iterator[None]:
    """Several processes count together in a folder that lives as long as the server."""
    if settings.workers == 1:
        yield
        return
    with tempfile.TemporaryDirectory(prefix="post-results-metrics-") as folder:
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = folder
        yield


async def _bootstrap_database(settings: Settings) -> str | None:
    """Migrate, load the demo or make the first workspace; the key to show, if there is one."""
    now = now_utc()
    async with Database(settings.database_url, timeout=settings.database_timeout) as database:
        await migrate(database, now=now, random_bytes=secrets.token_bytes)
        if settings.demo:
            token = settings.demo_key()
            await load_demo(database, token=token, key_prefix=settings.api_key_prefix, now=now)
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
        f"  GraphQL  {url}/graphql",
        f"  REST     {url}/v1",
        *([] if settings.trusted_documents else [f"  explore  {url}/graphiql"]),
        f"  ready?   {url}/readyz",
        *([describe_worker(settings)] if settings.with_worker else []),
    ]
    if api_key and settings.demo:
        results = f"{url}/v1/posts/{_DEMO_POST_ID}/results"
        lines += [
            f"  key      {api_key}",
            "Try it:",
            f"  curl -H 'Authorization: Bearer {api_key}' {results}",
        ]
    elif api_key:
        lines += [
            f"  key      {api_key}",
            "           This is the key of the new workspace; it is shown this once. Keep it.",
        ]
    return "\n".join(lines)
