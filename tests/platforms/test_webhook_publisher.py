"""Publishing through a publisher of the user's own: requests, signatures, and the meaning of answers."""

from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any

import orjson
import pytest
from standardwebhooks import Webhook as Verifier

from app import __version__
from app.domain.account_pauses import RemainingCalls
from app.domain.attempts import Publication
from app.domain.destinations import ErrorCategory
from app.outbound.client import OutboundClient
from app.platforms.protocol import (
    AccountIdentity,
    LookupFailure,
    NotPublished,
    OutcomeUnknown,
    PublishRequest,
)
from app.platforms.webhook_publisher import WebhookPublisher
from tests.factories import NOW
from tests.outbound.local_servers import (
    LOCAL_RULES,
    ConnectionHandler,
    LocalServer,
    local_server,
    responding,
)
from tests.platforms.publish_requests import (
    DESTINATION,
    POST,
    WORKSPACE,
    FixedDeadline,
    MemoryCredentials,
    publish_request,
)

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
ID = str(DESTINATION.id)
SECOND = timedelta(seconds=1)
PUBLICATION = Publication(
    platform_post_id="17", platform_post_url="https://x.com/17", published_at=NOW - SECOND
)


def http_response(status: int, body: object = None, *headers: str) -> bytes:
    content = body if isinstance(body, bytes) else b"" if body is None else orjson.dumps(body)
    lines = [f"HTTP/1.1 {status} Answer", f"Content-Length: {len(content)}", *headers]
    return "\r\n".join([*lines, "", ""]).encode() + content


@asynccontextmanager
async def adapter_and_request(
    handle: ConnectionHandler, **credentials: str
) -> AsyncIterator[tuple[WebhookPublisher, PublishRequest, LocalServer]]:
    """Yield the adapter, and a request whose account has a local publisher."""
    async with local_server(handle) as server, OutboundClient(LOCAL_RULES) as client:
        values = {"url": server.url("/publish"), "secret": SECRET} | {
            name: value.replace("SERVER", server.url("")) for name, value in credentials.items()
        }
        request = publish_request(credentials=MemoryCredentials(values))
        yield WebhookPublisher(client, now=lambda: NOW), request, server


async def publish(*responses: bytes, **credentials: str) -> Publication:
    async with adapter_and_request(responding(*responses), **credentials) as (adapter, request, _):
        return await adapter.publish(request)


async def not_published(call: Awaitable[object]) -> NotPublished:
    with pytest.raises(NotPublished) as caught:
        await call
    return caught.value


async def test_publisher_gets_a_signed_request_with_the_post() -> None:
    requests: list[bytes] = []
    answer = {"id": 17, "url": "https://x.com/17", "publishedAt": "2026-04-15T14:59:59Z"}
    handle = responding(http_response(200, answer), requests=requests)
    async with adapter_and_request(handle) as (adapter, request, _):
        assert await adapter.publish(request) == PUBLICATION

    head, _, body = requests[0].partition(b"\r\n\r\n")
    line, *header_lines = head.decode().split("\r\n")
    headers = {name.lower(): value for name, _, value in (h.partition(": ") for h in header_lines)}
    assert line == "POST /publish HTTP/1.1"
    assert (headers["content-type"], headers["user-agent"]) == (
        "application/json",
        f"post-results/{__version__}",
    )
    assert headers["webhook-id"] == ID
    assert headers["webhook-signature"] == Verifier(SECRET).sign(ID, NOW, body.decode())
    assert orjson.loads(body) == {
        "workspaceId": str(WORKSPACE),
        "destinationId": ID,
        "postId": str(POST.id),
        "attempt": 1,
        "platform": "sandbox",
        "accountId": 1,
        "accountName": "succeeds",
        "platformUserId": None,
        "platformUsername": None,
        "content": "Spring sale",
        "contentType": None,
        "settings": {},
        "mediaIds": ["m1"],
        "media": [{"url": "https://example.com/1.png"}],
        "reference": "campaign-7/1",
        "attemptStartedAt": "2026-04-15T15:00:00.000Z",
    }


async def test_forced_retry_has_a_webhook_id_of_its_own() -> None:
    requests: list[bytes] = []
    handle = responding(http_response(200, {"id": 17}), requests=requests)
    async with adapter_and_request(handle) as (adapter, request, _):
        await adapter.publish(replace(request, forced_retries=2))

    body = requests[0].partition(b"\r\n\r\n")[2].decode()
    assert f"webhook-id: {ID}-2\r\n".encode() in requests[0]
    assert Verifier(SECRET).sign(f"{ID}-2", NOW, body).encode() in requests[0]
    assert orjson.loads(body)["destinationId"] == ID


@pytest.mark.parametrize(
    ("answer", "publication"),
    [
        ({"id": "a"}, ("a", None)),
        ({"url": "https://x.com/1"}, (None, "https://x.com/1")),
        ({"id": 0, "publishedAt": "yesterday"}, ("0", None)),
    ],
)
async def test_id_or_url_is_enough(
    answer: dict[str, Any], publication: tuple[str | None, str | None]
) -> None:
    published = await publish(http_response(201, answer))
    assert (published.platform_post_id, published.platform_post_url) == publication
    assert published.published_at == NOW


@pytest.mark.parametrize(
    ("status", "category"),
    [
        (400, ErrorCategory.CONTENT_REJECTED),
        (401, ErrorCategory.AUTH),
        (403, ErrorCategory.AUTH),
        (404, ErrorCategory.TRANSIENT),
        (422, ErrorCategory.TRANSIENT),
        (429, ErrorCategory.RATE_LIMITED),
        (499, ErrorCategory.TRANSIENT),
        (503, ErrorCategory.TRANSIENT),
    ],
)
async def test_refusal_is_certain(status: int, category: ErrorCategory) -> None:
    error = await not_published(
        publish(http_response(status, {"error": "The caption is too long."}, "Retry-After: 30"))
    )
    assert (error.category, error.code, error.http_status) == (category, f"HTTP_{status}", status)
    assert (error.message, error.retry_after) == ("The caption is too long.", 30 * SECOND)
    assert error.raw == '{"error":"The caption is too long."}'


@pytest.mark.parametrize("body", [None, b"<html>", {"error": ""}, {"error": ["x"]}, ["x"]])
async def test_refusal_without_a_reason_names_the_status(body: object) -> None:
    error = await not_published(publish(http_response(422, body)))
    assert error.message == "The publisher answered 422."


UNUSABLE_URLS: tuple[object, ...] = (
    None,
    5,
    [],
    "",
    "ftp://a.example/1",
    "/1",
    "https://x.com/" + "a" * 2000,
)
UNUSABLE_IDS: tuple[object, ...] = (None, 1.5, {}, "", "a\nb", "1" * 501)


@pytest.mark.parametrize("url", UNUSABLE_URLS)
async def test_unusable_url_beside_an_id_is_left_out(url: object) -> None:
    publication = await publish(http_response(200, {"id": "17", "url": url}))

    assert publication == Publication(
        platform_post_id="17", platform_post_url=None, published_at=NOW
    )


@pytest.mark.parametrize("post_id", UNUSABLE_IDS)
async def test_unusable_id_beside_a_url_is_left_out(post_id: object) -> None:
    publication = await publish(http_response(200, {"id": post_id, "url": "https://x.com/17"}))

    assert publication == Publication(
        platform_post_id=None, platform_post_url="https://x.com/17", published_at=NOW
    )


@pytest.mark.parametrize(
    "answer",
    [
        {},
        *({"url": url} for url in UNUSABLE_URLS),
        *({"id": post_id, "url": "ftp://a.example/1"} for post_id in UNUSABLE_IDS),
    ],
)
async def test_answer_without_a_usable_id_or_url_leaves_the_outcome_unknown(
    answer: dict[str, object],
) -> None:
    with pytest.raises(OutcomeUnknown) as caught:
        await publish(http_response(200, answer))

    error = caught.value
    assert error.message == (
        "The publisher answered 200 without a usable id or url of the post. Let it respond after it has"
        " published the post."
    )
    assert (error.http_status, error.raw) == (200, orjson.dumps(answer).decode())


@pytest.mark.parametrize(
    "response",
    [
        http_response(200),
        http_response(200, {}),
        http_response(200, {"id": "", "url": None}),
        http_response(200, {"id": True, "url": {"a": 1}}),
        http_response(200, b"accepted"),
        http_response(200, b'{"id": "' + b"x" * 70_000 + b'"}'),
        *(http_response(status, {"id": "1"}) for status in (408, 409, 500, 502, 504, 599)),
        b"HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n{",
        http_response(503),
        http_response(503, b"<html>"),
        b"no HTTP",
        b"",
    ],
)
async def test_other_answers_leave_the_outcome_unknown(response: bytes) -> None:
    with pytest.raises(OutcomeUnknown):
        await publish(response)


async def test_unreachable_publisher_has_certainly_not_published() -> None:
    for url, category, code in (
        ("http://127.0.0.1:1/publish", ErrorCategory.TRANSIENT, "CONNECTION_FAILED"),
        ("http://192.168.0.1/publish", ErrorCategory.PERMANENT, "ADDRESS_NOT_ALLOWED"),
        ("ftp://example.com/", ErrorCategory.PERMANENT, "INVALID_URL"),
    ):
        error = await not_published(publish(url=url))
        assert (error.category, error.code) == (category, code)
        assert SECRET not in str(error)


@pytest.mark.parametrize("secret", ["", "whsec_", "whsec_é", "whsec_a", "secret"])
async def test_unusable_secret_is_an_access_failure(secret: str) -> None:
    error = await not_published(publish(secret=secret))
    assert (error.category, error.code) == (ErrorCategory.AUTH, "INVALID_CREDENTIALS")


async def verify(**credentials: str) -> tuple[AccountIdentity, int]:
    """Verify the credentials; return the identity, and the number of requests."""
    async with adapter_and_request(responding(), **credentials) as (adapter, request, server):
        return await adapter.verify_credentials(request.credentials), server.connections


async def test_verification_names_the_host_and_sends_nothing() -> None:
    expected = AccountIdentity(display_name="127.0.0.1")
    assert await verify(lookupUrl="SERVER/lookup") == (expected, 0)


@pytest.mark.parametrize(
    ("credentials", "message"),
    [
        (
            {"url": "http://[::1"},
            "url must have one host and at most one port; IPv6 addresses need brackets.",
        ),
        (
            {"url": "https://192.168.0.1/publish"},
            "url must have a public host; 192.168.0.1 is not public. Use a public host, or ask the operator"
            " of this server to allow its network in OUTBOUND_ALLOWED_NETWORKS.",
        ),
        ({"lookupUrl": "ftp://a.example"}, "lookupUrl must be a URL that starts with https://."),
    ],
)
async def test_verification_reports_unusable_urls_without_an_access_failure(
    credentials: dict[str, str], message: str
) -> None:
    error = await not_published(verify(**credentials))

    assert (error.category, error.code, error.message) == (
        ErrorCategory.PERMANENT,
        "INVALID_URL",
        message,
    )


async def test_verification_refuses_credentials_of_another_form() -> None:
    error = await not_published(verify(secret="secret"))

    assert (error.category, error.code, error.message) == (
        ErrorCategory.AUTH,
        "INVALID_CREDENTIALS",
        'The credentials of the account need "url", and "secret" as whsec_ and base64. Set them again.',
    )


async def test_nothing_is_sent_after_the_deadline() -> None:
    async with adapter_and_request(responding()) as (adapter, _, server):
        values = {"url": server.url(), "secret": SECRET}
        late = publish_request(credentials=MemoryCredentials(values), deadline=FixedDeadline(0))
        assert (await not_published(adapter.publish(late))).code == "NOT_CALLED"
        assert server.connections == 0


LookupResult = Publication | LookupFailure


async def look_up(response: bytes, requests: list[bytes], **credentials: str) -> LookupResult:
    handle = responding(response, requests=requests)
    async with adapter_and_request(handle, **credentials) as (adapter, request, _):
        return await adapter.look_up(request)


@pytest.mark.parametrize(
    ("response", "result"),
    [
        (http_response(404), LookupFailure.NOT_FOUND),
        (
            http_response(
                200, {"id": 17, "url": "https://x.com/17", "publishedAt": "2026-04-15T14:59:59Z"}
            ),
            PUBLICATION,
        ),
        *(
            (http_response(status), LookupFailure.INCONCLUSIVE)
            for status in (202, 302, 401, 410, 500)
        ),
    ],
)
async def test_lookup_url_decides(response: bytes, result: LookupResult) -> None:
    requests: list[bytes] = []
    assert await look_up(response, requests, lookupUrl="SERVER/posts?key=1") == result
    line, _, _ = requests[0].partition(b"\r\n")
    body = requests[0].partition(b"\r\n\r\n")[2].decode()
    assert line == b"POST /posts?key=1 HTTP/1.1"
    assert orjson.loads(body)["destinationId"] == ID
    assert Verifier(SECRET).sign(ID, NOW, body).encode() in requests[0]


async def test_lookup_at_the_rate_limit_has_its_wait() -> None:
    response = http_response(429, {"error": "Slow down."}, "Retry-After: 30")
    error = await not_published(look_up(response, [], lookupUrl="SERVER/posts"))
    assert (error.category, error.message, error.retry_after) == (
        ErrorCategory.RATE_LIMITED,
        "Slow down.",
        30 * SECOND,
    )


async def test_remaining_requests_are_recorded() -> None:
    limits = ("RateLimit-Remaining: 0", "RateLimit-Reset: 30")
    handle = responding(http_response(200, {"id": "17"}, *limits))
    async with adapter_and_request(handle) as (adapter, request, _):
        await adapter.publish(request)
    assert request.rate_limit.remaining == RemainingCalls(0, 30 * SECOND)


async def test_lookup_without_a_url_is_inconclusive() -> None:
    requests: list[bytes] = []
    assert await look_up(http_response(404), requests) is LookupFailure.INCONCLUSIVE
    assert requests == []


async def test_unusable_lookup_answer_is_an_error() -> None:
    with pytest.raises(OutcomeUnknown):
        await look_up(http_response(200, {"status": "accepted"}), [], lookupUrl="SERVER/posts")
