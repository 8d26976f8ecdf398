"""Sessions against a scripted server: login, refresh before and after expiry, and their failures."""

import asyncio
import traceback
from base64 import urlsafe_b64encode
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import pytest

from app.domain.destinations import ErrorCategory
from app.platforms.bluesky.sessions import parse_credentials, token_expiry
from app.platforms.protocol import CredentialValues, NotPublished, PlatformCallError
from tests.factories import NOW
from tests.platforms.bluesky.scripted_pds import (
    APP_PASSWORD,
    CLOSED_CONNECTION,
    CREATE_SESSION,
    CUT_JSON,
    DESCRIBE_REPO,
    DID,
    EXPIRED_TOKEN,
    GET_RECORD,
    GET_SESSION,
    HTML_PAGE,
    NO_ANSWER,
    PUT_RECORD,
    REFRESH_SESSION,
    Setup,
    access_token,
    bluesky_setup,
    call_timeout,
    error_response,
    http_response,
    json_response,
    login_credentials,
    running_pds,
    stored_credentials,
)
from tests.platforms.publish_requests import MemoryCredentials

REVOKED_TOKEN = error_response(400, "ExpiredToken", "Token has been revoked")
WRONG_PASSWORD = error_response(401, "AuthenticationRequired", "Invalid identifier or password")


def bearer(setup: Setup, method: str) -> list[str]:
    return [request.headers["authorization"] for request in setup.pds.sent(method)]


async def test_valid_session_is_used_without_a_login() -> None:
    async with bluesky_setup() as setup:
        await setup.publish()

        assert setup.pds.methods == [PUT_RECORD]
        assert bearer(setup, PUT_RECORD) == [f"Bearer {access_token(1)}"]
        assert setup.credentials.refreshes == 0


async def test_first_post_logs_in_and_stores_the_session_of_the_accounts_server() -> None:
    async with bluesky_setup() as setup, running_pds() as entryway:
        entryway.pds_of_account = setup.pds.url
        setup.credentials.values = login_credentials(f"{entryway.url}/")
        await setup.publish()

        assert entryway.methods == [CREATE_SESSION]
        assert entryway.requests[0].json == {"identifier": "alice.test", "password": APP_PASSWORD}
        assert "authorization" not in entryway.requests[0].headers
        assert setup.pds.methods == [PUT_RECORD]
        assert setup.credentials.values == login_credentials(f"{entryway.url}/") | {
            "session": {
                "did": DID,
                "pds": setup.pds.url,
                "accessJwt": access_token(2),
                "refreshJwt": "refresh-2",
            }
        }


@pytest.mark.parametrize(
    "identifier", ["alice.test", "@alice.test", " @alice.test\n", "\u202a@alice.test\u202c"]
)
async def test_login_accepts_a_copied_handle_and_blanks(identifier: str) -> None:
    async with bluesky_setup() as setup:
        setup.credentials.values = {
            "identifier": identifier,
            "appPassword": f" {APP_PASSWORD}\n",
            "service": f"{setup.pds.url} ",
        }
        await setup.publish()

        (login,) = setup.pds.sent(CREATE_SESSION)
        assert login.json == {"identifier": "alice.test", "password": APP_PASSWORD}
        assert setup.pds.methods == [CREATE_SESSION, PUT_RECORD]


async def test_login_of_a_known_account_has_its_did_instead_of_the_handle() -> None:
    async with bluesky_setup() as setup:
        setup.credentials.values = login_credentials(setup.pds.url)
        setup.credentials.platform_user_id = DID
        await setup.publish()

        (login,) = setup.pds.sent(CREATE_SESSION)
        assert login.json == {"identifier": DID, "password": APP_PASSWORD}


async def test_login_after_a_session_has_the_did_of_the_session() -> None:
    async with bluesky_setup() as setup:
        setup.pds.script(PUT_RECORD, EXPIRED_TOKEN)
        setup.pds.script(REFRESH_SESSION, REVOKED_TOKEN)
        await setup.publish()

        (login,) = setup.pds.sent(CREATE_SESSION)
        assert login.json["identifier"] == DID


async def test_login_ignores_a_platform_user_id_that_is_no_did() -> None:
    async with bluesky_setup() as setup:
        setup.credentials.values = login_credentials(setup.pds.url)
        setup.credentials.platform_user_id = "17"
        await setup.publish()

        (login,) = setup.pds.sent(CREATE_SESSION)
        assert login.json["identifier"] == "alice.test"


async def test_concurrent_first_posts_log_in_once() -> None:
    async with bluesky_setup() as setup:
        setup.credentials = SingleFlightCredentials(login_credentials(setup.pds.url))
        await asyncio.gather(*(setup.publish() for _ in range(3)))

        assert setup.pds.methods.count(CREATE_SESSION) == 1
        assert len(setup.pds.records) == 1


async def test_service_is_the_accounts_server_without_a_did_document() -> None:
    async with bluesky_setup() as setup:
        setup.credentials.values = login_credentials(setup.pds.url)
        await setup.publish()

        assert parse_credentials(await setup.credentials.get()).session is not None
        assert setup.pds.methods == [CREATE_SESSION, PUT_RECORD]


@pytest.mark.parametrize(
    ("valid_for", "methods"),
    [
        (timedelta(seconds=120), [REFRESH_SESSION, PUT_RECORD]),
        (timedelta(seconds=121), [PUT_RECORD]),
    ],
)
async def test_token_close_to_its_expiry_is_refreshed_before_use(
    valid_for: timedelta, methods: list[str]
) -> None:
    async with bluesky_setup() as setup:
        setup.credentials.values = stored_credentials(
            setup.pds.url, accessJwt=access_token(1, valid_for=valid_for)
        )
        await setup.publish()

        assert setup.pds.methods == methods
        assert bearer(setup, REFRESH_SESSION) == ["Bearer refresh-1"] * (len(methods) - 1)


async def test_expired_token_is_refreshed_and_the_post_is_published_once() -> None:
    async with bluesky_setup() as setup:
        setup.pds.script(PUT_RECORD, EXPIRED_TOKEN)
        await setup.publish()

        assert setup.pds.methods == [PUT_RECORD, REFRESH_SESSION, PUT_RECORD]
        (refresh,) = setup.pds.sent(REFRESH_SESSION)
        assert (refresh.body, "content-type" in refresh.headers) == (b"", False)
        assert bearer(setup, PUT_RECORD) == [
            f"Bearer {access_token(1)}",
            f"Bearer {access_token(2)}",
        ]
        assert len(setup.pds.records) == 1
        assert setup.credentials.refreshes == 1


async def test_refresh_without_a_did_document_keeps_the_accounts_server() -> None:
    async with bluesky_setup() as setup, running_pds() as entryway:
        session = stored_credentials(setup.pds.url)
        setup.credentials.values = session | {"service": entryway.url}
        setup.pds.script(PUT_RECORD, EXPIRED_TOKEN)
        await setup.publish()

        assert entryway.methods == [REFRESH_SESSION]
        assert setup.pds.methods == [PUT_RECORD, PUT_RECORD]


async def test_lookup_refreshes_an_expired_token() -> None:
    async with bluesky_setup() as setup:
        setup.pds.script(GET_SESSION, EXPIRED_TOKEN)
        await setup.look_up()

        assert setup.pds.methods == [
            GET_SESSION,
            REFRESH_SESSION,
            GET_SESSION,
            *[GET_RECORD] * 3,
        ]


@pytest.mark.parametrize(
    "refresh_answer",
    [EXPIRED_TOKEN, REVOKED_TOKEN, error_response(400, "InvalidToken"), http_response(401, b"")],
)
async def test_ended_session_is_replaced_by_a_login(refresh_answer: bytes) -> None:
    async with bluesky_setup() as setup:
        setup.pds.script(PUT_RECORD, EXPIRED_TOKEN)
        setup.pds.script(REFRESH_SESSION, refresh_answer)
        await setup.publish()

        assert setup.pds.methods == [PUT_RECORD, REFRESH_SESSION, CREATE_SESSION, PUT_RECORD]


async def test_revoked_app_password_fails_with_auth() -> None:
    async with bluesky_setup() as setup:
        setup.pds.script(PUT_RECORD, EXPIRED_TOKEN)
        setup.pds.script(REFRESH_SESSION, REVOKED_TOKEN)
        setup.pds.script(CREATE_SESSION, WRONG_PASSWORD)
        error = await setup.failed_publish(NotPublished)

    assert (error.category, error.code) == (ErrorCategory.AUTH, "AuthenticationRequired")
    assert error.http_status == 401


async def test_state_of_an_account_with_a_refused_login_is_asked_from_its_own_server() -> None:
    async with bluesky_setup() as setup, running_pds() as entryway:
        setup.credentials.values = stored_credentials(setup.pds.url) | {"service": entryway.url}
        setup.pds.script(PUT_RECORD, EXPIRED_TOKEN)
        setup.pds.script(DESCRIBE_REPO, error_response(400, "RepoTakendown"))
        entryway.script(REFRESH_SESSION, REVOKED_TOKEN)
        entryway.script(CREATE_SESSION, WRONG_PASSWORD)
        error = await setup.failed_publish(NotPublished)

        assert (error.category, error.code) == (ErrorCategory.AUTH, "RepoTakendown")
        assert setup.pds.methods == [PUT_RECORD, DESCRIBE_REPO]


async def test_new_token_that_is_expired_fails_with_auth() -> None:
    async with bluesky_setup() as setup:
        setup.pds.script(PUT_RECORD, EXPIRED_TOKEN, EXPIRED_TOKEN)
        error = await setup.failed_publish(NotPublished)

        assert (error.category, error.code) == (ErrorCategory.AUTH, "ExpiredToken")
        assert setup.pds.methods == [PUT_RECORD, REFRESH_SESSION, PUT_RECORD]


@pytest.mark.parametrize(
    ("answer", "http_status", "message"),
    [
        (HTML_PAGE, 200, "The server answered 200 without a usable result."),
        (json_response(503, {}), 503, "The server answered 503 without a usable result."),
        (json_response(200, {"did": DID}), None, "The server's answer has no complete session."),
        (
            json_response(200, {"did": DID, "accessJwt": "a\nb", "refreshJwt": "c"}),
            None,
            "The server's answer has no complete session.",
        ),
        (CUT_JSON, None, "closed the connection before its response was complete"),
        (CLOSED_CONNECTION, None, "closed the connection before its response was complete"),
        (NO_ANSWER, None, "did not complete its response within 1 s"),
    ],
)
async def test_login_without_an_answer_certainly_publishes_nothing(
    answer: bytes | None, http_status: int | None, message: str
) -> None:
    async with bluesky_setup(call_timeout=call_timeout(answer)) as setup:
        setup.credentials.values = login_credentials(setup.pds.url)
        setup.pds.script(CREATE_SESSION, answer)
        error = await setup.failed_publish(NotPublished)

    assert (error.category, error.code) == (ErrorCategory.TRANSIENT, "NO_ANSWER")
    assert (error.http_status, error.raw, error.not_sent) == (http_status, None, True)
    assert message in error.message


@pytest.mark.parametrize(
    ("answer", "category"),
    [
        (error_response(502, "UpstreamFailure"), ErrorCategory.TRANSIENT),
        (error_response(429, "RateLimitExceeded"), ErrorCategory.RATE_LIMITED),
    ],
)
async def test_unavailable_refresh_does_not_cost_a_login(
    answer: bytes, category: ErrorCategory
) -> None:
    async with bluesky_setup() as setup:
        setup.pds.script(PUT_RECORD, EXPIRED_TOKEN)
        setup.pds.script(REFRESH_SESSION, answer)
        error = await setup.failed_publish(NotPublished)

        assert (error.category, error.not_sent) == (category, True)
        assert setup.pds.methods == [PUT_RECORD, REFRESH_SESSION]


async def test_limit_of_logins_is_a_rate_limit() -> None:
    async with bluesky_setup() as setup:
        setup.credentials.values = login_credentials(setup.pds.url)
        setup.pds.script(
            CREATE_SESSION, error_response(429, "RateLimitExceeded", retry_after="290")
        )
        error = await setup.failed_publish(NotPublished)

    assert error.category is ErrorCategory.RATE_LIMITED
    assert error.retry_after == timedelta(seconds=290)


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"identifier": "alice.test"},
        {"identifier": "alice.test", "appPassword": None},
        {"identifier": "alice.test", "appPassword": "a", "service": 1},
        *(
            {"identifier": "alice.test", "appPassword": "a", "service": service}
            for service in (
                "ftp://a.example",
                "bsky.social",
                "https://bsky.social/path",
                "https://bsky.social?a=1",
                "https://a:b@bsky.social",
            )
        ),
        {"identifier": "alice.test", "appPassword": "a", "session": {"did": DID}},
    ],
)
async def test_incomplete_credentials_call_no_server(values: dict[str, object]) -> None:
    async with bluesky_setup() as setup:
        setup.credentials.values = values
        error = await setup.failed_publish(NotPublished)

        assert (error.category, error.code) == (ErrorCategory.AUTH, "INVALID_CREDENTIALS")
        assert setup.pds.requests == []


async def test_credentials_that_lose_their_session_meanwhile_are_used_later() -> None:
    async with bluesky_setup() as setup:
        setup.credentials = ReplacedCredentials(stored_credentials(setup.pds.url))
        setup.pds.script(PUT_RECORD, EXPIRED_TOKEN)
        error = await setup.failed_publish(NotPublished)

    assert (error.category, error.code) == (ErrorCategory.TRANSIENT, "CREDENTIALS_CHANGED")


async def test_service_that_outbound_rules_forbid_is_not_called() -> None:
    async with bluesky_setup() as setup:
        setup.credentials.values = login_credentials("http://10.0.0.1")
        error = await setup.failed_publish(NotPublished)

    assert (error.category, error.code) == (ErrorCategory.PERMANENT, "ADDRESS_NOT_ALLOWED")


async def test_server_of_an_account_with_a_path_gets_no_token() -> None:
    async with bluesky_setup() as setup:
        setup.credentials.values = login_credentials(setup.pds.url)
        setup.pds.pds_of_account = f"{setup.pds.url}/path"
        error = await setup.failed_publish(NotPublished)

        assert error.message == (
            "The server's answer has no complete session. The login was not completed."
        )
        assert setup.pds.methods == [CREATE_SESSION]


async def test_server_of_an_account_at_a_private_address_gets_no_token() -> None:
    async with bluesky_setup() as setup:
        setup.credentials.values = login_credentials(setup.pds.url)
        setup.pds.pds_of_account = "http://169.254.169.254"
        error = await setup.failed_publish(NotPublished)

        assert (error.category, error.code) == (ErrorCategory.PERMANENT, "ADDRESS_NOT_ALLOWED")
        assert setup.pds.methods == [CREATE_SESSION]


@pytest.mark.parametrize("status", [200, 400, 401, 429, 500])
@pytest.mark.parametrize(
    ("expiring", "echoing"),
    [
        ([], [PUT_RECORD]),
        ([PUT_RECORD], [PUT_RECORD]),
        ([PUT_RECORD], [REFRESH_SESSION, CREATE_SESSION]),
        ([PUT_RECORD, REFRESH_SESSION], [CREATE_SESSION]),
    ],
)
async def test_secrets_that_a_server_sends_back_are_in_no_error(
    expiring: list[str], echoing: list[str], status: int
) -> None:
    tokens = [access_token(1), access_token(2), "refresh-1", "refresh-2"]
    echo = {"error": "InvalidRequest", "message": " ".join([APP_PASSWORD, *tokens])}
    async with bluesky_setup() as setup:
        secrets = parse_credentials(await setup.credentials.get()).secrets
        for method in expiring:
            setup.pds.script(method, EXPIRED_TOKEN)
        for method in echoing:
            setup.pds.script(method, json_response(status, echo))
        error = await setup.failed_publish(Exception)
        secrets |= parse_credentials(await setup.credentials.get()).secrets

    assert isinstance(error, PlatformCallError)
    text = f"{error.message} {error.raw} {''.join(traceback.format_exception(error))}"
    assert [secret for secret in secrets if secret in text] == []


@pytest.mark.parametrize("secret", [APP_PASSWORD, access_token(1), "refresh-1"])
def test_secrets_are_not_in_the_representation_of_credentials(secret: str) -> None:
    credentials = parse_credentials(stored_credentials("https://pds.example"))

    assert secret not in f"{credentials} {credentials.session}"


@dataclass
class SingleFlightCredentials(MemoryCredentials):
    """Credentials whose concurrent refreshes wait for the first one."""

    _lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def refresh(
        self,
        rejected: CredentialValues,
        request_new: Callable[[CredentialValues], Awaitable[CredentialValues]],
    ) -> CredentialValues:
        async with self._lock:
            return await super().refresh(rejected, request_new)


class ReplacedCredentials(MemoryCredentials):
    """Credentials that a user replaces before they are refreshed."""

    async def refresh(
        self,
        rejected: CredentialValues,
        request_new: Callable[[CredentialValues], Awaitable[CredentialValues]],
    ) -> CredentialValues:
        self.values = {name: value for name, value in rejected.items() if name != "session"}
        return await super().refresh(rejected, request_new)


def _jwt(payload: bytes) -> str:
    return f"e30.{urlsafe_b64encode(payload).decode().rstrip('=')}.c2ln"


@pytest.mark.parametrize(
    ("token", "expiry"),
    [
        (access_token(1, valid_for=timedelta()), NOW),
        (_jwt(b'{"exp":"soon"}'), None),
        (_jwt(b'{"exp":1e300}'), None),
        (_jwt(b"{}"), None),
        (_jwt(b"[]"), None),
        (_jwt(b"{"), None),
        ("opaque", None),
        ("a.b.c", None),
    ],
)
def test_expiry_is_read_from_the_token(token: str, expiry: datetime | None) -> None:
    assert token_expiry(token) == expiry
