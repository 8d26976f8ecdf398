"""Secrets that a process, or all workers, cannot decrypt: start, readiness, metrics, and GraphQL."""

import re
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from app.db.core.database import Database
from app.db.repositories.worker_keys import count_accounts_without_worker, worker_key_times
from app.domain.accounts import AccountPublisher
from app.domain.credentials import KEY_GRACE, is_unreadable_by_workers
from app.domain.destinations import DestinationState
from app.domain.ids import DEMO_WORKSPACE_ID, AccountId, WorkspaceId
from app.services.backup import backup, restore
from app.services.missing_keys import (
    key_warnings,
    record_keys,
    require_readable_accounts,
    require_readable_webhooks,
)
from app.services.secret_cipher import SecretCipher, load_cipher
from app.services.stored_secrets import find_unreadable
from app.settings import Settings, SettingsError, read_settings
from tests.clients import Client, Tenant, app_client
from tests.credential_rows import (
    CIPHER,
    KEY,
    OTHER_CIPHER,
    OTHER_KEY,
    PLATFORM,
    add_checkpoint,
    add_credentials,
)
from tests.db.all_tables import all_rows
from tests.factories import (
    NOW,
    add_account,
    add_api_key,
    add_post,
    add_workspace,
    published,
    queued,
    unknown,
    waiting_for_retry,
)
from tests.hpke_credential_rows import (
    HPKE_KEY,
    OTHER_HPKE_KEY,
    add_hpke_checkpoint,
    add_hpke_credentials,
)
from tests.webhook_rows import add_webhook
from tests.webhook_tenant import open_webhook_tenant

MINUTE, SECOND = timedelta(minutes=1), timedelta(seconds=1)
TICK = timedelta(milliseconds=1)
"""Resolution of stored times."""
WHAT = "this process cannot decrypt the secrets of 2 webhooks and the credentials of 1 account."
NOT_SET = f"SECRETS_KEY is not set: {WHAT} Set it to their key, and restart."
CHECK = "Add their key, and restart; `post-results secrets check` lists what is affected."
LACKS = f"SECRETS_KEY lacks a key: {WHAT} {CHECK}"
HPKE_WHAT = "the credentials of 1 account and the checkpoints of 1 destination"
HPKE_NOT_SET = (
    f"CREDENTIALS_KEY is not set: this process cannot decrypt {HPKE_WHAT}. Set it to their key, beside"
    " SECRETS_KEY, and restart."
)
HPKE_IGNORED = (
    "CREDENTIALS_KEY is ignored, because SECRETS_KEY is not set: this process cannot decrypt"
    f" {HPKE_WHAT}. Run `post-results secrets new-key`, set SECRETS_KEY to the key, and restart."
)
HPKE_LACKS = f"CREDENTIALS_KEY lacks a key: this process cannot decrypt {HPKE_WHAT}. {CHECK}"
LEFT = (
    f"CREDENTIALS_KEY, which the next version does not read, encrypts {HPKE_WHAT}: run `post-results secrets"
    " rotate` with CREDENTIALS_KEY and SECRETS_KEY."
)
HPKE_WARNINGS = [
    ({}, HPKE_NOT_SET),
    ({"SECRETS_KEY": KEY}, HPKE_NOT_SET),
    ({"CREDENTIALS_KEY": HPKE_KEY}, HPKE_IGNORED),
    ({"SECRETS_KEY": KEY, "CREDENTIALS_KEY": OTHER_HPKE_KEY}, HPKE_LACKS),
    ({"SECRETS_KEY": KEY, "CREDENTIALS_KEY": f"{OTHER_HPKE_KEY},{HPKE_KEY}"}, LEFT),
]
NO_WORKER = (
    "Nothing is published: no running worker has the key with which the credentials are encrypted. The"
    " operator can start a worker with this key. Otherwise, set the credentials again with"
    " setAccountCredentials."
)
NO_WORKER_WITH_CHECKPOINT_KEY = (
    "Some posts wait: no running worker has the key with which the progress of their last attempt is"
    " encrypted. The operator can start a worker with this key."
)
SECRET_ERROR = (
    "Nothing is sent: the server cannot decrypt the secret, because SECRETS_KEY was changed or is missing."
    " The operator can restore the key. Otherwise, rotate the secret of this webhook."
)


def settings(**variables: str) -> Settings:
    return read_settings({"RATE_LIMIT": "off", "WEBHOOKS": "no", **variables})


async def add_bluesky_account(database: Database, workspace: WorkspaceId) -> AccountId:
    return await add_account(
        database, workspace, publisher=AccountPublisher.BLUESKY, platform=PLATFORM
    )


async def add_secrets(database: Database) -> tuple[WorkspaceId, AccountId]:
    """Two webhooks, and an account with credentials, whose secrets have one key."""
    workspace = await add_workspace(database, name="Acme")
    account = await add_bluesky_account(database, workspace)
    await add_credentials(database, workspace, account)
    for _ in range(2):
        await add_webhook(database, workspace, cipher=CIPHER)
    return workspace, account


async def add_hpke_rows(database: Database, workspace: WorkspaceId) -> None:
    """An account and a checkpoint in the HPKE format."""
    account = await add_bluesky_account(database, workspace)
    await add_hpke_credentials(database, workspace, account)
    post = await add_post(database, workspace, {account: queued()})
    await add_hpke_checkpoint(database, workspace, post.destinations[0], {"container": "1"})


@pytest.mark.parametrize(
    ("variables", "warnings"),
    [
        ({}, [NOT_SET]),
        ({"SECRETS_KEY": OTHER_KEY}, [LACKS]),
        ({"SECRETS_KEY": KEY}, []),
        ({"SECRETS_KEY": f"{OTHER_KEY},{KEY}"}, []),
        (
            {"SECRETS_KEY": KEY, "CREDENTIALS_KEY": HPKE_KEY},
            ["Nothing needs CREDENTIALS_KEY any more: remove the setting."],
        ),
        (
            {"SECRETS_KEY": KEY, "CREDENTIALS_KEY": HPKE_KEY, "CREDENTIALS_SEAL": "public_"},
            ["Nothing needs CREDENTIALS_KEY and CREDENTIALS_SEAL any more: remove the setting."],
        ),
    ],
)
async def test_start_names_missing_keys_and_settings_without_use(
    database: Database, variables: dict[str, str], warnings: list[str]
) -> None:
    await add_secrets(database)

    assert await key_warnings(database, settings(**variables)) == warnings


async def test_start_says_nothing_without_secrets(database: Database) -> None:
    await add_workspace(database)

    assert await key_warnings(database, settings()) == []


@pytest.mark.parametrize(("variables", "warning"), HPKE_WARNINGS)
async def test_start_and_readiness_name_what_has_the_hpke_format(
    database: Database, variables: dict[str, str], warning: str
) -> None:
    await add_hpke_rows(database, await add_workspace(database))
    chosen = settings(**variables)

    assert await key_warnings(database, chosen) == [warning]
    async with app_client(database, settings=chosen) as client:
        response = await client.get("/readyz")
    assert response.json() == {"status": "ready", "warnings": [warning]}


async def test_start_names_keys_of_both_formats_and_what_is_left_to_rotate(
    database: Database,
) -> None:
    workspace, account = await add_secrets(database)
    post = await add_post(database, workspace, {account: queued()})
    await add_checkpoint(database, workspace, post.destinations[0], {"container": "1"})
    await add_hpke_rows(database, workspace)
    other_format = await add_bluesky_account(database, workspace)
    await add_hpke_credentials(database, workspace, other_format, key=OTHER_HPKE_KEY)
    what = "the secrets of 2 webhooks, the credentials of 1 account and the checkpoints of 1 destination"

    assert await key_warnings(
        database, settings(SECRETS_KEY=OTHER_KEY, CREDENTIALS_KEY=HPKE_KEY)
    ) == [
        f"SECRETS_KEY lacks a key: this process cannot decrypt {what}. {CHECK}",
        f"CREDENTIALS_KEY lacks a key: this process cannot decrypt the credentials of 1 account. {CHECK}",
        LEFT,
    ]


@pytest.mark.parametrize(
    ("variables", "is_ready"),
    [
        ({}, False),
        ({"SECRETS_KEY": OTHER_KEY}, False),
        ({"SECRETS_KEY": KEY}, True),
    ],
)
async def test_worker_that_lacks_all_keys_does_not_start(
    database: Database, variables: dict[str, str], is_ready: bool
) -> None:
    await add_secrets(database)
    chosen = settings(**variables)
    problem = LACKS if variables else NOT_SET

    for check in (partial(require_readable_accounts, now=NOW), require_readable_webhooks):
        if is_ready:
            await check(database, chosen)
        else:
            with pytest.raises(SettingsError) as caught:
                await check(database, chosen)
            assert str(caught.value) == problem


async def test_worker_with_a_readable_account_or_webhook_starts(database: Database) -> None:
    workspace, _ = await add_secrets(database)
    readable = await add_bluesky_account(database, workspace)
    await add_credentials(database, workspace, readable, cipher=OTHER_CIPHER)
    await add_webhook(database, workspace, cipher=OTHER_CIPHER)

    await require_readable_accounts(database, settings(SECRETS_KEY=OTHER_KEY), NOW)
    await require_readable_webhooks(database, settings(SECRETS_KEY=OTHER_KEY))


async def add_sandbox_account(
    database: Database, workspace: WorkspaceId, **values: Any
) -> AccountId:
    return await add_account(
        database, workspace, publisher=AccountPublisher.SANDBOX, platform="sandbox", **values
    )


async def test_worker_starts_for_an_account_that_needs_no_credentials(database: Database) -> None:
    workspace, _ = await add_secrets(database)
    sandbox = await add_sandbox_account(database, workspace)
    await require_readable_accounts(database, settings(), NOW)

    await add_credentials(database, workspace, sandbox, platform="sandbox")

    with pytest.raises(SettingsError, match="the credentials of 2 accounts"):
        await require_readable_accounts(database, settings(), NOW)


async def test_worker_does_not_start_for_sandbox_accounts_on_which_it_publishes_nothing(
    database: Database,
) -> None:
    workspace, _ = await add_secrets(database)
    await add_sandbox_account(database, workspace, is_active=False)
    await add_sandbox_account(database, workspace, needs_reconnection_since=NOW)
    await add_sandbox_account(database, workspace, token_expires_at=NOW)
    demo = await add_workspace(database, id=DEMO_WORKSPACE_ID)
    mirror = await add_workspace(database, mirror_of="https://source.example")
    for each in (demo, mirror):
        await add_sandbox_account(database, each)

    with pytest.raises(SettingsError) as caught:
        await require_readable_accounts(database, settings(), NOW)
    assert str(caught.value) == NOT_SET

    await require_readable_accounts(database, settings(), NOW - TICK)


async def test_worker_without_stored_secrets_starts_unless_it_only_delivers_webhooks(
    database: Database,
) -> None:
    await require_readable_accounts(database, settings(), NOW)
    await require_readable_webhooks(database, settings(SECRETS_KEY=KEY))

    with pytest.raises(SettingsError) as caught:
        await require_readable_webhooks(database, settings())
    assert str(caught.value) == (
        "SECRETS_KEY is not set, so a worker that only delivers webhooks has nothing to do."
    )


@pytest.mark.parametrize(("variables", "problem"), HPKE_WARNINGS[:-1])
async def test_worker_needs_the_key_of_credentials_in_the_hpke_format(
    database: Database, variables: dict[str, str], problem: str
) -> None:
    await add_hpke_rows(database, await add_workspace(database))

    with pytest.raises(SettingsError) as caught:
        await require_readable_accounts(database, settings(**variables), NOW)
    assert str(caught.value) == problem
    await require_readable_accounts(
        database,
        settings(SECRETS_KEY=KEY, CREDENTIALS_KEY=f"{OTHER_HPKE_KEY},{HPKE_KEY}"),
        NOW,
    )


async def metric_values(client: Client) -> dict[str, float]:
    page = (await client.get("/metrics")).text
    found = re.findall(r"^post_results_unreadable_(\w+) (.*)$", page, re.MULTILINE)
    return {name: float(value) for name, value in found}


@pytest.mark.parametrize(
    ("variables", "body", "webhooks"),
    [
        ({}, {"status": "ready", "warnings": [NOT_SET]}, 2),
        ({"SECRETS_KEY": OTHER_KEY}, {"status": "ready", "warnings": [LACKS]}, 2),
        ({"SECRETS_KEY": KEY}, {"status": "ready"}, 0),
    ],
)
async def test_server_stays_ready_and_names_missing_keys(
    database: Database, variables: dict[str, str], body: dict[str, Any], webhooks: int
) -> None:
    await add_secrets(database)
    async with app_client(database, settings=settings(**variables)) as client:
        response = await client.get("/readyz")
        metrics = await metric_values(client)

    assert (response.status_code, response.json()) == (200, body)
    assert metrics == {"webhooks": webhooks, "accounts": 0, "checkpoints": 0}


@pytest.mark.parametrize(
    ("worker", "seen_before", "set_before", "is_named"),
    [
        (CIPHER, SECOND, MINUTE, False),
        (CIPHER, MINUTE, MINUTE, True),
        (OTHER_CIPHER, SECOND, MINUTE, True),
        (OTHER_CIPHER, SECOND, MINUTE - SECOND, False),
        (None, SECOND, MINUTE, True),
        (SecretCipher([OTHER_KEY, KEY]), SECOND, MINUTE, False),
    ],
)
async def test_account_whose_key_no_running_worker_has_shows_it_after_a_minute(
    database: Database,
    worker: SecretCipher | None,
    seen_before: timedelta,
    set_before: timedelta,
    is_named: bool,
) -> None:
    workspace = await add_workspace(database)
    account = await add_bluesky_account(database, workspace)
    await add_credentials(database, workspace, account, set_at=NOW - set_before)
    if worker is not None:
        await record_keys(database, worker, NOW - seen_before)
        await record_keys(database, worker, NOW - seen_before)
        times = await worker_key_times(database.all_workspaces)
        assert times == dict.fromkeys(worker.key_ids, NOW - seen_before)
    key = await add_api_key(database, workspace)
    chosen = settings(SECRETS_KEY=KEY)
    async with app_client(database, token=key.token, settings=chosen) as client:
        data = await client.query("{ account(accountId: 1) { credentialsError } }")
        metrics = await metric_values(client)

    assert data == {"account": {"credentialsError": NO_WORKER if is_named else None}}
    assert metrics == {"webhooks": 0, "accounts": int(is_named), "checkpoints": 0}


@pytest.mark.parametrize(
    ("state", "cipher", "saved_before", "is_named"),
    [
        (waiting_for_retry(), OTHER_CIPHER, MINUTE, True),
        (unknown(), OTHER_CIPHER, MINUTE, True),
        (waiting_for_retry(), OTHER_CIPHER, MINUTE - TICK, False),
        (waiting_for_retry(), CIPHER, MINUTE, False),
        (published(), OTHER_CIPHER, MINUTE, False),
    ],
)
async def test_account_shows_posts_whose_checkpoint_no_running_worker_can_read(
    database: Database,
    state: DestinationState,
    cipher: SecretCipher,
    saved_before: timedelta,
    is_named: bool,
) -> None:
    workspace = await add_workspace(database)
    accounts = [await add_bluesky_account(database, workspace) for _ in range(2)]
    for account in accounts:
        await add_credentials(database, workspace, account)
    post = await add_post(database, workspace, {accounts[0]: state})
    await add_checkpoint(
        database,
        workspace,
        post.destinations[0],
        {"n": 1},
        cipher=cipher,
        saved_at=NOW - saved_before,
    )
    await record_keys(database, CIPHER, NOW)
    await record_keys(database, OTHER_CIPHER, NOW - MINUTE)
    key = await add_api_key(database, workspace)
    async with app_client(database, token=key.token) as client:
        data = await client.query("{ accounts { credentialsError } }")
        metrics = await metric_values(client)

    errors = [each["credentialsError"] for each in data["accounts"]]
    assert sorted(filter(None, errors)) == [NO_WORKER_WITH_CHECKPOINT_KEY] * is_named
    assert metrics == {"webhooks": 0, "accounts": 0, "checkpoints": int(is_named)}


@pytest.mark.parametrize("set_before", [MINUTE - TICK, MINUTE, MINUTE + TICK])
@pytest.mark.parametrize("seen_before", [None, MINUTE - TICK, MINUTE, MINUTE + TICK])
async def test_rule_of_accounts_without_worker_is_the_same_in_python_and_sql(
    database: Database, set_before: timedelta, seen_before: timedelta | None
) -> None:
    workspace = await add_workspace(database)
    account = await add_bluesky_account(database, workspace)
    await add_credentials(database, workspace, account, set_at=NOW - set_before)
    seen_at = None if seen_before is None else NOW - seen_before
    if seen_at is not None:
        await record_keys(database, CIPHER, seen_at)

    count = await count_accounts_without_worker(database.all_workspaces, NOW - KEY_GRACE)

    is_expected = set_before >= MINUTE and (seen_before is None or seen_before >= MINUTE)
    assert is_unreadable_by_workers(NOW - set_before, seen_at, NOW) is is_expected
    assert count == is_expected


async def test_keys_of_workers_are_read_once_for_many_accounts(database: Database) -> None:
    workspace = await add_workspace(database)
    for _ in range(3):
        account = await add_bluesky_account(database, workspace)
        await add_credentials(database, workspace, account, set_at=NOW - MINUTE)
    key = await add_api_key(database, workspace)
    async with app_client(database, token=key.token) as client:
        data = await client.query("{ accounts { credentialsError } }")

    assert data == {"accounts": [{"credentialsError": NO_WORKER}] * 3}


@pytest.fixture
async def webhook_tenant(database: Database) -> Any:
    async with open_webhook_tenant(database) as tenant:
        yield tenant


async def test_webhook_shows_that_its_secret_cannot_be_decrypted(webhook_tenant: Tenant) -> None:
    workspace = webhook_tenant.workspace
    await add_webhook(webhook_tenant.database, workspace, created_at=NOW)
    await add_webhook(
        webhook_tenant.database, workspace, cipher=OTHER_CIPHER, created_at=NOW + SECOND
    )

    data = await webhook_tenant.client.query("{ webhooks { secretError } }")

    assert data == {"webhooks": [{"secretError": None}, {"secretError": SECRET_ERROR}]}


async def test_secrets_of_both_formats_survive_a_backup(
    database: Database, empty_database_url: str, tmp_path: Path
) -> None:
    workspace, _ = await add_secrets(database)
    await add_hpke_rows(database, workspace)
    file = tmp_path / "backup.db"

    await backup(database, file, now=NOW, random_bytes=bytes)
    async with Database(empty_database_url) as restored:
        await restore(file, restored, now=NOW, random_bytes=bytes)
        assert await all_rows(restored) == await all_rows(database)
        cipher = load_cipher(settings(SECRETS_KEY=KEY, CREDENTIALS_KEY=HPKE_KEY))
        assert await find_unreadable(restored, cipher, NOW) == []
