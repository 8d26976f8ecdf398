"""A platform that only verifies credentials, with a scripted answer."""

from app.domain.attempts import Publication
from app.platforms.protocol import (
    AccountIdentity,
    Credentials,
    CredentialValues,
    LookupFailure,
    PublishRequest,
)
from tests.platforms.publish_requests import MemoryCredentials


class VerifyingPlatform:
    """Adapter that answers with an identity or raises an error, after it has requested new values."""

    unused_credentials = MemoryCredentials()

    def __init__(
        self, answer: AccountIdentity | Exception, *, new_values: CredentialValues | None = None
    ) -> None:
        self.answer = answer
        self.verified: list[CredentialValues] = []
        """Credentials of all calls."""
        self._new_values = new_values

    async def publish(self, request: PublishRequest) -> Publication:
        raise AssertionError("nothing is published")

    async def look_up(self, request: PublishRequest) -> Publication | LookupFailure:
        raise AssertionError("nothing is looked up")

    async def verify_credentials(self, credentials: Credentials) -> AccountIdentity:
        values = await credentials.get()
        self.verified.append(values)
        if self._new_values is not None:
            await credentials.refresh(values, self._request_new)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    async def _request_new(self, _values: CredentialValues) -> CredentialValues:
        assert self._new_values is not None
        return self._new_values
