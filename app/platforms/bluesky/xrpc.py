"""Calls of AT Protocol servers by XRPC, the protocol's form of HTTP."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar
from urllib.parse import urlencode

from app.domain.times import Clock
from app.outbound.client import OutboundClient, OutboundRequest
from app.platforms.bluesky.errors import read_refusal
from app.platforms.protocol import ObservedRateLimit
from app.platforms.responses import (
    invalid_member_error,
    require_json_object,
    send,
    without_post_content,
)

T = TypeVar("T")

_MAX_RESPONSE_BYTES = 256 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class XrpcClient:
    """Client for single calls of a server's methods."""

    client: OutboundClient
    now: Clock
    timeout: timedelta
    """Time for one call."""

    async def call(
        self,
        server: str,
        method: str,
        *,
        parameters: Mapping[str, str] | None = None,
        body: bytes | None = None,
        content_type: str = "application/json",
        token: str | None = None,
        has_post_content: bool = False,
        rate_limit: ObservedRateLimit | None = None,
    ) -> Mapping[str, Any]:
        """Return the JSON object that a method answers; raises NotPublished or OutcomeUnknown.

        A method with a body writes, and one without reads. With `has_post_content`, the body is a part of a
        post, which the server may refuse for its content.
        """
        headers = {"Content-Type": content_type} if body else {}
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        query = f"?{urlencode(parameters)}" if parameters else ""
        request = OutboundRequest(
            method="GET" if body is None else "POST",
            url=f"{server.rstrip('/')}/xrpc/{method}{query}",
            headers=headers,
            body=body,
            timeout=self.timeout,
            max_response_bytes=_MAX_RESPONSE_BYTES,
            pool_key=server,
        )
        response = await send(
            self.client,
            request,
            now=self.now(),
            read_refusal=read_refusal
            if has_post_content
            else without_post_content(request, read_refusal),
            rate_limit=rate_limit,
        )
        return require_json_object(response)


def read_member(answer: Mapping[str, Any], name: str, expected: type[T]) -> T:
    """Return a member of an answer; raises OutcomeUnknown if it is missing or of another type."""
    value = answer.get(name)
    if not isinstance(value, expected):
        raise invalid_member_error(name)
    return value
