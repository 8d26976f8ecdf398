"""Starts servers with the API of Mastodon: snac2, and mastodon-mock for idempotency keys and refusals."""

import json
import shutil
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import httpx

from tests.platform_servers.processes import (
    INSTALLED_MASTODON_MOCK,
    PROGRAMS,
    require_installed,
    run_command,
    running_process,
    successful_json,
)
from tests.servers import TIMEOUT_SECONDS, unused_port

_REDIRECT_URI = "urn:ietf:wg:oauth:2.0:oob"


@dataclass(frozen=True, slots=True)
class MastodonAccount:
    """An account of a server, with an access token."""

    id: str
    access_token: str


@dataclass(frozen=True, slots=True)
class SnacLogin:
    """Name and password of an account of snac2."""

    name: str
    password: str


class MastodonApiServer:
    """A running server with the API of Mastodon."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.url = f"http://127.0.0.1:{port}"
        self._account_numbers = count(1)

    def client(self, account: MastodonAccount | None = None) -> httpx.AsyncClient:
        """Return a client with the token of the account, and a new connection for each request.

        snac2 closes connections without notice.
        """
        headers = {} if account is None else {"Authorization": f"Bearer {account.access_token}"}
        return httpx.AsyncClient(
            base_url=self.url,
            headers=headers,
            verify=False,
            timeout=TIMEOUT_SECONDS,
            limits=httpx.Limits(max_keepalive_connections=0),
        )

    async def statuses(self, account: MastodonAccount) -> list[dict[str, Any]]:
        """Return all statuses of the account, the latest first; of snac2, the latest 256."""
        statuses: dict[str, dict[str, Any]] = {}
        parameters = {"limit": "256"}
        async with self.client(account) as client:
            while True:
                page = successful_json(
                    await client.get(f"/api/v1/accounts/{account.id}/statuses", params=parameters)
                )
                new_statuses = {status["id"]: status for status in page}
                if new_statuses.keys() <= statuses.keys():  # snac2 ignores `max_id`
                    return list(statuses.values())
                statuses |= new_statuses
                parameters["max_id"] = page[-1]["id"]

    def _next_name(self) -> str:
        return f"account{next(self._account_numbers)}"


class SnacServer(MastodonApiServer):
    """A running snac2. It ignores idempotency keys, has no limits, and refuses hardly anything."""

    def __init__(self, port: int, program: str, data_folder: Path) -> None:
        super().__init__(port)
        self._program = program
        self._data_folder = data_folder

    async def create_account(self) -> MastodonAccount:
        """Create an account without statuses, and authorize a client by the steps of OAuth."""
        login = self.create_login()
        async with self.client() as client:
            app = successful_json(
                await client.post(
                    "/api/v1/apps",
                    data={
                        "client_name": "post-results",
                        "redirect_uris": _REDIRECT_URI,
                        "scopes": "read write",
                    },
                )
            )
            code = await self.authorization_code(login, app["client_id"])
            token = successful_json(
                await client.post(
                    "/oauth/token",
                    data={
                        "grant_type": "authorization_code",
                        "client_id": app["client_id"],
                        "client_secret": app["client_secret"],
                        "redirect_uri": _REDIRECT_URI,
                        "code": code,
                    },
                )
            )
            account = MastodonAccount("", token["access_token"])
        async with self.client(account) as client:
            details = successful_json(await client.get("/api/v1/accounts/verify_credentials"))
        return MastodonAccount(details["id"], account.access_token)

    def create_login(self) -> SnacLogin:
        """Create an account without statuses."""
        name = self._next_name()
        output = run_command([self._program, "adduser", self._data_folder, name])
        return SnacLogin(name, output.rpartition("User password is ")[2].split()[0])

    async def authorization_code(self, login: SnacLogin, client_id: str) -> str:
        """Authorize an application, as its page does, and return the code that it shows."""
        form = {
            "login": login.name,
            "passwd": login.password,
            "redir": _REDIRECT_URI,
            "cid": client_id,
            "state": "a",
        }
        async with self.client() as client:
            page = await client.post("/oauth/x-snac-login", data=form)
        return page.text.partition("&")[0]


class MastodonMockServer(MastodonApiServer):
    """A running mastodon-mock, with idempotency keys, and refusals like those of Mastodon."""

    async def create_account(self) -> MastodonAccount:
        """Create an account without statuses."""
        async with self.client() as client:
            details = successful_json(
                await client.post("/api/v1/_mock/dev_user", json={"username": self._next_name()})
            )
        return MastodonAccount(details["id"], details["access_token"])

    @asynccontextmanager
    async def fault(
        self,
        effect: Mapping[str, object],
        *,
        method: str = "POST",
        path: str = "/api/v1/statuses",
        max_requests: int = 1,
    ) -> AsyncIterator[None]:
        """Apply an effect to the next requests of all accounts, until the end of the block.

        The type of an effect is `status`, `ratelimit`, `latency`, `malformed` or `timeout`.
        """
        rule = {
            "match": {"methods": [method], "path": path},
            "effect": effect,
            "count": max_requests,
        }
        async with self.client() as client:
            rule_id = successful_json(await client.post("/api/v1/_mock/faults", json=rule))["id"]
            try:
                yield
            finally:
                await client.delete(f"/api/v1/_mock/faults/{rule_id}")  # 404 if it was used up


@contextmanager
def run_snac(folder: Path) -> Iterator[SnacServer]:
    """Start snac2 with its data in `folder`; skip the test if it is not installed."""
    program = shutil.which("snac")
    require_installed("snac2", is_installed=program is not None)
    assert program is not None
    data_folder = folder / "snac"
    server = SnacServer(unused_port(), program, data_folder)
    # Address, port, host name, prefix of paths, and the administrator.
    answers = f"127.0.0.1\n{server.port}\nlocalhost:{server.port}\n\nadmin@example.com\n"
    run_command([program, "init", data_folder], answers)
    settings = data_folder / "server.json"
    settings.write_text(json.dumps({**json.loads(settings.read_text()), "protocol": "http"}))
    with running_process(
        [program, "httpd", data_folder],
        ready_url=f"{server.url}/api/v1/instance",
        log=folder / "snac.log",
    ):
        yield server


@contextmanager
def run_mastodon_mock(folder: Path) -> Iterator[MastodonMockServer]:
    """Start mastodon-mock with its data in memory; skip the test if it is not installed."""
    require_installed("mastodon-mock", is_installed=INSTALLED_MASTODON_MOCK.exists())
    server = MastodonMockServer(unused_port())
    with running_process(
        [PROGRAMS / "mastodon_mock", "serve", "--in-memory", "--port", str(server.port)],
        ready_url=f"{server.url}/api/v1/instance",
        log=folder / "mastodon-mock.log",
    ):
        yield server
