"""The commands `accounts connect` against scripted servers: prompts, files, variables and references."""

import asyncio
import os
import sys
from asyncio.subprocess import PIPE
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import orjson
import pytest
from click import UsageError
from click.testing import CliRunner, Result

from app.cli import cli
from app.db.core.database import Database
from app.db.repositories.accounts import load_accounts
from app.db.repositories.credentials import credentials_by_account_id
from app.domain.accounts import Account, AccountPublisher
from app.domain.ids import AccountId, WorkspaceId
from tests.credential_rows import KEY, stored_values
from tests.factories import add_account, add_workspace
from tests.platform_servers.mastodon import SnacServer
from tests.platform_servers.pds import PdsServer
from tests.platforms.bluesky.scripted_pds import (
    APP_PASSWORD,
    CREATE_SESSION,
    DID,
    GET_SESSION,
    ScriptedPds,
    error_response,
    json_response,
    login_credentials,
    running_pds,
)
from tests.platforms.mastodon.scripted_instance import ACCOUNT, TOKEN, response, running_adapter
from tests.platforms.mastodon.test_verification import ALICE, APPS, REGISTERED, TOKENS, form_of
from tests.servers import TIMEOUT_SECONDS

FIRST = AccountId(1)
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
CONNECTED = "The account is connected, with the number 1.\n"


class AccountCommands:
    """Runs `accounts connect` for the workspace acme, in a thread beside the scripted servers."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, database: Database) -> None:
        self.database = database
        self.workspace: WorkspaceId
        self.set_variable = monkeypatch.setenv
        self.delete_variable = monkeypatch.delenv

    async def run(self, *arguments: str, typed: str = "", workspace: str = "acme") -> Result:
        command = ["accounts", "connect", *arguments, "--workspace", workspace]
        return await asyncio.to_thread(CliRunner().invoke, cli, command, input=typed)

    async def output(self, *arguments: str, typed: str = "") -> str:
        """Output of a command that must succeed."""
        result = await self.run(*arguments, typed=typed)
        assert result.exception is None
        return result.output

    async def error(self, *arguments: str, typed: str = "", workspace: str = "acme") -> str:
        """Error of a command that must fail."""
        result = await self.run(*arguments, typed=typed, workspace=workspace)
        assert result.exception is not None
        return str(result.exception)

    async def account(self, account_id: AccountId = FIRST) -> Account:
        reader = self.database.reader(self.workspace)
        return (await load_accounts(reader, [account_id]))[account_id]

    async def values(self, *, platform: str) -> dict[str, Any]:
        return await stored_values(self.database, self.workspace, FIRST, platform=platform)

    async def is_verified(self) -> bool:
        reader = self.database.reader(self.workspace)
        (row,) = await credentials_by_account_id(reader, [FIRST])
        return bool(row.verified_at == row.set_at)


@pytest.fixture
async def commands(
    monkeypatch: pytest.MonkeyPatch, database: Database, database_url: str
) -> AccountCommands:
    """The command with a key, which may send requests to loopback."""
    commands = AccountCommands(monkeypatch, database)
    for name, value in {
        "DATABASE_URL": database_url,
        "SECRETS_KEY": KEY,
        "OUTBOUND_ALLOW_HTTP": "yes",
        "OUTBOUND_ALLOWED_NETWORKS": "127.0.0.0/8",
    }.items():
        commands.set_variable(name, value)
    commands.workspace = await add_workspace(database, name="acme")
    return commands


def script_alice(pds: ScriptedPds) -> None:
    pds.script(
        GET_SESSION, json_response(200, {"did": DID, "handle": "alice.test", "active": True})
    )


async def test_bluesky_account_is_connected_by_prompts(commands: AccountCommands) -> None:
    async with running_pds() as pds:
        script_alice(pds)
        output = await commands.output(
            "bluesky", "--service", pds.url, typed=f"alice.test\n{APP_PASSWORD}\n"
        )

    assert output == (
        "Handle: alice.test\n"
        "App password (Settings > App passwords): \n"
        f"alice.test · {DID}\nhttps://bsky.app/profile/{DID}\n{CONNECTED}"
    )
    account = await commands.account()
    assert (account.publisher, account.platform, account.platform_user_id) == (
        AccountPublisher.BLUESKY,
        "bluesky",
        DID,
    )
    assert (account.platform_username, account.account_name) == ("alice.test", None)
    values = await commands.values(platform="bluesky")
    assert values.pop("session")["did"] == DID
    assert values == login_credentials(pds.url)
    assert await commands.is_verified()


async def test_account_with_the_same_platform_user_is_connected_again(
    commands: AccountCommands, tmp_path: Path
) -> None:
    await add_account(
        commands.database,
        commands.workspace,
        platform="bluesky",
        platform_user_id=DID,
        account_name="acme",
        is_active=False,
    )
    file = tmp_path / "password"
    file.write_text(f"{APP_PASSWORD}\n")
    async with running_pds() as pds:
        script_alice(pds)
        options = ("--service", pds.url, "--identifier", "alice.test")
        output = await commands.output("bluesky", *options, "--app-password-file", str(file))

    assert output.endswith(CONNECTED)
    account = await commands.account()
    assert (account.is_active, account.account_name) == (True, "acme")
    assert account.publisher is AccountPublisher.BLUESKY


@pytest.mark.parametrize("source", ["variable", "standard input"])
async def test_app_password_is_read_without_a_prompt(
    commands: AccountCommands, source: str
) -> None:
    options, typed = ["--app-password-file", "-"], f"{APP_PASSWORD}\n"
    if source == "variable":
        commands.set_variable("BLUESKY_APP_PASSWORD", APP_PASSWORD)
        options, typed = [], ""
    async with running_pds() as pds:
        script_alice(pds)
        output = await commands.output(
            "bluesky",
            *("--service", pds.url, "--identifier", "alice.test", "--name", "Alice"),
            *options,
            typed=typed,
        )

    assert output.splitlines()[0] == f"alice.test · {DID}"
    assert (await commands.values(platform="bluesky"))["appPassword"] == APP_PASSWORD
    assert (await commands.account()).account_name == "Alice"


async def test_refused_app_password_connects_nothing(commands: AccountCommands) -> None:
    async with running_pds() as pds:
        pds.script(CREATE_SESSION, error_response(401, "AuthenticationRequired"))
        error = await commands.error(
            "bluesky", "--service", pds.url, typed=f"alice.test\n{APP_PASSWORD}\n"
        )

    assert error == (
        "The server does not accept the handle or the app password. Create an app password in Bluesky's"
        " settings, and connect the account again with it."
    )
    assert await load_accounts(commands.database.reader(commands.workspace), [FIRST]) == {}


async def test_credentials_of_a_file_are_verified_and_stay_there(
    commands: AccountCommands, tmp_path: Path
) -> None:
    folder = tmp_path / str(commands.workspace)
    folder.mkdir()
    commands.set_variable("CREDENTIALS_DIR", str(tmp_path))
    async with running_pds() as pds:
        script_alice(pds)
        (folder / "bluesky.json").write_bytes(orjson.dumps(login_credentials(pds.url)))
        output = await commands.output("bluesky", "--ref", "file:bluesky.json")

    assert output.endswith(CONNECTED)
    values = await commands.values(platform="bluesky")
    assert values["ref"] == "file:bluesky.json"
    assert values["values"]["session"]["did"] == DID


@pytest.mark.parametrize(
    "options",
    [
        ("bluesky", "--identifier", "alice.test"),
        ("mastodon", "--access-token-file", "-"),
        ("webhook", "--platform", "linkedin", "--lookup-url", "https://a.example/l"),
    ],
)
async def test_reference_refuses_other_options_for_credentials(
    commands: AccountCommands, options: tuple[str, ...]
) -> None:
    result = await commands.run(*options, "--ref", "file:account.json")

    assert result.exit_code == UsageError.exit_code
    assert "Leave out the other options for credentials." in " ".join(result.output.split())


async def test_mastodon_account_is_connected_by_a_code(commands: AccountCommands) -> None:
    token = response(200, {"access_token": TOKEN})
    script = {APPS: [REGISTERED], TOKENS: [token], ACCOUNT: [response(200, ALICE)]}
    async with running_adapter(script) as run:
        origin = run.url.removesuffix("/")
        output = await commands.output("mastodon", "--instance", run.url, typed=" code-1 \n")
        assert form_of(run, TOKENS)["code"] == "code-1"

    host = origin.removeprefix("http://")
    page, code, *rest = output.splitlines()[1:]
    assert page.startswith(f"{origin}/oauth/authorize?response_type=code&client_id=id-1&")
    assert code.startswith("Code that the page shows")
    assert rest == [
        f"Alice · alice@{host} · 109@{host}",
        "https://example.social/@alice",
        CONNECTED.strip(),
    ]
    assert (await commands.account()).avatar_url == "https://example.social/a.png"
    assert await commands.values(platform="mastodon") == {
        "instance": origin,
        "accessToken": TOKEN,
    }


async def test_mastodon_account_is_connected_by_a_token(commands: AccountCommands) -> None:
    commands.set_variable("MASTODON_ACCESS_TOKEN", TOKEN)
    async with running_adapter({ACCOUNT: [response(200, ALICE)]}) as run:
        output = await commands.output("mastodon", "--instance", run.url)

        assert output.endswith(CONNECTED)
        assert run.instance.targets == [ACCOUNT]


async def test_mastodon_account_that_is_stored_without_its_server_is_connected_again(
    commands: AccountCommands,
) -> None:
    await add_account(
        commands.database, commands.workspace, platform="mastodon", platform_user_id="109"
    )
    commands.set_variable("MASTODON_ACCESS_TOKEN", TOKEN)
    async with running_adapter({ACCOUNT: [response(200, ALICE)]}) as run:
        output = await commands.output("mastodon", "--instance", run.url)

    assert output.endswith(CONNECTED)
    assert (await commands.account()).platform_user_id == f"109@{urlsplit(run.url).netloc}"


async def test_refused_code_connects_nothing(commands: AccountCommands) -> None:
    script = {APPS: [REGISTERED], TOKENS: [response(400, {"error": "invalid_grant"})]}
    async with running_adapter(script) as run:
        error = await commands.error("mastodon", "--instance", run.url, typed="code-1\n")

    assert error == (
        "The server does not accept the code. Connect the account again, with a new code."
    )


async def test_instance_without_a_scheme_is_called_by_https(commands: AccountCommands) -> None:
    error = await commands.error("mastodon", "--instance", "127.0.0.1:1")

    assert error.startswith("127.0.0.1 ")


async def test_publisher_gets_a_new_secret_that_is_shown_once(commands: AccountCommands) -> None:
    output = await commands.output(
        "webhook", "--name", "Acme", typed="linkedin\nhttps://publisher.example/publish\n"
    )

    values = await commands.values(platform="linkedin")
    assert values == {"url": "https://publisher.example/publish", "secret": values["secret"]}
    assert values["secret"].startswith("whsec_")
    assert output == (
        "Platform: linkedin\n"
        "URL: https://publisher.example/publish\n"
        f"publisher.example\n{CONNECTED}"
        f"The secret of your publisher, which is not shown again: {values['secret']}\n"
    )
    account = await commands.account()
    assert (account.publisher, account.account_name) == (AccountPublisher.WEBHOOK, "Acme")


async def test_publisher_keeps_its_own_secret(commands: AccountCommands) -> None:
    commands.set_variable("WEBHOOK_SECRET", SECRET)
    options = ("--platform", "linkedin", "--platform-user-id", "u1", "--url", "https://a.example/p")

    for _ in range(2):
        output = await commands.output("webhook", *options, "--lookup-url", "https://a.example/l")
        assert output == f"a.example\n{CONNECTED}"

    assert await commands.values(platform="linkedin") == {
        "url": "https://a.example/p",
        "secret": SECRET,
        "lookupUrl": "https://a.example/l",
    }


async def test_nothing_is_asked_without_a_key(commands: AccountCommands) -> None:
    commands.delete_variable("SECRETS_KEY")

    for platform in ("bluesky", "mastodon"):
        assert await commands.error(platform) == (
            "Credentials cannot be stored, because SECRETS_KEY is not set. Create a key with"
            " `post-results secrets new-key`."
        )


async def test_nothing_is_asked_without_a_workspace(commands: AccountCommands) -> None:
    await add_workspace(commands.database, name="mirror", mirror_of="https://example.com")

    assert await commands.error("bluesky", workspace="other") == (
        "There is no workspace named other."
    )
    assert await commands.error("bluesky", workspace="mirror") == (
        "The workspace mirror mirrors another service, and cannot be changed here."
    )


@pytest.mark.slow
async def test_account_of_a_real_pds_is_connected(
    commands: AccountCommands, pds: PdsServer
) -> None:
    alice = await pds.create_account()
    commands.set_variable("BLUESKY_APP_PASSWORD", alice.app_password)
    options = ("--service", pds.url, "--identifier", alice.handle)

    output = await commands.output("bluesky", *options)

    assert output == (
        f"{alice.handle} · {alice.did}\nhttps://bsky.app/profile/{alice.did}\n{CONNECTED}"
    )
    profile = {"$type": "app.bsky.actor.profile", "displayName": "Alice of the test"}
    record = {"repo": alice.did, "collection": profile["$type"], "rkey": "self", "record": profile}
    await pds.call("com.atproto.repo.putRecord", record, alice.authorization)
    assert (await commands.output("bluesky", *options)).startswith("Alice of the test · ")
    assert (await commands.account()).display_name == "Alice of the test"


@pytest.mark.slow
async def test_wrong_app_password_is_refused_by_a_real_pds(
    commands: AccountCommands, pds: PdsServer
) -> None:
    alice = await pds.create_account()
    commands.set_variable("BLUESKY_APP_PASSWORD", "abcd-efgh-ijkl-mnop")

    error = await commands.error("bluesky", "--service", pds.url, "--identifier", alice.handle)

    assert error.startswith("The server does not accept the handle or the app password.")
    assert await load_accounts(commands.database.reader(commands.workspace), [FIRST]) == {}


@pytest.mark.slow
async def test_account_of_a_real_snac_is_connected_by_a_code(
    commands: AccountCommands, snac: SnacServer
) -> None:
    login = snac.create_login()
    command = ("-m", "app", "accounts", "connect", "mastodon", "--workspace", "acme")
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *command,
        *("--instance", snac.url),
        env=dict(os.environ),  # uvloop accepts only a dict
        stdin=PIPE,
        stdout=PIPE,
        stderr=PIPE,
    )
    assert process.stdout is not None
    async with asyncio.timeout(TIMEOUT_SECONDS):
        await process.stdout.readline()
        page = (await process.stdout.readline()).decode().strip()
        client_id = parse_qs(urlsplit(page).query)["client_id"][0]
        code = await snac.authorization_code(login, client_id)
        output, errors = await process.communicate(f"{code}\n".encode())

    assert (process.returncode, errors) == (0, b"")
    host = snac.url.removeprefix("http://")
    lines = output.decode().splitlines()
    assert f"{login.name}@{host}" in lines[0]
    assert lines[-1] == CONNECTED.strip()
    account = await commands.account()
    assert account.platform_username == f"{login.name}@{host}"
    assert str(account.platform_user_id).endswith(f"@{host}")
