"""Tests of credentials: their form, and the renewal of access tokens."""

from dataclasses import replace

import pytest

from app.domain.destinations import ErrorCategory
from app.platforms.protocol import NotPublished
from tests.factories import NOW
from tests.platforms.meta.adapter_run import PLATFORMS, refusal, running_adapter
from tests.platforms.meta.stub_graph import (
    HTML,
    NO_RESPONSE,
    TOKEN,
    USER,
    Fault,
    graph_error,
    response,
)
from tests.platforms.publish_requests import MemoryCredentials, refusal_details

BOTH = pytest.mark.parametrize("name", PLATFORMS)
NEW_TOKEN = "THAAsecretOfTheAccount2"
IN_TEN_DAYS, LATER = "2026-04-25T15:00:00Z", "2026-04-25T15:00:00.001Z"


def expiring(at: str) -> MemoryCredentials:
    return MemoryCredentials({"userId": USER, "accessToken": TOKEN, "expiresAt": at})


@pytest.mark.parametrize(
    "values",
    [
        {"accessToken": TOKEN},
        {"userId": USER},
        {"userId": 17841405822304914, "accessToken": TOKEN},
        {"userId": "me", "accessToken": TOKEN},
        {"userId": f"{USER}\n", "accessToken": TOKEN},
        {"userId": "1/../2", "accessToken": TOKEN},
        {"userId": USER, "accessToken": f"{TOKEN}\r\n"},
        {"userId": USER, "accessToken": "ü"},
        {"userId": USER, "accessToken": TOKEN, "expiresAt": "soon"},
        {"userId": USER, "accessToken": TOKEN, "expiresAt": "2026-04-25T15:00:00"},
    ],
)
async def test_invalid_credentials_are_refused(values: dict[str, object]) -> None:
    async with running_adapter() as run:
        error = await refusal(run, run.request(credentials=MemoryCredentials(values)))

    assert refusal_details(error) == (ErrorCategory.AUTH, "INVALID_CREDENTIALS", None, None)
    assert TOKEN not in error.message
    assert run.stub.calls == []


@BOTH
async def test_token_is_renewed_ten_days_before_it_expires(name: str) -> None:
    credentials = expiring(IN_TEN_DAYS)
    async with running_adapter(name) as run:
        await run.adapter.publish(run.request(credentials=credentials))

    assert credentials.values == {
        "userId": USER,
        "accessToken": NEW_TOKEN,
        "expiresAt": "2026-06-14T15:00:00.000Z",
    }
    renewal, *others = run.stub.calls
    assert (renewal.line, renewal.parameters) == (
        "GET /refresh_access_token",
        {"grant_type": run.stub.api.grant, "access_token": TOKEN},
    )
    assert {call.parameters["access_token"] for call in others} == {NEW_TOKEN}


@pytest.mark.parametrize("fields", [{}, {"expiresAt": LATER}, {"expiresAt": None}])
async def test_other_token_is_not_renewed(fields: dict[str, object]) -> None:
    credentials = MemoryCredentials({"userId": USER, "accessToken": TOKEN} | fields)
    async with running_adapter() as run:
        await run.adapter.publish(run.request(credentials=credentials))

    assert run.stub.calls_of("GET", "refresh_access_token") == []


@pytest.mark.parametrize(
    "answer",
    [
        HTML,
        NO_RESPONSE,
        response(500),
        graph_error(190),
        graph_error(4),
        response(200, {"access_token": 1, "expires_in": 5184000}),
        response(200, {"access_token": NEW_TOKEN}),
        response(200, {"access_token": "two words", "expires_in": 5184000}),
    ],
)
async def test_post_is_published_with_valid_token_that_is_not_renewed(answer: bytes) -> None:
    credentials = expiring(IN_TEN_DAYS)
    async with running_adapter(faults={"refresh": [Fault(answer)]}) as run:
        publication = await run.adapter.publish(run.request(credentials=credentials))

    assert publication.published_at == NOW
    assert credentials == replace(expiring(IN_TEN_DAYS), refreshes=1)
    assert {call.parameters["access_token"] for call in run.stub.calls} == {TOKEN}


async def test_expired_token_is_access_failure_without_secret() -> None:
    async with running_adapter(tokens=set(), faults={"refresh": [Fault(graph_error(190))]}) as run:
        error = await refusal(run, run.request(credentials=expiring("2026-04-15T14:00:00Z")))

    assert refusal_details(error) == (ErrorCategory.AUTH, "GRAPH_190", 401, None)
    assert error.message == (
        "Meta does not accept the access token. Connect the account again. Meta's reason: Error validating"
        " access token"
    )


async def test_new_token_is_in_no_error() -> None:
    echo = {"error": {"code": 190, "message": f"Error validating {NEW_TOKEN}"}}
    async with running_adapter(faults={"create": [Fault(response(400, echo))]}) as run:
        error = await refusal(run, run.request(credentials=expiring(IN_TEN_DAYS)))

    assert NEW_TOKEN not in f"{error.message}{error.raw}"


@BOTH
async def test_token_is_verified_by_its_account(name: str) -> None:
    async with running_adapter(name) as run:
        identity = await run.adapter.verify_credentials(run.credentials)

    assert (identity.platform_user_id, identity.profile_url) == (USER, None)
    assert (identity.username, identity.display_name) == ("the username", "the name")
    assert identity.avatar_url in ("the threads_profile_picture_url", "the profile_picture_url")
    assert [call.line for call in run.stub.calls] == [f"GET /{run.stub.api.version}/me"]


@BOTH
async def test_token_of_another_account_is_refused(name: str) -> None:
    credentials = MemoryCredentials({"userId": "1", "accessToken": TOKEN})
    async with running_adapter(name) as run:
        with pytest.raises(NotPublished) as caught:
            await run.adapter.verify_credentials(credentials)

    assert refusal_details(caught.value) == (ErrorCategory.AUTH, "INVALID_CREDENTIALS", None, None)
    assert USER in caught.value.message


@BOTH
async def test_verification_refuses_a_revoked_token(name: str) -> None:
    async with running_adapter(name, tokens=set()) as run:
        with pytest.raises(NotPublished) as caught:
            await run.adapter.verify_credentials(run.credentials)

    assert caught.value.category is ErrorCategory.AUTH
