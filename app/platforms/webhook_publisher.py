"""Adapter that hands posts to a publisher of the user's own, by signed requests to its URL.

Credentials of the account: `url`, `secret` (a signing secret of Standard Webhooks, `whsec_…`) and, if the
publisher can say whether a post was published, `lookupUrl`.
"""

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from http import HTTPStatus
from urllib.parse import urlsplit

import orjson

from app import __version__
from app.domain.attempts import Publication, usable_publication
from app.domain.destinations import ErrorCategory
from app.domain.errors import InvalidInput
from app.domain.times import Clock, format_instant
from app.domain.webhooks.signatures import SECRET_PREFIX, signature_headers
from app.outbound.client import OutboundClient, OutboundRequest, OutboundResponse
from app.platforms.protocol import (
    AccountIdentity,
    Credentials,
    CredentialValues,
    LookupFailure,
    NotPublished,
    PublishRequest,
    credentials_error,
)
from app.platforms.responses import (
    parse_json_object,
    refusal,
    require_json_object,
    retry_wait,
    send,
    text_or_none,
    time_or_default,
    unknown_outcome,
)

_PUBLISH_TIMEOUT = timedelta(seconds=100)
_LOOKUP_TIMEOUT = timedelta(seconds=20)
_MAX_RESPONSE_BYTES = 64 * 1024

_CATEGORY_BY_STATUS: Mapping[int, ErrorCategory] = {
    HTTPStatus.BAD_REQUEST: ErrorCategory.CONTENT_REJECTED,
    HTTPStatus.UNAUTHORIZED: ErrorCategory.AUTH,
    HTTPStatus.FORBIDDEN: ErrorCategory.AUTH,
    HTTPStatus.TOO_MANY_REQUESTS: ErrorCategory.RATE_LIMITED,
}
"""Categories of refusals; other statuses that refuse a post are temporary failures."""

_AMBIGUOUS_STATUSES = {HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.CONFLICT}
"""Statuses of the range 400 to 499 after which the post may be published."""


class WebhookPublisher:
    """Adapter of accounts whose posts are published by the user's own publisher."""

    def __init__(self, client: OutboundClient, *, now: Clock) -> None:
        self._client = client
        self._now = now

    async def publish(self, request: PublishRequest) -> Publication:
        """POST the post to the URL; the answer must have its id or URL on the platform."""
        account = _parse_credentials(await request.credentials.get())
        request.check_deadline()
        response = await send(
            self._client,
            self._signed(account.url, account, request, _PUBLISH_TIMEOUT),
            now=self._now(),
            read_refusal=self._read_refusal,
            rate_limit=request.rate_limit,
        )
        return self._read_publication(response)

    async def look_up(self, request: PublishRequest) -> Publication | LookupFailure:
        """POST the post to the lookup URL, which answers 404 if it is not published and will not be."""
        account = _parse_credentials(await request.credentials.get())
        if account.lookup_url is None:
            return LookupFailure.INCONCLUSIVE
        response = await self._client.send(
            self._signed(account.lookup_url, account, request, _LOOKUP_TIMEOUT)
        )
        if response.status == HTTPStatus.NOT_FOUND:
            return LookupFailure.NOT_FOUND
        if response.status == HTTPStatus.TOO_MANY_REQUESTS:
            raise self._refusal(response, _error_message(response))
        if response.status != HTTPStatus.OK:
            return LookupFailure.INCONCLUSIVE
        return self._read_publication(response)

    async def verify_credentials(self, credentials: Credentials) -> AccountIdentity:
        """Check the form of the credentials; nothing is sent to the publisher."""
        account = _parse_credentials(await credentials.get())
        try:
            self._client.check_url(account.url, "url")
            if account.lookup_url is not None:
                self._client.check_url(account.lookup_url, "lookupUrl")
        except InvalidInput as error:
            # As for a post: other rules of the server, without other credentials, may allow the URL.
            raise NotPublished(ErrorCategory.PERMANENT, "INVALID_URL", error.message) from None
        return AccountIdentity(display_name=urlsplit(account.url).hostname)

    def _signed(
        self, url: str, account: "_WebhookCredentials", request: PublishRequest, timeout: timedelta
    ) -> OutboundRequest:
        """Return a request with the post, whose id is the key of the publication."""
        body = orjson.dumps(_payload(request))
        signature = signature_headers(
            body, event_id=request.publication_key, now=self._now(), secrets=[account.secret]
        )
        return OutboundRequest(
            method="POST",
            url=url,
            headers={
                "Content-Type": "application/json",
                "User-Agent": f"post-results/{__version__}",
                **signature,
            },
            body=body,
            timeout=timeout,
            max_response_bytes=_MAX_RESPONSE_BYTES,
            pool_key=url,
        )

    def _read_refusal(self, response: OutboundResponse) -> NotPublished | None:
        status, reason = response.status, _error_message(response)
        # Proxies answer 503 too, even if the publisher has received the request.
        is_refusal = (status == HTTPStatus.SERVICE_UNAVAILABLE and reason is not None) or (
            HTTPStatus.BAD_REQUEST <= status < HTTPStatus.INTERNAL_SERVER_ERROR
            and status not in _AMBIGUOUS_STATUSES
        )
        if not is_refusal:
            return None
        return self._refusal(response, reason)

    def _refusal(self, response: OutboundResponse, reason: str | None) -> NotPublished:
        status = response.status
        category = _CATEGORY_BY_STATUS.get(status, ErrorCategory.TRANSIENT)
        return refusal(
            response,
            category,
            f"HTTP_{status}",
            reason or f"The publisher answered {status}.",
            retry_after=retry_wait(response, self._now()),
        )

    def _read_publication(self, response: OutboundResponse) -> Publication:
        """Return the publication of a successful answer; raises OutcomeUnknown without a valid id or URL."""
        answer = require_json_object(response)
        post_id, url = (_text_or_number(answer.get(name)) for name in ("id", "url"))
        now = self._now()
        publication = Publication(
            platform_post_id=post_id,
            platform_post_url=url,
            published_at=time_or_default(answer.get("publishedAt"), now),
        )
        try:
            return usable_publication(publication, now)
        except InvalidInput:
            raise unknown_outcome(
                response,
                f"The publisher answered {response.status} without a usable id or url of the post. Let it"
                " respond after it has published the post.",
            ) from None


@dataclass(frozen=True, slots=True, repr=False)
class _WebhookCredentials:
    url: str
    secret: str
    lookup_url: str | None


def _parse_credentials(credentials: CredentialValues) -> _WebhookCredentials:
    """Read the credentials; raises NotPublished if they are incomplete."""
    url, secret, lookup_url = (
        _text_or_number(credentials.get(name)) for name in ("url", "secret", "lookupUrl")
    )
    if url is None or secret is None or not _is_signing_secret(secret):
        raise credentials_error(
            'The credentials of the account need "url", and "secret" as whsec_ and base64. Set them again.',
        )
    return _WebhookCredentials(url, secret, lookup_url)


def _is_signing_secret(secret: str) -> bool:
    if not secret.startswith(SECRET_PREFIX):
        return False
    try:
        return bool(base64.b64decode(secret.removeprefix(SECRET_PREFIX), validate=True))
    except ValueError:
        return False


def _payload(request: PublishRequest) -> Mapping[str, object]:
    """Return the fields of the post."""
    return {
        "workspaceId": str(request.workspace_id),
        "destinationId": str(request.destination_id),
        "postId": str(request.post_id),
        "attempt": request.attempt,
        "platform": request.account.platform,
        "accountId": request.account.id,
        "accountName": request.account.name,
        "platformUserId": request.account.platform_user_id,
        "platformUsername": request.account.platform_username,
        "content": request.content,
        "contentType": request.content_type,
        "settings": request.settings,
        "mediaIds": request.media_ids,
        "media": request.media,
        "reference": request.reference,
        "attemptStartedAt": format_instant(request.attempt_started_at),
    }


def _error_message(response: OutboundResponse) -> str | None:
    """Return the reason that a publisher gives as `error` in a JSON object."""
    return _text_or_number((parse_json_object(response) or {}).get("error"))


def _text_or_number(value: object) -> str | None:
    """Return a text, or an integer as one; None for anything else, and for an empty text."""
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return text_or_none(value)
