"""A server with the documented containers of Threads or Instagram, which refuses undocumented requests.

Written from Meta's documentation, not from the adapter: each request must have the documented path, a valid
token, and only documented parameters with values that the documentation allows.
"""

import asyncio
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from urllib.parse import parse_qsl

from tests.outbound.local_servers import read_request

USER = "17841405822304914"
TOKEN = "THAAsecretOfTheAccount1"


def response(status: int, body: object = None, **headers: str) -> bytes:
    """Return a response with a JSON body; bytes are sent unchanged."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    lines = [f"HTTP/1.1 {status} Status", f"Content-Length: {len(content)}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + content


def graph_error(
    code: int, subcode: int | None = None, *, status: int = 400, **fields: Any
) -> bytes:
    """Return a response with an error of the Graph API."""
    error = {"message": "Message", "type": "OAuthException", "code": code, "fbtrace_id": "A6LJy"}
    detail = {} if subcode is None else {"error_subcode": subcode}
    return response(status, {"error": error | detail | fields})


NO_RESPONSE = b""
CUT_RESPONSE = response(200, {"id": "17900000000000001"})[:-9]
HTML = response(200, b"<!DOCTYPE html><title>Sorry</title>")


@dataclass(frozen=True)
class Fault:
    """Answer to one request in place of the documented one."""

    answer: bytes
    is_processed: bool = False
    """True if the request has its effect before the answer."""


@dataclass(frozen=True)
class Call:
    """A request that the server received."""

    method: str
    path: str
    parameters: dict[str, str]

    @property
    def line(self) -> str:
        return f"{self.method} {self.path}"

    @property
    def own_parameters(self) -> dict[str, str]:
        return {name: value for name, value in self.parameters.items() if name != "access_token"}


@dataclass
class Container:
    """A container; `states` are those of its next readings, the last of which remains."""

    parameters: dict[str, str]
    states: list[str]

    @property
    def status(self) -> str:
        return self.states[0]

    def read_status(self) -> str:
        return self.states.pop(0) if len(self.states) > 1 else self.states[0]


@dataclass(frozen=True)
class Api:
    """Documented names and values of one platform."""

    version: str
    posts: str
    publish: str
    limit: str
    grant: str
    text: str
    max_text: int
    status: str
    reason: str
    max_children: int
    user_id: str
    user_fields: frozenset[str]
    parameters: frozenset[str]
    media_types: frozenset[str | None]
    """Documented values of `media_type`; None if an image has none."""


THREADS_API = Api(
    version="v1.0",
    posts="threads",
    publish="threads_publish",
    limit="threads_publishing_limit",
    grant="th_refresh_token",
    text="text",
    max_text=500,
    status="status",
    reason="error_message",
    max_children=20,
    user_id="id",
    user_fields=frozenset(
        {"id", "username", "name", "threads_profile_picture_url", "threads_biography"}
    ),
    parameters=frozenset(
        {
            "media_type",
            "text",
            "image_url",
            "video_url",
            "is_carousel_item",
            "children",
            "reply_to_id",
            "reply_control",
            "allowlisted_country_codes",
            "alt_text",
            "link_attachment",
            "quote_post_id",
            "poll_attachment",
        }
    ),
    media_types=frozenset({"TEXT", "IMAGE", "VIDEO", "CAROUSEL"}),
)
INSTAGRAM_API = Api(
    version="v25.0",
    posts="media",
    publish="media_publish",
    limit="content_publishing_limit",
    grant="ig_refresh_token",
    text="caption",
    max_text=2200,
    status="status_code",
    reason="status",
    max_children=10,
    user_id="user_id",
    user_fields=frozenset({"id", "user_id", "username", "name", "profile_picture_url"}),
    parameters=frozenset(
        {
            "media_type",
            "caption",
            "image_url",
            "video_url",
            "is_carousel_item",
            "children",
            "alt_text",
            "location_id",
            "user_tags",
            "collaborators",
            "product_tags",
        }
    ),
    media_types=frozenset({None, "CAROUSEL", "REELS", "STORIES", "VIDEO"}),
)


class _RefusedError(Exception):
    """A request with its answer."""

    def __init__(self, answer: bytes) -> None:
        super().__init__(answer)
        self.answer = answer


def _refused(message: str) -> _RefusedError:
    return _RefusedError(graph_error(100, message=f"Invalid parameter: {message}"))


@dataclass
class StubGraph:
    """The server; `now` is the time of its posts."""

    api: Api
    now: datetime
    tokens: set[str] = field(default_factory=lambda: {TOKEN})
    processing: list[str] = field(default_factory=lambda: ["FINISHED"])
    """States of each new container."""
    reason: str | None = None
    """Reason of containers that failed."""
    faults: dict[str, list[Fault]] = field(default_factory=dict)
    """Answers to the next requests, by the name of the operation."""
    quota: Mapping[str, object] = field(
        default_factory=lambda: {
            "quota_usage": 4,
            "config": {"quota_total": 250, "quota_duration": 86400},
        }
    )
    next_token: str = "THAAsecretOfTheAccount2"
    page_size: int = 100
    calls: list[Call] = field(default_factory=list)
    containers: dict[str, Container] = field(default_factory=dict)
    posts: list[dict[str, str]] = field(default_factory=list)
    """The newest last."""
    publish_received: asyncio.Event = field(default_factory=asyncio.Event)
    publish_released: asyncio.Event | None = None
    """Holds requests to publish until it is set, as a slow network does."""
    publish_processed: asyncio.Event = field(default_factory=asyncio.Event)

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            answer = await self._answer(await read_request(reader))
            writer.write(answer)
            await writer.drain()
            if answer in (NO_RESPONSE, CUT_RESPONSE):
                return

    @property
    def lines(self) -> list[str]:
        return [call.line for call in self.calls]

    def calls_of(self, method: str, name: str) -> list[Call]:
        """Return the requests for a part of the account, or for a container or post by its id."""
        paths = (f"/{self.api.version}/{USER}/{name}", f"/{self.api.version}/{name}", f"/{name}")
        return [call for call in self.calls if call.method == method and call.path in paths]

    def add_post(self, text: str | None, media_type: str, timestamp: datetime) -> str:
        """Publish a post that is not from a container; return its id."""
        post_id = f"18{len(self.posts):015}"
        post = {
            "id": post_id,
            "permalink": f"https://social.example/p/{post_id}",
            "timestamp": timestamp.strftime("%Y-%m-%dT%H:%M:%S+0000"),
            "media_type": media_type,
        }
        self.posts.append(post if text is None else {**post, self.api.text: text})
        return post_id

    async def _answer(self, raw: bytes) -> bytes:
        call = _parse(raw)
        self.calls.append(call)
        operation = self._operation(call)
        if operation == "publish":
            self.publish_received.set()
            if self.publish_released is not None:
                await self.publish_released.wait()
        faults = self.faults.get(operation, [])
        fault = faults.pop(0) if faults else None
        if fault is not None and not fault.is_processed:
            return fault.answer
        try:
            answer = response(200, self._process(operation, call))
        except _RefusedError as error:
            answer = error.answer
        if operation == "publish":
            self.publish_processed.set()
        return answer if fault is None else fault.answer

    def _operation(self, call: Call) -> str:
        """Return the operation of a documented path."""
        api = self.api
        user = f"/{api.version}/{USER}"
        operations = {
            f"POST {user}/{api.posts}": "create",
            f"POST {user}/{api.publish}": "publish",
            f"GET {user}/{api.posts}": "list",
            f"GET {user}/{api.limit}": "limit",
            f"GET /{api.version}/me": "identity",
            "GET /refresh_access_token": "refresh",
        }
        node = call.path.removeprefix(f"/{api.version}/")
        if call.method == "GET" and node in self.containers:
            return "status"
        if call.method == "GET" and any(post["id"] == node for post in self.posts):
            return "post"
        return operations.get(call.line, "unknown")

    def _process(self, operation: str, call: Call) -> object:
        if call.parameters.get("access_token") not in self.tokens:
            raise _RefusedError(
                graph_error(190, message="Error validating access token", status=401)
            )
        processors: dict[str, Callable[[Call], object]] = {
            "create": self._create,
            "publish": self._publish,
            "status": self._status,
            "post": self._post,
            "list": self._page,
            "limit": self._limit,
            "identity": self._identity,
            "refresh": self._refresh,
        }
        if operation not in processors:
            raise _RefusedError(graph_error(100, 33, message="Object does not exist"))
        return processors[operation](call)

    def _post(self, call: Call) -> object:
        _check_fields(call, {"id", "permalink", "timestamp", "media_type", self.api.text})
        (post,) = (post for post in self.posts if call.path.endswith(f"/{post['id']}"))
        return {name: post[name] for name in ("id", "permalink", "timestamp")}

    def _limit(self, call: Call) -> object:
        _check_fields(call, {"quota_usage", "config"})
        return {"data": [self.quota]}

    def _identity(self, call: Call) -> object:
        user = {name: f"the {name}" for name in self.api.user_fields}
        _check_fields(call, {*user})
        return user | {self.api.user_id: USER}

    def _create(self, call: Call) -> object:
        parameters = call.own_parameters
        self._check_container(parameters)
        container_id = f"17{len(self.containers):015}"
        self.containers[container_id] = Container(parameters, list(self.processing))
        return {"id": container_id}

    def _check_container(self, parameters: dict[str, str]) -> None:
        media_type, text = parameters.get("media_type"), parameters.get(self.api.text, "")
        if unknown := parameters.keys() - self.api.parameters:
            raise _refused(f"unknown {sorted(unknown)}")
        if media_type not in self.api.media_types:
            raise _refused(f"media_type {media_type}")
        if len(text) > self.api.max_text:
            raise _refused(self.api.text)
        if len(parameters.get("alt_text", "")) > 1000:
            raise _refused("alt_text")
        is_item = parameters.get("is_carousel_item", "false")
        if is_item not in ("true", "false") or (is_item == "true" and text):
            raise _refused("is_carousel_item")
        if media_type == "CAROUSEL":
            self._check_children(parameters.get("children", ""))
        elif "children" in parameters:
            raise _refused("children")
        elif media_type == "TEXT":
            if not text or parameters.keys() & {"image_url", "alt_text"}:
                raise _refused("text")
        elif not parameters.get("image_url", "").startswith(("http://", "https://")):
            raise _refused("image_url")

    def _check_children(self, children: str) -> None:
        ids = children.split(",")
        is_valid = 2 <= len(ids) <= self.api.max_children and all(
            child in self.containers
            and self.containers[child].status == "FINISHED"
            and self.containers[child].parameters.get("is_carousel_item") == "true"
            for child in ids
        )
        if not is_valid:
            raise _refused("children")

    def _publish(self, call: Call) -> object:
        parameters = call.own_parameters
        container = self.containers.get(parameters.get("creation_id", ""))
        if parameters.keys() != {"creation_id"} or container is None:
            raise _refused("creation_id")
        if container.status != "FINISHED":
            raise _RefusedError(graph_error(24, 2207006, message="Media not found"))
        container.states = ["PUBLISHED"]
        media_type = container.parameters.get("media_type", "IMAGE")
        post_media_type = {"TEXT": "TEXT_POST", "CAROUSEL": "CAROUSEL_ALBUM"}.get(
            media_type, media_type
        )
        text = container.parameters.get(self.api.text)
        return {"id": self.add_post(text, post_media_type, self.now)}

    def _status(self, call: Call) -> object:
        _check_fields(call, {"id", self.api.status, self.api.reason})
        container_id = call.path.rpartition("/")[2]
        reason = {} if self.reason is None else {self.api.reason: self.reason}
        return {
            "id": container_id,
            self.api.status: self.containers[container_id].read_status(),
        } | reason

    def _page(self, call: Call) -> object:
        parameters = call.own_parameters
        if parameters.keys() - {"fields", "limit", "after", "since", "until"}:
            raise _refused("paging")
        if not 1 <= int(parameters["limit"]) <= 100:
            raise _refused("limit")
        start = int(parameters.get("after", "0"))
        end = start + min(int(parameters["limit"]), self.page_size)
        newest_first = self.posts[::-1]
        paging: dict[str, object] = {"cursors": {"before": str(start), "after": str(end)}}
        if end < len(newest_first):
            paging["next"] = "https://graph.example/next"
        names = parameters["fields"].split(",")
        page = [
            {name: post[name] for name in names if name in post} for post in newest_first[start:end]
        ]
        return {"data": page, "paging": paging}

    def _refresh(self, call: Call) -> object:
        if call.own_parameters != {"grant_type": self.api.grant}:
            raise _refused("grant_type")
        self.tokens.add(self.next_token)
        return {"access_token": self.next_token, "token_type": "bearer", "expires_in": 5184000}


def _check_fields(call: Call, documented: set[str]) -> None:
    fields = set(call.parameters.get("fields", "").split(","))
    if call.own_parameters.keys() != {"fields"} or not fields <= documented:
        raise _refused("fields")


def _parse(raw: bytes) -> Call:
    head, _, body = raw.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    method, target, _ = first.split(" ")
    path, _, query = target.partition("?")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
    is_form = headers.get("content-type") == "application/x-www-form-urlencoded"
    pairs = parse_qsl(query, keep_blank_values=True, strict_parsing=bool(query))
    if is_form:
        pairs += parse_qsl(body.decode(), keep_blank_values=True, strict_parsing=True)
    assert len(dict(pairs)) == len(pairs), "a parameter is repeated"
    return Call(method, path, dict(pairs))
