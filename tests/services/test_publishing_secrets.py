"""Credentials of a worker: reading, and refresh by one of many processes."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import select, update

from app.db.core.database import Database
from app.db.models import AccountCredentials
from app.db.repositories.credentials import delete_credentials
from app.domain.destinations import ErrorCategory
from app.platforms.protocol import CredentialValues, NotPublished, OutcomeUnknown
from app.services.claims import Claim
from app.services.publishing_secrets import REFRESH_LEASE, AccountSecrets
from app.services.secret_cipher import SecretCipher
from app.services.stored_secrets import rotate_secrets
from tests.credential_rows import (
    CIPHER,
    KEY,
    OTHER_CIPHER,
    OTHER_KEY,
    PLATFORM,
    VALUES,
    StoppedClock,
    add_credentials,
    publishing_secrets,
    stored_values,
)
from tests.factories import NOW, add_account, add_workspace
from tests.platforms.publish_requests import publish_problem
from tests.recording_driver import InterceptingWriter
from tests.services import publishing_calls
from tests.services.publishing_calls import MINUTE, add_due

RequestNew = Callable[[CredentialValues], Awaitable[CredentialValues]]

NO_CREDENTIALS = (
    "No credentials are stored for the account. Connect it again, or use setAccountCredentials."
)
RUN_CHECK = (
    ". The operator can run `post-results secrets check`. Otherwise, set the credentials again with"
    " setAccountCredentials."
)
ANOTHER_FAILED = "Another worker could not renew the access of the account."
DATABASE_UNAVAILABLE = "The worker could not use its database, so that nothing was published."

SECOND = timedelta(seconds=1)


def tokens(number: int) -> dict[str, object]:
    return {"access": f"access-{number}", "refresh": f"refresh-{number}"}


class TokenEndpoint:
    """Endpoint of a platform whose refresh tokens work once; it answers when `may_answer` is set."""

    def __init__(self) -> None:
        self.number = 1
        """Number of the valid tokens."""
        self.requests = 0
        self.requested = asyncio.Event()
        self.may_answer = asyncio.Event()
        self.may_answer.set()

    async def request_new(self, values: CredentialValues) -> CredentialValues:
        self.requests += 1
        self.requested.set()
        if values["refresh"] != f"refresh-{self.number}":
            raise NotPublished(ErrorCategory.AUTH, "INVALID_GRANT", "The token was used before.")
        self.number += 1
        new = tokens(self.number)
        await self.may_answer.wait()
        return new


@pytest.fixture
async def claim(database: Database) -> Claim:
    """A claimed destination, on an account with credentials."""
    workspace = await add_workspace(database)
    account = await add_due(database, workspace, platform=PLATFORM)
    await add_credentials(database, workspace, account, tokens(1))
    (claimed,) = await publishing_calls.claim(database)
    return claimed


@pytest.fixture
async def databases(database: Database, database_url: str) -> AsyncIterator[list[Database]]:
    """The database, opened by sixteen processes."""
    async with AsyncExitStack() as stack:
        yield [
            await stack.enter_async_context(Database(database_url, pool_size=1)) for _ in range(16)
        ]


async def refresh_state(database: Database) -> tuple[int, object, int]:
    """Version, lease and fence of the only credentials."""
    columns = (
        AccountCredentials.version,
        AccountCredentials.refresh_until,
        AccountCredentials.refresh_fence,
    )
    async with database.read_connection() as connection:
        version, until, fence = (await connection.execute(select(*columns))).one()
    return version, until, fence


async def values_of(database: Database, claim: Claim) -> dict[str, object]:
    return await stored_values(database, claim.lease.workspace_id, claim.account.id)


async def test_worker_reads_stored_credentials(database: Database, claim: Claim) -> None:
    assert await publishing_secrets(database).credentials(claim).get() == tokens(1)


@pytest.mark.parametrize("user_id", ["did:plc:ewvi7nxzyoun6zhxrhs64oiz", None])
async def test_credentials_name_the_platform_user_of_their_account(
    database: Database, claim: Claim, user_id: str | None
) -> None:
    account = replace(claim.account, platform_user_id=user_id)
    secrets = publishing_secrets(database)
    credentials = secrets.account_credentials(claim.lease.workspace_id, account)
    assert credentials.platform_user_id == user_id


async def test_older_key_reads_credentials(database: Database, claim: Claim) -> None:
    both = SecretCipher([OTHER_KEY, KEY])

    assert await publishing_secrets(database, cipher=both).credentials(claim).get() == tokens(1)


@pytest.mark.parametrize(
    ("cipher", "reason"),
    [
        (OTHER_CIPHER, "SECRETS_KEY does not have the key {key_id}"),
        (SecretCipher([]), "SECRETS_KEY is not set"),
    ],
)
async def test_credentials_of_another_key_fail_as_transient(
    database: Database, claim: Claim, cipher: SecretCipher, reason: str
) -> None:
    reason = reason.format(key_id=CIPHER.key_id)

    assert await publish_problem(
        publishing_secrets(database, cipher=cipher).credentials(claim).get()
    ) == (
        ErrorCategory.TRANSIENT,
        "CREDENTIALS_NOT_READABLE",
        f"The worker cannot read the credentials of the account: {reason}{RUN_CHECK}",
    )


async def test_account_without_credentials_fails_as_auth(database: Database) -> None:
    await add_due(database, await add_workspace(database))
    (claim,) = await publishing_calls.claim(database)
    credentials = publishing_secrets(database).credentials(claim)

    assert await publish_problem(credentials.get()) == (
        ErrorCategory.AUTH,
        "NO_CREDENTIALS",
        NO_CREDENTIALS,
    )
    refresh = credentials.refresh({}, TokenEndpoint().request_new)
    assert await publish_problem(refresh) == (ErrorCategory.AUTH, "NO_CREDENTIALS", NO_CREDENTIALS)


@pytest.mark.parametrize("same_workspace", [True, False])
async def test_credentials_copied_to_another_account_are_not_readable(
    database: Database, claim: Claim, *, same_workspace: bool
) -> None:
    workspace = claim.lease.workspace_id if same_workspace else await add_workspace(database)
    account = await add_account(database, workspace, id=7, platform=PLATFORM)
    await add_credentials(database, workspace, account)
    copied = select(AccountCredentials.ciphertext).where(AccountCredentials.account_id == 7)
    async with database.write_engine.begin() as connection:
        ciphertext = await connection.scalar(copied)
        await connection.execute(update(AccountCredentials).values(ciphertext=ciphertext))

    assert await publish_problem(publishing_secrets(database).credentials(claim).get()) == (
        ErrorCategory.TRANSIENT,
        "CREDENTIALS_NOT_READABLE",
        f"The worker cannot read the credentials of the account: it belongs to another row{RUN_CHECK}",
    )


async def test_refreshed_credentials_are_stored_before_they_are_returned(
    database: Database, claim: Claim
) -> None:
    endpoint = TokenEndpoint()
    credentials = publishing_secrets(database).credentials(claim)

    assert await credentials.refresh(tokens(1), endpoint.request_new) == tokens(2)

    assert await values_of(database, claim) == tokens(2)
    assert await refresh_state(database) == (2, None, 1)
    assert await credentials.refresh(tokens(1), endpoint.request_new) == tokens(2)
    assert endpoint.requests == 1


async def test_sixteen_processes_with_an_expired_token_refresh_it_once(
    databases: list[Database], claim: Claim
) -> None:
    endpoint = TokenEndpoint()
    endpoint.may_answer.clear()
    waiting: set[int] = set()

    async def refresh(number: int, database: Database) -> CredentialValues:
        clock = StoppedClock()

        def on_sleep() -> None:
            waiting.add(number)
            if len(waiting) == len(databases) - 1:
                endpoint.may_answer.set()

        clock.on_sleep = on_sleep
        credentials = publishing_secrets(database, clock=clock).credentials(claim)
        return await credentials.refresh(tokens(1), endpoint.request_new)

    refreshes = [refresh(number, each) for number, each in enumerate(databases)]
    assert await asyncio.gather(*refreshes) == [tokens(2)] * 16

    assert endpoint.requests == 1
    assert await refresh_state(databases[0]) == (2, None, 1)


async def test_processes_that_wait_for_a_failed_refresh_do_not_repeat_it(
    databases: list[Database], claim: Claim
) -> None:
    requests = 0
    are_waiting = asyncio.Event()

    async def refuse(_values: CredentialValues) -> CredentialValues:
        nonlocal requests
        requests += 1
        await are_waiting.wait()
        raise OutcomeUnknown("The platform answered 503.", http_status=503)

    waiting: set[int] = set()

    async def refresh(number: int, database: Database) -> tuple[ErrorCategory, str, str]:
        clock = StoppedClock()

        def on_sleep() -> None:
            waiting.add(number)
            if len(waiting) == len(databases) - 1:
                are_waiting.set()

        clock.on_sleep = on_sleep
        credentials = publishing_secrets(database, clock=clock).credentials(claim)
        return await publish_problem(credentials.refresh(tokens(1), refuse))

    problems = await asyncio.gather(
        *(refresh(number, each) for number, each in enumerate(databases))
    )

    own = "The access of the account could not be renewed. The platform answered 503."
    assert sorted(problems) == [
        *[(ErrorCategory.TRANSIENT, "REFRESH_FAILED", ANOTHER_FAILED)] * 15,
        (ErrorCategory.TRANSIENT, "REFRESH_FAILED", own),
    ]
    assert requests == 1
    assert await refresh_state(databases[0]) == (1, None, 1)
    later = publishing_secrets(databases[0]).credentials(claim)
    assert await later.refresh(tokens(1), TokenEndpoint().request_new) == tokens(2)


async def start_refresh(
    credentials: AccountSecrets, endpoint: TokenEndpoint
) -> "asyncio.Task[CredentialValues]":
    """Start a refresh, and return when the endpoint has received its request."""
    endpoint.requested.clear()
    task = asyncio.create_task(credentials.refresh(tokens(1), endpoint.request_new))
    await endpoint.requested.wait()
    return task


async def kill(task: "asyncio.Task[CredentialValues]") -> None:
    """End a task without letting it end its refresh, as if its process was killed."""
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_refresh_of_a_killed_process_is_taken_over_when_its_lease_has_expired(
    database: Database, claim: Claim
) -> None:
    endpoint, clock = TokenEndpoint(), StoppedClock()
    endpoint.may_answer.clear()
    await kill(await start_refresh(publishing_secrets(database).credentials(claim), endpoint))
    assert await refresh_state(database) == (1, clock.now + REFRESH_LEASE, 1)
    endpoint.number = 1  # as a platform with a grace period does
    endpoint.may_answer.set()
    sleeps = 0

    def on_sleep() -> None:
        nonlocal sleeps
        sleeps += 1
        assert endpoint.requests == 1
        clock.now += timedelta(seconds=10)

    clock.on_sleep = on_sleep
    credentials = publishing_secrets(database, clock=clock).credentials(claim)

    assert await credentials.refresh(tokens(1), endpoint.request_new) == tokens(2)

    assert (sleeps, endpoint.requests) == (4, 2)
    assert await refresh_state(database) == (2, None, 2)


async def test_lost_token_of_single_use_fails_as_auth_with_the_reason(
    database: Database, claim: Claim
) -> None:
    endpoint, clock = TokenEndpoint(), StoppedClock()
    endpoint.may_answer.clear()
    await kill(await start_refresh(publishing_secrets(database).credentials(claim), endpoint))
    clock.now += REFRESH_LEASE + MINUTE
    credentials = publishing_secrets(database, clock=clock).credentials(claim)

    assert await publish_problem(credentials.refresh(tokens(1), endpoint.request_new)) == (
        ErrorCategory.AUTH,
        "INVALID_GRANT",
        "The token was used before. A worker had stopped while it renewed the access: the platform may accept"
        " only what was lost.",
    )
    assert await refresh_state(database) == (1, None, 2)


async def test_refused_refresh_is_reported_unchanged(database: Database, claim: Claim) -> None:
    endpoint = TokenEndpoint()
    endpoint.number = 9
    credentials = publishing_secrets(database).credentials(claim)

    assert await publish_problem(credentials.refresh(tokens(1), endpoint.request_new)) == (
        ErrorCategory.AUTH,
        "INVALID_GRANT",
        "The token was used before.",
    )


async def test_new_values_that_are_too_long_end_the_refresh(
    database: Database, claim: Claim
) -> None:
    async def request_new(_values: CredentialValues) -> CredentialValues:
        return {"accessToken": "x" * 20_000}

    credentials = publishing_secrets(database).credentials(claim)

    assert await publish_problem(credentials.refresh(tokens(1), request_new)) == (
        ErrorCategory.TRANSIENT,
        "REFRESH_FAILED",
        "The access of the account could not be renewed. Credentials have 20,018 bytes; at most 16,384 are"
        " allowed.",
    )
    assert await refresh_state(database) == (1, None, 1)


async def test_credentials_set_during_a_refresh_are_kept(database: Database, claim: Claim) -> None:
    endpoint = TokenEndpoint()
    endpoint.may_answer.clear()
    refresh = await start_refresh(publishing_secrets(database).credentials(claim), endpoint)
    await add_credentials(database, claim.lease.workspace_id, claim.account.id, VALUES)
    endpoint.may_answer.set()

    assert await refresh == VALUES
    assert await values_of(database, claim) == VALUES


async def test_refresh_that_ends_after_a_rotation_has_the_new_key(
    database: Database, claim: Claim
) -> None:
    both = SecretCipher([OTHER_KEY, KEY])
    endpoint = TokenEndpoint()
    endpoint.may_answer.clear()
    credentials = publishing_secrets(database, cipher=both).credentials(claim)
    refresh = await start_refresh(credentials, endpoint)
    await rotate_secrets(database, both, NOW)
    endpoint.may_answer.set()

    assert await refresh == tokens(2)
    workspace, account = claim.lease.workspace_id, claim.account.id
    assert await stored_values(database, workspace, account, cipher=OTHER_CIPHER) == tokens(2)


@pytest.mark.parametrize("readable_by", [CIPHER, OTHER_CIPHER])
async def test_refresh_by_a_worker_with_a_new_key_retains_the_key_of_the_credentials(
    database: Database, claim: Claim, readable_by: SecretCipher
) -> None:
    """A worker that lacks the new key may be waiting for the values."""
    workspace, account = claim.lease.workspace_id, claim.account.id
    await add_credentials(database, workspace, account, tokens(1), cipher=readable_by)
    both = SecretCipher([OTHER_KEY, KEY])
    credentials = publishing_secrets(database, cipher=both).credentials(claim)

    assert await credentials.refresh(tokens(1), TokenEndpoint().request_new) == tokens(2)

    assert await stored_values(database, workspace, account, cipher=readable_by) == tokens(2)


async def set_again_and_refresh(
    database: Database, claim: Claim
) -> "asyncio.Task[CredentialValues]":
    """Delete the credentials, set others a second later, and start to refresh those."""
    workspace, account = claim.lease.workspace_id, claim.account.id
    await database.write(workspace, lambda session: delete_credentials(session, account))
    await add_credentials(database, workspace, account, tokens(7), set_at=NOW + SECOND)
    endpoint = TokenEndpoint()
    endpoint.number = 7
    endpoint.may_answer.clear()
    credentials = publishing_secrets(database).credentials(claim)
    task = asyncio.create_task(credentials.refresh(tokens(7), endpoint.request_new))
    await endpoint.requested.wait()
    assert await refresh_state(database) == (1, NOW + REFRESH_LEASE, 1)
    return task


async def test_refresh_does_not_replace_credentials_that_were_deleted_and_set_again(
    database: Database, claim: Claim
) -> None:
    endpoint = TokenEndpoint()
    endpoint.may_answer.clear()
    refresh = await start_refresh(publishing_secrets(database).credentials(claim), endpoint)
    other_refresh = await set_again_and_refresh(database, claim)
    endpoint.may_answer.set()

    assert await refresh == tokens(7)
    assert await values_of(database, claim) == tokens(7)
    assert await refresh_state(database) == (1, NOW + REFRESH_LEASE, 1)
    await kill(other_refresh)


async def test_failed_refresh_does_not_end_that_of_credentials_that_were_set_again(
    database: Database, claim: Claim
) -> None:
    requested, may_fail = asyncio.Event(), asyncio.Event()

    async def refuse(_values: CredentialValues) -> CredentialValues:
        requested.set()
        await may_fail.wait()
        raise NotPublished(ErrorCategory.AUTH, "INVALID_GRANT", "The token was revoked.")

    credentials = publishing_secrets(database).credentials(claim)
    refresh = asyncio.create_task(credentials.refresh(tokens(1), refuse))
    await requested.wait()
    other_refresh = await set_again_and_refresh(database, claim)
    may_fail.set()

    assert (await publish_problem(refresh))[1] == "INVALID_GRANT"
    assert await refresh_state(database) == (1, NOW + REFRESH_LEASE, 1)
    await kill(other_refresh)


async def start_two_refreshes(
    database: Database, claim: Claim
) -> tuple[TokenEndpoint, list["asyncio.Task[CredentialValues]"], list[asyncio.Event]]:
    """Start a refresh that outlasts its lease, and another one. An event of each lets it end."""
    endpoint, clock = TokenEndpoint(), StoppedClock()
    events: list[asyncio.Event] = []
    tasks: list[asyncio.Task[CredentialValues]] = []
    for _ in range(2):
        endpoint.number = 1 if not tasks else 2
        endpoint.may_answer = asyncio.Event()
        events.append(endpoint.may_answer)
        if tasks:
            clock.now += REFRESH_LEASE + MINUTE
        request_new = _without_check(endpoint)
        endpoint.requested.clear()
        credentials = publishing_secrets(database, clock=clock).credentials(claim)
        tasks.append(asyncio.create_task(credentials.refresh(tokens(1), request_new)))
        await endpoint.requested.wait()
    return endpoint, tasks, events


def _without_check(endpoint: TokenEndpoint) -> RequestNew:
    """Request new tokens for any old ones."""

    async def request_new(_values: CredentialValues) -> CredentialValues:
        return await endpoint.request_new({"refresh": f"refresh-{endpoint.number}"})

    return request_new


async def test_late_refresh_does_not_replace_that_of_its_successor(
    database: Database, claim: Claim
) -> None:
    _, (first, second), (first_may_end, second_may_end) = await start_two_refreshes(database, claim)
    second_may_end.set()
    assert await second == tokens(3)
    first_may_end.set()

    assert await first == tokens(3)
    assert await values_of(database, claim) == tokens(3)


async def test_latest_refresh_replaces_one_that_was_late(database: Database, claim: Claim) -> None:
    _, (first, second), (first_may_end, second_may_end) = await start_two_refreshes(database, claim)
    first_may_end.set()
    assert await first == tokens(2)
    second_may_end.set()

    assert await second == tokens(3)
    assert await values_of(database, claim) == tokens(3)


class FailingWriter:
    """Makes the next writes of a database fail, as an outage does."""

    def __init__(self, failures: int) -> None:
        self.failures = failures

    def intercept(self, statement: object, _arguments: object) -> object:
        if self.failures > 0 and "version=" in getattr(statement, "sql", ""):
            self.failures -= 1
            raise ConnectionError
        return statement


@pytest.mark.parametrize(("failures", "stored"), [(5, True), (1000, False)])
async def test_new_credentials_are_stored_after_an_outage_of_the_time_of_a_refresh(
    database: Database, database_url: str, claim: Claim, failures: int, *, stored: bool
) -> None:
    clock, failing = StoppedClock(), FailingWriter(failures)

    def on_sleep() -> None:
        clock.now += timedelta(seconds=1)

    clock.on_sleep = on_sleep
    failing_database = Database(
        database_url,
        wrap_writer=lambda writer: InterceptingWriter(writer, failing.intercept),  # type: ignore[arg-type]
    )
    async with failing_database:
        credentials = publishing_secrets(failing_database, clock=clock).credentials(claim)
        refresh = credentials.refresh(tokens(1), TokenEndpoint().request_new)
        if stored:
            assert await refresh == tokens(2)
        else:
            assert await publish_problem(refresh) == (
                ErrorCategory.TRANSIENT,
                "DATABASE_UNAVAILABLE",
                DATABASE_UNAVAILABLE,
            )

    assert await values_of(database, claim) == tokens(2 if stored else 1)
