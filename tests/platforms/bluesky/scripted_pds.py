"""A personal data server in memory that records its calls and gives scripted answers."""

import asyncio
from base64 import urlsafe_b64encode
from collections import defaultdict, deque
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, TypeAlias, TypeVar
from urllib.parse import parse_qsl, urlsplit

import orjson
import pytest

from app.domain.attempts import Publication
from app.outbound.client import OutboundClient
from app.platforms.bluesky.adapter import Bluesky
from app.platforms.media import Media
from app.platforms.protocol import LookupFailure, PublishRequest
from tests.factories import NOW
from tests.outbound.local_servers import (
    LOCAL_RULES,
    LONG_TIMEOUT,
    local_server,
    read_request,
)
from tests.platforms.publish_requests import MemoryCredentials, publish_request

DID = "did:plc:ewvi7nxzyoun6zhxrhs64oiz"
APP_PASSWORD = "abcd-efgh-ijkl-mnop"

CREATE_SESSION = "com.atproto.server.createSession"
REFRESH_SESSION = "com.atproto.server.refreshSession"
DESCRIBE_REPO = "com.atproto.repo.describeRepo"
GET_REPO_STATUS = "com.atproto.sync.getRepoStatus"
GET_SESSION = "com.atproto.server.getSession"
PUT_RECORD = "com.atproto.repo.putRecord"
GET_RECORD = "com.atproto.repo.getRecord"
UPLOAD_BLOB = "com.atproto.repo.uploadBlob"
RESOLVE_HANDLE = "com.atproto.identity.resolveHandle"

E = TypeVar("E", bound=Exception)

Record: TypeAlias = Mapping[str, Any]


def http_response(status: int, body: bytes, **headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status} Scripted", f"Content-Length: {len(body)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + body


def json_response(status: int, value: object, **headers: str) -> bytes:
    return http_response(status, orjson.dumps(value), **headers)


def error_response(status: int, name: str, message: str = "", **headers: str) -> bytes:
    return json_response(status, {"error": name, "message": message}, **headers)


EXPIRED_TOKEN = error_response(400, "ExpiredToken", "Token has expired")
HTML_PAGE = http_response(200, b"<html>Welcome</html>")
CUT_JSON = b'HTTP/1.1 200 OK\r\nContent-Length: 999\r\n\r\n{"uri":"at://'
CLOSED_CONNECTION = b""
NO_ANSWER = None
_TIMEOUT_WITHOUT_ANSWER = timedelta(seconds=1)
"""The server keeps the connection open without an answer."""


def access_token(
    number: int,
    *,
    valid_for: timedelta = timedelta(hours=2),
    scope: str = "com.atproto.appPass",
) -> str:
    """Return an unsigned JSON Web Token, by default of an app password."""
    claims = {"jti": number, "exp": int((NOW + valid_for).timestamp()), "scope": scope}
    return f"e30.{urlsafe_b64encode(orjson.dumps(claims)).decode().rstrip('=')}.c2ln"


def stored_credentials(pds: str, **changes: object) -> dict[str, object]:
    """Return credentials with a valid session on a server."""
    session = {
        "accessJwt": access_token(1),
        "refreshJwt": "refresh-1",
        "did": DID,
        "pds": pds,
        **changes,
    }
    return login_credentials(pds) | {"session": session}


def login_credentials(service: str) -> dict[str, object]:
    return {"identifier": "alice.test", "appPassword": APP_PASSWORD, "service": service}


@dataclass(frozen=True, kw_only=True)
class XrpcRequest:
    """A call that the server received."""

    method: str
    parameters: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return orjson.loads(self.body)


@dataclass
class ScriptedPds:
    """Answers of the reference server, unless the script has another one for the method."""

    url: str = ""
    pds_of_account: str | None = None
    """URL in the DID document; None leaves the document out."""
    records: dict[str, Record] = field(default_factory=dict)
    """Records by record key."""
    requests: list[XrpcRequest] = field(default_factory=list)
    _scripts: dict[str, deque[bytes | None]] = field(default_factory=lambda: defaultdict(deque))
    _sessions: int = 1

    def script(self, method: str, *responses: bytes | None) -> None:
        """Answer the next calls of a method with these responses."""
        self._scripts[method].extend(responses)

    @property
    def methods(self) -> list[str]:
        return [request.method for request in self.requests]

    def sent(self, method: str) -> list[XrpcRequest]:
        return [request for request in self.requests if request.method == method]

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            request = parse_xrpc_request(await read_request(reader))
            self.requests.append(request)
            script = self._scripts[request.method]
            response = script.popleft() if script else self._answer(request)
            if response is NO_ANSWER:
                await reader.read()
                return
            writer.write(response)
            await writer.drain()
            if response in {CUT_JSON, CLOSED_CONNECTION}:
                return

    def _answer(self, request: XrpcRequest) -> bytes:
        match request.method:
            case "com.atproto.server.createSession" | "com.atproto.server.refreshSession":
                return json_response(200, self._new_session())
            case "com.atproto.server.getSession":
                return json_response(200, {"did": DID, "handle": "alice.test", "active": True})
            case "com.atproto.repo.putRecord":
                return self._put_record(request.json)
            case "com.atproto.repo.getRecord":
                return self._get_record(request.parameters["rkey"])
            case "com.atproto.repo.uploadBlob":
                return json_response(200, {"blob": {"$type": "blob", "size": len(request.body)}})
            case _:
                return error_response(400, "HandleNotFound", "Unable to resolve handle")

    def _new_session(self) -> dict[str, object]:
        self._sessions += 1
        answer: dict[str, object] = {
            "did": DID,
            "accessJwt": access_token(self._sessions),
            "refreshJwt": f"refresh-{self._sessions}",
            "active": True,
        }
        if self.pds_of_account is not None:
            services = [
                {"id": "#labeler", "serviceEndpoint": "https://labeler.example"},
                {"id": "#atproto_pds", "serviceEndpoint": self.pds_of_account},
            ]
            answer["didDoc"] = {"id": DID, "service": services}
        return answer

    def _put_record(self, body: Mapping[str, Any]) -> bytes:
        key = body["rkey"]
        if key in self.records and body.get("swapRecord", "") is None:
            return error_response(400, "InvalidSwap", "Record was at bafyreib2")
        self.records[key] = body["record"]
        return json_response(200, {"uri": record_uri(key), "cid": "bafyreib2"})

    def _get_record(self, key: str) -> bytes:
        if key not in self.records:
            return error_response(400, "RecordNotFound", "Could not locate record")
        return json_response(200, {"uri": record_uri(key), "value": self.records[key]})


def record_uri(key: str) -> str:
    return f"at://{DID}/app.bsky.feed.post/{key}"


@dataclass
class Setup:
    """An adapter with the server of an account that has a valid session."""

    bluesky: Bluesky
    pds: ScriptedPds
    credentials: MemoryCredentials

    async def publish(self, **fields: Any) -> Publication:
        return await self.bluesky.publish(publish_request(credentials=self.credentials, **fields))

    async def look_up(self, **fields: Any) -> Publication | LookupFailure:
        return await self.bluesky.look_up(publish_request(credentials=self.credentials, **fields))

    async def failed_publish(self, expected: type[E], **fields: Any) -> E:
        """Publish, and return the error that this must raise."""
        with pytest.raises(expected) as caught:
            await self.publish(**fields)
        return caught.value


def call_timeout(answer: bytes | None) -> timedelta:
    """Return the time for one call, which is short only if the server does not answer."""
    return _TIMEOUT_WITHOUT_ANSWER if answer is NO_ANSWER else LONG_TIMEOUT


@asynccontextmanager
async def bluesky_setup(
    *, media: Sequence[Media] = (), call_timeout: timedelta = LONG_TIMEOUT
) -> AsyncIterator[Setup]:
    async def fetch_media(request: PublishRequest) -> Sequence[Media]:
        return media

    async with running_pds() as pds, OutboundClient(LOCAL_RULES) as client:
        bluesky = Bluesky(
            client=client, now=lambda: NOW, fetch_media=fetch_media, timeout=call_timeout
        )
        yield Setup(bluesky, pds, MemoryCredentials(stored_credentials(pds.url)))


@asynccontextmanager
async def running_pds() -> AsyncIterator[ScriptedPds]:
    pds = ScriptedPds()
    async with local_server(pds.handle) as server:
        pds.url = server.url("")
        yield pds


def parse_xrpc_request(data: bytes) -> XrpcRequest:
    head, _, body = data.partition(b"\r\n\r\n")
    request_line, *header_lines = head.decode().split("\r\n")
    target = urlsplit(request_line.split()[1])
    assert target.path.startswith("/xrpc/")
    headers = dict(line.split(": ", 1) for line in header_lines)
    return XrpcRequest(
        method=target.path.removeprefix("/xrpc/"),
        parameters=dict(parse_qsl(target.query)),
        headers={name.lower(): value for name, value in headers.items()},
        body=body,
    )
