"""Credentials of a request: verified by their platform, encrypted, and stored.

Workers read them by `app.services.publishing_secrets`.
"""

import asyncio
import math
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import partial
from typing import TypeAlias

import orjson
import structlog

from app.db.repositories import credentials as credential_rows
from app.db.repositories.account_pauses import delete_pause
from app.db.repositories.circuit_breakers import delete_account_breaker
from app.domain.accounts import Account, AccountPublisher, stored_user_ids
from app.domain.attempts import MAX_MESSAGE_LENGTH, MAX_RETRY_AFTER
from app.domain.credentials import AUTHORIZATION, CODE, REFERENCE, NewCredentials
from app.domain.destinations import TEMPORARY_CATEGORIES, ErrorCategory
from app.domain.errors import InvalidInput, ServiceUnavailable
from app.domain.ids import WorkspaceId
from app.domain.validation.redaction import redact
from app.domain.validation.text import MAX_NAME_LENGTH, validate_name, validate_url
from app.platforms.protocol import (
    AccountIdentity,
    Credentials,
    CredentialValues,
    NotPublished,
    PlatformAdapter,
)
from app.platforms.responses import convert_unknown_outcome
from app.services.credential_files import CredentialContent, CredentialFiles, read_content
from app.services.secret_cipher import SecretCipher, SecretNotReadable, credential_row_name
from app.services.unit_of_work import UnitOfWork

VERIFICATION_TIMEOUT = timedelta(seconds=10)
"""Time for the answers of the platform, while a client waits."""

CodeExchange: TypeAlias = Callable[[WorkspaceId, object, object], Awaitable[CredentialValues]]
"""Function that returns the credentials of a workspace's authorization and its code; raises NotPublished."""

_RETRY_AFTER = timedelta(seconds=30)
"""Wait before the next verification if the platform asks for none."""

_NOT_VERIFIED = "The credentials were not verified."

logger = structlog.stdlib.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class CredentialsToSet:
    """Credentials of a request, with the cipher that encrypts them."""

    credentials: NewCredentials
    cipher: SecretCipher = field(repr=False)
    fingerprint: str
    """Keyed digest, which takes their place in the fingerprint of the request."""
    identity: AccountIdentity | None = None
    """Account to which they belong; None if they are not verified."""


def prepare_credentials(
    credentials: NewCredentials, cipher: SecretCipher, signing_key: bytes
) -> CredentialsToSet:
    """Return the credentials with the cipher of this server; raises Conflict if it has no key."""
    cipher.require_key()
    return CredentialsToSet(credentials, cipher, credentials.fingerprint(signing_key))


async def store_credentials(uow: UnitOfWork, account: Account, to_set: CredentialsToSet) -> None:
    """Encrypt and store the credentials of an account.

    Raises InvalidInput for the code of an authorization, which only a verification exchanges. A pause of the
    account ends, because the credentials may be those of another user or server.
    """
    if account.publisher is AccountPublisher.MASTODON and to_set.credentials.has_authorization:
        raise InvalidInput(
            "Only a verification exchanges the code of an authorization. Set verify to true.",
            argument="verify",
        )
    workspace_id = uow.write_context.workspace_id
    row_name = credential_row_name(workspace_id, account.id, account.platform)
    data = to_set.cipher.encrypt_data(to_set.credentials.text.encode(), row_name)
    await credential_rows.set_credentials(
        uow.session,
        account.id,
        data,
        uow.write_context.now,
        is_verified=to_set.identity is not None,
    )
    await delete_pause(uow.session, account.id)
    await delete_account_breaker(uow.session, account.id)


@dataclass(frozen=True, slots=True)
class CredentialVerifier:
    """Verifies credentials before they are stored."""

    adapters: Mapping[AccountPublisher, PlatformAdapter]
    files: CredentialFiles | None
    """Files to which credentials may refer; None in a process that does not read them."""
    exchange_code: CodeExchange | None
    """Exchange of the codes of Mastodon; None in a process that does not start authorizations."""

    async def verify(
        self, workspace_id: WorkspaceId, publisher: AccountPublisher, to_set: CredentialsToSet
    ) -> CredentialsToSet:
        """Return the credentials with their account, and with the tokens that the platform has issued.

        Raises InvalidInput if they are refused, and ServiceUnavailable if the platform cannot be asked.
        """
        adapter = self.adapters.get(publisher)
        if adapter is None:
            raise InvalidInput(
                f"Credentials of an account with the publisher {publisher.name} cannot be verified. Choose an"
                " adapter of the worker, such as BLUESKY, or do not verify them.",
                argument="verify",
            )
        content = await self._read(workspace_id, to_set.credentials)
        try:
            values = await self._exchange(workspace_id, publisher, content.values)
        except NotPublished as error:
            raise refusal_error(error, "credentials") from None
        credentials = _UnstoredCredentials(values)
        try:
            identity = await identify(adapter, credentials, VERIFICATION_TIMEOUT)
        except NotPublished as error:
            refused = refusal_error(error, "credentials")
            if values is not content.values:
                message = f"{refused.message} The code cannot be used again: get a new link."
                refused = InvalidInput(message, argument="credentials")
            raise refused from None
        if credentials.values == content.values:
            return replace(to_set, identity=identity)
        refreshed = NewCredentials(content.encode(credentials.values).decode())
        return replace(to_set, credentials=refreshed, identity=identity)

    async def _exchange(
        self, workspace_id: WorkspaceId, publisher: AccountPublisher, values: CredentialValues
    ) -> CredentialValues:
        """Return the credentials that a code of Mastodon stands for; others unchanged."""
        is_code = publisher is AccountPublisher.MASTODON and AUTHORIZATION in values
        if not is_code or self.exchange_code is None:
            return values
        return await self.exchange_code(workspace_id, values[AUTHORIZATION], values.get(CODE))

    async def _read(
        self, workspace_id: WorkspaceId, credentials: NewCredentials
    ) -> CredentialContent:
        data = credentials.text.encode()
        if self.files is None and REFERENCE in orjson.loads(data):
            raise InvalidInput(
                "This server does not read the files of credentials, so it cannot verify them. Set verify to"
                " false: a worker verifies them.",
                argument="verify",
            )
        try:
            return await read_content(data, self.files or CredentialFiles(None), workspace_id)
        except SecretNotReadable as error:
            raise InvalidInput(
                f"The credentials cannot be read: {error}.", argument="credentials"
            ) from None


async def identify(
    adapter: PlatformAdapter, credentials: Credentials, time_limit: timedelta
) -> AccountIdentity:
    """Return the account of credentials, with valid names only; raises NotPublished."""
    try:
        with convert_unknown_outcome(_NOT_VERIFIED):
            async with asyncio.timeout(time_limit.total_seconds()):
                return _valid_identity(await adapter.verify_credentials(credentials))
    except NotPublished:
        raise
    except TimeoutError:
        message = f"The platform did not answer within {time_limit.total_seconds():g} s."
        raise NotPublished(
            ErrorCategory.TRANSIENT, "NO_ANSWER", f"{message} {_NOT_VERIFIED}"
        ) from None
    except Exception:
        logger.exception("credential verification failed")
        raise NotPublished(
            ErrorCategory.TRANSIENT,
            "VERIFICATION_FAILED",
            f"The platform's answer could not be read. {_NOT_VERIFIED}",
        ) from None


def refusal_error(error: NotPublished, argument: str) -> InvalidInput | ServiceUnavailable:
    """Return the error of a request whose platform did not accept the value of an argument."""
    message = redact(error.message, max_length=MAX_MESSAGE_LENGTH)
    if error.category in TEMPORARY_CATEGORIES:
        wait = min(error.retry_after or _RETRY_AFTER, MAX_RETRY_AFTER)
        return ServiceUnavailable(message, retry_after=math.ceil(wait.total_seconds()))
    return InvalidInput(message, argument=argument)


def require_same_user(platform: str, expected: str | None, actual: str | None) -> None:
    """Raise InvalidInput if credentials belong to another platform user than that of their account."""
    if expected is None or actual is None or expected in stored_user_ids(platform, actual):
        return
    raise InvalidInput(
        f"The credentials belong to the platform user {actual}, not to {expected}. Use the credentials of"
        " that account, or connect another account.",
        argument="credentials",
    )


class _UnstoredCredentials:
    """Credentials that only their verification uses."""

    platform_user_id: str | None = None
    """Not known: the verification finds out to which account the credentials belong."""

    def __init__(self, values: CredentialValues) -> None:
        self.values = values

    async def get(self) -> CredentialValues:
        return self.values

    async def refresh(
        self,
        rejected: CredentialValues,
        request_new: Callable[[CredentialValues], Awaitable[CredentialValues]],
    ) -> CredentialValues:
        if self.values == rejected:
            self.values = await request_new(self.values)
        return self.values


def _valid_identity(identity: AccountIdentity) -> AccountIdentity:
    """Return the identity without values that an account cannot have."""
    return AccountIdentity(
        platform_user_id=_valid(_validate_name, identity.platform_user_id),
        username=_valid(_validate_name, identity.username),
        display_name=_valid(_validate_name, identity.display_name),
        avatar_url=_valid(validate_url, identity.avatar_url),
        profile_url=_valid(validate_url, identity.profile_url),
    )


_validate_name = partial(validate_name, max_length=MAX_NAME_LENGTH)


def _valid(validate: Callable[[str, str], str], value: str | None) -> str | None:
    try:
        return None if value is None else validate(value, "identity")
    except InvalidInput:
        return None
