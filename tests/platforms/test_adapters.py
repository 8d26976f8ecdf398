"""What each adapter must do: publish a post once, know when it does not know, and reveal no secret."""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from app.domain.accounts import AccountPublisher
from app.domain.attempts import Publication
from app.domain.destinations import ErrorCategory
from app.domain.outbound_rules import OutboundRules
from app.outbound.client import OutboundClient
from app.platforms import make_adapters
from app.platforms.protocol import (
    AccountIdentity,
    DuplicateFinder,
    LookupFailure,
    NotPublished,
    PlatformCallError,
)
from tests.factories import NOW
from tests.guides import guide
from tests.platforms import example_adapter
from tests.platforms.adapter_cases import CASES, AdapterCase
from tests.platforms.interception import Interception
from tests.platforms.publish_requests import FixedDeadline, MemoryCredentials

LATER = timedelta(hours=2)
"""Time after which a lookup of every adapter is conclusive."""


@pytest.fixture(params=CASES)
async def case(request: pytest.FixtureRequest) -> AsyncIterator[AdapterCase]:
    async with CASES[request.param]() as case:
        yield case


def answer(status: int, body: bytes = b"{}", *headers: str) -> Callable[[bytes], bytes]:
    lines = [
        f"HTTP/1.1 {status} Answer",
        f"Content-Length: {len(body)}",
        "Connection: close",
        *headers,
    ]
    return lambda _: "\r\n".join([*lines, "", ""]).encode() + body


def no_answer(_request: bytes) -> bytes:
    return b""


def cut_answer(_request: bytes) -> bytes:
    return b'HTTP/1.1 200 OK\r\nContent-Length: 99\r\nConnection: close\r\n\r\n{"id"'


def echo(status: int) -> Callable[[bytes], bytes]:
    return lambda request: answer(status, request)(request)


async def publish_error(case: AdapterCase) -> Exception:
    """Publish; return the error that this must have."""
    with pytest.raises(Exception) as caught:  # noqa: PT011 - an adapter may raise anything
        await case.adapter.publish(case.request)
    return caught.value


async def refusal(case: AdapterCase) -> NotPublished:
    error = await publish_error(case)
    assert isinstance(error, NotPublished), error
    return error


async def look_up_later(case: AdapterCase) -> Publication | LookupFailure:
    case.clock.now += LATER
    return await case.adapter.look_up(case.request)


def test_guide_shows_the_example() -> None:
    assert guide("adapters").block("python") == Path(example_adapter.__file__).read_text()


def test_adapters_search_where_a_post_can_be_published_twice() -> None:
    adapters = make_adapters(
        sandbox_file=None,
        client=OutboundClient(OutboundRules()),
        now=lambda: NOW,
        sleep=asyncio.sleep,
    )
    finders = [name for name, adapter in adapters.items() if isinstance(adapter, DuplicateFinder)]

    assert finders == [name for name in AccountPublisher if name.can_publish_twice]


async def test_post_is_published(case: AdapterCase) -> None:
    publication = await case.adapter.publish(case.request)

    assert publication.platform_post_id or publication.platform_post_url
    assert case.count_posts() == 1


async def test_second_attempt_publishes_nothing_new(case: AdapterCase) -> None:
    first = await case.adapter.publish(case.request)
    second = await case.adapter.publish(replace(case.request, attempt=2))

    assert second.platform_post_id == first.platform_post_id
    assert case.count_posts() == 1


async def test_lookup_finds_the_post(case: AdapterCase) -> None:
    publication = await case.adapter.publish(case.request)
    found = await look_up_later(case)

    assert isinstance(found, Publication)
    assert found.platform_post_id == publication.platform_post_id


async def test_lookup_does_not_find_a_post_that_was_not_sent(case: AdapterCase) -> None:
    assert await look_up_later(case) is LookupFailure.NOT_FOUND


@pytest.mark.parametrize(
    "lost",
    [
        pytest.param(no_answer, id="no answer"),
        pytest.param(cut_answer, id="cut answer"),
        pytest.param(answer(200, b"<html>Welcome</html>"), id="HTML"),
        pytest.param(answer(200, b"[]"), id="other JSON"),
        pytest.param(answer(200, b"x" * 10_000_000), id="large answer"),
        pytest.param(answer(500), id="500"),
        pytest.param(answer(502, b"<html>Bad Gateway</html>"), id="502"),
        pytest.param(answer(504), id="504"),
    ],
)
async def test_lost_answer_leaves_the_outcome_unknown(
    case: AdapterCase, lost: Callable[[bytes], bytes]
) -> None:
    case.server.interception = Interception(lost, is_delivered=True)
    assert not isinstance(await publish_error(case), NotPublished)

    case.server.interception = None
    assert isinstance(await look_up_later(case), Publication)
    assert case.count_posts() == 1


async def test_post_whose_request_was_lost_can_be_published(case: AdapterCase) -> None:
    case.server.interception = Interception(no_answer, is_delivered=False)
    assert not isinstance(await publish_error(case), NotPublished)

    case.server.interception = None
    assert await look_up_later(case) is LookupFailure.NOT_FOUND
    await case.adapter.publish(replace(case.request, attempt=2, attempt_started_at=case.clock.now))
    assert case.count_posts() == 1


async def test_request_that_arrives_after_the_next_attempt_publishes_nothing(
    case: AdapterCase,
) -> None:
    case.server.interception = Interception(no_answer, is_delivered=False)
    assert not isinstance(await publish_error(case), NotPublished)
    assert await look_up_later(case) is LookupFailure.NOT_FOUND

    case.server.interception = None
    await case.adapter.publish(replace(case.request, attempt=2, attempt_started_at=case.clock.now))
    await case.server.deliver(case.server.publishing_requests[0])
    assert case.count_posts() == 1


async def test_refused_credentials_publish_nothing(case: AdapterCase) -> None:
    case.server.interception = Interception(answer(401), is_delivered=False)
    assert (await refusal(case)).category is ErrorCategory.AUTH
    assert case.count_posts() == 0


async def test_rate_limit_states_the_wait(case: AdapterCase) -> None:
    case.server.interception = Interception(
        answer(429, b"{}", "Retry-After: 30"), is_delivered=False
    )
    error = await refusal(case)

    assert error.category is ErrorCategory.RATE_LIMITED
    assert error.retry_after == timedelta(seconds=30)


@pytest.mark.parametrize("values", [None, {}], ids=["none", "empty"])
async def test_account_without_credentials_needs_to_be_connected(
    case: AdapterCase, values: dict[str, object] | None
) -> None:
    request = replace(case.request, credentials=MemoryCredentials(values))
    with pytest.raises(NotPublished) as caught:
        await case.adapter.publish(request)

    assert caught.value.category is ErrorCategory.AUTH
    assert case.server.publishing_requests == []


async def test_verification_publishes_nothing(case: AdapterCase) -> None:
    assert await case.adapter.verify_credentials(case.request.credentials) != AccountIdentity()
    assert case.server.publishing_requests == []


async def test_empty_credentials_are_not_verified(case: AdapterCase) -> None:
    with pytest.raises(NotPublished) as caught:
        await case.adapter.verify_credentials(MemoryCredentials({}))
    assert caught.value.category is ErrorCategory.AUTH


async def test_nothing_is_sent_after_the_deadline(case: AdapterCase) -> None:
    request = replace(case.request, deadline=FixedDeadline(0))
    with pytest.raises(NotPublished) as caught:
        await case.adapter.publish(request)

    assert caught.value.code == "NOT_CALLED"
    assert case.server.publishing_requests == []


@pytest.mark.parametrize("status", [200, 400, 401, 403, 422, 429, 500])
async def test_error_contains_no_secret(case: AdapterCase, status: int) -> None:
    case.server.interception = Interception(echo(status), is_delivered=False)
    error = await publish_error(case)

    assert case.server.publishing_requests
    raw = error.raw if isinstance(error, PlatformCallError) else None
    for secret in case.secrets:
        assert secret not in f"{error}{error!r}{raw}"
