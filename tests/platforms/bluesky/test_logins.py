"""Logins at a real PDS: after a change of the handle, of inactive accounts, and with the main password."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import pytest

from app.outbound.client import OutboundClient
from app.platforms.bluesky.adapter import Bluesky
from app.platforms.media import Media
from app.platforms.protocol import NotPublished, PublishRequest
from tests.outbound.local_servers import LOCAL_RULES, resolving
from tests.platform_servers.pds import MAIN_PASSWORD, PdsAccount, PdsServer
from tests.platforms.publish_requests import MemoryCredentials

pytestmark = pytest.mark.slow


@asynccontextmanager
async def running_adapter() -> AsyncIterator[Bluesky]:
    async def fetch_media(request: PublishRequest) -> Sequence[Media]:
        return []

    async with OutboundClient(LOCAL_RULES, resolve=resolving("127.0.0.1")) as client:
        yield Bluesky(client=client, now=lambda: datetime.now(UTC), fetch_media=fetch_media)


def credentials_of(
    account: PdsAccount, pds: PdsServer, *, identifier: str | None = None, password: str = ""
) -> MemoryCredentials:
    values = {
        "identifier": identifier or account.handle,
        "appPassword": password or account.app_password,
        "service": pds.url,
    }
    return MemoryCredentials(values)


async def login_error(credentials: MemoryCredentials) -> tuple[str, str]:
    """Return the code and message of the error that a verification must raise."""
    async with running_adapter() as bluesky:
        with pytest.raises(NotPublished) as caught:
            await bluesky.verify_credentials(credentials)
    return caught.value.code, caught.value.message


async def test_changed_handle_does_not_prevent_a_login_of_a_known_account(pds: PdsServer) -> None:
    account = await pds.create_account()
    renamed = {"handle": f"renamed-{account.handle}"}
    response = await pds.call("com.atproto.identity.updateHandle", renamed, account.authorization)
    response.raise_for_status()
    credentials = credentials_of(account, pds)

    assert (await login_error(credentials))[0] == "AuthenticationRequired"
    credentials.platform_user_id = account.did
    async with running_adapter() as bluesky:
        identity = await bluesky.verify_credentials(credentials)

    assert (identity.platform_user_id, identity.username) == (account.did, renamed["handle"])


async def test_copied_handle_is_accepted(pds: PdsServer) -> None:
    account = await pds.create_account()
    async with running_adapter() as bluesky:
        identity = await bluesky.verify_credentials(
            credentials_of(account, pds, identifier=f" @{account.handle} ")
        )

    assert identity.platform_user_id == account.did


@pytest.mark.parametrize("has_did", [True, False])
async def test_account_that_was_taken_down_is_named(pds: PdsServer, *, has_did: bool) -> None:
    account = await pds.create_account()
    await pds.take_down(account)
    credentials = credentials_of(account, pds)
    credentials.platform_user_id = account.did if has_did else None

    assert await login_error(credentials) == (
        "RepoTakendown",
        "The account has been taken down. Ask the moderators of its server.",
    )


async def test_deactivated_account_is_named(pds: PdsServer) -> None:
    account = await pds.create_account()
    response = await pds.call("com.atproto.server.deactivateAccount", {}, account.authorization)
    response.raise_for_status()

    code, message = await login_error(credentials_of(account, pds))

    assert code == "ACCOUNT_DEACTIVATED"
    assert message.startswith("The account is deactivated. Activate it, and connect it again.")


async def test_main_password_is_named(pds: PdsServer) -> None:
    account = await pds.create_account()

    code, message = await login_error(credentials_of(account, pds, password=MAIN_PASSWORD))

    assert code == "MAIN_PASSWORD"
    assert message.startswith("This is the main password of the account")
