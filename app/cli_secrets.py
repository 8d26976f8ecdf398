"""The commands `post-results secrets`, which manage the keys of stored secrets."""

from collections.abc import Sequence

import click

from app.asgi import now_utc
from app.cli_database import CommandError, load_settings, run_on_current_schema
from app.db.core.database import Database
from app.services.missing_keys import SecretCounts, count_secrets
from app.services.secret_cipher import SecretCipher, load_cipher, new_secrets_key
from app.services.stored_secrets import (
    UnreadableSecret,
    count_secrets_of_other_keys,
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
    """Report which stored secrets no key decrypts, how many need an older key, and what is deprecated.

    Exits with 1 if there are any that no key decrypts.
    """
    settings = load_settings()
    cipher = load_cipher(settings)
    unreadable, other_key_count, counts = run_on_current_schema(
        lambda database: _check(database, cipher)
    )
    _print_unreadable(unreadable)
    if not unreadable:
        click.echo("All stored secrets can be decrypted.")
    _print_other_key_count(other_key_count)
    if problem := counts.hpke_settings_problem(settings):
        click.echo(problem)
    _raise_problems([_unreadable_problem(unreadable)])


async def _check(
    database: Database, cipher: SecretCipher
) -> tuple[Sequence[UnreadableSecret], int, SecretCounts]:
    now = now_utc()
    return (
        await find_unreadable(database, cipher, now),
        await count_secrets_of_other_keys(database, cipher, now),
        await count_secrets(database, cipher),
    )


@secrets_group.command("rotate")
@click.option(
    "--discard-unreadable",
    is_flag=True,
    help="Delete credentials that no key decrypts; their accounts need to be connected again.",
)
def secrets_rotate(discard_unreadable: bool) -> None:
    """Encrypt all stored secrets with the first key of SECRETS_KEY, so that the others can be removed.

    With CREDENTIALS_KEY, also encrypts what has the HPKE format of this deprecated setting. Names what no
    key decrypts, and exits with 1 if there is anything, or if processes store secrets with another key.
    """
    cipher = load_cipher(load_settings())
    discarded = None
    if discard_unreadable:
        discarded = run_on_current_schema(
            lambda database: discard_unreadable_credentials(database, cipher, now_utc())
        )
    rotation = run_on_current_schema(lambda database: rotate_secrets(database, cipher, now_utc()))
    click.echo(f"Encrypted with the first key: {rotation.count}")
    _print_other_key_count(rotation.other_key_count)
    if discarded is not None:
        click.echo(f"Accounts whose credentials were deleted: {discarded}")
    _print_unreadable(rotation.unreadable)
    _raise_problems(
        [
            None if rotation.is_complete else _OTHER_KEY_IN_USE,
            _unreadable_problem(rotation.unreadable),
        ]
    )


_OTHER_KEY_IN_USE = (
    "Running processes store secrets with another key than the first. Restart all servers and workers with"
    " this SECRETS_KEY, then run `post-results secrets rotate` again. Do not remove a key before that."
)


def _print_other_key_count(count: int) -> None:
    click.echo(f"Not encrypted with the first key: {count}")


def _print_unreadable(unreadable: Sequence[UnreadableSecret]) -> None:
    for secret in unreadable:
        click.echo(f"{secret.workspace_name}  {secret.subject}  {secret.problem}")


def _unreadable_problem(unreadable: Sequence[UnreadableSecret]) -> str | None:
    if not unreadable:
        return None
    return (
        f"{len(unreadable)} of the stored secrets cannot be decrypted. Add the key with which they were"
        " encrypted, or rotate the secrets of these webhooks with rotateWebhookSecret, and set these"
        " credentials again with setAccountCredentials. Checkpoints of destinations can be read only with"
        " their key. Without it, settle unknown outcomes with reconcileDestination; other checkpoints are"
        " deleted within a week."
    )


def _raise_problems(problems: Sequence[str | None]) -> None:
    """Raise CommandError with the problems, if there are any."""
    if text := " ".join(filter(None, problems)):
        raise CommandError(text)
