"""The compared servers: names, start commands and supported requests."""

import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from sqlalchemy import make_url

from tests.bench import postgraphile
from tests.bench.requests import GRAPHQL, REST, Request, ResponseBody
from tests.bench.seeding import WORKSPACE_ID

PEERS = Path(__file__).parent / "peers"
ROOT = Path(__file__).parents[2]

SQLITE, POSTGRESQL = "sqlite", "postgresql"
ENGINES = (SQLITE, POSTGRESQL)
NO_ENGINE = "none"
"""Engine of a server that reads no data."""

POST_RESULTS_SERVER = "post-results"
"""With the log and the rate limits of the default settings; the one that is compared."""
POST_RESULTS_BARE = "post-results-bare"
"""Without access log and rate limits."""
FIXED_BODY = "fixed-body"
DATA_LIMIT = "data-limit"
GRAPHQL_PEERS = (
    "mercurius-loaders",
    "mercurius-prefetch",
    "mercurius-join",
    "yoga",
    "postgraphile",
)
"""GraphQL servers that a user could choose instead."""


class Name(NamedTuple):
    """Name of a server and of its database engine."""

    server: str
    engine: str

    def __str__(self) -> str:
        return self.server if self.engine == NO_ENGINE else f"{self.server} {self.engine}"


_POST_RESULTS_ENVIRONMENTS = MappingProxyType(
    {
        # As many limits as by default, so high that they refuse no request.
        POST_RESULTS_SERVER: {
            "LOG_LEVEL": "info",
            "RATE_LIMIT": "100000000/minute;900000000/hour",
        },
        POST_RESULTS_BARE: {"LOG_LEVEL": "warning", "RATE_LIMIT": "off"},
    }
)
_ALL_REQUESTS = MappingProxyType({**GRAPHQL, **REST})


@dataclass(frozen=True, slots=True, kw_only=True)
class Contender:
    """A compared server."""

    name: Name
    command: tuple[str, ...]
    environment: Mapping[str, str]
    requests: Mapping[str, Request] = field(default_factory=lambda: _ALL_REQUESTS)
    folder: Path = ROOT
    normalize: Callable[[ResponseBody], ResponseBody] = lambda body: body
    """Converts a response to the schema of post-results, if the server has another schema."""
    requires_api_key: bool = False

    @property
    def first_query(self) -> str:
        return next(iter(self.requests))


def contenders(urls: Mapping[str, str], bodies: Path) -> Iterator[Contender]:
    """All servers on the databases with these URLs; `bodies` is the folder of the fixed bodies."""
    for engine, url in urls.items():
        yield from _contenders_on(engine, url)
    yield Contender(
        name=Name(FIXED_BODY, NO_ENGINE),
        command=_python_command("fixed_body"),
        environment={"FIXED_BODIES": str(bodies)},
    )


def _contenders_on(engine: str, url: str) -> Iterator[Contender]:
    database = {"DATABASE_URL": url}
    for server, environment in _POST_RESULTS_ENVIRONMENTS.items():
        yield Contender(
            name=Name(server, engine),
            command=(sys.executable, "-m", "app", "serve"),
            environment={**database, **environment},
            requires_api_key=True,
        )
    for server, module in ((DATA_LIMIT, "data_limit"), ("naive", "naive")):
        yield Contender(
            name=Name(server, engine), command=_python_command(module), environment=database
        )
    forms = ("loaders", "prefetch", "join") if engine == POSTGRESQL else ("loaders", "prefetch")
    for form in forms:
        yield _peer(f"mercurius-{form}", engine, url, "mercurius.js", GRAPHQL, FORM=form)
    yield _peer("fastify", engine, url, "rest.js", REST, FORM="prefetch")
    if engine == POSTGRESQL:
        yield _peer("fastify-join", engine, url, "rest.js", REST, FORM="join")
        yield _peer("yoga", engine, url, "yoga.js", GRAPHQL)
        requests, env = postgraphile.REQUESTS, {"GRAPHILE_ENV": "production"}
        peer = _peer("postgraphile", engine, url, "postgraphile.js", requests, **env)
        yield replace(peer, normalize=postgraphile.normalize)


def _python_command(module: str) -> tuple[str, ...]:
    return (sys.executable, "-m", "tests.bench.contenders", module)


def _peer(
    server: str,
    engine: str,
    url: str,
    file: str,
    requests: Mapping[str, Request],
    **environment: str,
) -> Contender:
    common = {"NODE_ENV": "production", "WORKSPACE_ID": str(WORKSPACE_ID)}
    return Contender(
        name=Name(server, engine),
        command=("node", file),
        environment={**common, **_node_environment(url), **environment},
        requests=requests,
        folder=PEERS,
    )


def _node_environment(database_url: str) -> Mapping[str, str]:
    """Environment variables that statements.js and the PostgreSQL client read."""
    url = make_url(database_url)
    if url.get_backend_name() == SQLITE:
        return {"SQLITE_FILE": str(url.database)}
    return {
        "PGHOST": str(url.host or url.query["host"]),
        "PGPORT": str(url.port or 5432),
        "PGUSER": str(url.username),
        "PGPASSWORD": str(url.password or ""),
        "PGDATABASE": str(url.database),
    }
