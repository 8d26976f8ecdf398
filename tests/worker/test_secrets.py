"""Credentials and checkpoints of adapters, through the worker's loop: what reaches them, and what fails."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from app.db.core.database import Database
from app.db.repositories.accounts import load_accounts
from app.domain.accounts import AccountPublisher
from app.domain.attempts import Publication
from app.domain.destinations import ErrorCategory
from app.platforms.protocol import (
    AccountIdentity,
    Credentials,
    CredentialValues,
    LookupFailure,
    NotPublished,
    OutcomeUnknown,
    PublishRequest,
)
from app.services.claims import ClaimRequest
from app.services.secret_cipher import SecretCipher
from app.worker.lease_renewal import LeaseTimer
from app.worker.publish import publish
from app.worker.verify_outcome import verify_outcome
from tests.credential_rows import OTHER_CIPHER, VALUES, add_checkpoint, add_credentials
from tests.factories import NOW, add_account, add_post, add_workspace, unknown, waiting_for_retry
from tests.worker.worker_bench import (
    PUBLICATION,
    SECOND,
    SECRETS_KEY,
    SentPost,
    WorkerBench,
    add_sent_post,
    is_final,
    is_published,
    is_unknown,
)

CIPHER = SecretCipher([SECRETS_KEY])
CLAIM_REQUEST = ClaimRequest(
    limit=8, lease_duration=timedelta(minutes=5), publishers=[AccountPublisher.SANDBOX]
)


class PlatformWithAccess:
    """A platform that needs credentials, and publishes what an attempt before has uploaded."""

    def __init__(
        self, *failures: Exception, lookup_result: Publication | LookupFailure = PUBLICATION
    ) -> None:
        self.credentials: list[CredentialValues] = []
        self.checkpoints: list[Mapping[str, object] | None] = []
        """Checkpoint at the begin of each call."""
        self._failures = list(failures)
        self._lookup_result = lookup_result

    async def publish(self, request: PublishRequest) -> Publication:
        self.credentials.append(await request.credentials.get())
        self.checkpoints.append(await request.checkpoint.load())
        await request.checkpoint.save({"container": f"c{request.attempt}"})
        if self._failures:
            raise self._failures.pop(0)
        return PUBLICATION

    async def look_up(self, request: PublishRequest) -> Publication | LookupFailure:
        self.credentials.append(await request.credentials.get())
        self.checkpoints.append(await request.checkpoint.load())
        return self._lookup_result

    async def verify_credentials(self, credentials: Credentials) -> AccountIdentity:
        return AccountIdentity()


def bench_of(database: Database, platform: PlatformWithAccess) -> WorkerBench:
    return WorkerBench(database, adapters={AccountPublisher.SANDBOX: platform})


async def test_account_without_credentials_needs_reconnection_with_the_reason(
    database: Database,
) -> None:
    sent = await add_sent_post(database, "acme")
    async with bench_of(database, PlatformWithAccess()).running_worker():
        state = await sent.wait_until(is_final)

    assert (state.error_category, state.error_code, state.error) == (
        ErrorCategory.AUTH,
        "NO_CREDENTIALS",
        "No credentials are stored for the account. Connect it again, or use setAccountCredentials.",
    )
    accounts = await load_accounts(database.reader(sent.workspace), [sent.account])
    assert accounts[sent.account].needs_reconnection_since == NOW


async def test_checkpoint_of_an_attempt_is_passed_to_the_next_one(database: Database) -> None:
    sent = await add_sent_post(database, "acme")
    await add_credentials(database, sent.workspace, sent.account, cipher=CIPHER, platform="sandbox")
    platform = PlatformWithAccess(NotPublished(ErrorCategory.TRANSIENT, "BUSY", "Busy."))
    async with bench_of(database, platform).running_worker():
        await sent.wait_until(is_published)  # without jitter, the retry is due immediately

    assert platform.credentials == [VALUES, VALUES]
    assert platform.checkpoints == [None, {"container": "c1"}]


async def test_checkpoint_of_an_unknown_outcome_is_passed_to_its_lookup(database: Database) -> None:
    sent = await add_sent_post(database, "acme")
    await add_credentials(database, sent.workspace, sent.account, cipher=CIPHER, platform="sandbox")
    platform = PlatformWithAccess(OutcomeUnknown("The connection was lost."))
    async with bench_of(database, platform).running_worker():
        await sent.wait_until(is_published)

    assert platform.checkpoints == [None, {"container": "c1"}]


@pytest.mark.parametrize("set_at", [NOW, NOW + SECOND])
async def test_post_not_found_with_credentials_set_since_its_attempt_stays_unknown(
    database: Database, set_at: datetime
) -> None:
    sent = await add_sent_post(database, "acme")
    await add_credentials(
        database, sent.workspace, sent.account, cipher=CIPHER, platform="sandbox", set_at=set_at
    )
    platform = PlatformWithAccess(
        OutcomeUnknown("The connection was lost."), lookup_result=LookupFailure.NOT_FOUND
    )
    async with bench_of(database, platform).running_worker():
        state = await sent.wait_until(
            lambda state: is_unknown(state) and state.verifiable_at == NOW + timedelta(seconds=15)
        )

    assert (state.attempts, len(platform.credentials)) == (1, 2)


async def test_post_not_found_with_the_credentials_of_its_attempt_is_published_again(
    database: Database,
) -> None:
    sent = await add_sent_post(database, "acme")
    await add_credentials(
        database,
        sent.workspace,
        sent.account,
        cipher=CIPHER,
        platform="sandbox",
        set_at=NOW - SECOND,
    )
    platform = PlatformWithAccess(
        OutcomeUnknown("The connection was lost."), lookup_result=LookupFailure.NOT_FOUND
    )
    async with bench_of(database, platform).running_worker():
        state = await sent.wait_until(is_published)

    assert state.attempts == 2


async def test_claim_with_a_checkpoint_of_another_key_is_released_without_an_attempt(
    database: Database,
) -> None:
    """Another process may encrypt a checkpoint with a new key between the claim and the attempt."""
    workspace = await add_workspace(database)
    account = await add_account(database, workspace, platform="sandbox")
    post = await add_post(database, workspace, {account: waiting_for_retry(NOW)})
    sent = SentPost(database, workspace, account, post.id, post.destinations[0])
    before = await sent.state()
    platform = PlatformWithAccess()
    bench = bench_of(database, platform)
    context = bench.context()
    (claim,) = await context.claims.claim_destinations(CLAIM_REQUEST)
    await add_checkpoint(database, workspace, sent.id, {"container": "1"}, cipher=OTHER_CIPHER)

    await publish(context, claim, lease_timer(bench), is_stopping=lambda: False)

    assert platform.credentials == []
    assert await sent.state() == replace(before, fence=before.fence + 1)
    assert await context.claims.claim_destinations(CLAIM_REQUEST) == []


async def test_verification_with_a_checkpoint_of_another_key_reports_nothing(
    database: Database,
) -> None:
    workspace = await add_workspace(database)
    account = await add_account(database, workspace, platform="sandbox")
    post = await add_post(database, workspace, {account: unknown(settled_at=NOW)})
    sent = SentPost(database, workspace, account, post.id, post.destinations[0])
    platform = PlatformWithAccess()
    bench = bench_of(database, platform)
    context = bench.context()
    (claim,) = await context.claims.claim_verifications(CLAIM_REQUEST)
    claimed = await sent.state()
    await add_checkpoint(database, workspace, sent.id, {"container": "1"}, cipher=OTHER_CIPHER)

    await verify_outcome(context, claim, lease_timer(bench))

    assert platform.credentials == []
    assert await sent.state() == claimed


def lease_timer(bench: WorkerBench) -> LeaseTimer:
    monotonic = bench.clock.monotonic
    return LeaseTimer(bench.lease, requested_at=monotonic(), monotonic=monotonic)
