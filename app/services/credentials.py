"""Stores the credentials of accounts, encrypted; the process that stores them need not be able to read them.

Workers read them by `app.services.publishing_secrets`.
"""

from dataclasses import dataclass, field

from app.db.repositories import credentials as credential_rows
from app.db.repositories.account_pauses import delete_pause
from app.domain.accounts import Account, AccountPublisher
from app.domain.credentials import NewCredentials
from app.domain.errors import Conflict, InvalidInput
from app.platforms.protocol import AccountIdentity
from app.services.credential_keys import CANARY, CANARY_ROW, SealingKey, credential_row
from app.services.unit_of_work import UnitOfWork


@dataclass(frozen=True, slots=True)
class CredentialsToSet:
    """Credentials of a request, with the key that encrypts them."""

    credentials: NewCredentials
    key: SealingKey = field(repr=False)
    fingerprint: str
    """Keyed digest, which takes their place in the fingerprint of the request."""
    identity: AccountIdentity | None = None
    """Account to which they belong; None if they are not verified."""


def prepare_credentials(
    credentials: NewCredentials, key: SealingKey | None, signing_key: bytes
) -> CredentialsToSet:
    """Return the credentials with the key of this server; raises Conflict if it has none."""
    return CredentialsToSet(
        credentials, require_sealing_key(key), credentials.fingerprint(signing_key)
    )


def require_sealing_key(key: SealingKey | None) -> SealingKey:
    """Return the key of this server; raises Conflict if it has none."""
    if key is None:
        raise Conflict(
            "This server cannot store credentials, because CREDENTIALS_SEAL is not set. The operator can"
            " create keys with `post-results credentials new-key`."
        )
    return key


async def store_credentials(uow: UnitOfWork, account: Account, to_set: CredentialsToSet) -> None:
    """Encrypt and store the credentials of an account, and the canary of their key.

    Raises InvalidInput for the code of an authorization, which only a verification exchanges. A pause of the
    account ends, because the credentials may be those of another user or server.
    """
    if account.publisher is AccountPublisher.MASTODON and to_set.credentials.has_authorization:
        raise InvalidInput(
            "Only a verification exchanges the code of an authorization. Set verify to true.",
            argument="verify",
        )
    workspace_id = uow.write_context.workspace_id
    row = credential_row(workspace_id, account.id, account.platform)
    data = to_set.key.seal(to_set.credentials.text.encode(), row)
    await credential_rows.set_credentials(
        uow.session,
        account.id,
        data,
        uow.write_context.now,
        is_verified=to_set.identity is not None,
    )
    await credential_rows.insert_canary(
        uow.session.all_workspaces(), to_set.key.seal(CANARY, CANARY_ROW)
    )
    await delete_pause(uow.session, account.id)
