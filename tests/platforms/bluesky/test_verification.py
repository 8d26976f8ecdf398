"""Verification of Bluesky credentials against a scripted server: the account, its profile, and refusals."""

import pytest

from app.domain.destinations import ErrorCategory
from app.platforms.protocol import AccountIdentity, NotPublished, OutcomeUnknown
from tests.platforms.bluesky.scripted_pds import (
    CREATE_SESSION,
    DID,
    GET_RECORD,
    GET_SESSION,
    HTML_PAGE,
    Setup,
    bluesky_setup,
    error_response,
    json_response,
    login_credentials,
)

SESSION = json_response(200, {"did": DID, "handle": "alice.test", "active": True})
ALICE = AccountIdentity(
    platform_user_id=DID,
    username="alice.test",
    profile_url=f"https://bsky.app/profile/{DID}",
)


async def verify(setup: Setup) -> AccountIdentity:
    return await setup.bluesky.verify_credentials(setup.credentials)


async def verification_error(setup: Setup) -> NotPublished:
    with pytest.raises(NotPublished) as caught:
        await verify(setup)
    return caught.value


async def test_new_credentials_are_verified_by_a_login_whose_session_is_stored() -> None:
    async with bluesky_setup() as setup:
        setup.credentials.values = login_credentials(setup.pds.url)
        setup.pds.script(GET_SESSION, SESSION)

        assert await verify(setup) == ALICE

        assert setup.pds.methods == [CREATE_SESSION, GET_SESSION, GET_RECORD]
        session = setup.credentials.values["session"]
        assert isinstance(session, dict)
        assert session["refreshJwt"] == "refresh-2"


async def test_account_has_the_profile_of_its_server() -> None:
    async with bluesky_setup() as setup:
        setup.pds.script(GET_SESSION, SESSION)
        avatar = {"$type": "blob", "ref": {"$link": "bafkrei1"}, "mimeType": "image/png"}
        profile = {"value": {"displayName": "Alice", "avatar": avatar, "description": "…"}}
        setup.pds.script(GET_RECORD, json_response(200, profile))

        identity = await verify(setup)

        assert identity.display_name == "Alice"
        assert identity.avatar_url == (
            f"{setup.pds.url}/xrpc/com.atproto.sync.getBlob?did=did%3Aplc%3Aewvi7nxzyoun6zhxrhs64oiz"
            "&cid=bafkrei1"
        )
        (request,) = setup.pds.sent(GET_RECORD)
        assert request.parameters == {
            "repo": DID,
            "collection": "app.bsky.actor.profile",
            "rkey": "self",
        }


@pytest.mark.parametrize(
    "answer",
    [
        HTML_PAGE,
        error_response(502, "UpstreamFailure"),
        json_response(200, {"value": {"displayName": 7}}),
        json_response(200, {"value": []}),
        json_response(200, {}),
    ],
)
async def test_account_without_a_readable_profile_is_verified(answer: bytes) -> None:
    async with bluesky_setup() as setup:
        setup.pds.script(GET_SESSION, SESSION)
        setup.pds.script(GET_RECORD, answer)

        assert await verify(setup) == ALICE


async def test_wrong_app_password_is_refused() -> None:
    async with bluesky_setup() as setup:
        setup.credentials.values = login_credentials(setup.pds.url)
        setup.pds.script(CREATE_SESSION, error_response(401, "AuthenticationRequired"))

        error = await verification_error(setup)

        assert (error.category, error.message) == (
            ErrorCategory.AUTH,
            "The server does not accept the handle or the app password. Create an app password in Bluesky's"
            " settings, and connect the account again with it.",
        )


async def test_inactive_account_is_refused() -> None:
    async with bluesky_setup() as setup:
        inactive = {"did": DID, "handle": "alice.test", "active": False, "status": "deactivated"}
        setup.pds.script(GET_SESSION, json_response(200, inactive))

        error = await verification_error(setup)

        assert (error.category, error.code, error.message) == (
            ErrorCategory.AUTH,
            "ACCOUNT_INACTIVE",
            "The account is not active. Activate it, and connect it again.",
        )


async def test_server_without_a_login_is_a_temporary_failure() -> None:
    async with bluesky_setup() as setup:
        setup.credentials.values = login_credentials(setup.pds.url)
        setup.pds.script(CREATE_SESSION, HTML_PAGE)

        error = await verification_error(setup)

        assert (error.category, error.message) == (
            ErrorCategory.TRANSIENT,
            "The server answered 200 without a usable result. The login was not completed.",
        )


async def test_answer_without_the_account_leaves_it_unknown() -> None:
    async with bluesky_setup() as setup:
        setup.pds.script(GET_SESSION, json_response(200, {"active": True}))

        with pytest.raises(OutcomeUnknown, match="has no valid did"):
            await verify(setup)
