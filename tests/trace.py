"""Prints each function of the service that one request runs: `python -m tests.trace`.

Requests run in process on a fresh SQLite database, with a fixed clock and no periodic work, after two warm-up
runs. A resumption of a coroutine or generator is not a call. Comprehensions are not functions.
"""

import argparse
import asyncio
import sys
import tempfile
import threading
import tomllib
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, redirect_stderr, redirect_stdout
from dataclasses import asdict, dataclass, field
from datetime import timedelta
from inspect import CO_ASYNC_GENERATOR, CO_COROUTINE, CO_GENERATOR
from io import StringIO
from itertools import groupby
from pathlib import Path
from types import FrameType

from starlette.applications import Starlette

import app
from app.asgi import create_app
from app.db.core.database import Database
from app.db.core.statements import CompiledStatement, Record
from app.db.migrations import migrate
from app.domain.api_keys import Scope
from tests.clients import UNLIMITED_SETTINGS, Client, client_for
from tests.db.core.intercepting_driver import WrappingDriver
from tests.factories import NOW, add_account, add_api_key, add_workspace
from tests.graphql.live_tenant import wait_for_subscriptions
from tests.graphql.transport.websocket_client import connect_and_init
from tests.recording_driver import InterceptingWriter
from tests.services import publishing_calls

TABLE = Path(__file__).with_name("trace.toml")
"""Accepted counts of each path, and the interpreter on which they were counted."""

MARGIN = 1.05
WARM_UP_RUNS = 2
COUNTED_RUNS = 3
APP_FOLDER = f"{Path(app.__file__).parent}/"
INTERPRETER = f"{sys.implementation.name} {sys.version_info.major}.{sys.version_info.minor}"

_RESUMABLE = CO_COROUTINE | CO_GENERATOR | CO_ASYNC_GENERATOR
_FOREVER = timedelta(days=1)


@dataclass(frozen=True, slots=True, order=True)
class PathCounts:
    """Size of one path through the code."""

    calls: int
    functions: int
    files: int
    statements: int


@dataclass(slots=True)
class Trace:
    """Calls of our functions, and SQL statements, in the order in which they began."""

    steps: list[str] = field(default_factory=list)
    """`file:function`, or `SQL: …`."""

    def counts(self) -> PathCounts:
        calls = [step for step in self.steps if not step.startswith("SQL: ")]
        return PathCounts(
            calls=len(calls),
            functions=len(set(calls)),
            files=len({step.partition(":")[0] for step in calls}),
            statements=len(self.steps) - len(calls),
        )

    def lines(self) -> Iterator[str]:
        """One line per SQL statement, and one per run of calls in the same file, in call order."""
        for file, steps in groupby(self.steps, lambda step: step.partition(":")[0]):
            if file == "SQL":
                yield from steps
                continue
            names = Counter(step.partition(":")[2] for step in steps)
            calls = (name if count == 1 else f"{name} ×{count}" for name, count in names.items())
            yield f"{file}: {', '.join(calls)}"


class Tracer:
    """Records calls while it is enabled. Threads that start after `install` are recorded too."""

    def __init__(self) -> None:
        self._trace: Trace | None = None
        self._starts_at: str | None = None
        self._frames: dict[int, FrameType] = {}

    def install(self) -> None:
        threading.setprofile(self._profile)
        sys.setprofile(self._profile)

    def uninstall(self) -> None:
        threading.setprofile(None)
        sys.setprofile(None)

    def start(self, starts_at: str | None = None) -> Trace:
        """Begin a new trace, at the first call of `starts_at` if it is given."""
        self._frames.clear()
        self._starts_at = starts_at
        self._trace = Trace()
        return self._trace

    def stop(self) -> None:
        self._trace = None

    def add_statement(self, text: str) -> None:
        if self._trace is not None and self._starts_at is None:
            self._trace.steps.append(f"SQL: {' '.join(text.split())[:80]}")

    def _profile(self, frame: FrameType, event_name: str, _argument: object) -> None:
        code = frame.f_code
        if (
            event_name != "call"
            or self._trace is None
            or not code.co_filename.startswith(APP_FOLDER)
            or (code.co_name.startswith("<") and code.co_name != "<lambda>")
        ):
            return
        if code.co_flags & _RESUMABLE:
            if id(frame) in self._frames:
                return
            self._frames[id(frame)] = frame
        if self._starts_at is not None:
            if code.co_qualname != self._starts_at:
                return
            self._starts_at = None
        self._trace.steps.append(f"{code.co_filename.removeprefix(APP_FOLDER)}:{code.co_qualname}")


@dataclass(slots=True)
class _TracedDriver(WrappingDriver):
    """A driver that reports each statement to the tracer."""

    tracer: Tracer

    async def fetch(
        self, statement: CompiledStatement, arguments: Sequence[object]
    ) -> Sequence[Record]:
        self.tracer.add_statement(statement.sql)
        return await self.driver.fetch(statement, arguments)


@dataclass(frozen=True, slots=True, kw_only=True)
class TracedService:
    """The service in process, and a client of it."""

    database: Database
    asgi: Starlette
    client: Client
    token: str
    account: int
    tracer: Tracer


RESULT_FIELDS = (
    "accountId accountName platform status publishedAt platformPostId platformPostUrl error attempts"
    " nextRetryAt destinationId"
)
POST_RESULTS = (
    f"query($id: UUID!) {{ post(postId: $id) {{ status destinations {{ {RESULT_FIELDS} }} }} }}"
)
CREATE_POST = (
    "mutation($input: CreatePostInput!) { createPost(input: $input) { post { postId status } } }"
)
CLAIM = "mutation { claimDestinations(input: {limit: 1}) { claims { leaseToken } } }"
START = "mutation($token: String!) { startAttempt(input: {leaseToken: $token}) { attempt } }"
REPORT = (
    "mutation($token: String!) { reportPublished(input: {leaseToken: $token, platformPostId: "
    '"1"}) { receipt status } }'
)
DESTINATION_CHANGES = (
    "subscription { destinationChanged { cursor destination { status publishedAt } } }"
)


@dataclass(frozen=True, slots=True)
class _RequestPath:
    """The path of a request about what `prepare` has stored; only the request is traced."""

    prepare: Callable[[TracedService], Awaitable[str]]
    send: Callable[[TracedService, str], Awaitable[object]]

    async def __call__(self, service: TracedService) -> Trace:
        for _ in range(WARM_UP_RUNS):
            await self.send(service, await self.prepare(service))
        prepared = await self.prepare(service)
        trace = service.tracer.start()
        await self.send(service, prepared)
        service.tracer.stop()
        return trace


async def _get_results(service: TracedService, post_id: str) -> None:
    response = await service.client.get(f"/v1/posts/{post_id}/results")
    assert response.status_code == 200, response.text


async def _report_published(service: TracedService, token: str) -> None:
    data = await service.client.query(REPORT, token=token)
    assert data["reportPublished"]["receipt"] == "RECORDED", data


async def _change_to_frame(service: TracedService) -> Trace:
    """From the commit of a report to the WebSocket frame of a subscriber."""
    async with connect_and_init(service.asgi, service.token) as websocket:
        websocket.subscribe("changes", DESTINATION_CHANGES)
        await wait_for_subscriptions(service.client, 1)
        for run in range(WARM_UP_RUNS + 1):
            await _create_post(service)
            (claimed,) = await publishing_calls.claim(service.database)
            await publishing_calls.start_attempt(service.database, claimed.lease)
            for _ in ("added", "claimed", "started"):
                await websocket.next_payload("changes")
            trace = service.tracer.start("Database.notify_commit")
            await publishing_calls.report_published(service.database, claimed.lease)
            payload = await websocket.next_payload("changes")
            service.tracer.stop()
            status = payload["data"]["destinationChanged"]["destination"]["status"]
            assert status == "PUBLISHED", run
    return trace


async def _create_post(service: TracedService) -> str:
    data = await service.client.query(
        CREATE_POST, input={"content": "hello", "accountIds": [service.account]}
    )
    post_id: str = data["createPost"]["post"]["postId"]
    return post_id


async def _started_attempt(service: TracedService) -> str:
    """The lease token of a new post's destination, whose attempt has started."""
    await _create_post(service)
    data = await service.client.query(CLAIM)
    token: str = data["claimDestinations"]["claims"][0]["leaseToken"]
    await service.client.query(START, token=token)
    return token


PATHS: dict[str, Callable[[TracedService], Awaitable[Trace]]] = {
    "rest_results": _RequestPath(_create_post, _get_results),
    "graphql_results": _RequestPath(
        _create_post, lambda service, post_id: service.client.query(POST_RESULTS, id=post_id)
    ),
    "create_post": _RequestPath(_create_post, lambda service, _: _create_post(service)),
    "report_published": _RequestPath(_started_attempt, _report_published),
    "change_to_frame": _change_to_frame,
}


@asynccontextmanager
async def traced_service(folder: Path) -> AsyncIterator[TracedService]:
    """The service on a new SQLite database in this folder, with a tracer installed."""
    tracer = Tracer()
    url = f"sqlite+aiosqlite:///{folder / 'trace.db'}"
    tracer.install()
    try:

        def trace_write(statement: CompiledStatement, _arguments: object) -> CompiledStatement:
            tracer.add_statement(statement.sql)
            return statement

        async with Database(
            url,
            wrap_driver=_TracedDriver(tracer),
            wrap_writer=lambda writer: InterceptingWriter(writer, trace_write),
        ) as database:
            await migrate(database, now=NOW, random_bytes=bytes)
            workspace = await add_workspace(database)
            key = await add_api_key(database, workspace, scopes=frozenset(Scope))
            account = await add_account(database, workspace)
            asgi = create_app(
                UNLIMITED_SETTINGS,
                clock=lambda: NOW,
                database=database,
                expiration_interval=None,
                api_key_cache_ttl=_FOREVER,
            )
            async with (
                asgi.router.lifespan_context(asgi),
                client_for(asgi, token=key.token) as client,
            ):
                yield TracedService(
                    database=database,
                    asgi=asgi,
                    client=client,
                    token=key.token,
                    account=account,
                    tracer=tracer,
                )
    finally:
        tracer.uninstall()


async def trace_path(name: str) -> Trace:
    """The shortest of several traces of a path, each of a new service."""
    traces = []
    for _ in range(COUNTED_RUNS):
        with tempfile.TemporaryDirectory() as folder:
            async with traced_service(Path(folder)) as service:
                traces.append(await PATHS[name](service))
    return min(traces, key=Trace.counts)


def read_table() -> tuple[str, dict[str, PathCounts]]:
    """The interpreter of the accepted counts, and the counts by path."""
    table = tomllib.loads(TABLE.read_text())
    return table.pop("interpreter"), {name: PathCounts(**counts) for name, counts in table.items()}


def write_table(counts: dict[str, PathCounts]) -> None:
    """Accept these counts."""
    lines = [
        "# Calls of our functions, distinct functions, their files, and SQL statements of each path.",
        "# Written by `scripts/trace --renew`.",
        f'interpreter = "{INTERPRETER}"',
    ]
    for name, each in counts.items():
        lines += ["", f"[{name}]", *(f"{key} = {value}" for key, value in asdict(each).items())]
    TABLE.write_text("\n".join(lines) + "\n")


def main() -> None:
    """Print the traces of the paths that are named, or of all of them."""
    parser = argparse.ArgumentParser(prog="scripts/trace", description=__doc__)
    parser.add_argument(
        "paths", nargs="*", metavar="PATH", help=f"{', '.join(PATHS)}; default: all"
    )
    parser.add_argument("--counts", action="store_true", help="print the counts only")
    parser.add_argument("--renew", action="store_true", help="write the counts to tests/trace.toml")
    options = parser.parse_args()
    if unknown := set(options.paths) - PATHS.keys():
        parser.error(f"unknown path {min(unknown)}; known: {', '.join(PATHS)}")
    counts: dict[str, PathCounts] = {}
    for name in options.paths or PATHS:
        log = StringIO()
        with redirect_stdout(log), redirect_stderr(log):
            trace = asyncio.run(trace_path(name))
        counts[name] = trace.counts()
        if not options.counts:
            print(*trace.lines(), sep="\n")  # noqa: T201
        each = counts[name]
        print(  # noqa: T201
            f"{name}: {each.calls} calls of {each.functions} functions in {each.files} files,"
            f" {each.statements} SQL statements"
        )
    if options.renew:
        write_table(counts)


if __name__ == "__main__":
    main()
