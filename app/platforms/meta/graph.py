"""Requests to the Graph API of one platform, with one account's access token."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from enum import StrEnum
from functools import partial
from typing import Any, NamedTuple
from urllib.parse import urlencode

from app.domain.times import Clock, format_instant
from app.outbound.client import OutboundClient, OutboundRequest
from app.platforms.meta.credentials import MetaCredentials
from app.platforms.meta.descriptions import MetaPlatform
from app.platforms.meta.errors import read_graph_refusal
from app.platforms.protocol import AccountIdentity, CredentialValues, OutcomeUnknown
from app.platforms.responses import (
    RefusalReader,
    redact_errors,
    require_json_object,
    send,
    time_or_default,
    without_post_content,
)

_TIMEOUT = timedelta(seconds=60)
"""Time for one call: Meta may load an image before it answers."""

_MAX_RESPONSE_BYTES = 1024 * 1024
_MAX_VALIDITY_SECONDS = 366 * 24 * 3600
_PAGE_SIZE = 100
_MAX_PAGES = 5
"""Pages of posts that are read at most; an account publishes 250 posts a day by the API."""


class ContainerStatus(StrEnum):
    """Status of a container."""

    IN_PROGRESS = "IN_PROGRESS"
    FINISHED = "FINISHED"
    """Ready to be published."""
    PUBLISHED = "PUBLISHED"
    ERROR = "ERROR"
    EXPIRED = "EXPIRED"
    """Not published within 24 hours, and never again."""


class ContainerState(NamedTuple):
    """Status of a container, and the reason of an error."""

    status: ContainerStatus
    reason: object


class GraphApi:
    """Client of one account's API; its methods raise NotPublished and OutcomeUnknown.

    The token is the parameter `access_token`, the only form that is documented for all requests of both
    platforms. No error contains it.
    """

    def __init__(
        self,
        client: OutboundClient,
        platform: MetaPlatform,
        credentials: MetaCredentials,
        now: Clock,
    ) -> None:
        self._client = client
        self._platform = platform
        self._credentials = credentials
        self._now = now

    async def identity(self) -> AccountIdentity:
        """Return the account of the access token."""
        fields = self._platform.identity_fields
        answer = await self._call("GET", self._path("me"), {"fields": ",".join(fields.values())})
        texts = {name: value for name, value in answer.items() if isinstance(value, str)}
        return AccountIdentity(**{name: texts.get(field) for name, field in fields.items()})

    async def create_container(self, parameters: Mapping[str, str]) -> str:
        """Create a container, and return its id."""
        path = self._user_path(self._platform.posts_path)
        return _read_id(await self._call("POST", path, parameters))

    async def container_state(self, container: str) -> ContainerState:
        """Return the state of a container."""
        names = self._platform.status_field, self._platform.reason_field
        answer = await self._call("GET", self._path(container), {"fields": ",".join(names)})
        status, reason = map(answer.get, names)
        try:
            return ContainerState(ContainerStatus(str(status)), reason)
        except ValueError:
            raise OutcomeUnknown("Meta's answer has no known status of the container.") from None

    async def publish(self, container: str) -> str:
        """Publish a container, and return the id of the post."""
        path = self._user_path(self._platform.publish_path)
        return _read_id(await self._call("POST", path, {"creation_id": container}))

    async def post(self, post_id: str) -> Mapping[str, Any]:
        """Return the permalink and the timestamp of a post."""
        return await self._call("GET", self._path(post_id), {"fields": "id,permalink,timestamp"})

    async def posts_since(self, since: datetime) -> Sequence[Mapping[str, Any]]:
        """Return the account's posts from a time on, the newest first.

        Raises OutcomeUnknown if the platform does not return all of them.
        """
        fields = f"id,permalink,timestamp,media_type,{self._platform.text_field}"
        parameters = {"fields": fields, "limit": str(_PAGE_SIZE)}
        found: list[Mapping[str, Any]] = []
        for _ in range(_MAX_PAGES):
            path = self._user_path(self._platform.posts_path)
            answer = await self._call("GET", path, parameters)
            page = [post for post in _read_list(answer) if _has_id(post)]
            recent = [
                post for post in page if time_or_default(post.get("timestamp"), since) >= since
            ]
            found += recent
            cursor = _next_cursor(answer)
            if cursor is None or len(recent) < len(page):
                return found
            parameters["after"] = cursor
        raise OutcomeUnknown(
            f"The account has more than {_MAX_PAGES * _PAGE_SIZE} posts since {format_instant(since)}."
        )

    async def quota(self) -> Mapping[str, Any]:
        """Return the number of posts in a period, `quota_usage`, and in `config` their limit."""
        path = self._user_path(self._platform.limit_path)
        entries = _read_list(await self._call("GET", path, {"fields": "quota_usage,config"}))
        return entries[0] if entries else {}

    async def renew_token(self) -> CredentialValues:
        """Return the members of the credentials that a new token changes."""
        grant = {"grant_type": self._platform.refresh_grant}
        answer = await self._call("GET", "/refresh_access_token", grant)
        token, seconds = answer.get("access_token"), answer.get("expires_in")
        if not isinstance(token, str) or type(seconds) is not int:
            raise OutcomeUnknown("Meta's answer has no new access token.")
        expires_at = self._now() + timedelta(seconds=min(seconds, _MAX_VALIDITY_SECONDS))
        return {"accessToken": token, "expiresAt": format_instant(expires_at)}

    def _user_path(self, name: str) -> str:
        return self._path(f"{self._credentials.user_id}/{name}")

    def _path(self, name: str) -> str:
        return f"/{self._platform.version}/{name}"

    async def _call(
        self, method: str, path: str, parameters: Mapping[str, str]
    ) -> Mapping[str, Any]:
        token = self._credentials.access_token
        encoded = urlencode({**parameters, "access_token": token})
        url = f"{self._platform.origin}{path}"
        is_write = method == "POST"
        request = OutboundRequest(
            method=method,
            url=url if is_write else f"{url}?{encoded}",
            headers={"Content-Type": "application/x-www-form-urlencoded"} if is_write else {},
            body=encoded.encode() if is_write else None,
            timeout=_TIMEOUT,
            max_response_bytes=_MAX_RESPONSE_BYTES,
            pool_key=self._platform.origin,
        )
        now = self._now()
        read_refusal: RefusalReader = partial(read_graph_refusal, now=now)
        if not is_write:
            read_refusal = without_post_content(request, read_refusal)
        with redact_errors({token}):
            response = await send(self._client, request, now=now, read_refusal=read_refusal)
            return require_json_object(response)


def _read_id(answer: Mapping[str, Any]) -> str:
    if not _has_id(answer):
        raise OutcomeUnknown("Meta's answer has no valid id.")
    return str(answer["id"])


def _has_id(entry: Mapping[str, Any]) -> bool:
    """Return whether an object has an id: digits, which are safe in a path."""
    value = entry.get("id")
    return isinstance(value, str) and value.isascii() and value.isdigit()


def _read_list(answer: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    entries = answer.get("data")
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise OutcomeUnknown("Meta's answer has no list.")
    return entries


def _next_cursor(answer: Mapping[str, Any]) -> str | None:
    """Return the cursor of the next page; None on the last one, which has no `next`."""
    paging = answer.get("paging")
    if not isinstance(paging, dict) or "next" not in paging:
        return None
    cursors = paging.get("cursors")
    cursor = cursors.get("after") if isinstance(cursors, dict) else None
    return cursor if isinstance(cursor, str) else None
