"""The commands `post-results accounts`, which connect accounts without a program of one's own."""

import asyncio
import os
import secrets
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from typing import TextIO, TypeVar

import click

from app.asgi import now_utc
from app.cli_database import CommandError, get_workspace, load_settings, run_on_current_schema
from app.db.core.database import Database
from app.db.repositories.workspaces import WorkspaceRef
from app.domain.account_commands import NewAccount
from app.domain.accounts import AccountPublisher
from app.domain.credentials import REFERENCE, parse_credentials
from app.domain.ids import AccountId, WorkspaceKind
from app.domain.webhooks.signatures import make_secret
from app.outbound.client import OutboundClient
from app.platforms import make_adapters
from app.platforms.mastodon.oauth import register_app, request_credentials
from app.platforms.protocol import AccountIdentity, CredentialValues, NotPublished
from app.services.accounts import connect_account, verify_new_account
from app.services.credential_files import CredentialFiles
from app.services.credentials import CredentialsToSet, CredentialVerifier, prepare_credentials
from app.services.secret_cipher import SecretCipher, load_cipher
from app.services.unit_of_work import WriteContext
from app.services.workspaces import load_signing_key
from app.settings import Settings

T = TypeVar("T")

Command = Callable[..., None]


@click.group()
def accounts() -> None:
    """Connect accounts on which a worker of this server publishes."""


@accounts.group()
def connect() -> None:
    """Connect an account, or connect it again, after its platform has accepted the credentials.

    Secrets are asked for, unless an option or a variable of the environment has them.
    """


def _common_options(command: Command) -> Command:
    """Add the options of all platforms."""
    for option in (
        click.option(
            "--ref",
            "reference",
            metavar="file:NAME",
            help="File below CREDENTIALS_DIR that has the credentials, and which workers read.",
        ),
        click.option("--name", "account_name", help="Name of the account in the workspace."),
        click.option("--workspace", required=True, metavar="NAME", help="The workspace's name."),
    ):
        command = option(command)
    return command


@connect.command("bluesky")
@_common_options
@click.option("--identifier", help="Handle, DID or email address.")
@click.option(
    "--app-password-file",
    type=click.File(),
    help="File with an app password of Bluesky's settings; `-` is standard input. Default:"
    " BLUESKY_APP_PASSWORD, or else it is asked for.",
)
@click.option("--service", metavar="URL", help="Server of the login; default: https://bsky.social.")
def connect_bluesky(
    workspace: str,
    account_name: str | None,
    reference: str | None,
    identifier: str | None,
    app_password_file: TextIO | None,
    service: str | None,
) -> None:
    """Connect an account of Bluesky, or of another server of the AT Protocol."""
    target = _open_target(workspace)
    if reference is None:
        values: dict[str, object] = {
            "identifier": identifier or click.prompt("Handle"),
            "appPassword": _read_secret(
                app_password_file, "BLUESKY_APP_PASSWORD", "App password (Settings > App passwords)"
            ),
        }
        if service is not None:
            values["service"] = service
    else:
        values = _reference_values(reference, identifier, app_password_file, service)
    target.connect(_new_account(AccountPublisher.BLUESKY, account_name), values)


@connect.command("mastodon")
@_common_options
@click.option("--instance", metavar="URL", help="Server of the account.")
@click.option(
    "--access-token-file",
    type=click.File(),
    help="File with an access token; `-` is standard input. Default: MASTODON_ACCESS_TOKEN, or else a page"
    " of the server shows a code, which is asked for.",
)
def connect_mastodon(
    workspace: str,
    account_name: str | None,
    reference: str | None,
    instance: str | None,
    access_token_file: TextIO | None,
) -> None:
    """Connect an account of a server with the API of Mastodon."""
    target = _open_target(workspace)
    values: CredentialValues
    if reference is None:
        instance = _with_scheme(instance or click.prompt("Server, such as https://mastodon.social"))
        token = _find_secret(access_token_file, "MASTODON_ACCESS_TOKEN")
        values = (
            _authorize_on_mastodon(target.settings, instance)
            if token is None
            else {"instance": instance, "accessToken": token}
        )
    else:
        values = _reference_values(reference, instance, access_token_file)
    target.connect(_new_account(AccountPublisher.MASTODON, account_name), values)


@connect.command("webhook")
@_common_options
@click.option("--platform", prompt=True, help="Platform on which your publisher publishes.")
@click.option(
    "--platform-user-id", help="Id of the account; it finds the account to connect again."
)
@click.option("--url", help="URL of your publisher.")
@click.option("--lookup-url", metavar="URL", help="URL that says whether a post is published.")
@click.option(
    "--secret-file",
    type=click.File(),
    help="File with the signing secret; `-` is standard input. Default: WEBHOOK_SECRET, or else a new"
    " secret is shown.",
)
def connect_webhook(
    workspace: str,
    account_name: str | None,
    reference: str | None,
    platform: str,
    platform_user_id: str | None,
    url: str | None,
    lookup_url: str | None,
    secret_file: TextIO | None,
) -> None:
    """Connect an account whose posts a program of yours publishes."""
    target = _open_target(workspace)
    new_secret = None
    values: dict[str, object]
    if reference is None:
        secret = _find_secret(secret_file, "WEBHOOK_SECRET")
        if secret is None:
            secret = new_secret = make_secret(secrets.token_bytes)
        values = {"url": url or click.prompt("URL"), "secret": secret}
        if lookup_url is not None:
            values["lookupUrl"] = lookup_url
    else:
        values = _reference_values(reference, url, lookup_url, secret_file)
    target.connect(
        _new_account(AccountPublisher.WEBHOOK, account_name, platform, platform_user_id), values
    )
    if new_secret is not None:
        click.echo(f"The secret of your publisher, which is not shown again: {new_secret}")


@dataclass(frozen=True, slots=True)
class _Target:
    """Workspace in which an account is connected."""

    settings: Settings
    workspace: WorkspaceRef
    cipher: SecretCipher

    def connect(self, new_account: NewAccount, values: Mapping[str, object]) -> None:
        """Verify the credentials, print their account, store them, and print the account's number."""
        credentials = parse_credentials(values)

        async def work(database: Database) -> AccountId:
            signing_key = await load_signing_key(self.settings, database)
            to_set = prepare_credentials(credentials, self.cipher, signing_key)
            verified = await self._verify(new_account, to_set)
            if verified.identity is not None:
                _print_identity(verified.identity)
            return await connect_account(
                database,
                WriteContext.without_actor(self.workspace.id, "connectAccount", now_utc()),
                new_account,
                None,
                credentials=verified,
            )

        account_id = run_on_current_schema(work)
        click.echo(f"The account is connected, with the number {account_id}.")

    async def _verify(self, new_account: NewAccount, to_set: CredentialsToSet) -> CredentialsToSet:
        async with OutboundClient(self.settings.outbound_rules()) as client:
            adapters = make_adapters(
                sandbox_file=None, client=client, now=now_utc, sleep=asyncio.sleep
            )
            files = CredentialFiles(self.settings.credentials_dir)
            verifier = CredentialVerifier(adapters, files, exchange_code=None)
            return await verify_new_account(verifier, self.workspace.id, new_account, to_set)


def _open_target(workspace_name: str) -> _Target:
    """Check that credentials can be stored, before any are asked for; raises CommandError if not."""
    settings = load_settings()
    cipher = load_cipher(settings)
    if cipher.key_id is None:
        raise CommandError(
            "Credentials cannot be stored, because SECRETS_KEY is not set. Create a key with"
            " `post-results secrets new-key`."
        )
    workspace = run_on_current_schema(lambda database: get_workspace(database, workspace_name))
    if workspace.kind is WorkspaceKind.MIRROR:
        raise CommandError(
            f"The workspace {workspace_name} mirrors another service, and cannot be changed here."
        )
    return _Target(settings, workspace, cipher)


def _new_account(
    publisher: AccountPublisher,
    account_name: str | None,
    platform: str | None = None,
    platform_user_id: str | None = None,
) -> NewAccount:
    return NewAccount(
        platform=platform or str(publisher.platform),
        account_name=account_name,
        display_name=None,
        platform_user_id=platform_user_id,
        platform_username=None,
        avatar_url=None,
        token_expires_at=None,
        publisher=publisher,
        on_lost_access=None,
    )


def _reference_values(reference: str, *others: object) -> dict[str, object]:
    """Return the reference to a file; raises UsageError if other options have credentials too."""
    if any(value is not None for value in others):
        raise click.UsageError(
            "--ref names a file that has all credentials. Leave out the other options for credentials."
        )
    return {REFERENCE: reference}


def _authorize_on_mastodon(settings: Settings, instance: str) -> CredentialValues:
    """Register an application, and let the person authorize it in a browser."""
    app = _run_with_client(settings, lambda client: register_app(client, instance, now_utc()))
    click.echo(f"Open this page, sign in, and authorize the application:\n{app.authorization_url}")
    code = click.prompt("Code that the page shows").strip()
    return _run_with_client(
        settings, lambda client: request_credentials(client, app, code, now_utc())
    )


def _run_with_client(
    settings: Settings, call: Callable[[OutboundClient], Coroutine[None, None, T]]
) -> T:
    async def run() -> T:
        async with OutboundClient(settings.outbound_rules()) as client:
            return await call(client)

    try:
        return asyncio.run(run())
    except NotPublished as error:
        raise CommandError(error.message) from error


def _with_scheme(instance: str) -> str:
    return instance if "://" in instance else f"https://{instance}"


def _read_secret(file: TextIO | None, variable: str, prompt: str) -> str:
    """Return a secret of a file or of the environment; ask for it without both."""
    secret = _find_secret(file, variable)
    return click.prompt(prompt, hide_input=True).strip() if secret is None else secret


def _find_secret(file: TextIO | None, variable: str) -> str | None:
    """Return a secret of a file or of the environment; None without both."""
    secret = (os.environ.get(variable, "") if file is None else file.read()).strip()
    if file is not None and not secret:
        raise CommandError(f"The file {file.name} with the secret is empty.")
    return secret or None


def _print_identity(identity: AccountIdentity) -> None:
    names = (identity.display_name, identity.username, identity.platform_user_id)
    for line in filter(None, (" · ".join(filter(None, names)), identity.profile_url)):
        click.echo(line)
