"""Steps of a benchmark run: seed databases, start and verify servers, run rounds of loads."""

import asyncio
import json
import os
import random
import signal
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

import click
from sqlalchemy import make_url

from tests import postgres
from tests.bench import seeding
from tests.bench.contender_list import FIXED_BODY, POSTGRESQL, SQLITE, Contender, Name
from tests.bench.load import Load, LoadResult, run_load
from tests.bench.requests import QUERIES, ResponseBody
from tests.bench.servers import ContenderProcess, ServerFailed, run_contender

SEED = 1
_VERIFIED_POSTS = 25
_REQUESTED_POSTS = 4000
_POSTGRESQL_SETTINGS = (
    "ALTER DATABASE {database} SET jit = off; ALTER DATABASE {database} SET random_page_cost = 1.1"
)
"""Settings of PostgreSQL for SSDs, the same for all servers."""


@contextmanager
def temporary_databases(engines: Sequence[str]) -> Iterator[dict[str, str]]:
    """Engine → URL of an empty database, which is deleted at the end."""
    # SIGTERM unwinds the run like Ctrl-C, so that the servers are stopped too.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="post-results-bench-"))
        urls = {SQLITE: f"sqlite+aiosqlite:///{folder}/bench.db"}
        if POSTGRESQL in engines:
            server = stack.enter_context(postgres.running_server())
            urls[POSTGRESQL] = stack.enter_context(postgres.new_database(server))
        yield {engine: urls[engine] for engine in engines}


def seed_all(urls: Mapping[str, str], dataset: seeding.Dataset) -> list[UUID]:
    """Seed all databases and return the ids of the posts, oldest first."""
    click.echo(f"Seeding {dataset.posts:,} posts on {' and '.join(urls)} ...", err=True)
    ids = asyncio.run(seeding.seed(urls.values(), dataset))
    if POSTGRESQL in urls:
        url = urls[POSTGRESQL]
        with postgres.script_runner(url) as run:
            run(_POSTGRESQL_SETTINGS.format(database=make_url(url).database))
        seeding.vacuum(url)
    return ids


def choose_cores() -> tuple[int, int]:
    """A core for the servers and one for the load generator; the same if there is only one."""
    first, *_, last = sorted(os.sched_getaffinity(0)) * 2
    return first, last


def sample_ids(ids: Sequence[UUID]) -> list[UUID]:
    """The ids in the requests; the same in each run."""
    return random.Random(SEED).sample(ids, min(len(ids), _REQUESTED_POSTS))


def start_all(
    stack: ExitStack,
    contenders: Sequence[Contender],
    bodies: Path,
    token: str,
    ids: Sequence[UUID],
    cpu: int,
) -> list[ContenderProcess]:
    """Start and verify the servers.

    The fixed-body server is started last, because its bodies are responses of another server.
    """
    ids = ids[:_VERIFIED_POSTS]
    servers: list[ContenderProcess] = []
    verified: Mapping[str, Sequence[bytes]] = {}
    for contender in sorted(contenders, key=lambda contender: contender.name.server == FIXED_BODY):
        if contender.name.server == FIXED_BODY:
            verified = verify_all(servers, ids)
            for query, responses in verified.items():
                median = sorted(responses, key=len)[len(responses) // 2]
                (bodies / f"{query}.json").write_bytes(median)
        started = run_contender(contender, cpu=cpu, token=token, post_id=ids[0], logs=bodies.parent)
        servers.append(stack.enter_context(started))
        click.echo(f"{contender.name} started", err=True)
    if not verified:
        verify_all(servers, ids)
    click.echo("All servers return the same responses.", err=True)
    return servers


class ResponseMismatch(Exception):
    """Two servers return different responses; the message names the servers and the path."""


def verify_all(
    servers: Sequence[ContenderProcess], ids: Sequence[object]
) -> Mapping[str, Sequence[bytes]]:
    """Raise ResponseMismatch unless all servers return the same; return the bodies of the first by query.

    A query of a post is sent for each id. Values that are new in every response are ignored.
    """
    bodies: dict[str, list[bytes]] = {}
    for query in QUERIES:
        supporting = [each for each in servers if query in each.contender.requests]
        for server in supporting:
            responses = list(_responses(server, query, ids))
            actual = [response for _, response in responses]
            if server is supporting[0]:
                bodies[query] = [body for body, _ in responses]
                expected = actual
            elif actual != expected:
                raise ResponseMismatch(
                    f"{server.name} and {supporting[0].name} differ in {query}:"
                    f" {_first_difference(expected, actual)}"
                )
    return bodies


def normalize_response(response: ResponseBody) -> ResponseBody:
    """Reduce `meta`, which is new in every response, to its keys."""
    return {**response, "meta": sorted(response["meta"])} if "meta" in response else response


def _responses(
    server: ContenderProcess, query: str, ids: Sequence[object]
) -> Iterator[tuple[bytes, ResponseBody]]:
    request = server.contender.requests[query]
    for post_id in ids if request.takes_post_id else ids[:1]:
        body = server.send(request.with_post_id(post_id))
        response = json.loads(body)
        # Empty responses of two servers would be equal.
        if response.get("errors") or response.get("error") or b"latform" not in body:
            raise ServerFailed(f"{server.name} answers {query} with {body[:500]!r}")
        yield body, normalize_response(server.contender.normalize(response))


def _first_difference(expected: Any, actual: Any, path: str = "") -> str:
    """Path and values of the first difference."""
    if isinstance(expected, dict) and isinstance(actual, dict) and expected.keys() == actual.keys():
        pairs = [(key, expected[key], actual[key]) for key in expected]
    elif isinstance(expected, list) and isinstance(actual, list) and len(expected) == len(actual):
        pairs = [(str(n), *both) for n, both in enumerate(zip(expected, actual, strict=True))]
    else:
        return f"at {path} {json.dumps(actual)[:300]} instead of {json.dumps(expected)[:300]}"
    key, one, other = next(pair for pair in pairs if pair[1] != pair[2])
    return _first_difference(one, other, f"{path}.{key}")


def run_rounds(
    servers: Sequence[ContenderProcess],
    queries: Sequence[str],
    ids: Sequence[UUID],
    load: Load,
    rounds: int,
    database_pid: int | None,
) -> dict[str, dict[Name, list[LoadResult]]]:
    """Run the rounds in random order of servers, after one warm-up round."""
    rng = random.Random(SEED)
    supporting = {
        query: [server for server in servers if query in server.contender.requests]
        for query in queries
    }
    results: dict[str, dict[Name, list[LoadResult]]] = {
        query: {server.name: [] for server in servers_of_query}
        for query, servers_of_query in supporting.items()
    }
    for number in range(rounds + 1):
        for query, servers_of_query in supporting.items():
            for server in rng.sample(servers_of_query, len(servers_of_query)):
                result = run_load(server, query, ids, load, database_pid=database_pid)
                if number:
                    results[query][server.name].append(result)
        click.echo(f"Round {number} of {rounds}", err=True)
    return results
