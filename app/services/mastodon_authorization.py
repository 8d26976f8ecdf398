"""Authorizations by the owners of Mastodon accounts, whose encrypted state the client stores."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta

import msgspec

from app.domain.errors import InvalidInput
from app.domain.ids import WorkspaceId
from app.domain.times import Clock
from app.outbound.client import OutboundClient
from app.platforms.mastodon.oauth import MastodonApp, register_app, request_credentials
from app.platforms.protocol import CredentialValues, NotPublished
from app.services.credentials import refusal_error
from app.services.secret_cipher import SecretCipher, SecretNotReadable

AUTHORIZATION_LIFETIME = timedelta(minutes=10)
"""Time from the registration of the application during which a code is accepted."""


@dataclass(frozen=True, slots=True)
class MastodonAuthorization:
    """Authorization that the owner of an account has to grant on a page of the server."""

    page_url: str
    token: str = field(repr=False)
    """Encrypted state, which belongs to the code of the page."""
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class MastodonAuthorizer:
    """Starts authorizations, and exchanges their codes. Stores nothing."""

    client: OutboundClient
    cipher: SecretCipher
    clock: Clock

    async def start(self, workspace_id: WorkspaceId, instance: str) -> MastodonAuthorization:
        """Register an application at an instance, a URL.

        Raises InvalidInput if it is refused, and ServiceUnavailable if the instance cannot be asked.
        """
        now = self.clock()
        try:
            app = await register_app(self.client, instance, now)
        except NotPublished as error:
            raise refusal_error(error, "instance") from None
        state = _State(app, now)
        token = self.cipher.encrypt(msgspec.json.encode(state).decode(), _row_name(workspace_id))
        return MastodonAuthorization(app.authorization_url, token, state.expires_at)

    async def request_credentials(
        self, workspace_id: WorkspaceId, token: object, code: object
    ) -> CredentialValues:
        """Exchange the code of an authorization; raises InvalidInput, and NotPublished if it is refused."""
        now = self.clock()
        state = self._state(workspace_id, token)
        if now >= state.expires_at:
            raise InvalidInput(
                "The authorization has expired. Get a new link, and copy the code that its page shows.",
                argument="credentials",
            )
        if not isinstance(code, str) or not code.strip():
            raise InvalidInput(
                "The code is missing. Copy it from the page of the server.", argument="credentials"
            )
        return await request_credentials(self.client, state.app, code.strip(), now)

    def _state(self, workspace_id: WorkspaceId, token: object) -> "_State":
        try:
            text = self.cipher.decrypt(
                token if isinstance(token, str) else "", _row_name(workspace_id)
            )
        except SecretNotReadable:
            raise InvalidInput(
                "The authorization is incomplete, or not one of this workspace. Get a new link, and copy the"
                " code that its page shows.",
                argument="credentials",
            ) from None
        return msgspec.json.decode(text, type=_State)


@dataclass(frozen=True, slots=True)
class _State:
    """Encrypted state of an authorization."""

    app: MastodonApp
    started_at: datetime

    @property
    def expires_at(self) -> datetime:
        return self.started_at + AUTHORIZATION_LIFETIME


def _row_name(workspace_id: WorkspaceId) -> str:
    """Return the name to which authorizations of a workspace are bound, although no row stores them."""
    return f"mastodon-authorization:{workspace_id}"
