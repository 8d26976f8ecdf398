"""Starts the server: binds the port, migrates the database, prints the URLs, and runs uvicorn."""

import asyncio
import ipaddress
import os
import secrets
import signal
import socket
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, cast
from uuid import uuid4

import click
import structlog
import uvicorn
from uvicorn.config import STARTUP_FAILURE

from app import __version__
from app.asgi import now_utc
from app.db.core.database import open_database
from app.db.migrations import migrate
from app.db.tools.pooler_check import check_pooler
from app.demo import EXAMPLE_POST_ID, load_demo, send_demo_posts
from app.graphql.engine.executable_schema import create_schema
from app.graphql.engine.persisted_documents import create_document_store
from app.http.connection_limits import MAX_REFUSED_CONNECTIONS, ConnectionLimits
from app.http.http_protocol import HttpProtocol
from app.http.paths import BOARD_PATH, GRAPHIQL_PATH, GRAPHQL_PATH, READINESS_PATH, REST_PATH
from app.http.websocket_protocol import WebSocketProtocol
from app.observability.logs import configure_logging
from app.platforms import check_sandbox_file
from app.runtime.file_limits import open_file_limit, raise_file_limit
from app.services.missing_keys import key_warnings
from app.services.proxy_users import ProxyUsers, open_proxy_users
from app.services.retry_policies import load_retry_policies
from app.services.workspaces import create_first_workspace
from app.settings import Settings, SettingsError
from app.supervisor import Supervisor
from app.web.board import documents_file
from app.web.static_files import STATIC_DIR
from app.worker.process import describe_worker, warning_lines

_BACKLOG = 2048
_MAX_FRAME_BYTES = 64 * 1024
_KEEP_ALIVE_SECONDS = 130
"""Time for which an idle HTTP connection stays open.

Most clients and proxies close theirs after at most two minutes. A request that is sent while the server
closes the connection gets no response.
"""
_PING_INTERVAL_SECONDS = 20.0
_PONG_TIMEOUT_SECONDS = 10.0
"""Limit of the wait for a pong; a frozen client is closed after the ping interval plus this time."""
_TCP_USER_TIMEOUT_MS = 30_000
"""Time for which sent data may stay unacknowledged; no other timeout ends such a connection."""
_RESERVED_FILES = MAX_REFUSED_CONNECTIONS + 300
"""Open files of a process besides the connections that it accepts."""
_STARTUP_TIMEOUT_SECONDS = 60
"""Time for a server process to start; validating a long list of trusted documents takes a while."""

logger = structlog.stdlib.get_logger(__name__)


def serve_forever(settings: Settings) -> None:
    """Serve until a signal. The port is bound before the database is changed."""
    configure_logging(settings.log_level, settings.log_format)
    _check_configuration_files(settings)
    proxy_users = open_proxy_users(settings)
    listener = _bind(settings)
    raise_file_limit()
    max_connections = _max_connections(settings.max_connections, open_file_limit())
    config = _uvicorn_config(settings, max_connections)
    with listener, _multiprocess_metrics(settings):
        api_key, warnings = asyncio.run(_bootstrap_database(settings))
        click.echo(_startup_banner(settings, listener, max_connections, api_key, warnings))
        if proxy_users is not None:  # after the banner, because only this one shows a first key
            asyncio.run(_store_proxy_keys(settings, proxy_users))
        _run_server(config, listener)


def _check_configuration_files(settings: Settings) -> None:
    """Read the files that each process reads itself, to report an error once, in a sentence."""
    create_document_store(
        settings,
        create_schema(settings.graphql, use_fast_path=settings.fast_path),
        documents_file(STATIC_DIR),
    )
    load_retry_policies(settings.retry_policy_file)
    if settings.with_worker:
        check_sandbox_file(settings.sandbox_file)


def _uvicorn_config(settings: Settings, max_connections: int) -> uvicorn.Config:
    trusted_proxies = with_ipv4_mapped(settings.trusted_proxies)
    limits = ConnectionLimits(
        max_total=max_connections,
        max_per_address=settings.max_connections_per_address,
        trusted_proxies=trusted_proxies,
    )
    return uvicorn.Config(
        "app.asgi:create_app_from_env",
        factory=True,
        workers=settings.workers,
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=bool(trusted_proxies),
        forwarded_allow_ips=trusted_proxies,
        backlog=_BACKLOG,
        timeout_keep_alive=_KEEP_ALIVE_SECONDS,
        # uvicorn calls it like the class
        http=cast("Any", partial(HttpProtocol, limits, settings.headers_timeout)),
        ws=WebSocketProtocol,
        ws_max_size=_MAX_FRAME_BYTES,
        ws_ping_interval=_PING_INTERVAL_SECONDS,
        ws_ping_timeout=_PONG_TIMEOUT_SECONDS,
        # Compression takes more memory than the rest of a socket, and most messages are short.
        ws_per_message_deflate=False,
        timeout_graceful_shutdown=round(settings.shutdown_timeout.total_seconds()),
        timeout_worker_healthcheck=_STARTUP_TIMEOUT_SECONDS,
    )


def _run_server(config: uvicorn.Config, listener: socket.socket) -> None:
    """Run uvicorn until a signal; exit with STARTUP_FAILURE if the app did not start."""
    if config.workers > 1:
        supervisor = Supervisor(config, sockets=[listener])
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


def with_ipv4_mapped(networks: Iterable[str]) -> list[str]:
    """Return IP networks, and the IPv4-mapped form of each IPv4 network (RFC 4291, 2.5.5.2).

    An IPv6 socket that also accepts IPv4 connections reports addresses in that form.
    """
    mapped = [
        f"::ffff:{network.network_address}/{network.prefixlen + 96}"
        for network in map(ipaddress.ip_network, networks)
        if network.version == 4
    ]
    return [*networks, *mapped]


def _max_connections(requested: int, fd_limit: int | None) -> int:
    """Return the number of connections to accept; logs a warning if they are fewer than requested."""
    if fd_limit is None or requested + _RESERVED_FILES <= fd_limit:
        return requested
    possible = max(1, fd_limit - _RESERVED_FILES)
    logger.warning(
        "connection limit lowered",
        reason=f"MAX_CONNECTIONS is {requested}, but the process may only open {fd_limit} files."
        f" {possible} connections are accepted. Raise the limit of open files (ulimit -n).",
    )
    return possible


@contextmanager
def _multiprocess_metrics(settings: Settings) -> Iterator[None]:
    """Give several server processes a shared directory for metrics during the context."""
    if settings.workers == 1:
        yield
        return
    with tempfile.TemporaryDirectory(prefix="post-results-metrics-") as directory:
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = directory
        yield


async def _bootstrap_database(settings: Settings) -> tuple[str | None, list[str]]:
    """Migrate, then load the demo or create the first workspace.

    Return the API key to print, if any, and warnings about keys of secrets.
    """
    now = now_utc()
    async with open_database(settings) as database:
        await check_pooler(database)
        await migrate(database, now=now, random_bytes=secrets.token_bytes)
        warnings = await key_warnings(database, settings)
        if settings.demo:
            token = settings.demo_key()
            await load_demo(database, token=token, api_key_prefix=settings.api_key_prefix, now=now)
            if settings.with_worker:
                await send_demo_posts(database, new_id=uuid4, now=now_utc())
            return token, warnings
        token_of_new_workspace = await create_first_workspace(
            database,
            key_prefix=settings.api_key_prefix,
            now=now,
            random_bytes=secrets.token_bytes,
        )
        return token_of_new_workspace, warnings


async def _store_proxy_keys(settings: Settings, proxy_users: ProxyUsers) -> None:
    async with open_database(settings) as database:
        await proxy_users.store_keys(database, now_utc())


def _secrets_key_line(settings: Settings) -> list[str]:
    """Return the line about the file with the key of the demo; none if the key itself is set."""
    file = settings.secrets_key_file
    return [f"  secrets  are encrypted with the key in {file}"] if file else []


def _startup_banner(
    settings: Settings,
    listener: socket.socket,
    max_connections: int,
    api_key: str | None,
    warnings: Sequence[str],
) -> str:
    host, port = listener.getsockname()[:2]
    url = f"http://{f'[{host}]' if ':' in host else host}:{port}{settings.root_path}"
    lines = [
        f"post-results {__version__}",
        *([f"  board    {url}{BOARD_PATH}"] if settings.board else []),
        f"  GraphQL  {url}{GRAPHQL_PATH}",
        f"  REST     {url}{REST_PATH}",
        *([] if settings.trusted_documents else [f"  explore  {url}{GRAPHIQL_PATH}"]),
        f"  ready?   {url}{READINESS_PATH}",
        f"  limit    {max_connections} connections{' per process' if settings.workers > 1 else ''}",
        *([describe_worker(settings)] if settings.with_worker else []),
        *warning_lines(warnings),
    ]
    if api_key and settings.demo:
        results = f"{url}{REST_PATH}/posts/{EXAMPLE_POST_ID}/results"
        lines += [
            f"  key      {api_key}",
            *_secrets_key_line(settings),
            "Try it:",
            f"  curl -H 'Authorization: Bearer {api_key}' {results}",
        ]
    elif api_key:
        lines += [
            f"  key      {api_key}",
            "           This is the API key of the new workspace. Store it: it is shown only once.",
        ]
    return "\n".join(lines)
