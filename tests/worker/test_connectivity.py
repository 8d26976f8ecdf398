"""Interruptions of a worker's network, which it distinguishes from those of one server or one workspace."""

import asyncio
from collections.abc import Iterable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from itertools import repeat

import pytest
from structlog.testing import capture_logs

from app.db.core.database import Database
from app.db.repositories.accounts import load_accounts
from app.domain.accounts import AccountPublisher
from app.domain.circuit_breakers import ServerFailure
from app.domain.ids import WorkspaceId
from app.outbound.client import OutboundClient
from app.platforms.server_contacts import ServerContacts
from app.services.circuit_breakers import CircuitBreakers
from app.worker.connectivity import Connectivity, reach_server
from tests.clients import Tenant
from tests.factories import NOW, add_account, add_workspace
from tests.outbound.local_servers import (
    LOCAL_RULES,
    ConnectionHandler,
    local_server,
    never_respond,
    resolving,
    responding,
)
from tests.worker.worker_bench import FakeClock

FIRST, SECOND, THIRD = (f"https://{name}.example" for name in ("first", "second", "third"))


@dataclass
class Network:
    """Network of a worker that can reach some servers."""

    database: Database
    reachable: set[str] = field(default_factory=set)
    clock: FakeClock = field(default_factory=FakeClock)
    tried: list[str] = field(default_factory=list)
    """Servers that the worker has tried to reach."""

    def connectivity(self) -> Connectivity:
        return Connectivity(self.database, self.reach, self.clock.monotonic)

    async def reach(self, origin: str) -> bool:
        self.tried.append(origin)
        return origin in self.reachable

    async def add_accounts(
        self, workspace: WorkspaceId, origins: Iterable[str], *, failures: int = 0
    ) -> None:
        """Add one account on each server, whose last call was answered, or failed."""
        breakers = CircuitBreakers(
            database=self.database,
            worker_name="worker-1",
            clock=lambda: NOW,
            random=lambda: 0.5,
        )
        for origin in origins:
            id_ = await add_account(
                self.database,
                workspace,
                platform="mastodon",
                publisher=AccountPublisher.MASTODON,
            )
            account = (await load_accounts(self.database.reader(workspace), [id_]))[id_]
            for result in (None, *repeat(ServerFailure.NO_ANSWER, failures)):
                contacts = ServerContacts({origin: result})
                await breakers.record_calls(workspace, account, None, contacts)


@pytest.fixture
def network(database: Database) -> Network:
    return Network(database)


async def test_worker_that_reaches_another_server_has_a_network(
    network: Network, acme: Tenant
) -> None:
    await network.add_accounts(acme.workspace, [FIRST, SECOND, THIRD])
    network.reachable = {THIRD}
    connectivity = network.connectivity()
    assert await connectivity.has_network(FIRST)
    assert sorted(network.tried) == [FIRST, SECOND, THIRD]
    assert await connectivity.may_claim()


async def test_worker_that_reaches_no_server_may_not_claim_until_it_reaches_one(
    network: Network, acme: Tenant
) -> None:
    await network.add_accounts(acme.workspace, [FIRST, SECOND, THIRD])
    connectivity = network.connectivity()
    with capture_logs() as logs:
        assert not await connectivity.has_network(FIRST)
        network.clock.seconds = 9.9
        assert not await connectivity.may_claim()
        assert len(network.tried) == 3
        network.clock.seconds = 10
        assert not await connectivity.may_claim()
        assert len(network.tried) == 6
        network.clock.seconds, network.reachable = 20, {SECOND}
        assert await connectivity.may_claim()
    assert logs == [
        {
            "event": "no server reached, claims stopped",
            "log_level": "error",
            "servers": [SECOND, THIRD, FIRST],
        },
        {"event": "network available, claims resumed", "log_level": "info"},
    ]


async def test_recent_answer_of_another_server_shows_the_network(
    network: Network, acme: Tenant
) -> None:
    await network.add_accounts(acme.workspace, [FIRST, SECOND, THIRD])
    connectivity = network.connectivity()
    connectivity.record_answer(FIRST)
    connectivity.record_answer(SECOND)
    assert await connectivity.has_network(FIRST)
    assert network.tried == []
    network.clock.seconds = 10
    assert not await connectivity.has_network(FIRST)


async def test_answer_of_the_server_itself_does_not_show_the_network(
    network: Network, acme: Tenant
) -> None:
    await network.add_accounts(acme.workspace, [FIRST, SECOND, THIRD])
    connectivity = network.connectivity()
    connectivity.record_answer(FIRST)
    assert not await connectivity.has_network(FIRST)


async def test_many_failures_at_once_cause_one_check(network: Network, acme: Tenant) -> None:
    await network.add_accounts(acme.workspace, [FIRST, SECOND, THIRD])
    connectivity = network.connectivity()
    servers = [FIRST, SECOND, THIRD] * 3
    results = await asyncio.gather(*(connectivity.has_network(origin) for origin in servers))
    assert results == [False] * len(servers)
    assert len(network.tried) == 3


@pytest.mark.parametrize("failures", [0, 1])
async def test_worker_with_accounts_on_two_working_servers_has_a_network(
    network: Network, acme: Tenant, failures: int
) -> None:
    """The second may be that of a workspace which turns it off."""
    await network.add_accounts(acme.workspace, [FIRST, SECOND])
    await network.add_accounts(acme.workspace, [THIRD] * failures, failures=1)
    assert await network.connectivity().has_network(FIRST)
    assert network.tried == []


async def test_servers_of_one_workspace_do_not_stop_the_claims_of_others(
    network: Network, acme: Tenant
) -> None:
    """A hostile workspace may turn off as many servers as it likes."""
    hostile = await add_workspace(network.database)
    await network.add_accounts(
        hostile, [f"https://{number}.hostile.example" for number in range(9)]
    )
    await network.add_accounts(acme.workspace, [FIRST])
    network.reachable = {FIRST}
    connectivity = network.connectivity()
    assert await connectivity.has_network("https://0.hostile.example")
    assert await connectivity.may_claim()


@pytest.mark.parametrize(
    ("handle", "is_reached"),
    [
        (responding(b"HTTP/1.1 500 Error\r\nContent-Length: 0\r\n\r\n"), True),
        (responding(b""), True),
        (None, False),
    ],
    ids=["500", "closed", "refused"],
)
async def test_server_is_reached_if_it_accepts_a_connection(
    handle: ConnectionHandler | None, is_reached: bool
) -> None:
    async with AsyncExitStack() as stack:
        client = await stack.enter_async_context(OutboundClient(LOCAL_RULES))
        async with local_server(handle or never_respond) as server:
            if handle is not None:
                assert await reach_server(client, server.url("")) is is_reached
        if handle is None:
            assert await reach_server(client, server.url("")) is is_reached


async def test_server_with_an_address_that_is_not_allowed_is_not_reached() -> None:
    async with OutboundClient(LOCAL_RULES, resolve=resolving("10.0.0.1")) as client:
        assert not await reach_server(client, FIRST)
