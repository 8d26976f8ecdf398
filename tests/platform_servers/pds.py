"""Starts a PDS, the server of Bluesky accounts, with a PLC directory of its own."""

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from itertools import count
from pathlib import Path
from typing import Any

import httpx

from tests.platform_servers.processes import (
    INSTALLED_PDS,
    PROGRAMS,
    require_installed,
    run_command,
    running_process,
    successful_json,
)
from tests.servers import TIMEOUT_SECONDS, unused_port

POST_COLLECTION = "app.bsky.feed.post"

MAIN_PASSWORD = "password-of-a-test"
"""Password of every account."""

_JWT_SECRET = "jwt-secret-of-a-test"
_ADMIN_PASSWORD = "admin-password-of-a-test"
_ADMIN_AUTHORIZATION = "Basic " + base64.b64encode(f"admin:{_ADMIN_PASSWORD}".encode()).decode()
_BYPASS_KEY = "bypass-key-of-a-test"
_MAX_CALLS_TO_LIMIT = 100


@dataclass(frozen=True, slots=True)
class PdsAccount:
    """An account of the PDS, with an app password."""

    did: str
    handle: str
    app_password: str
    authorization: str
    """Header of a session with the main password."""


class PdsServer:
    """A running PDS. Only the methods that exhaust a rate limit are subject to the limits."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.url = f"http://127.0.0.1:{port}"
        self._account_numbers = count(1)

    async def create_account(self, handle: str | None = None) -> PdsAccount:
        """Create an account without posts, by default with a new handle."""
        handle = handle or f"account{next(self._account_numbers)}.test"
        details = {"handle": handle, "email": f"{handle}@example.com", "password": MAIN_PASSWORD}
        session = successful_json(await self.call("com.atproto.server.createAccount", details))
        authorization = f"Bearer {session['accessJwt']}"
        app_password = successful_json(
            await self.call(
                "com.atproto.server.createAppPassword", {"name": "post-results"}, authorization
            )
        )
        return PdsAccount(session["did"], handle, app_password["password"], authorization)

    async def records(
        self, account: PdsAccount, collection: str = POST_COLLECTION
    ) -> list[dict[str, Any]]:
        """Return all records of a collection, each with its URI, CID and value."""
        records: list[dict[str, Any]] = []
        position: dict[str, str] = {}
        while True:
            page = successful_json(
                await self.query(
                    "com.atproto.repo.listRecords",
                    repo=account.did,
                    collection=collection,
                    limit="100",
                    **position,
                )
            )
            records += page["records"]
            if "cursor" not in page:
                return records
            position = {"cursor": page["cursor"]}

    def expired_access_token(self, account: PdsAccount) -> str:
        """Sign a token of a session with an app password that expired one hour ago."""
        hour = 3600
        now = int(time.time())
        return _sign_jwt(
            {
                "scope": "com.atproto.appPass",
                "aud": "did:web:localhost",
                "sub": account.did,
                "iat": now - 3 * hour,
                "exp": now - hour,
            }
        )

    async def take_down(self, account: PdsAccount) -> None:
        """Take the account down, as a moderator does."""
        subject = {"$type": "com.atproto.admin.defs#repoRef", "did": account.did}
        response = await self.call(
            "com.atproto.admin.updateSubjectStatus",
            {"subject": subject, "takedown": {"applied": True}},
            _ADMIN_AUTHORIZATION,
        )
        response.raise_for_status()

    async def exhaust_session_limit(self, account: PdsAccount) -> None:
        """Make the next `createSession` of this account fail with 429."""
        # A password that is too long is refused at once; a wrong one only after 350 ms.
        await self._exhaust_limit(
            "com.atproto.server.createSession",
            {"identifier": account.handle, "password": "a" * 1000},
            {},
        )

    async def exhaust_write_limit(self, account: PdsAccount) -> None:
        """Make the next write of this account fail with 429; nothing is written."""
        write = {
            "$type": "com.atproto.repo.applyWrites#create",
            "collection": POST_COLLECTION,
            "value": {},
        }
        # Writes to the repository of another account are refused, but they are counted.
        await self._exhaust_limit(
            "com.atproto.repo.applyWrites",
            {"repo": "did:web:other.test", "writes": [write] * 200},
            {"Authorization": account.authorization},
        )

    async def query(
        self, name: str, authorization: str | None = None, **parameters: str
    ) -> httpx.Response:
        """Call a query of XRPC."""
        return await self._send("GET", name, _fixture_headers(authorization), params=parameters)

    async def call(
        self, name: str, body: Mapping[str, object], authorization: str | None = None
    ) -> httpx.Response:
        """Call a procedure of XRPC."""
        return await self._send("POST", name, _fixture_headers(authorization), json=body)

    async def _exhaust_limit(
        self, name: str, body: Mapping[str, object], headers: Mapping[str, str]
    ) -> None:
        for _ in range(_MAX_CALLS_TO_LIMIT):
            response = await self._send("POST", name, headers, json=body)
            if response.status_code == HTTPStatus.TOO_MANY_REQUESTS:
                return
        raise AssertionError(f"{name} was not limited.")

    async def _send(
        self, method: str, name: str, headers: Mapping[str, str], **content: Any
    ) -> httpx.Response:
        async with httpx.AsyncClient(verify=False, timeout=TIMEOUT_SECONDS) as client:
            url = f"{self.url}/xrpc/{name}"
            return await client.request(method, url, headers=headers, **content)


@contextmanager
def run_pds(
    folder: Path,
    *,
    port: int | None = None,
    public_port: int | None = None,
    has_rate_limits: bool = True,
) -> Iterator[PdsServer]:
    """Start a PDS with its data in `folder`; skip the test if it is not installed.

    The default of `port` is an unused one. `public_port` is the port in the DID documents of its accounts,
    such as that of a proxy; the default is the port of the server.
    """
    require_installed("The PDS", is_installed=INSTALLED_PDS.exists())
    command = [_find_node(), "--import", "./loopback.mjs"]
    plc_port = unused_port()
    with running_process(
        [*command, "plc.mjs", str(plc_port)],
        ready_url=f"http://127.0.0.1:{plc_port}/_health",
        log=folder / "plc.log",
    ):
        server = PdsServer(port or unused_port())
        with running_process(
            [
                *command,
                "pds.mjs",
                *map(str, (server.port, public_port or server.port, plc_port, folder / "pds")),
            ],
            ready_url=f"{server.url}/xrpc/_health",
            log=folder / "pds.log",
            environment={
                "LOG_ENABLED": "true",
                "PDS_JWT_SECRET": _JWT_SECRET,
                "PDS_ADMIN_PASSWORD": _ADMIN_PASSWORD,
                "PDS_RATE_LIMIT_BYPASS_KEY": _BYPASS_KEY,
                "PDS_RATE_LIMITS_ENABLED": str(has_rate_limits).lower(),
            },
        ):
            yield server


def _find_node() -> str:
    """Return the path of Node.js itself, because a signal to the wrapper of its package ends only that."""
    return run_command([PROGRAMS / "node", "--print", "process.execPath"]).strip()


def _fixture_headers(authorization: str | None) -> dict[str, str]:
    headers = {"x-ratelimit-bypass": _BYPASS_KEY}
    return headers if authorization is None else {**headers, "Authorization": authorization}


def _sign_jwt(claims: Mapping[str, object]) -> str:
    unsigned = b".".join(
        _base64url(json.dumps(part).encode())
        for part in ({"typ": "at+jwt", "alg": "HS256"}, claims)
    )
    signature = hmac.digest(_JWT_SECRET.encode(), unsigned, hashlib.sha256)
    return b".".join([unsigned, _base64url(signature)]).decode()


def _base64url(data: bytes) -> bytes:
    return base64.urlsafe_b64encode(data).rstrip(b"=")
