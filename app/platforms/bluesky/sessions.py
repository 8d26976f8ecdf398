"""Sessions of Bluesky accounts: stored with the credentials, and renewed when they expire."""

import unicodedata
from base64 import urlsafe_b64decode
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Annotated, Any, TypeVar

import msgspec
import orjson

from app.domain.destinations import TEMPORARY_CATEGORIES, ErrorCategory
from app.domain.times import Clock
from app.platforms.bluesky.errors import AUTHENTICATION_REQUIRED, EXPIRED_TOKEN
from app.platforms.bluesky.inactive_accounts import (
    explain_refused_login,
    inactive_account_error,
    pds_of_answer,
)
from app.platforms.bluesky.xrpc import XrpcClient
from app.platforms.protocol import (
    TOKEN_PATTERN,
    Credentials,
    CredentialValues,
    NotPublished,
    OutcomeUnknown,
    credentials_error,
    parse_origin,
)
from app.platforms.responses import convert_unknown_outcome, redact_errors

T = TypeVar("T")

_RENEWAL_MARGIN = timedelta(minutes=2)
"""Remaining validity below which an access token is renewed before it is used."""

_MAIN_PASSWORD_SCOPE = "com.atproto.access"
"""Scope of the access tokens that a server gives for a main password."""

_Token = Annotated[str, msgspec.Meta(pattern=TOKEN_PATTERN)]


class BlueskySession(msgspec.Struct, frozen=True, rename="camel"):
    """A session of an account, in the form in which it is stored."""

    did: str
    """Permanent identifier of the account."""
    pds: str
    """URL of the server with the account's records, its personal data server."""
    access_jwt: _Token
    refresh_jwt: _Token

    @property
    def has_main_password(self) -> bool:
        """True if the session began with the main password of the account, not with an app password."""
        return _token_claims(self.access_jwt).get("scope") == _MAIN_PASSWORD_SCOPE

    def __repr__(self) -> str:
        return f"<session of {self.did}>"


class BlueskyCredentials(msgspec.Struct, frozen=True, rename="camel"):
    """Credentials of an account, in the form in which they are stored."""

    identifier: str
    """Handle, DID or email address."""
    app_password: str
    service: str = "https://bsky.social"
    """URL of the server that creates and refreshes sessions."""
    session: BlueskySession | None = None
    """The last session: a server allows only 30 logins in 5 minutes."""

    @property
    def secrets(self) -> set[str]:
        """Values that no error or log may contain."""
        tokens = {self.session.access_jwt, self.session.refresh_jwt} if self.session else set()
        return {self.app_password, *tokens}

    @property
    def last_pds(self) -> str:
        """URL of the server with the account's records, as far as it is known."""
        return self.service if self.session is None else self.session.pds

    def require_session(self) -> BlueskySession:
        """Return the session; raises NotPublished if credentials without one replaced the last ones."""
        if self.session is None:
            raise NotPublished(
                ErrorCategory.TRANSIENT,
                "CREDENTIALS_CHANGED",
                "The credentials of the account were changed before the post was sent.",
                not_sent=True,
            )
        return self.session

    def __repr__(self) -> str:
        return f"<credentials of {self.identifier}>"


class SessionManager:
    """Runs calls with the session of an account."""

    def __init__(self, xrpc: XrpcClient, now: Clock) -> None:
        self._xrpc = xrpc
        self._now = now

    async def run(
        self, credentials: Credentials, call: Callable[[BlueskySession], Awaitable[T]]
    ) -> T:
        """Call a function with a session; call it again with a new one if the server ended the first.

        Raises NotPublished if the account has no session and cannot get one. No error contains a secret.
        """
        secrets: set[str] = set()
        with redact_errors(secrets):
            values = await credentials.get()
            current = parse_credentials(values)
            secrets |= current.secrets
            request_session = partial(self._request_session, credentials.platform_user_id)
            if current.session is None or self._expires_soon(current.session):
                values = await credentials.refresh(values, request_session)
                current = parse_credentials(values)
                secrets |= current.secrets
            try:
                return await call(current.require_session())
            except NotPublished as error:
                if error.code != EXPIRED_TOKEN:
                    raise
            current = parse_credentials(await credentials.refresh(values, request_session))
            secrets |= current.secrets
            return await call(current.require_session())

    def _expires_soon(self, session: BlueskySession) -> bool:
        expiry = token_expiry(session.access_jwt)
        return expiry is not None and expiry <= self._now() + _RENEWAL_MARGIN

    async def _request_session(
        self, platform_user_id: str | None, values: CredentialValues
    ) -> CredentialValues:
        """Return the credentials with a new session, by its refresh token or else by the app password."""
        current = parse_credentials(values)
        with convert_unknown_outcome("The login was not completed."):
            answer = await self._refresh(current)
            if answer is None:
                answer = await self._log_in(current, platform_user_id)
            # `active` is optional: without it, an account that was accepted is not refused.
            if answer.get("active") is False:
                raise await inactive_account_error(self._xrpc, answer, current.service)
            session = _to_session(answer, current)
        return {**values, "session": msgspec.to_builtins(session)}

    async def _refresh(self, current: BlueskyCredentials) -> Mapping[str, Any] | None:
        """Return the answer with new tokens; None without a session that the server accepts."""
        if current.session is None:
            return None
        try:
            return await self._xrpc.call(
                current.service,
                "com.atproto.server.refreshSession",
                body=b"",
                token=current.session.refresh_jwt,
            )
        except NotPublished as error:
            if error.category in TEMPORARY_CATEGORIES:
                raise
            return None

    async def _log_in(
        self, current: BlueskyCredentials, platform_user_id: str | None
    ) -> Mapping[str, Any]:
        identifier = _login_identifier(current, platform_user_id)
        try:
            return await self._xrpc.call(
                current.service,
                "com.atproto.server.createSession",
                body=orjson.dumps({"identifier": identifier, "password": current.app_password}),
            )
        except NotPublished as error:
            if error.code != AUTHENTICATION_REQUIRED:
                raise
            raise await explain_refused_login(
                self._xrpc, current.last_pds, identifier, error
            ) from None


def parse_credentials(values: CredentialValues) -> BlueskyCredentials:
    """Return the credentials of an account; raises NotPublished if they are incomplete.

    Blanks around copied values are removed, and the `@` before a handle.
    """
    stripped = {
        name: value.strip() if isinstance(value, str) else value for name, value in values.items()
    }
    try:
        credentials = msgspec.convert(stripped, BlueskyCredentials)
    except msgspec.ValidationError:
        raise credentials_error(
            "The credentials of the account must have the strings identifier and appPassword, and may"
            " have the URL service. Connect the account again.",
        ) from None
    service = parse_origin(credentials.service)
    if service is None:
        raise credentials_error(
            "service of the credentials must be the URL of a server without a path, such as"
            " https://bsky.social. Connect the account again."
        )
    return msgspec.structs.replace(
        credentials, identifier=_clean_identifier(credentials.identifier), service=service
    )


def token_expiry(token: str) -> datetime | None:
    """Return the time at which a JSON Web Token expires, unverified; None if it does not show one."""
    try:
        return datetime.fromtimestamp(_token_claims(token)["exp"], UTC)
    except (LookupError, TypeError, ValueError, OverflowError, OSError):
        return None


def _token_claims(token: str) -> Mapping[str, Any]:
    """Return the claims of a JSON Web Token, unverified; an empty mapping if it does not show any."""
    try:
        payload = token.split(".")[1]
        claims = orjson.loads(urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    except (LookupError, ValueError):
        return {}
    return claims if isinstance(claims, dict) else {}


def _login_identifier(current: BlueskyCredentials, platform_user_id: str | None) -> str:
    """Return the DID of the account once it is known, because a handle can change, or else its handle."""
    if platform_user_id is not None and platform_user_id.startswith("did:"):
        return platform_user_id
    return current.identifier if current.session is None else current.session.did


def _clean_identifier(identifier: str) -> str:
    """Return an identifier without the `@` and the invisible characters that a copied handle may have.

    Bluesky's pages surround handles with characters that set the direction of the text.
    """
    visible = "".join(char for char in identifier if unicodedata.category(char) != "Cf")
    return visible.strip().removeprefix("@")


def _to_session(answer: Mapping[str, Any], current: BlueskyCredentials) -> BlueskySession:
    """Return the session of an answer. Without a DID document, the account's server is the last one.

    The URL of the server in the document must have no path: https://atproto.com/specs/did.
    """
    pds = parse_origin(str(pds_of_answer(answer) or current.last_pds))
    try:
        return msgspec.convert({**answer, "pds": pds}, BlueskySession)
    except msgspec.ValidationError:
        raise OutcomeUnknown("The server's answer has no complete session.") from None
