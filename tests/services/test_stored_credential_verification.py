"""Verification of stored credentials: the result, its effect on the account, and who verifies when."""

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import orjson
import pytest
import structlog
from sqlalchemy import select

from app.db.core.database import Database
from app.db.models import AccountCredentials
from app.db.repositories.accounts import load_accounts
from app.domain.accounts import Account, AccountPublisher
from app.domain.credentials import parse_credentials
from app.domain.destinations import ErrorCategory
from app.domain.ids import AccountId, WorkspaceId
from app.platforms.protocol import (
    AccountIdentity,
    Credentials,
    CredentialValues,
    NotPublished,
    OutcomeUnknown,
)
from app.services.accounts import set_account_credentials
from app.services.credentials import CredentialsToSet
from app.services.stored_credential_verification import StoredCredentialVerifier
from app.services.unit_of_work import WriteContext
from tests.credential_rows import (
    CIPHER,
    OTHER_CIPHER,
    PLATFORM,
    VALUES,
    StoppedClock,
    add_credentials,
    publishing_secrets,
    stored_values,
)
from tests.factories import NOW, add_account, add_workspace
from tests.graphql.schema.mutations.mutation_calls import StoredEvent, stored_events
from tests.platforms.verifying_platform import VerifyingPlatform

ACCEPTED = AccountIdentity(username="alice.test")
REFUSED = NotPublished(ErrorCategory.AUTH, "WRONG", "Wrong password.")
BUSY = NotPublished(ErrorCategory.TRANSIENT, "BUSY", "Busy.")
MINUTE = timedelta(minutes=1)
LEASE = timedelta(seconds=90)
EARLIER = NOW - MINUTE
OTHER_VALUES = {"identifier": "alice.test", "password": "other"}


class State(NamedTuple):
    """Columns of a verification."""

    verified_at: datetime | None
    verify_at: datetime | None
    attempts: int
    error: str | None


class Bench:
    """An account with credentials to verify, and workers that share a platform and a clock."""

    def __init__(self, database: Database, platform: VerifyingPlatform) -> None:
        self.database = database
        self.platform = platform
        self.clock = StoppedClock()
        self.directory: Path | None = None
        """Directory of the files to which credentials refer."""
        self.workspace: WorkspaceId
        self.account_id: AccountId

    @classmethod
    async def create(
        cls,
        database: Database,
        answer: AccountIdentity | Exception,
        *,
        platform: VerifyingPlatform | None = None,
        values: Mapping[str, object] = VALUES,
        publisher: AccountPublisher = AccountPublisher.BLUESKY,
        is_active: bool = True,
        needs_reconnection_since: datetime | None = None,
        token_expires_at: datetime | None = None,
        platform_user_id: str | None = None,
    ) -> "Bench":
        bench = cls(database, platform or VerifyingPlatform(answer))
        bench.workspace = await add_workspace(database)
        bench.account_id = await add_account(
            database,
            bench.workspace,
            platform=PLATFORM,
            publisher=publisher,
            is_active=is_active,
            needs_reconnection_since=needs_reconnection_since,
            token_expires_at=token_expires_at,
            platform_user_id=platform_user_id,
            connected_at=EARLIER,
        )
        await bench.set_credentials(values)
        return bench

    async def set_credentials(self, values: Mapping[str, object]) -> None:
        await add_credentials(
            self.database,
            self.workspace,
            self.account_id,
            values,
            set_at=self.clock.now,
            is_verified=False,
        )

    @property
    def verifier(self) -> StoredCredentialVerifier:
        return StoredCredentialVerifier(
            database=self.database,
            secrets=publishing_secrets(self.database, clock=self.clock, directory=self.directory),
            adapters={AccountPublisher.BLUESKY: self.platform},
            clock=lambda: self.clock.now,
        )

    async def verify(self) -> State:
        await self.verifier.verify_due()
        return await self.state()

    async def state(self) -> State:
        columns = (
            AccountCredentials.verified_at,
            AccountCredentials.verify_at,
            AccountCredentials.verify_attempts,
            AccountCredentials.verify_error,
        )
        async with self.database.read_connection() as connection:
            return State(*(await connection.execute(select(*columns))).one())

    async def account(self) -> Account:
        accounts = await load_accounts(self.database.reader(self.workspace), [self.account_id])
        return accounts[self.account_id]


class BlockedPlatform(VerifyingPlatform):
    """A platform that answers when `may_answer` is set."""

    def __init__(self, answer: AccountIdentity | Exception) -> None:
        super().__init__(answer)
        self.was_asked, self.may_answer = asyncio.Event(), asyncio.Event()

    async def verify_credentials(self, credentials: Credentials) -> AccountIdentity:
        self.was_asked.set()
        await self.may_answer.wait()
        return await super().verify_credentials(credentials)


async def test_accepted_credentials_are_verified_once(database: Database) -> None:
    bench = await Bench.create(database, ACCEPTED)
    before = await bench.account()

    assert await bench.verify() == State(NOW, None, 1, None)
    assert await bench.verify() == State(NOW, None, 1, None)

    assert bench.platform.verified == [VALUES]
    assert await bench.account() == before
    assert await stored_events(database) == []


async def test_accepted_credentials_end_the_need_for_a_reconnection(database: Database) -> None:
    bench = await Bench.create(database, ACCEPTED, needs_reconnection_since=EARLIER)

    await bench.verify()

    account = await bench.account()
    assert (account.needs_reconnection_since, account.connected_at) == (None, NOW)
    changed = {"needs_reconnection_since", "connected_at", "token_refreshed_at"}
    assert await stored_events(database) == [
        StoredEvent(1, "account.changed", "verifyCredentials", bench.account_id, changed)
    ]


async def test_need_for_a_reconnection_that_began_meanwhile_stays(database: Database) -> None:
    later = NOW + MINUTE
    bench = await Bench.create(database, ACCEPTED, needs_reconnection_since=later)

    assert (await bench.verify()).verified_at == NOW

    assert (await bench.account()).needs_reconnection_since == later


async def test_inactive_account_stays_inactive(database: Database) -> None:
    bench = await Bench.create(
        database, ACCEPTED, is_active=False, needs_reconnection_since=EARLIER
    )
    before = await bench.account()

    assert (await bench.verify()).verified_at == NOW

    assert await bench.account() == before


async def test_refused_credentials_need_a_reconnection_with_the_reason(database: Database) -> None:
    bench = await Bench.create(database, REFUSED)

    assert await bench.verify() == State(None, None, 1, "Wrong password.")

    assert (await bench.account()).needs_reconnection_since == NOW
    assert await stored_events(database) == [
        StoredEvent(
            1,
            "account.changed",
            "verifyCredentials",
            bench.account_id,
            {"needs_reconnection_since"},
        )
    ]


async def test_credentials_of_another_account_are_refused(database: Database) -> None:
    other = AccountIdentity(platform_user_id="did:plc:2")
    bench = await Bench.create(database, other, platform_user_id="did:plc:1")

    assert await bench.verify() == State(
        None,
        None,
        1,
        "The credentials belong to the platform user did:plc:2, not to did:plc:1. Use the credentials of that"
        " account, or connect another account.",
    )

    assert (await bench.account()).needs_reconnection_since == NOW


@pytest.mark.parametrize(("known", "stated"), [("did:plc:1", None), (None, "did:plc:1")])
async def test_unknown_platform_user_is_accepted(
    database: Database, known: str | None, stated: str | None
) -> None:
    answer = AccountIdentity(platform_user_id=stated)
    bench = await Bench.create(database, answer, platform_user_id=known)

    assert await bench.verify() == State(NOW, None, 1, None)


async def test_credentials_that_a_server_has_verified_are_verified_by_a_worker(
    database: Database,
) -> None:
    bench = await Bench.create(database, ACCEPTED)
    await bench.verify()
    verified = CredentialsToSet(
        parse_credentials(OTHER_VALUES), CIPHER, "fingerprint", identity=ACCEPTED
    )
    bench.clock.now += MINUTE
    await set_account_credentials(
        database,
        WriteContext.without_actor(bench.workspace, "setAccountCredentials", bench.clock.now),
        bench.account_id,
        verified,
        idempotency_key=None,
    )

    assert await bench.state() == State(NOW + MINUTE, NOW + MINUTE, 0, None)
    bench.platform.answer = BUSY
    assert await bench.verify() == State(None, NOW + 2 * MINUTE, 1, "Busy.")
    assert bench.platform.verified == [VALUES, OTHER_VALUES]


async def test_account_connected_after_the_platform_was_asked_is_not_marked(
    database: Database,
) -> None:
    platform = BlockedPlatform(REFUSED)
    bench = await Bench.create(database, REFUSED, platform=platform)
    verification = asyncio.create_task(bench.verify())
    await platform.was_asked.wait()
    bench.clock.now += MINUTE
    await bench.set_credentials(OTHER_VALUES)
    platform.may_answer.set()

    assert await verification == State(None, NOW + MINUTE, 0, None)

    assert (await bench.account()).needs_reconnection_since is None
    platform.answer = ACCEPTED
    assert await bench.verify() == State(NOW + MINUTE, None, 1, None)
    assert platform.verified[-1] == OTHER_VALUES


async def test_two_workers_verify_credentials_once(database: Database) -> None:
    platform = BlockedPlatform(ACCEPTED)
    bench = await Bench.create(database, ACCEPTED, platform=platform)
    first = asyncio.create_task(bench.verify())
    await platform.was_asked.wait()

    assert await bench.verify() == State(None, NOW + LEASE, 1, None)
    platform.may_answer.set()

    assert await first == State(NOW, None, 1, None)
    assert len(platform.verified) == 1


async def test_workers_that_find_the_same_credentials_lease_them_once(database: Database) -> None:
    bench = await Bench.create(database, ACCEPTED)

    await asyncio.gather(*(bench.verifier.verify_due() for _ in range(4)))

    assert len(bench.platform.verified) == 1
    assert await bench.state() == State(NOW, None, 1, None)


async def test_verification_of_a_killed_worker_is_repeated(database: Database) -> None:
    platform = BlockedPlatform(ACCEPTED)
    bench = await Bench.create(database, ACCEPTED, platform=platform)
    killed = asyncio.create_task(bench.verify())
    await platform.was_asked.wait()
    killed.cancel()
    with pytest.raises(asyncio.CancelledError):
        await killed
    platform.may_answer.set()
    bench.clock.now += LEASE

    assert await bench.verify() == State(NOW + LEASE, None, 2, None)


async def test_result_after_the_lease_is_dropped(database: Database) -> None:
    platform = BlockedPlatform(REFUSED)
    bench = await Bench.create(database, REFUSED, platform=platform)
    late = asyncio.create_task(bench.verify())
    await platform.was_asked.wait()
    bench.clock.now += LEASE
    bench.platform = VerifyingPlatform(ACCEPTED)
    verified = await bench.verify()
    platform.may_answer.set()

    assert await late == verified == State(NOW + LEASE, None, 2, None)
    assert (await bench.account()).needs_reconnection_since is None


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (BUSY, "Busy."),
        (NotPublished(ErrorCategory.PERMANENT, "X", "Not allowed."), "Not allowed."),
        (
            OutcomeUnknown("Unknown.", http_status=503),
            "The server answered 503 without a usable result. The credentials were not verified.",
        ),
        (
            KeyError("id"),
            "The platform's answer could not be read. The credentials were not verified.",
        ),
    ],
)
async def test_failure_that_refuses_nothing_is_retried_and_leaves_the_account(
    database: Database, error: Exception, message: str
) -> None:
    bench = await Bench.create(database, error)
    before = await bench.account()

    with structlog.testing.capture_logs():
        assert await bench.verify() == State(None, NOW + MINUTE, 1, message)

    assert await bench.account() == before
    bench.platform.answer = ACCEPTED
    assert (await bench.verify()).verified_at is None
    bench.clock.now += MINUTE
    assert await bench.verify() == State(NOW + MINUTE, None, 2, None)


async def test_wait_between_retries_grows_up_to_six_hours(database: Database) -> None:
    bench = await Bench.create(database, BUSY)
    waits = []
    for _ in range(7):
        verify_at = (await bench.verify()).verify_at
        assert verify_at is not None
        waits.append((verify_at - bench.clock.now) / MINUTE)
        bench.clock.now = verify_at

    assert waits == [1, 4, 16, 64, 256, 360, 360]


async def test_retry_waits_as_long_as_the_platform_asks_for(database: Database) -> None:
    hour = timedelta(hours=1)
    limited = NotPublished(ErrorCategory.RATE_LIMITED, "X", "Busy.", retry_after=hour)
    bench = await Bench.create(database, limited)

    assert (await bench.verify()).verify_at == NOW + hour


async def test_tokens_issued_during_a_verification_are_stored(database: Database) -> None:
    session: CredentialValues = {**VALUES, "session": "s1"}
    platform = VerifyingPlatform(ACCEPTED, new_values=session)
    bench = await Bench.create(database, ACCEPTED, platform=platform)

    assert await bench.verify() == State(NOW, None, 1, None)

    assert await stored_values(database, bench.workspace, bench.account_id) == session


async def test_credentials_of_an_external_publisher_wait_for_another_publisher(
    database: Database,
) -> None:
    bench = await Bench.create(database, ACCEPTED, publisher=AccountPublisher.EXTERNAL)

    assert await bench.verify() == State(
        None,
        NOW + timedelta(hours=6),
        1,
        "No worker publishes on accounts with the publisher EXTERNAL.",
    )
    assert bench.platform.verified == []


async def test_credentials_of_a_file_are_verified(database: Database, tmp_path: Path) -> None:
    bench = await Bench.create(database, ACCEPTED, values={"ref": "file:bluesky.json"})
    bench.directory = tmp_path
    folder = tmp_path / str(bench.workspace)
    folder.mkdir()
    (folder / "bluesky.json").write_bytes(orjson.dumps(VALUES))

    assert await bench.verify() == State(NOW, None, 1, None)

    assert bench.platform.verified == [VALUES]


async def test_unreadable_credentials_are_retried_with_the_reason(database: Database) -> None:
    bench = await Bench.create(database, ACCEPTED, values={"ref": "file:bluesky.json"})

    assert await bench.verify() == State(
        None,
        NOW + MINUTE,
        1,
        "The worker cannot read the credentials of the account: they are in a file, but CREDENTIALS_DIR is"
        " not set.",
    )
    assert (await bench.account()).needs_reconnection_since is None


async def test_credentials_of_a_missing_key_are_left_to_other_workers(database: Database) -> None:
    bench = await Bench.create(database, ACCEPTED)
    before = await bench.state()
    verifier = bench.verifier
    other = replace(verifier, secrets=replace(verifier.secrets, cipher=OTHER_CIPHER))

    await other.verify_due()

    assert await bench.state() == before == State(None, NOW, 0, None)
    assert await bench.verify() == State(NOW, None, 1, None)


async def test_reason_has_no_secret(database: Database) -> None:
    token = "eyJhbGciOiJIUzI1NiJ9.eyJqdGkiOjF9.c2lnbmF0dXJl"
    answer = NotPublished(ErrorCategory.AUTH, "X", f"Refused: token={token}")
    bench = await Bench.create(database, answer)

    error = (await bench.verify()).error

    assert error is not None
    assert token not in error
    assert orjson.dumps(VALUES["password"]) not in error.encode()
