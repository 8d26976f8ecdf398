"""A personal data server in memory with the documented rate limits, which can be away in several ways."""

import asyncio
import math
import socket
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections import defaultdict
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any

import orjson

from tests.outbound.local_servers import LocalServer, read_request
from tests.platforms.bluesky.scripted_pds import (
    EXPIRED_TOKEN,
    XrpcRequest,
    error_response,
    json_response,
    parse_xrpc_request,
)
from tests.virtual_time import LoopClock

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
LOGINS = ((30, timedelta(minutes=5)), (300, DAY))
"""Logins of an account in each period, as the reference server limits them."""
PUTS = ((2_500, HOUR), (17_500, DAY))
"""Records that an account may put: 5,000 points an hour and 35,000 a day, of which each needs 2."""
RESPONSE_TIME = timedelta(milliseconds=100)
"""Time from a request to its response, also if the response is 503."""

_ACCESS_VALIDITY = timedelta(hours=2)
_REFRESH_VALIDITY = timedelta(days=90)
_UNAVAILABLE = error_response(503, "UpstreamFailure")


class OutageMode(StrEnum):
    UNAVAILABLE = "503"
    """A proxy before the server answers 503 to all requests."""
    REFUSED = "refused"
    """No process listens: connections are refused."""
    SILENT = "silent"
    """Connections are accepted, and no request is answered."""


@dataclass
class FixedWindow:
    """A number of calls in each period, which begins with the first call after the last period."""

    limit: int
    period: timedelta
    used: int = 0
    ends_at: datetime | None = None

    def count_call(self, now: datetime) -> None:
        if self.ends_at is None or now >= self.ends_at:
            self.used, self.ends_at = 0, now + self.period
        self.used += 1

    @property
    def remaining(self) -> int:
        """Calls that are left in the period; negative if there were too many."""
        return self.limit - self.used

    def resets_in(self, now: datetime) -> timedelta:
        """Return the rest of the period."""
        assert self.ends_at is not None
        return self.ends_at - now

    def headers(self, now: datetime) -> dict[str, str]:
        """Return the headers with which the reference server states its limit."""
        resets_in = self.resets_in(now)
        headers = {
            "ratelimit_limit": str(self.limit),
            "ratelimit_remaining": str(max(self.remaining, 0)),
            "ratelimit_reset": str(math.ceil((now + resets_in).timestamp())),
            "ratelimit_policy": f"{self.limit};w={self.period // timedelta(seconds=1)}",
        }
        if self.remaining < 0:
            headers["retry_after"] = str(math.ceil(resets_in.total_seconds()))
        return headers


class RateLimit:
    """Limits of one account for one kind of call; the tightest decides."""

    def __init__(self, limits: Iterable[tuple[int, timedelta]]) -> None:
        self._windows = [FixedWindow(limit, period) for limit, period in limits]

    def count_call(self, now: datetime) -> FixedWindow:
        """Count a call, and return the window with the fewest remaining calls."""
        for window in self._windows:
            window.count_call(now)
        return min(self._windows, key=lambda window: window.remaining)


@dataclass
class HostedAccount:
    """Account on the server."""

    put_limits: Iterable[tuple[int, timedelta]]
    records: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    """Records by record key."""
    refused_logins: int = 0
    """Logins that the rate limit has refused."""

    def __post_init__(self) -> None:
        self.logins, self.puts = RateLimit(LOGINS), RateLimit(self.put_limits)


class LimitedPds:
    """Server with any number of accounts, which exist from their first login, and which all passwords open.

    The server is away from the start until `end_outage`.
    """

    def __init__(
        self, clock: LoopClock, mode: OutageMode, put_limits: Iterable[tuple[int, timedelta]]
    ) -> None:
        self._clock = clock
        self._mode = mode
        self.is_away = True
        self.accounts: defaultdict[str, HostedAccount] = defaultdict(
            lambda: HostedAccount(put_limits)
        )
        """Accounts by DID."""
        self.accepted: list[str] = []
        """Text of each accepted post."""
        self.last_accepted_at: datetime | None = None
        self._socket = socket.socket()
        self._socket.bind(("127.0.0.1", 0))
        self._server = LocalServer(self._handle)
        self._server.port = self._socket.getsockname()[1]
        self._listener: asyncio.Server | None = None

    @property
    def url(self) -> str:
        return self._server.url("")

    @property
    def login_url(self) -> str:
        """URL of the server of logins: another origin, as that of most accounts on Bluesky is."""
        return self.url.replace("127.0.0.1", "localhost")

    async def end_outage(self) -> None:
        self.is_away = False
        if self._listener is None:
            await self._listen()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        if self._mode is not OutageMode.REFUSED:
            await self._listen()
        try:
            yield
        finally:
            if self._listener is not None:
                self._listener.close()
            self._socket.close()
            await self._server.close_connections()

    async def _listen(self) -> None:
        self._listener = await asyncio.start_server(self._server.accept, sock=self._socket)

    async def _handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            request = parse_xrpc_request(await read_request(reader))
            if self.is_away and self._mode is OutageMode.SILENT:
                await reader.read()
                return
            await asyncio.sleep(RESPONSE_TIME.total_seconds())
            writer.write(_UNAVAILABLE if self.is_away else self._respond(request))
            await writer.drain()

    def _respond(self, request: XrpcRequest) -> bytes:
        match request.method:
            case "com.atproto.server.createSession":
                return self._log_in(request.json["identifier"])
            case "com.atproto.repo.getRecord":
                return self._get_record(request.parameters["repo"], request.parameters["rkey"])
            case _:
                return self._respond_to_session(request)

    def _respond_to_session(self, request: XrpcRequest) -> bytes:
        did, expires_at = read_token(request.headers["authorization"])
        if expires_at <= self._clock.now():
            return EXPIRED_TOKEN
        match request.method:
            case "com.atproto.server.refreshSession":
                return self._session_response(did)
            case "com.atproto.server.getSession":
                return json_response(200, {"did": did, "handle": "alice.test", "active": True})
            case "com.atproto.repo.putRecord":
                return self._put_record(did, request.json)
            case _:
                return error_response(501, "MethodNotImplemented")

    def _log_in(self, did: str) -> bytes:
        account, now = self.accounts[did], self._clock.now()
        window = account.logins.count_call(now)
        if window.remaining < 0:
            account.refused_logins += 1
            return error_response(429, "RateLimitExceeded", **window.headers(now))
        return self._session_response(did, **window.headers(now))

    def _session_response(self, did: str, **headers: str) -> bytes:
        service = {"id": "#atproto_pds", "serviceEndpoint": self.url}
        session = make_session(did, self._clock.now())
        return json_response(200, {**session, "didDoc": {"service": [service]}}, **headers)

    def _put_record(self, did: str, body: Mapping[str, Any]) -> bytes:
        account, now = self.accounts[did], self._clock.now()
        window = account.puts.count_call(now)
        headers = window.headers(now)
        if window.remaining < 0:
            return error_response(429, "RateLimitExceeded", **headers)
        key = body["rkey"]
        if key in account.records and body.get("swapRecord", "") is None:
            return error_response(400, "InvalidSwap", "Record was at bafyreib2", **headers)
        account.records[key] = body["record"]
        self.accepted.append(body["record"]["text"])
        self.last_accepted_at = now
        return json_response(200, {"uri": _uri(did, key), "cid": "bafyreib2"}, **headers)

    def _get_record(self, did: str, key: str) -> bytes:
        record = self.accounts[did].records.get(key)
        if record is None:
            return error_response(400, "RecordNotFound", "Could not locate record")
        return json_response(200, {"uri": _uri(did, key), "value": record})


def make_session(did: str, now: datetime) -> dict[str, object]:
    """Return the answer to a login or a refresh at a time."""
    return {
        "did": did,
        "accessJwt": _make_token(did, now + _ACCESS_VALIDITY),
        "refreshJwt": _make_token(did, now + _REFRESH_VALIDITY),
        "active": True,
    }


def read_token(authorization: str) -> tuple[str, datetime]:
    """Return the DID in a token of the Authorization header, and the time at which the token expires."""
    claims = orjson.loads(urlsafe_b64decode(authorization.split(".")[1] + "=="))
    return claims["sub"], datetime.fromtimestamp(claims["exp"], UTC)


def _make_token(did: str, expires_at: datetime) -> str:
    """Return an unsigned JSON Web Token of an app password."""
    claims = {
        "sub": did,
        "scope": "com.atproto.appPass",
        "exp": int(expires_at.timestamp()),
    }
    return f"e30.{urlsafe_b64encode(orjson.dumps(claims)).decode().rstrip('=')}.c2ln"


def _uri(did: str, key: str) -> str:
    return f"at://{did}/app.bsky.feed.post/{key}"
