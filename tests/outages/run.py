"""Runs workers through an outage of a Bluesky server; counts what they send, and what is lost or double."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from itertools import cycle, islice
from urllib.parse import parse_qs, urlsplit

import orjson
from sqlalchemy import func, select

from app.db.core.database import Database
from app.db.core.statements import AllWorkspacesStatement
from app.db.models import Destination
from app.domain.accounts import AccountPublisher
from app.domain.destinations import DestinationStatus, Outcome
from app.domain.retry_policy import DEFAULT_POLICIES
from app.outbound.client import OutboundClient, OutboundRequest, OutboundResponse
from app.services.expirations import EXPIRATION_INTERVAL, run_expirations
from app.services.periodic import exit_together
from app.worker.context import make_system_functions
from app.worker.process import make_context, publish_in_background
from app.worker.stats import WorkerStats
from tests.claim_benchmark import analyze
from tests.credential_rows import CIPHER, SERVER_SETTINGS, add_credentials
from tests.factories import NOW, add_account, add_post, add_workspace, queued
from tests.outages.pds import DAY, HOUR, PUTS, LimitedPds, OutageMode, make_session, read_token
from tests.outbound.local_servers import LOCAL_RULES
from tests.virtual_time import (
    LoopClock,
    open_in_virtual_time,
    open_migrated_in_virtual_time,
    running_loop,
)

WORKERS = 2
WORKSPACES = 4
MAX_DURATION_AFTER = timedelta(hours=6)
"""Time from the end of an outage after which posts that are not out yet count as lost."""
_POLL_INTERVAL = timedelta(seconds=10)
"""Interval at which the run checks whether all posts are settled."""

_LOGIN = "/xrpc/com.atproto.server.createSession"


@dataclass(frozen=True, slots=True, kw_only=True)
class OutageScenario:
    """An outage that begins before the posts are due, all at the same time."""

    mode: OutageMode
    duration: timedelta
    posts: int
    accounts: int
    has_sessions: bool
    """True for accounts with a valid session; otherwise half of them have none, and half an expired one."""
    posts_per_hour: int | None
    """Posts that the server accepts for an account; None for the limits of the reference server."""


@dataclass
class RequestCounts:
    """Requests that workers sent in one period, by the DID of their account."""

    all: Counter[str] = field(default_factory=Counter)
    logins: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True, slots=True, kw_only=True)
class OutageResult:
    """What an outage did to the posts, and what was sent."""

    published: int
    """Destinations that are reported PUBLISHED."""
    failed: int
    """Destinations that are reported FAILED, also those of unknown outcome."""
    accepted: int
    """Posts that the server accepted."""
    distinct: int
    """Posts that the server accepted once or more."""
    max_attempts: int
    """Attempts of the destination with the most of them."""
    during: RequestCounts
    after: RequestCounts
    refused_logins: int
    """Logins that the rate limits of the server have refused."""
    last_after: timedelta | None
    """Time from the end of the outage to the last accepted post; None if no post was accepted."""
    virtual_duration: timedelta
    duration: timedelta
    """Time of the machine that the run took."""

    @property
    def double(self) -> int:
        """Posts that the server accepted after it had accepted them."""
        return self.accepted - self.distinct

    def lost(self, scenario: OutageScenario) -> int:
        """Return the posts that the server did not accept, or that are not reported PUBLISHED."""
        return scenario.posts - min(self.distinct, self.published)


async def run_outage(url: str, scenario: OutageScenario) -> OutageResult:
    """Run a scenario on an empty database; must run in virtual time."""
    loop = running_loop()
    async with open_migrated_in_virtual_time(url) as database:
        clock = LoopClock()
        pds = LimitedPds(clock, scenario.mode, _put_limits(scenario))
        dids = await _add_accounts_and_posts(database, scenario, pds)
        await analyze(database)
        clock.restart()
        skipped_before = loop.skipped
        counts = {True: RequestCounts(), False: RequestCounts()}
        async with pds.running(), AsyncExitStack() as stack:
            for number in range(WORKERS):
                client = _CountingClient(lambda: counts[pds.is_away])
                await stack.enter_async_context(
                    _running_worker(url, f"worker-{number}", client, clock)
                )
            await asyncio.sleep(scenario.duration.total_seconds())
            await pds.end_outage()
            ended_at = clock.now()
            await _wait_until_settled(database, clock, ended_at + MAX_DURATION_AFTER)
        virtual_duration = clock.now() - NOW
        published, failed, max_attempts = await _read_results(database)
    for counter in (each for period in counts.values() for each in (period.all, period.logins)):
        counter.update(dict.fromkeys(dids, 0))
    return OutageResult(
        published=published,
        failed=failed,
        accepted=len(pds.accepted),
        distinct=len(set(pds.accepted)),
        max_attempts=max_attempts,
        during=counts[True],
        after=counts[False],
        refused_logins=sum(account.refused_logins for account in pds.accounts.values()),
        last_after=None if pds.last_accepted_at is None else pds.last_accepted_at - ended_at,
        virtual_duration=virtual_duration,
        duration=virtual_duration - (loop.skipped - skipped_before),
    )


def _put_limits(scenario: OutageScenario) -> Sequence[tuple[int, timedelta]]:
    return PUTS if scenario.posts_per_hour is None else ((scenario.posts_per_hour, HOUR),)


async def _add_accounts_and_posts(
    database: Database, scenario: OutageScenario, pds: LimitedPds
) -> list[str]:
    """Add accounts in turn to the workspaces, and posts in turn to the accounts; return all DIDs."""
    workspaces = [await add_workspace(database) for _ in range(WORKSPACES)]
    accounts = []
    for number, workspace in zip(range(scenario.accounts), cycle(workspaces), strict=False):
        did = f"did:plc:account{number}"
        account = await add_account(
            database,
            workspace,
            platform="bluesky",
            publisher=AccountPublisher.BLUESKY,
            platform_user_id=did,
        )
        values = {"identifier": did, "appPassword": "abcd-efgh-ijkl-mnop", "service": pds.login_url}
        if scenario.has_sessions or number % 2:
            logged_in_at = NOW if scenario.has_sessions else NOW - 100 * DAY
            session = make_session(did, logged_in_at) | {"pds": pds.url}
            await add_credentials(
                database, workspace, account, {**values, "session": session}, cipher=CIPHER
            )
        else:
            await add_credentials(database, workspace, account, values, cipher=CIPHER)
        accounts.append((workspace, account))
    for number, (workspace, account) in enumerate(islice(cycle(accounts), scenario.posts)):
        await add_post(
            database,
            workspace,
            {account: queued(NOW)},
            content=f"Post {number}",
            submitted_now=True,
        )
    return [f"did:plc:account{number}" for number in range(scenario.accounts)]


class _CountingClient(OutboundClient):
    """Client that counts the requests of each account."""

    def __init__(self, current_counts: Callable[[], RequestCounts]) -> None:
        super().__init__(LOCAL_RULES)
        self._current_counts = current_counts

    async def send(self, request: OutboundRequest) -> OutboundResponse:
        if urlsplit(request.url).path.startswith(
            "/xrpc/"
        ):  # not a check whether the server is there
            counts, did = self._current_counts(), _did_of(request)
            counts.all[did] += 1
            if request.url.endswith(_LOGIN):
                counts.logins[did] += 1
        return await super().send(request)


def _did_of(request: OutboundRequest) -> str:
    """Return the DID of the account to which a request belongs."""
    if authorization := request.headers.get("Authorization"):
        return read_token(authorization)[0]
    if request.body:
        return str(orjson.loads(request.body)["identifier"])
    return parse_qs(urlsplit(request.url).query)["repo"][0]


@asynccontextmanager
async def _running_worker(
    url: str, name: str, client: OutboundClient, clock: LoopClock
) -> AsyncIterator[None]:
    """Run a worker with the default settings, and the periodic tasks of its process."""
    system = replace(make_system_functions(clock.now), monotonic=clock.monotonic)
    async with open_in_virtual_time(url) as database, client:
        context = make_context(
            SERVER_SETTINGS,
            database,
            client,
            DEFAULT_POLICIES,
            WorkerStats(),
            system,
            worker_name=name,
        )
        async with exit_together(
            run_expirations(database, clock.now, DEFAULT_POLICIES, interval=EXPIRATION_INTERVAL),
            publish_in_background(context, SERVER_SETTINGS, database),
        ):
            yield


async def _wait_until_settled(database: Database, clock: LoopClock, deadline: datetime) -> None:
    """Wait until each destination is published, or has failed and is certainly not published."""
    count = database.all_workspaces.count
    while clock.now() < deadline and await count(_COUNT_UNSETTLED):  # noqa: ASYNC110 - no event
        await asyncio.sleep(_POLL_INTERVAL.total_seconds())


async def _read_results(database: Database) -> tuple[int, int, int]:
    """Return the numbers of published and failed destinations, and the highest number of attempts."""
    row = await database.all_workspaces.first(_READ_RESULTS)
    assert row is not None
    published, failed, max_attempts = row
    return int(published), int(failed), int(max_attempts)


_COUNT_UNSETTLED = AllWorkspacesStatement(
    select(func.count()).where(Destination.outcome.not_in([Outcome.PUBLISHED, Outcome.FAILED])),
    reason="posts of a benchmark",
)
_READ_RESULTS = AllWorkspacesStatement(
    select(
        func.count().filter(Destination.status == DestinationStatus.PUBLISHED),
        func.count().filter(Destination.status == DestinationStatus.FAILED),
        func.max(Destination.attempts),
    ),
    reason="posts of a benchmark",
)
