"""Adapter for Notes, an invented platform on which the client chooses the key of each note."""

import re
from collections.abc import Mapping
from datetime import timedelta
from http import HTTPStatus
from typing import Any

import orjson

from app.domain.attempts import Publication
from app.domain.destinations import ErrorCategory
from app.domain.times import Clock
from app.outbound.client import OutboundClient, OutboundRequest, OutboundResponse
from app.platforms.protocol import (
    TOKEN_PATTERN,
    AccountIdentity,
    Credentials,
    CredentialValues,
    LookupFailure,
    NotPublished,
    ObservedRateLimit,
    OutcomeUnknown,
    PublishRequest,
    content_error,
    credentials_error,
)
from app.platforms.responses import (
    parse_json_object,
    redact_errors,
    refusal,
    require_json_object,
    send,
)

_TIMEOUT = timedelta(seconds=30)
_MAX_RESPONSE_BYTES = 64 * 1024


class Notes:
    """Creates a note under a key that is the same in every attempt, so that a post appears once.

    Credentials: `server`, a URL, and `token`.
    """

    def __init__(self, client: OutboundClient, *, now: Clock) -> None:
        self._client = client
        self._now = now

    async def publish(self, request: PublishRequest) -> Publication:
        """Create the note, or return the publication of an earlier attempt."""
        if not request.content.strip() or request.media or request.media_ids:
            raise content_error("ONLY_TEXT", "A note needs a text and has no media. Edit the post.")
        values = await request.credentials.get()
        request.check_deadline()
        body = {"text": request.content}
        note = await self._call("PUT", _path(request), values, body, request.rate_limit)
        return self._publication(note, request)

    async def look_up(self, request: PublishRequest) -> Publication | LookupFailure:
        """Read the note. A request that arrives later creates one that the next attempt finds."""
        try:
            note = await self._call("GET", _path(request), await request.credentials.get())
        except OutcomeUnknown as error:
            if error.http_status == HTTPStatus.NOT_FOUND:
                return LookupFailure.NOT_FOUND
            raise
        return self._publication(note, request)

    async def verify_credentials(self, credentials: Credentials) -> AccountIdentity:
        """Ask the server for the account of the token."""
        account = await self._call("GET", "account", await credentials.get())
        return AccountIdentity(platform_user_id=account["id"], username=account["name"])

    async def _call(
        self,
        method: str,
        path: str,
        values: CredentialValues,
        body: object = None,
        rate_limit: ObservedRateLimit | None = None,
    ) -> Mapping[str, Any]:
        """Return the answer to a request; raises NotPublished or OutcomeUnknown, without the token."""
        server, token = (str(values.get(name, "")) for name in ("server", "token"))
        if not re.match(TOKEN_PATTERN, token):
            raise credentials_error("The credentials must have server and token. Set them again.")
        outbound = OutboundRequest(
            method=method,
            url=f"{server}/{path}",
            headers={"Authorization": f"Bearer {token}", "Content-Type": "application/json"},
            body=None if body is None else orjson.dumps(body),
            timeout=_TIMEOUT,
            max_response_bytes=_MAX_RESPONSE_BYTES,
            pool_key=server,
        )
        with redact_errors({token}):
            response = await send(
                self._client,
                outbound,
                now=self._now(),
                read_refusal=_read_refusal,
                rate_limit=rate_limit,
            )
            return require_json_object(response)

    def _publication(self, note: Mapping[str, Any], request: PublishRequest) -> Publication:
        return Publication(
            platform_post_id=request.publication_key,
            platform_post_url=note["url"],
            published_at=self._now(),
        )


def _path(request: PublishRequest) -> str:
    return f"notes/{request.publication_key}"


def _read_refusal(response: OutboundResponse) -> NotPublished | None:
    """Return the error of a note that the platform refuses; other answers follow the common rules."""
    if response.status != HTTPStatus.UNPROCESSABLE_ENTITY:
        return None
    reason = (parse_json_object(response) or {}).get("error", "It states no reason.")
    return refusal(
        response, ErrorCategory.CONTENT_REJECTED, "REFUSED", f"Notes refuses the text. {reason}"
    )
