"""The commands `post-results secrets` and `post-results credentials`, which manage keys of stored data."""

from collections.abc import Sequence

import click

from app.asgi import now_utc
from app.cli_database import CommandError, load_settings, run_on_current_schema
from app.services.credential_keys import CredentialKeys, new_private_key
from app.services.secret_cipher import SecretCipher, new_secrets_key
from app.services.stored_credentials import UnreadableRow, find_unreadable_rows, reseal
from app.services.stored_secrets import UnreadableSecret, find_unreadable, reencrypt_secrets


@click.group("secrets")
def secrets_group() -> None:
    """Create and change the keys of SECRETS_KEY, which encrypt stored secrets."""


@secrets_group.command("new-key")
def secrets_new_key() -> None:
    """Print a new key."""
    click.echo(new_secrets_key())


@secrets_group.command("check")
def secrets_check() -> None:
    """Report which stored secrets SECRETS_KEY does not decrypt; exit with 1 if there are any."""
    cipher = SecretCipher(load_settings().secrets_key)
    _report_unreadable(
        run_on_current_schema(lambda database: find_unreadable(database, cipher, now_utc()))
    )
    click.echo("SECRETS_KEY decrypts all stored secrets.")


@secrets_group.command("rotate")
def secrets_rotate() -> None:
    """Encrypt all stored secrets with the first key of SECRETS_KEY, so that the others can be removed.

    Names each webhook whose secret no key decrypts, and exits with 1 if there are any.
    """
    cipher = SecretCipher(load_settings().secrets_key)
    result = run_on_current_schema(lambda database: reencrypt_secrets(database, cipher, now_utc()))
    click.echo(f"Webhooks whose secrets the first key encrypts: {result.count}")
    _report_unreadable(result.unreadable)


def _report_unreadable(unreadable: Sequence[UnreadableSecret]) -> None:
    """Print the webhooks with their problems; raise CommandError if there are any."""
    for secret in unreadable:
        name = secret.webhook_name or "—"
        click.echo(f"{secret.webhook_id}  {secret.workspace_name}  {name}  {secret.problem}")
    if unreadable:
        raise CommandError(
            f"SECRETS_KEY does not decrypt {len(unreadable)} of the stored secrets. Add the key with which"
            " they were encrypted to SECRETS_KEY, or rotate the secrets of these webhooks with"
            " rotateWebhookSecret."
        )


@click.group("credentials")
def credentials_group() -> None:
    """Create and change the keys that encrypt the credentials of accounts."""


@credentials_group.command("new-key")
def credentials_new_key() -> None:
    """Print a new private key, for workers, and its public key, for servers."""
    private_key = new_private_key()
    public_key = CredentialKeys([private_key]).current
    assert public_key is not None  # noqa: S101 - of the only key
    click.echo(f"CREDENTIALS_KEY={private_key}\nCREDENTIALS_SEAL={public_key.text}")


@credentials_group.command("check")
def credentials_check() -> None:
    """Report the credentials and checkpoints that CREDENTIALS_KEY does not open; exit with 1 if any."""
    keys = CredentialKeys(load_settings().credentials_key)
    _report_unreadable_rows(
        run_on_current_schema(lambda database: find_unreadable_rows(database, keys))
    )
    click.echo("CREDENTIALS_KEY opens all stored credentials and checkpoints.")


@credentials_group.command("rotate")
@click.option(
    "--discard-unreadable",
    is_flag=True,
    help="Delete credentials that no key opens; their accounts need to be connected again.",
)
def credentials_rotate(discard_unreadable: bool) -> None:
    """Encrypt everything with the first key of CREDENTIALS_KEY, so that the others can be removed.

    Names what no key opens, and exits with 1 if there is anything.
    """
    keys = CredentialKeys(load_settings().credentials_key)
    result = run_on_current_schema(
        lambda database: reseal(database, keys, now_utc(), discards_unreadable=discard_unreadable)
    )
    click.echo(f"Encrypted with the first key: {result.count}")
    if discard_unreadable:
        click.echo(f"Accounts whose credentials were deleted: {result.discarded}")
    _report_unreadable_rows(result.unreadable)


def _report_unreadable_rows(unreadable: Sequence[UnreadableRow]) -> None:
    """Print the accounts and destinations with their problems; raise CommandError if there are any."""
    for each in unreadable:
        click.echo(f"{each.row.workspace_name}  {each.subject}  {each.problem}")
    if unreadable:
        raise CommandError(
            f"CREDENTIALS_KEY does not open {len(unreadable)} of the stored credentials and checkpoints. Add"
            " the key with which they were encrypted, or set the credentials again with"
            " setAccountCredentials."
        )
