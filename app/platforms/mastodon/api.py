"""Requests to the Mastodon API of one instance, with one account's access token."""

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from hashlib import sha256
from http import HTTPStatus
from typing import Any, TypeVar
from urllib.parse import quote, urlencode

import orjson

from app.domain.destinations import ErrorCategory
from app.domain.times import Clock
from app.outbound.client import OutboundClient, OutboundRequest, OutboundResponse
from app.platforms.media import Media
from app.platforms.protocol import (
    TOKEN_PATTERN,
    CredentialValues,
    NotPublished,
    ObservedRateLimit,
    OutcomeUnknown,
    PlatformCallError,
    credentials_error,
    parse_origin,
)
from app.platforms.responses import (
    RefusalReader,
    parse_json_object,
    redact_errors,
    refusal,
    require_json_object,
    send,
    time_or_default,
    unknown_outcome,
    without_post_content,
)

_TIMEOUT = timedelta(seconds=30)
_UPLOAD_TIMEOUT = timedelta(minutes=2)
_MAX_RESPONSE_BYTES = 4 * 1024 * 1024
"""A page of statuses with long texts is the largest response."""

_PAGE_SIZE = 40
"""Statuses of a page: Mastodon's maximum."""

_MAX_PAGES = 50
"""Pages that a lookup reads at most: a server could return new statuses without end."""

_SNAC_PAGE_SIZE = 256
"""Statuses of snac's only page, which it returns for any `limit` and `max_id`."""

T = TypeVar("T")


class MastodonApi:
    """Client of one account's instance. No error contains the access token."""

    def __init__(self, client: OutboundClient, credentials: CredentialValues, now: Clock) -> None:
        """Create a client by `instance` and `accessToken`; raises NotPublished without valid ones."""
        instance, token = (
            str(credentials.get(name, "")).strip() for name in ("instance", "accessToken")
        )
        origin = parse_origin(instance)
        if origin is None or not re.match(TOKEN_PATTERN, token):
            raise credentials_error(
                "The credentials must have instance, such as https://example.social, and accessToken."
                " Connect the account again.",
            )
        self.origin = origin
        self._client = client
        self._token = token
        self._now = now

    async def post_status(
        self,
        parameters: Mapping[str, object],
        *,
        idempotency_key: str,
        rate_limit: ObservedRateLimit,
    ) -> Mapping[str, Any]:
        """Publish a status; return it as the server stored it, with its id."""
        return await self._call(
            "POST",
            "/api/v1/statuses",
            _read_entity,
            read_refusal=_read_status_refusal,
            headers={"Idempotency-Key": idempotency_key, "Content-Type": "application/json"},
            body=orjson.dumps(parameters),
            rate_limit=rate_limit,
        )

    async def upload_media(self, media: Media) -> tuple[str, bool]:
        """Upload media; return its id, and whether the server has already processed it."""
        content_type, body = _encode_form(media)
        return await self._call(
            "POST",
            "/api/v2/media",
            lambda response: (_read_entity(response)["id"], _is_processed(response)),
            read_refusal=_read_media_refusal,
            headers={"Content-Type": content_type},
            body=body,
            time_limit=_UPLOAD_TIMEOUT,
        )

    async def is_media_processed(self, media_id: str) -> bool:
        """Return whether uploaded media can be attached to a status."""
        path = f"/api/v1/media/{_quote(media_id)}"
        return await self._call("GET", path, _is_processed, read_refusal=_read_media_refusal)

    async def instance(self) -> Mapping[str, Any]:
        """Return the description of the instance, in version 2 or else 1 of the API."""
        try:
            return await self._call("GET", "/api/v2/instance", require_json_object)
        except OutcomeUnknown as error:
            if error.http_status != HTTPStatus.NOT_FOUND:
                raise
        return await self._call("GET", "/api/v1/instance", require_json_object)

    async def account(self) -> Mapping[str, Any]:
        """Return the account of the token, with its id."""
        path = "/api/v1/accounts/verify_credentials"
        return await self._call("GET", path, _read_entity, read_refusal=_read_account_refusal)

    async def application_name(self) -> str | None:
        """Return the name of the token's application; None if the server does not state it."""
        try:
            path = "/api/v1/apps/verify_credentials"
            return (await self._call("GET", path, require_json_object)).get("name")
        except PlatformCallError as error:
            if error.http_status in (HTTPStatus.FORBIDDEN, HTTPStatus.NOT_FOUND):
                return None
            raise

    async def statuses_since(self, account_id: str, since: datetime) -> Sequence[Mapping[str, Any]]:
        """Return all statuses of the account from a time on, and some older ones.

        Servers return pages, the newest statuses first. Raises OutcomeUnknown if they do not return all.
        """
        path = f"/api/v1/accounts/{_quote(account_id)}/statuses"
        query = {"exclude_reblogs": "true", "limit": str(_PAGE_SIZE)}
        statuses: dict[str, Mapping[str, Any]] = {}
        for _ in range(_MAX_PAGES):
            page = await self._call("GET", f"{path}?{urlencode(query)}", _read_page)
            has_new = any(status["id"] not in statuses for status in page)
            statuses |= {status["id"]: status for status in page}
            if not has_new:
                _check_list_end(page, len(statuses))
                return list(statuses.values())
            oldest = page[-1]
            if time_or_default(oldest.get("created_at"), since) < since:
                return list(statuses.values())
            # One less, so that a server that ignores `max_id` repeats a page of another length.
            query |= {"max_id": oldest["id"], "limit": str(_PAGE_SIZE - 1)}
        raise OutcomeUnknown(
            f"The account has more than {_MAX_PAGES} pages of statuses since the attempt."
        )

    async def source(self, status_id: str) -> str:
        """Return the text of a status as its author wrote it."""
        path = f"/api/v1/statuses/{_quote(status_id)}/source"
        return str((await self._call("GET", path, require_json_object))["text"])

    async def _call(
        self,
        method: str,
        path: str,
        read: Callable[[OutboundResponse], T],
        *,
        read_refusal: RefusalReader = lambda _: None,
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
        time_limit: timedelta = _TIMEOUT,
        rate_limit: ObservedRateLimit | None = None,
    ) -> T:
        """Send a request and read its response; raises NotPublished or OutcomeUnknown."""
        request = OutboundRequest(
            method=method,
            url=f"{self.origin}{path}",
            headers={
                "Authorization": f"Bearer {self._token}",
                "Connection": "close",  # snac closes it anyway, too late for a reuse to notice
                **(headers or {}),
            },
            body=body,
            timeout=time_limit,
            max_response_bytes=_MAX_RESPONSE_BYTES,
            pool_key=self.origin,
        )

        def read_any_refusal(response: OutboundResponse) -> NotPublished | None:
            return _read_forbidden(response) or read_refusal(response)

        with redact_errors({self._token}):
            return read(
                await send(
                    self._client,
                    request,
                    now=self._now(),
                    read_refusal=read_any_refusal
                    if body is not None
                    else without_post_content(request, read_any_refusal),
                    rate_limit=rate_limit,
                )
            )


def _read_entity(response: OutboundResponse) -> Mapping[str, Any]:
    """Return an object with an id."""
    entity = require_json_object(response)
    if not isinstance(entity.get("id"), str):
        raise unknown_outcome(
            response, f"The server answered {response.status}, but without an id."
        )
    return entity


def _read_page(response: OutboundResponse) -> Sequence[Mapping[str, Any]]:
    page = orjson.loads(response.body)
    if not isinstance(page, list):
        raise OutcomeUnknown("The server answered without a list of statuses.")
    return page


def _check_list_end(page: Sequence[object], number_of_statuses: int) -> None:
    """Raise OutcomeUnknown if a page without new statuses does not show that the list is complete.

    An empty page shows it, and so does snac's only page, unless it is full.
    """
    is_only_page = len(page) == number_of_statuses < _SNAC_PAGE_SIZE
    if page and not is_only_page:
        raise OutcomeUnknown("The server repeats a page of the account's statuses.")


def _is_processed(response: OutboundResponse) -> bool:
    """Return whether a response about media says so; 202 and 206 say that they are being processed."""
    return response.status == HTTPStatus.OK


_FORBIDDEN_LOGINS = (
    (
        "outside the authorized scopes",
        "MISSING_SCOPE",
        "The access token lacks a scope. Connect the account again with a token that has read:accounts,"
        " read:statuses, write:statuses and write:media.",
    ),
    (
        "currently disabled",
        "LOGIN_DISABLED",
        "The server has disabled the login: the account is suspended, or has moved to another account. Sign"
        " in at the server, which says why. Of an account that has moved, connect the new one.",
    ),
    (
        "pending approval",
        "LOGIN_NOT_APPROVED",
        "The moderators of the server have not approved the account yet. Connect it again when they have.",
    ),
    (
        "confirmed e-mail",
        "EMAIL_NOT_CONFIRMED",
        "The e-mail address of the account is not confirmed. Confirm it, and connect the account again.",
    ),
)
"""Parts of the reasons that Mastodon states with 403, in English, for what its `require_user!` and the
scopes of a token do not allow; with a code and a sentence."""


def _read_forbidden(response: OutboundResponse) -> NotPublished | None:
    """Return the error of a 403 whose reason is known; any other one is left to its status."""
    if response.status != HTTPStatus.FORBIDDEN:
        return None
    reason = str((parse_json_object(response) or {}).get("error"))
    for part, code, message in _FORBIDDEN_LOGINS:
        if part in reason:
            return refusal(response, ErrorCategory.AUTH, code, message)
    return None


def _unprocessable(category: ErrorCategory, code: str, message: str) -> RefusalReader:
    """Return a function that reads the answer 422 and the reason in it."""

    def read(response: OutboundResponse) -> NotPublished | None:
        if response.status != HTTPStatus.UNPROCESSABLE_ENTITY:
            return None
        reason = (parse_json_object(response) or {}).get("error")
        detail = f" Its reason: {reason}" if isinstance(reason, str) else ""
        return refusal(response, category, code, f"{message}{detail}")

    return read


_read_post_refusal = _unprocessable(
    ErrorCategory.CONTENT_REJECTED, "CONTENT_REJECTED", "The server does not accept the post."
)
_read_processing = _unprocessable(
    ErrorCategory.TRANSIENT, "MEDIA_PROCESSING", "The server still processes the media."
)
_read_media_refusal = _unprocessable(
    ErrorCategory.CONTENT_REJECTED, "MEDIA_UNSUPPORTED", "The server does not accept the media."
)
_read_account_refusal = _unprocessable(  # snac answers so to a revoked token
    ErrorCategory.AUTH, "TOKEN_REVOKED", "The server does not accept the access token."
)


def _read_status_refusal(response: OutboundResponse) -> NotPublished | None:
    is_processing = b"finished processing" in response.body
    return _read_processing(response) if is_processing else _read_post_refusal(response)


def _encode_form(media: Media) -> tuple[str, bytes]:
    """Return the content type and body of a form with a file and its description, RFC 7578.

    snac takes the type of a file from its extension, and replaces an older file with the same name.
    """
    digest = sha256(media.content + media.alt.encode()).hexdigest()
    subtype = media.content_type.partition("/")[2]
    lines: tuple[str | bytes, ...] = (
        f"--{digest}",  # a boundary, which neither of the values contains
        f'Content-Disposition: form-data; name="file"; filename="{digest}.{subtype}"',
        f"Content-Type: {media.content_type}",
        "",
        media.content,
        f"--{digest}",
        'Content-Disposition: form-data; name="description"',
        "",
        media.alt,
        f"--{digest}--",
        "",
    )
    body = b"\r\n".join(line if isinstance(line, bytes) else line.encode() for line in lines)
    return f"multipart/form-data; boundary={digest}", body


def _quote(identifier: str) -> str:
    return quote(identifier, safe="")
