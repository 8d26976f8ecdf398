"""Checkpoints of attempts: stored under their lease, loaded by the next attempt, and deleted."""

from dataclasses import replace

import pytest

from app.db.core.database import Database
from app.db.repositories.checkpoints import find_checkpoint
from app.domain.credentials import MAX_CHECKPOINT_BYTES
from app.domain.destinations import DestinationState, ErrorCategory, Outcome
from app.services.claims import Claim
from app.services.retries import retry_one_post
from app.services.secret_cipher import SecretCipher
from tests.credential_rows import (
    CIPHER,
    KEY,
    OTHER_CIPHER,
    OTHER_KEY,
    StoppedClock,
    add_checkpoint,
    add_credentials,
    publishing_secrets,
)
from tests.factories import add_account, add_post, add_workspace, failed, unknown
from tests.platforms.publish_requests import publish_problem
from tests.services import publishing_calls
from tests.services.publishing_calls import MINUTE, add_due


@pytest.fixture
async def claim(database: Database) -> Claim:
    """A claimed destination."""
    await add_due(database, await add_workspace(database))
    (claimed,) = await publishing_calls.claim(database)
    return claimed


async def start_attempt(database: Database, claim: Claim) -> None:
    await publishing_calls.report_service(database).start_attempt(claim.lease, "worker-1")


async def test_checkpoint_is_loaded_by_the_next_attempt(database: Database, claim: Claim) -> None:
    secrets = publishing_secrets(database)
    checkpoint = secrets.checkpoint(claim)
    await start_attempt(database, claim)

    assert await checkpoint.load() is None
    await checkpoint.save({"container": "17889"})
    await checkpoint.save({"container": "17890", "upload": "https://upload.example/secret"})

    assert await secrets.checkpoint(claim).load() == {
        "container": "17890",
        "upload": "https://upload.example/secret",
    }


async def test_checkpoint_is_not_saved_without_the_lease(database: Database, claim: Claim) -> None:
    await start_attempt(database, claim)
    clock = StoppedClock()
    clock.now += MINUTE
    late = publishing_secrets(database, clock=clock).checkpoint(claim)

    assert await publish_problem(late.save({"container": "1"})) == (
        ErrorCategory.TRANSIENT,
        "NOT_CALLED",
        "The worker was delayed for too long; it did not send the post.",
    )
    other_lease = replace(claim, lease=replace(claim.lease, token=claim.lease.post_id))
    stolen = publishing_secrets(database).checkpoint(other_lease)
    assert (await publish_problem(stolen.save({"container": "1"})))[1] == "NOT_CALLED"
    assert await late.load() is None


async def test_checkpoint_without_a_lease_can_only_be_loaded(
    database: Database, claim: Claim
) -> None:
    secrets = publishing_secrets(database)
    await secrets.checkpoint(claim).save({"container": "1"})
    unleased = secrets.unleased_checkpoint(claim.lease.workspace_id, claim.lease.destination_id)

    assert (await publish_problem(unleased.save({"container": "2"})))[1] == "NOT_CALLED"
    assert await unleased.load() == {"container": "1"}


@pytest.mark.parametrize("outcome", [unknown(), failed()])
async def test_forced_retry_of_an_unknown_outcome_deletes_the_checkpoint(
    database: Database, outcome: DestinationState
) -> None:
    workspace = await add_workspace(database)
    account = await add_account(database, workspace)
    post = await add_post(database, workspace, {account: outcome})
    await add_checkpoint(database, workspace, post.destinations[0], {"container": "17889"})
    context = publishing_calls.write_context(workspace)

    await retry_one_post(
        database, context, post.id, account_ids=None, force=True, idempotency_key=None
    )

    stored = await find_checkpoint(database.reader(workspace), post.destinations[0])
    assert (stored is None) == (outcome.outcome is Outcome.UNKNOWN)


async def test_checkpoint_has_a_limit(database: Database, claim: Claim) -> None:
    checkpoint = publishing_secrets(database).checkpoint(claim)
    largest = {"a": "x" * (MAX_CHECKPOINT_BYTES - len('{"a":""}'))}
    await checkpoint.save(largest)

    assert await publish_problem(checkpoint.save({"a": f"{largest['a']}x"})) == (
        ErrorCategory.PERMANENT,
        "CHECKPOINT_TOO_LONG",
        "The worker cannot store the progress of the attempt: it has 4,097 bytes; at most 4,096 are allowed."
        " Report this as a defect of the adapter.",
    )

    assert await checkpoint.load() == largest


async def test_checkpoint_of_another_key_prevents_publishing(
    database: Database, claim: Claim
) -> None:
    await publishing_secrets(database).checkpoint(claim).save({"container": "1"})

    assert await publish_problem(
        publishing_secrets(database, cipher=OTHER_CIPHER).checkpoint(claim).load()
    ) == (
        ErrorCategory.TRANSIENT,
        "CHECKPOINT_NOT_READABLE",
        "The worker cannot read what the last attempt has stored: SECRETS_KEY does not have the key"
        f" {CIPHER.key_id}. The operator can run `post-results secrets check`.",
    )


@pytest.mark.parametrize("cipher_of_account", [CIPHER, OTHER_CIPHER])
async def test_checkpoint_has_the_key_of_the_credentials(
    database: Database, claim: Claim, cipher_of_account: SecretCipher
) -> None:
    """A worker that claims the next attempt has that key, but may lack the newest one."""
    workspace = claim.lease.workspace_id
    await add_credentials(database, workspace, claim.account.id, cipher=cipher_of_account)
    both = SecretCipher([OTHER_KEY, KEY])

    await publishing_secrets(database, cipher=both).checkpoint(claim).save({"container": "1"})

    next_attempt = publishing_secrets(database, cipher=cipher_of_account).checkpoint(claim)
    assert await next_attempt.load() == {"container": "1"}


async def test_checkpoint_is_not_saved_without_a_key(database: Database, claim: Claim) -> None:
    checkpoint = publishing_secrets(database, cipher=SecretCipher([])).checkpoint(claim)

    assert await publish_problem(checkpoint.save({"container": "1"})) == (
        ErrorCategory.TRANSIENT,
        "NO_SECRETS_KEY",
        "The worker cannot store the progress of the attempt, because SECRETS_KEY is not set.",
    )
    assert await checkpoint.load() is None
