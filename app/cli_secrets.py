"""The commands `post-results secrets`, which manage the keys of stored secrets."""

from collections.abc import Sequence

import click

from app.asgi import now_utc
from app.cli_database import CommandError, load_settings, run_on_current_schema
from app.services.missing_keys import count_secrets
from app.services.secret_cipher import load_cipher, new_secrets_key
from app.services.stored_secrets import (
    UnreadableSecret,
    discard_unreadable_credentials,
    find_unreadable,
    rotate_secrets,
)


@click.group("secrets")
def secrets_group() -> None:
    """Create and change the keys of SECRETS_KEY, which encrypt stored secrets."""


@secrets_group.command("new-key")
def secrets_new_key() -> None:
    """Print a new key."""
    click.echo(new_secrets_key())


@secrets_group.command("check")
def secrets_check() -> None:
    """Report which stored secrets no key decrypts, and which the next version cannot read.

    Exits with 1 if there are any that no key decrypts.
    """
    settings = load_settings()
    cipher = load_cipher(settings)
    _report_unreadable(
        run_on_current_schema(lambda database: find_unreadable(database, cipher, now_utc()))
    )
    click.echo("All stored secrets can be decrypted.")
    counts = run_on_current_schema(lambda database: count_secrets(database, cipher))
    if problem := counts.hpke_settings_problem(settings):
        click.echo(problem)


@secrets_group.command("rotate")
@click.option(
    "--discard-unreadable",
    is_flag=True,
    help="Delete credentials that no key decrypts; their accounts need to be connected again.",
)
def secrets_rotate(discard_unreadable: bool) -> None:
    """Encrypt all stored secrets with the first key of SECRETS_KEY, so that the others can be removed.

    With CREDENTIALS_KEY, also encrypts what has the HPKE format of this deprecated setting. Names what no
    key decrypts, and exits with 1 if there is anything.
    """
    cipher = load_cipher(load_settings())
    discarded = None
    if discard_unreadable:
        discarded = run_on_current_schema(
            lambda database: discard_unreadable_credentials(database, cipher, now_utc())
        )
    rotation = run_on_current_schema(lambda database: rotate_secrets(database, cipher, now_utc()))
    click.echo(f"Encrypted with the first key: {rotation.count}")
    if discarded is not None:
        click.echo(f"Accounts whose credentials were deleted: {discarded}")
    _report_unreadable(rotation.unreadable)


def _report_unreadable(unreadable: Sequence[UnreadableSecret]) -> None:
    """Print the secrets with their problems; raise CommandError if there are any."""
    for secret in unreadable:
        click.echo(f"{secret.workspace_name}  {secret.subject}  {secret.problem}")
    if unreadable:
        raise CommandError(
            f"{len(unreadable)} of the stored secrets cannot be decrypted. Add the key with which they were"
            " encrypted, or rotate the secrets of these webhooks with rotateWebhookSecret, and set these"
            " credentials again with setAccountCredentials. Checkpoints can be read only with their key."
        )
