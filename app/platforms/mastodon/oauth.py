"""Authorization by the owner of a Mastodon account, with a code that a page shows (OAuth 2)."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from http import HTTPStatus
from typing import Any
from urllib.parse import urlencode

from app.domain.destinations import ErrorCategory
from app.outbound.client import OutboundClient, OutboundRequest, OutboundResponse
from app.platforms.protocol import CredentialValues, NotPublished, parse_origin
from app.platforms.responses import (
    convert_unknown_outcome,
    invalid_member_error,
    refusal,
    require_json_object,
    send,
    without_post_content,
)

_APP_NAME = "post-results"
_REDIRECT_URI = "urn:ietf:wg:oauth:2.0:oob"
"""Redirection that shows the code instead."""

_SCOPES = "read:accounts read:statuses write:statuses write:media"
_REFUSAL_STATUSES = {
    HTTPStatus.BAD_REQUEST,
    HTTPStatus.UNAUTHORIZED,
    HTTPStatus.FORBIDDEN,
    HTTPStatus.UNPROCESSABLE_ENTITY,
}
_APP_REFUSED = (
    "The server does not register applications. Create one in the settings of your account, and use its"
    " access token."
)
_NOT_CONNECTED = "The account is not connected."
_NOT_REGISTERED = "Check the address of the server, which must have the API of Mastodon."
_CODE_REFUSED = "The server does not accept the code. Connect the account again, with a new code."

_TIMEOUT = timedelta(seconds=10)
_MAX_RESPONSE_BYTES = 64 * 1024
_MAX_TEXT_LENGTH = 2_000
"""Characters of an id or a secret: an application must fit into a URL and into credentials."""


@dataclass(frozen=True, slots=True)
class MastodonApp:
    """Application that an instance has registered."""

    origin: str
    client_id: str
    client_secret: str = field(repr=False)

    @property
    def authorization_url(self) -> str:
        """Page on which the owner of an account gets a code."""
        parameters = {
            "response_type": "code",
            "client_id": self.client_id,
            "redirect_uri": _REDIRECT_URI,
            "scope": _SCOPES,
        }
        return f"{self.origin}/oauth/authorize?{urlencode(parameters)}"


async def register_app(client: OutboundClient, instance: str, now: datetime) -> MastodonApp:
    """Register an application at an instance, a URL; raises NotPublished."""
    origin = parse_origin(instance)
    if origin is None:
        raise NotPublished(
            ErrorCategory.PERMANENT,
            "INVALID_INSTANCE",
            "The server must be a URL without a path, such as https://mastodon.social.",
        )
    parameters = {
        "client_name": _APP_NAME,
        "redirect_uris": _REDIRECT_URI,
        "scopes": _SCOPES,
    }
    with convert_unknown_outcome(_NOT_REGISTERED):
        answer = await _post(client, f"{origin}/api/v1/apps", parameters, now, _APP_REFUSED)
        client_id, client_secret = (_text(answer, name) for name in ("client_id", "client_secret"))
        return MastodonApp(origin, client_id, client_secret)


async def request_credentials(
    client: OutboundClient, app: MastodonApp, code: str, now: datetime
) -> CredentialValues:
    """Return the credentials of the account that has authorized an application; raises NotPublished."""
    parameters = {
        "grant_type": "authorization_code",
        "client_id": app.client_id,
        "client_secret": app.client_secret,
        "redirect_uri": _REDIRECT_URI,
        "scope": _SCOPES,
        "code": code,
    }
    with convert_unknown_outcome(_NOT_CONNECTED):
        answer = await _post(client, f"{app.origin}/oauth/token", parameters, now, _CODE_REFUSED)
        return {"instance": app.origin, "accessToken": _text(answer, "access_token")}


async def _post(
    client: OutboundClient,
    url: str,
    parameters: Mapping[str, str],
    now: datetime,
    refused_message: str,
) -> Mapping[str, Any]:
    """Send a form, and return the JSON object of the answer."""

    def read_refusal(response: OutboundResponse) -> NotPublished | None:
        if response.status not in _REFUSAL_STATUSES:
            return None
        return refusal(response, ErrorCategory.AUTH, "NOT_AUTHORIZED", refused_message)

    request = OutboundRequest(
        method="POST",
        url=url,
        headers={
            "Content-Type": "application/x-www-form-urlencoded",
            "Connection": "close",  # snac closes it anyway
        },
        body=urlencode(parameters).encode(),
        timeout=_TIMEOUT,
        max_response_bytes=_MAX_RESPONSE_BYTES,
    )
    reader = without_post_content(request, read_refusal)
    return require_json_object(await send(client, request, now=now, read_refusal=reader))


def _text(answer: Mapping[str, Any], name: str) -> str:
    value = answer.get(name)
    if not isinstance(value, str) or not 0 < len(value) <= _MAX_TEXT_LENGTH:
        raise invalid_member_error(name)
    return value
