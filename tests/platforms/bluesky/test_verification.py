"""Verification of Bluesky credentials against a scripted server: the account, its profile, and refusals."""

import pytest

from app.domain.destinations import ErrorCategory
from app.platforms.protocol import AccountIdentity, NotPublished, OutcomeUnknown
from tests.platforms.bluesky.scripted_pds import (
    CLOSED_CONNECTION,
    CREATE_SESSION,
    DESCRIBE_REPO,
    DID,
    GET_RECORD,
    GET_REPO_STATUS,
    GET_SESSION,
    HTML_PAGE,
    Setup,
    access_token,
    bluesky_setup,
    error_response,
    json_response,
    login_credentials,
    running_pds,
    stored_credentials,
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


REFUSED_LOGIN = error_response(401, "AuthenticationRequired", "Invalid identifier or password")
DEACTIVATED = (
    "The account is deactivated. Activate it, and connect it again. If it has moved to another server,"
    " connect it with the URL of that server."
)
TAKEN_DOWN = "The account has been taken down. Ask the moderators of its server."
SUSPENDED = "The account is suspended. Ask the moderators of its server."
STATUSES = {
    "takendown": ("ACCOUNT_TAKEN_DOWN", TAKEN_DOWN),
    "suspended": ("ACCOUNT_SUSPENDED", SUSPENDED),
    "deactivated": ("ACCOUNT_DEACTIVATED", DEACTIVATED),
    "deleted": ("ACCOUNT_DELETED", "The account was deleted. Connect another account."),
    "throttled": (
        "ACCOUNT_INACTIVE",
        "The account is not active. Ask the operator of its server.",
    ),
    None: ("ACCOUNT_INACTIVE", "The account is not active. Ask the operator of its server."),
}


@pytest.mark.parametrize("is_connected", [True, False])
@pytest.mark.parametrize(("status", "expected"), STATUSES.items())
async def test_inactive_account_is_refused_with_its_status(
    status: str | None, expected: tuple[str, str], *, is_connected: bool
) -> None:
    inactive = {"did": DID, "handle": "alice.test", "active": False, "status": status}
    tokens = {"accessJwt": access_token(1), "refreshJwt": "refresh-1"}
    async with bluesky_setup() as setup:
        if is_connected:
            setup.pds.script(GET_SESSION, json_response(200, inactive))
        else:
            setup.credentials.values = login_credentials(setup.pds.url)
            setup.pds.script(CREATE_SESSION, json_response(200, inactive | tokens))

        error = await verification_error(setup)

        assert (error.category, (error.code, error.message)) == (ErrorCategory.AUTH, expected)
        assert len(setup.pds.requests) == 1


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("RepoTakendown", TAKEN_DOWN),
        ("RepoSuspended", SUSPENDED),
        ("RepoDeactivated", DEACTIVATED),
    ],
)
async def test_refused_login_of_an_inactive_account_has_its_status(code: str, message: str) -> None:
    async with bluesky_setup() as setup:
        setup.credentials.values = login_credentials(setup.pds.url)
        setup.pds.script(CREATE_SESSION, REFUSED_LOGIN)
        setup.pds.script(DESCRIBE_REPO, error_response(400, code))

        error = await verification_error(setup)

        assert (error.category, error.code, error.message) == (ErrorCategory.AUTH, code, message)
        (description,) = setup.pds.sent(DESCRIBE_REPO)
        assert description.parameters == {"repo": "alice.test"}


@pytest.mark.parametrize(
    "description",
    [
        json_response(200, {"did": DID}),
        error_response(400, "RepoNotFound"),
        error_response(502, "UpstreamFailure"),
        CLOSED_CONNECTION,
    ],
)
async def test_login_that_is_refused_for_another_reason_has_the_error_of_the_login(
    description: bytes,
) -> None:
    async with bluesky_setup() as setup:
        setup.credentials.values = login_credentials(setup.pds.url)
        setup.pds.script(CREATE_SESSION, REFUSED_LOGIN)
        setup.pds.script(DESCRIBE_REPO, description)

        error = await verification_error(setup)

    assert (error.category, error.code) == (ErrorCategory.AUTH, "AuthenticationRequired")


@pytest.mark.parametrize("is_connected", [True, False])
async def test_account_that_moved_is_refused_with_its_new_server(*, is_connected: bool) -> None:
    async with bluesky_setup() as setup, running_pds() as new_server:
        new_server.script(GET_REPO_STATUS, json_response(200, {"did": DID, "active": True}))
        service = {"id": "#atproto_pds", "serviceEndpoint": new_server.url}
        moved = {
            "did": DID,
            "active": False,
            "status": "deactivated",
            "didDoc": {"service": [service]},
            "accessJwt": access_token(1),
            "refreshJwt": "refresh-1",
        }
        if not is_connected:
            setup.credentials.values = login_credentials(setup.pds.url)
        setup.pds.script(GET_SESSION if is_connected else CREATE_SESSION, json_response(200, moved))

        error = await verification_error(setup)

        (status,) = new_server.requests
        assert (status.method, status.parameters) == (GET_REPO_STATUS, {"did": DID})
        assert "authorization" not in status.headers
        assert (error.category, error.code, error.message) == (
            ErrorCategory.AUTH,
            "ACCOUNT_MOVED",
            f"The account has moved to the server {new_server.url}. Create an app password there, and connect"
            " the account again with it and the URL of this server.",
        )


@pytest.mark.parametrize(
    "answer",
    [
        json_response(200, {"did": DID, "active": False, "status": "deactivated"}),
        error_response(400, "RepoNotFound"),
        CLOSED_CONNECTION,
    ],
)
async def test_account_that_is_not_active_on_another_server_either_is_deactivated(
    answer: bytes,
) -> None:
    async with bluesky_setup() as setup, running_pds() as other_server:
        other_server.script(GET_REPO_STATUS, answer)
        service = {"id": "#atproto_pds", "serviceEndpoint": other_server.url}
        inactive = {"did": DID, "active": False, "status": "deactivated"}
        document = {"didDoc": {"service": [service]}}
        setup.pds.script(GET_SESSION, json_response(200, inactive | document))

        error = await verification_error(setup)

        assert (len(other_server.requests), error.code) == (1, "ACCOUNT_DEACTIVATED")


MAIN_PASSWORD = (
    "This is the main password of the account, which allows far more than publishing. Create an app password"
    " in Bluesky's settings (Privacy and security > App passwords), and connect the account with it."
)


async def test_main_password_is_refused() -> None:
    async with bluesky_setup() as setup:
        setup.credentials.values = login_credentials(setup.pds.url)
        token = access_token(1, scope="com.atproto.access")
        login = {"did": DID, "accessJwt": token, "refreshJwt": "refresh-1", "active": True}
        setup.pds.script(CREATE_SESSION, json_response(200, login))

        error = await verification_error(setup)

        assert (error.category, error.code, error.message) == (
            ErrorCategory.AUTH,
            "MAIN_PASSWORD",
            MAIN_PASSWORD,
        )
        assert setup.pds.methods == [CREATE_SESSION]


async def test_main_password_with_a_second_factor_is_refused() -> None:
    async with bluesky_setup() as setup:
        setup.credentials.values = login_credentials(setup.pds.url)
        setup.pds.script(CREATE_SESSION, error_response(401, "AuthFactorTokenRequired"))

        error = await verification_error(setup)

    assert (error.category, error.message) == (ErrorCategory.AUTH, MAIN_PASSWORD)


@pytest.mark.parametrize("scope", ["com.atproto.appPass", "com.atproto.appPassPrivileged"])
async def test_app_password_is_accepted(scope: str) -> None:
    async with bluesky_setup() as setup:
        token = access_token(1, scope=scope)
        setup.credentials.values = stored_credentials(setup.pds.url, accessJwt=token)
        setup.pds.script(GET_SESSION, SESSION)

        assert await verify(setup) == ALICE


@pytest.mark.parametrize("status", [400, 413, 415, 422])
@pytest.mark.parametrize("method", [CREATE_SESSION, GET_SESSION])
async def test_server_that_refuses_the_request_is_to_be_checked(method: str, status: int) -> None:
    async with bluesky_setup() as setup:
        setup.credentials.values = login_credentials(setup.pds.url)
        setup.pds.script(method, json_response(status, {"detail": "Unprocessable"}))

        error = await verification_error(setup)

        assert (error.category, error.code, error.message) == (
            ErrorCategory.PERMANENT,
            f"HTTP_{status}",
            f"The server answered {status}: it refuses the request. Check its URL, {setup.pds.url}.",
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
