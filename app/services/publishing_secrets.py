"""Credentials and checkpoints for the adapters of a worker."""

from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta

import orjson

from app.db.core.database import Database
from app.db.core.write_session import WriteSession
from app.db.repositories.checkpoints import find_checkpoint, save_checkpoint
from app.db.repositories.credentials import (
    StoredCredentials,
    begin_refresh,
    end_refresh,
    find_credentials,
    lock_credentials_key,
    store_refreshed,
)
from app.domain.accounts import Account
from app.domain.credentials import (
    MAX_CHECKPOINT_BYTES,
    NO_CREDENTIALS,
    EncryptedData,
    refresh_wait,
)
from app.domain.destinations import ErrorCategory
from app.domain.errors import InvalidInput, LeaseLost, ServiceUnavailable
from app.domain.ids import AccountId, DestinationId, WorkspaceId
from app.domain.times import Clock
from app.platforms.protocol import (
    CredentialValues,
    NotPublished,
    OutcomeUnknown,
    not_called_error,
)
from app.platforms.server_contacts import record_failed_login
from app.services.claims import Claim
from app.services.credential_files import CredentialContent, CredentialFiles, read_content
from app.services.reports import lock_leased_destination
from app.services.secret_cipher import (
    SecretCipher,
    SecretNotReadable,
    checkpoint_row_name,
    credential_row_name,
)
from app.services.unit_of_work import UnitOfWork, WriteContext, run_in_transaction

REFRESH_LEASE = timedelta(seconds=30)
"""Time for a refresh, after which another process may take it over."""

_POLL_INTERVAL = timedelta(milliseconds=200)
"""Interval at which a process checks whether another one has refreshed credentials."""

_FILE_TIME_ERROR = timedelta(milliseconds=20)
"""Time by which the times of a local file may be behind the clock: Linux takes them from its last tick."""

_STORE_RETRY_INTERVAL = timedelta(seconds=1)
"""Interval at which new credentials are stored again while the database is unavailable."""

RequestNew = Callable[[CredentialValues], Awaitable[CredentialValues]]


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishingSecrets:
    """Credentials and checkpoints of all workspaces."""

    database: Database
    cipher: SecretCipher
    files: CredentialFiles
    clock: Clock
    sleep: Callable[[float], Awaitable[None]]

    def credentials(self, claim: Claim) -> "AccountSecrets":
        """Return the credentials of the account of a claim, which are read when they are needed."""
        return self.account_credentials(claim.lease.workspace_id, claim.account)

    def account_credentials(self, workspace_id: WorkspaceId, account: Account) -> "AccountSecrets":
        """Return the credentials of an account, which are read when they are needed."""
        return AccountSecrets(self, workspace_id, account)

    def checkpoint(self, claim: Claim) -> "StoredCheckpoint":
        """Return the checkpoint of a claimed destination."""
        lease = claim.lease
        return StoredCheckpoint(self, lease.workspace_id, lease.destination_id, claim)

    def unleased_checkpoint(
        self, workspace_id: WorkspaceId, destination_id: DestinationId
    ) -> "StoredCheckpoint":
        """Return the checkpoint of a destination that is not claimed, which can only be loaded."""
        return StoredCheckpoint(self, workspace_id, destination_id, claim=None)

    async def encrypt_for_account(
        self, session: WriteSession, account_id: AccountId, data: bytes, row_name: str
    ) -> EncryptedData:
        """Return data of an account, encrypted with the key that its credentials have in a transaction.

        A worker that can use the account has this key, but may lack the newest one. The key is locked until
        the data is stored: otherwise, a rotation could end before that, and leave the data with an old key.
        """
        key_id = await lock_credentials_key(session, account_id)
        return self.cipher.encrypt_data(data, row_name, key_id)


class AccountSecrets:
    """Credentials of one account; all processes together refresh them only once at a time."""

    def __init__(
        self, secrets: PublishingSecrets, workspace_id: WorkspaceId, account: Account
    ) -> None:
        self._secrets = secrets
        self._key = (workspace_id, account.id)
        self.platform_user_id = account.platform_user_id
        self._row_name = credential_row_name(*self._key, account.platform)

    async def get(self) -> CredentialValues:
        """Return the current values; raises NotPublished without any that this worker can read."""
        _, content = await self._load()
        return content.values

    async def have_changed_since(self, time: datetime) -> bool:
        """Return True if a client has set the credentials since then, or their file has changed."""
        stored = await self._find()
        if stored is None:
            return False
        if stored.set_at >= time:
            return True
        age = (await self._read(stored)).file_age
        return age is not None and self._secrets.clock() - age + _FILE_TIME_ERROR >= time

    async def refresh(
        self, rejected: CredentialValues, request_new: RequestNew
    ) -> CredentialValues:
        """Return values newer than the rejected ones, which are stored before they are returned.

        Only one process calls `request_new`; the others wait for its result. If it fails, so do they. If it
        stops, the first of the others takes over when its lease has expired. Raises NotPublished if the
        account has used up its budget of refreshes.
        """
        first_fence: int | None = None
        while True:
            stored, content = await self._load()
            if content.values != rejected:
                return content.values
            has_ended = stored.refresh_until is None
            if first_fence is None:
                first_fence = stored.refresh_fence if has_ended else stored.refresh_fence - 1
            if has_ended and stored.refresh_fence > first_fence:
                record_failed_login()
                raise _refresh_failed("Another worker could not renew the access of the account.")
            if not stored.is_refreshing(self._secrets.clock()):
                self._check_budget(stored)
            fence = await self._begin(stored)
            if fence is not None:
                return await self._renew(stored, content, fence, request_new)
            await self._secrets.sleep(_POLL_INTERVAL.total_seconds())

    async def _load(self) -> tuple[StoredCredentials, CredentialContent]:
        stored = await self._find()
        if stored is None:
            raise NotPublished(
                ErrorCategory.AUTH,
                "NO_CREDENTIALS",
                NO_CREDENTIALS,
            )
        return stored, await self._read(stored)

    async def _read(self, stored: StoredCredentials) -> CredentialContent:
        try:
            data = self._secrets.cipher.decrypt_data(stored.data, self._row_name)
        except SecretNotReadable as error:
            raise _not_readable(
                f"{error}. The operator can run `post-results secrets check`. Otherwise, set the"
                " credentials again with setAccountCredentials."
            ) from None
        try:
            return await read_content(data, self._secrets.files, self._key[0])
        except SecretNotReadable as error:
            raise _not_readable(f"{error}.") from None

    async def _find(self) -> StoredCredentials | None:
        workspace_id, account_id = self._key
        with database_errors():
            return await find_credentials(self._secrets.database.reader(workspace_id), account_id)

    def _check_budget(self, stored: StoredCredentials) -> None:
        wait = refresh_wait(stored.refresh_budget_full_at, self._secrets.clock())
        if wait:
            raise NotPublished(
                ErrorCategory.RATE_LIMITED,
                "LOGIN_BUDGET",
                "The account has logged in too often within a short time; its platform might refuse all"
                " logins for a day. The post was not sent yet.",
                retry_after=wait,
                not_sent=True,
            )

    async def _begin(self, stored: StoredCredentials) -> int | None:
        """Begin a refresh and return its number; None if another process does, or has begun one meanwhile."""
        now = self._secrets.clock()
        if stored.is_refreshing(now):
            return None
        workspace_id, account_id = self._key
        with database_errors():
            return await self._secrets.database.write(
                workspace_id,
                lambda session: begin_refresh(
                    session, account_id, stored, now=now, until=now + REFRESH_LEASE
                ),
            )

    async def _renew(
        self,
        stored: StoredCredentials,
        content: CredentialContent,
        fence: int,
        request_new: RequestNew,
    ) -> CredentialValues:
        """Request new values and store them; if the request fails, end the refresh."""
        workspace_id, account_id = self._key
        try:
            new_content = content.encode(await request_new(content.values))
        except Exception as error:
            record_failed_login()
            with suppress(ServiceUnavailable):
                await self._secrets.database.write(
                    workspace_id,
                    lambda session: end_refresh(session, account_id, stored, fence=fence),
                )
            # The request publishes nothing; InvalidInput is that of values that are too long.
            if isinstance(error, OutcomeUnknown | InvalidInput):
                raise _refresh_failed(
                    f"The access of the account could not be renewed. {error.message}"
                ) from error
            was_interrupted = stored.refresh_until is not None
            if (
                was_interrupted
                and isinstance(error, NotPublished)
                and error.category is ErrorCategory.AUTH
            ):
                error.message += _INTERRUPTED
            raise
        await self._store(stored, new_content, fence)
        return await self.get()  # others may have replaced them

    async def _store(self, stored: StoredCredentials, content: bytes, fence: int) -> None:
        """Store new values, because the old ones may be void; try again for the time of a refresh."""
        workspace_id, account_id = self._key

        async def work(session: WriteSession) -> None:
            data = await self._secrets.encrypt_for_account(
                session, account_id, content, self._row_name
            )
            await store_refreshed(session, account_id, data, stored, fence=fence)

        deadline = self._secrets.clock() + REFRESH_LEASE
        while True:
            try:
                await self._secrets.database.write(workspace_id, work)
            except ServiceUnavailable as error:
                if self._secrets.clock() >= deadline:
                    raise _database_unavailable() from error
                await self._secrets.sleep(_STORE_RETRY_INTERVAL.total_seconds())
            else:
                return


class StoredCheckpoint:
    """Checkpoint of one destination, which only the holder of its lease can save."""

    def __init__(
        self,
        secrets: PublishingSecrets,
        workspace_id: WorkspaceId,
        destination_id: DestinationId,
        claim: Claim | None,
    ) -> None:
        self._secrets = secrets
        self._workspace_id = workspace_id
        self._destination_id = destination_id
        self._claim = claim
        self._row_name = checkpoint_row_name(workspace_id, destination_id)

    async def is_readable(self) -> bool:
        """Return False if the checkpoint has a key that this worker lacks."""
        data = await self._find()
        return data is None or data.key_id in self._secrets.cipher.key_ids

    async def load(self) -> Mapping[str, object] | None:
        """Return what was saved last; raises NotPublished if this worker cannot read it.

        Publishing without it could publish the post twice.
        """
        with database_errors():
            data = await self._find()
        if data is None:
            return None
        try:
            decrypted = self._secrets.cipher.decrypt_data(data, self._row_name)
        except SecretNotReadable as error:
            raise NotPublished(
                ErrorCategory.TRANSIENT,
                "CHECKPOINT_NOT_READABLE",
                f"The worker cannot read what the last attempt has stored: {error}. The operator can run"
                " `post-results secrets check`.",
                not_sent=True,
            ) from None
        value: dict[str, object] = orjson.loads(decrypted)
        return value

    async def save(self, value: Mapping[str, object]) -> None:
        """Save a JSON object; raises NotPublished if it is too long, and once the lease is lost."""
        claim = self._claim
        if claim is None:
            raise not_called_error()
        if self._secrets.cipher.key_id is None:
            raise NotPublished(
                ErrorCategory.TRANSIENT,
                "NO_SECRETS_KEY",
                "The worker cannot store the progress of the attempt, because SECRETS_KEY is not set.",
                not_sent=True,
            )
        encoded = orjson.dumps(value)
        if len(encoded) > MAX_CHECKPOINT_BYTES:
            raise NotPublished(
                ErrorCategory.PERMANENT,
                "CHECKPOINT_TOO_LONG",
                f"The worker cannot store the progress of the attempt: it has {len(encoded):,} bytes; at most"
                f" {MAX_CHECKPOINT_BYTES:,} are allowed. Report this as a defect of the adapter.",
            )
        write_context = WriteContext.without_actor(
            self._workspace_id, "saveCheckpoint", self._secrets.clock()
        )

        async def work(uow: UnitOfWork) -> None:
            await lock_leased_destination(uow, claim.lease)
            data = await self._secrets.encrypt_for_account(
                uow.session, claim.account.id, encoded, self._row_name
            )
            await save_checkpoint(uow.session, self._destination_id, data, uow.write_context.now)

        try:
            with database_errors():
                await run_in_transaction(self._secrets.database, write_context, work)
        except LeaseLost:
            raise not_called_error() from None

    async def _find(self) -> EncryptedData | None:
        reader = self._secrets.database.reader(self._workspace_id)
        return await find_checkpoint(reader, self._destination_id)


_INTERRUPTED = (
    " A worker had stopped while it renewed the access: the platform may accept only what was lost."
)


def _not_readable(problem: str) -> NotPublished:
    """Return the error of credentials that another worker, or this one later, may be able to read."""
    return NotPublished(
        ErrorCategory.TRANSIENT,
        "CREDENTIALS_NOT_READABLE",
        f"The worker cannot read the credentials of the account: {problem}",
        not_sent=True,
    )


def _refresh_failed(message: str) -> NotPublished:
    return NotPublished(ErrorCategory.TRANSIENT, "REFRESH_FAILED", message, not_sent=True)


@contextmanager
def database_errors() -> Iterator[None]:
    """Raise NotPublished if the database is unavailable: nothing was published yet."""
    try:
        yield
    except ServiceUnavailable as error:
        raise _database_unavailable() from error


def _database_unavailable() -> NotPublished:
    return NotPublished(
        ErrorCategory.TRANSIENT,
        "DATABASE_UNAVAILABLE",
        "The worker could not use its database, so that nothing was published.",
        not_sent=True,
    )
