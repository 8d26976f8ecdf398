"""Verification of stored credentials by workers, and its effects on their accounts."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog

from app.db.core.database import Database
from app.db.repositories.accounts import load_accounts
from app.db.repositories.credentials import (
    PendingVerification,
    due_verifications,
    lease_verification,
    settle_verification,
)
from app.domain.account_commands import accept_access, mark_needs_reconnection
from app.domain.accounts import Account, AccountPublisher
from app.domain.attempts import MAX_MESSAGE_LENGTH, MAX_RETRY_AFTER
from app.domain.destinations import ErrorCategory
from app.domain.errors import InvalidInput
from app.domain.retry_policy import CHECK_BACKOFF
from app.domain.times import Clock
from app.domain.validation.redaction import redact
from app.platforms.protocol import NotPublished, PlatformAdapter
from app.services.accounts import get_account_for_update
from app.services.credentials import identify, require_same_user
from app.services.periodic import run_concurrently
from app.services.publishing_secrets import PublishingSecrets
from app.services.unit_of_work import UnitOfWork, WriteContext, run_in_transaction

VERIFICATION_INTERVAL = timedelta(seconds=2)
"""Interval at which a worker checks for credentials to verify."""

_MAX_CONCURRENT = 10
"""Credentials that a worker verifies at a time."""

_TIMEOUT = timedelta(seconds=30)
"""Time for the answers of the platform, and for a refresh by another worker."""

_LEASE = timedelta(seconds=90)
"""Time after which another worker verifies credentials again."""

logger = structlog.stdlib.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredCredentialVerifier:
    """Verifies the credentials of all workspaces that were set and not verified by a worker since."""

    database: Database
    secrets: PublishingSecrets
    adapters: Mapping[AccountPublisher, PlatformAdapter]
    clock: Clock

    async def verify_due(self) -> None:
        """Verify some of the credentials; one read if there are none."""
        due = await due_verifications(
            self.database.all_workspaces,
            self.clock(),
            key_ids=self.secrets.cipher.key_ids,
            limit=_MAX_CONCURRENT,
        )
        await run_concurrently(map(self._verify, due))

    async def _verify(self, pending: PendingVerification) -> None:
        started_at = self.clock()
        leased = await self.database.write(
            pending.workspace_id,
            lambda session: lease_verification(session, pending, started_at + _LEASE),
        )
        if leased is None:
            return
        reader = self.database.reader(leased.workspace_id)
        account = (await load_accounts(reader, [leased.account_id]))[leased.account_id]
        error = await self._ask_platform(leased, account)
        if await self._settle(leased, error, started_at):
            logger.info(
                "credentials verified" if error is None else "credentials not verified",
                workspace_id=str(leased.workspace_id),
                account_id=leased.account_id,
                reason=None if error is None else error.message,
            )

    async def _ask_platform(
        self, leased: PendingVerification, account: Account
    ) -> NotPublished | None:
        """Return None if the platform accepts the credentials for the account, else the reason."""
        adapter = self.adapters.get(account.publisher)
        if adapter is None:
            return NotPublished(
                ErrorCategory.TRANSIENT,
                "NO_ADAPTER",
                f"No worker publishes on accounts with the publisher {account.publisher.name}.",
                retry_after=CHECK_BACKOFF.cap,
            )
        credentials = self.secrets.account_credentials(leased.workspace_id, account)
        try:
            identity = await identify(adapter, credentials, _TIMEOUT)
            require_same_user(account.platform, account.platform_user_id, identity.platform_user_id)
        except InvalidInput as error:
            return NotPublished(ErrorCategory.AUTH, "OTHER_ACCOUNT", error.message)
        except NotPublished as error:
            error.message = redact(error.message, max_length=MAX_MESSAGE_LENGTH)
            return error
        return None

    async def _settle(
        self, leased: PendingVerification, error: NotPublished | None, started_at: datetime
    ) -> bool:
        """Store the result and change the account; False if the lease is lost or the credentials changed."""
        write_context = WriteContext.without_actor(
            leased.workspace_id, "verifyCredentials", self.clock()
        )
        now = write_context.now
        is_refused = error is not None and error.category is ErrorCategory.AUTH

        async def work(uow: UnitOfWork) -> bool:
            account = await get_account_for_update(uow, leased.account_id)
            is_settled = await settle_verification(
                uow.session,
                leased,
                verified_at=now if error is None else None,
                verify_at=None if error is None or is_refused else now + _delay(leased, error),
                error=None if error is None else error.message,
            )
            if is_settled and error is None:
                await uow.save_accounts([accept_access(account, started_at, now)])
            elif is_settled and is_refused:
                await uow.save_accounts([mark_needs_reconnection(account, started_at, now)])
            return is_settled

        return await run_in_transaction(self.database, write_context, work)


def _delay(leased: PendingVerification, error: NotPublished) -> timedelta:
    """Return the wait before the next verification, at least as long as the platform asks for."""
    requested = min(error.retry_after or timedelta(), MAX_RETRY_AFTER)
    return max(CHECK_BACKOFF.max_backoff(leased.verify_attempts), requested)
