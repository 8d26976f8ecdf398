"""Starts the server: binds the port, migrates the database, prints the URLs, and runs uvicorn."""

import asyncio
import ipaddress
import os
import secrets
import signal
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from queue import Empty, SimpleQueue
from types import FrameType
from typing import Any, cast
from uuid import uuid4

import click
import structlog
import uvicorn
from uvicorn.config import STARTUP_FAILURE
from uvicorn.supervisors import Multiprocess
from uvicorn.supervisors.multiprocess import Process

from app import __version__
from app.asgi import now_utc
from app.db.core.database import open_database
from app.db.migrations import migrate
from app.db.tools.pooler_check import check_pooler
from app.demo import load_demo, send_demo_posts
from app.file_limits import open_file_limit, raise_file_limit
from app.graphql.engine.executable_schema import create_schema
from app.graphql.engine.persisted_documents import create_document_store
from app.http.http_protocol import MAX_REFUSED_CONNECTIONS, ConnectionLimits, HttpProtocol
from app.http.paths import BOARD_PATH, GRAPHIQL_PATH, GRAPHQL_PATH, READINESS_PATH, REST_PATH
from app.http.websocket_protocol import WebSocketProtocol
from app.observability.logs import configure_logging
from app.platforms import check_sandbox_file
from app.services.credential_keys import CredentialKeys, load_sealing_key
from app.services.proxy_users import ProxyUsers, open_proxy_users
from app.services.retry_policies import load_retry_policies
from app.services.secret_cipher import new_secrets_key
from app.services.stored_credentials import check_canaries
from app.services.workspaces import create_first_workspace
from app.settings import Settings, SettingsError
from app.web.board import documents_file
from app.web.static_files import STATIC_DIR
from app.worker.process import describe_worker

_DEMO_POST_ID = "f47ac10b-58cc-4372-a567-0e02b2c3d479"
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
_POLL_INTERVAL_SECONDS = 0.1
"""Interval at which the supervisor checks whether a process that it replaces has ended."""
_RESERVED_FILES = MAX_REFUSED_CONNECTIONS + 300
"""Open files of a process besides the connections that it accepts."""
_STARTUP_TIMEOUT_SECONDS = 60
"""Time for a server process to start; validating a long list of trusted documents takes a while."""

logger = structlog.stdlib.get_logger(__name__)


def serve_forever(settings: Settings) -> None:
    """Serve until a signal. The port is bound before the database is changed."""
    configure_logging(settings.log_level, settings.log_format)
    # Each process reads these files itself; reading them here reports an error once, in a sentence.
    create_document_store(
        settings,
        create_schema(settings.graphql, use_fast_path=settings.fast_path),
        documents_file(STATIC_DIR),
    )
    load_retry_policies(settings.retry_policy_file)
    load_sealing_key(settings)
    proxy_users = open_proxy_users(settings)
    if settings.with_worker:
        check_sandbox_file(settings.sandbox_file)
    listener = _bind(settings)
    raise_file_limit()
    trusted_proxies = with_ipv4_mapped(settings.trusted_proxies)
    limits = ConnectionLimits(
        max_total=_max_connections(settings.max_connections, open_file_limit()),
        max_per_address=settings.max_connections_per_address,
        trusted_proxies=trusted_proxies,
    )
    with listener, _multiprocess_metrics(settings):
        api_key = asyncio.run(_bootstrap_database(settings))
        click.echo(_startup_banner(settings, listener, api_key))
        if proxy_users is not None:  # after the banner, because only this one shows a first key
            asyncio.run(_store_proxy_keys(settings, proxy_users))
        config = uvicorn.Config(
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
            http=cast("Any", partial(HttpProtocol, limits)),  # uvicorn calls it like the class
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


def demo_secrets_key_file(settings: Settings) -> Path:
    """Return the file with the SECRETS_KEY of the demo, which is created if there is none.

    It is beside the SQLite file, or in the working directory.
    """
    scheme, _, path = settings.database_url.partition(":///")
    folder = Path(path).parent if scheme.startswith("sqlite") else Path()
    file = folder.resolve() / "post-results-demo.secrets-key"
    if not file.exists():
        _create_private_file(file, new_secrets_key())
    return file


def _create_private_file(file: Path, text: str) -> None:
    """Create a file that only its owner can read, with its whole text or not at all.

    A file that another process has created meanwhile stays.
    """
    with tempfile.NamedTemporaryFile("w", prefix=f".{file.name}.", dir=file.parent) as temporary:
        temporary.write(text)  # its mode is 0600
        temporary.flush()
        os.fsync(temporary.fileno())
        with suppress(FileExistsError):
            os.link(temporary.name, file)


def _run_server(config: uvicorn.Config, listener: socket.socket) -> None:
    """Run uvicorn until a signal; exit with STARTUP_FAILURE if the app did not start."""
    if config.workers > 1:
        supervisor = _Supervisor(config, sockets=[listener])
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


class _StopEvent(threading.Event):
    """Event that a signal handler may set while it interrupts `wait` in the same thread.

    The handler would wait for the lock of an ordinary event forever, if `wait` holds it.
    """

    def __init__(self) -> None:
        super().__init__()
        self._is_set = False
        self._wakeups: SimpleQueue[None] = SimpleQueue()

    def is_set(self) -> bool:
        return self._is_set

    def set(self) -> None:
        self._is_set = True
        self._wakeups.put(None)

    def wait(self, timeout: float | None = None) -> bool:
        if not self._is_set:
            with suppress(Empty):
                self._wakeups.get(timeout=timeout)
        return self._is_set


class _Supervisor(Multiprocess):
    """Supervisor of several server processes, which stops them also while it replaces them.

    SIGTERM stops each process after SHUTDOWN_DELAY; SIGINT and a second signal skip the delay. So does
    SIGHUP: the port stays open, and a draining process would answer probes with 503 meanwhile.
    """

    def __init__(self, config: uvicorn.Config, sockets: list[socket.socket]) -> None:
        super().__init__(config, sockets)
        self.should_exit = _StopEvent()
        self._skips_delay = False
        self._stopping_processes: list[Process] = []
        """Processes that a restart has stopped, and that may still be running."""
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._on_stop_signal)
        if hasattr(signal, "SIGHUP"):
            signal.signal(signal.SIGHUP, self._on_restart_signal)

    def _on_stop_signal(self, number: int, _frame: FrameType | None) -> None:
        is_second = self.should_exit.is_set()
        if is_second or number == signal.SIGINT:
            self._skips_delay = True
        if is_second:
            self._send_second_signal()
        self.should_exit.set()

    def _on_restart_signal(self, number: int, _frame: FrameType | None) -> None:
        """Queue a restart, unless one is queued already."""
        if number not in self.signal_queue:
            self.signal_queue.append(number)

    def _send_second_signal(self) -> None:
        for process in (*self.processes, *self._stopping_processes):
            process.process.terminate()

    def restart_all(self) -> None:
        """Replace each process by a new one, which serves before the old one stops."""
        timeout = self.config.timeout_worker_healthcheck
        for index, old in enumerate(self.processes):
            new = Process(self.config, self.sockets)
            new.start()
            is_ready = new.wait_until_ready(timeout, self.should_exit)
            if self.should_exit.is_set():
                self._stopping_processes.append(new)
                new.terminate()
                return
            if not is_ready:
                new.kill()
                new.join()
                logger.error("new server process not ready in time, restart aborted", pid=new.pid)
                return
            self.processes[index] = new
            self._stopping_processes.append(old)
            old.terminate()
            while old.process.is_alive():
                if self.should_exit.wait(_POLL_INTERVAL_SECONDS):
                    return
                old.process.terminate()  # repeated, as a busy process may notice two signals as one
        self._stopping_processes.clear()

    def terminate_all(self) -> None:
        super().terminate_all()
        if self._skips_delay:
            time.sleep(_POLL_INTERVAL_SECONDS)  # the kernel merges pending signals of one kind
            self._send_second_signal()

    def join_all(self) -> None:
        for process in (*self.processes, *self._stopping_processes):
            process.join()


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


async def _bootstrap_database(settings: Settings) -> str | None:
    """Migrate, then load the demo or create the first workspace; return the API key to print, if any."""
    now = now_utc()
    async with open_database(settings) as database:
        await check_pooler(database)
        await migrate(database, now=now, random_bytes=secrets.token_bytes)
        if settings.with_worker:
            await check_canaries(database, CredentialKeys(settings.credentials_key), now)
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


async def _store_proxy_keys(settings: Settings, proxy_users: ProxyUsers) -> None:
    async with open_database(settings) as database:
        await proxy_users.store_keys(database, now_utc())


def _secrets_key_line(settings: Settings) -> list[str]:
    """Return the line about the file with the key of the demo; none if the key itself is set."""
    file = settings.secrets_key_file
    return [f"  secrets  are encrypted with the key in {file}"] if file else []


def _startup_banner(settings: Settings, listener: socket.socket, api_key: str | None) -> str:
    host, port = listener.getsockname()[:2]
    url = f"http://{f'[{host}]' if ':' in host else host}:{port}{settings.root_path}"
    lines = [
        f"post-results {__version__}",
        *([f"  board    {url}{BOARD_PATH}"] if settings.board else []),
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
