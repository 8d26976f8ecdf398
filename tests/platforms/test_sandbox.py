"""Tests of the sandbox: each account name has its behaviour."""

from datetime import timedelta
from pathlib import Path

import pytest
import structlog

from app.domain.attempts import Publication
from app.domain.destinations import ErrorCategory
from app.platforms.protocol import LookupFailure, NotPublished
from app.platforms.sandbox import Behaviour, Sandbox, Script
from app.platforms.sandbox_store import SandboxStore
from tests.factories import NOW
from tests.platforms.publish_requests import DESTINATION, FixedDeadline, publish_request


class RecordedSandbox:
    """A sandbox that records its sleeps instead of sleeping."""

    def __init__(self, file: Path | None = None) -> None:
        self.sleeps: list[float] = []
        self.store = SandboxStore(file)
        self.sandbox = Sandbox(self.store, now=lambda: NOW, sleep=self._sleep)

    async def _sleep(self, seconds: float) -> None:
        self.sleeps.append(seconds)


@pytest.mark.parametrize(
    ("name", "behaviour", "seconds"),
    [
        ("succeeds", Behaviour.SUCCEEDS, 0),
        ("Whatever", Behaviour.SUCCEEDS, 0),
        ("slow", Behaviour.SLOW, 15),
        ("Slow 2.5s", Behaviour.SLOW, 2.5),
        ("slow, 30 s", Behaviour.SLOW, 30),
        ("slow 30sheep", Behaviour.SLOW, 15),
        ("rate-limited", Behaviour.RATE_LIMITED, 20),
        ("flaky-2", Behaviour.FLAKY, 0),
        ("loses-token", Behaviour.LOSES_TOKEN, 0),
        ("rejects", Behaviour.REJECTS, 0),
        ("times-out 0s", Behaviour.TIMES_OUT, 0),
    ],
)
def test_account_name_is_parsed_as_script(name: str, behaviour: Behaviour, seconds: float) -> None:
    assert Script.from_account_name(name) == Script(behaviour, seconds)


@pytest.mark.parametrize(
    ("name", "attempt", "sleeps"),
    [
        ("succeeds", 1, [1]),
        ("slow", 1, [1, 15]),
        ("rate-limited", 2, [1]),
        ("flaky", 2, [1]),
        ("loses-token", 2, [1]),
    ],
)
async def test_published_post_is_stored(name: str, attempt: int, sleeps: list[float]) -> None:
    recorded = RecordedSandbox()
    publication = await recorded.sandbox.publish(publish_request(name, attempt=attempt))

    platform_post_id = f"d1e2f3a4b5c6-{attempt}"
    assert publication == Publication(
        platform_post_id=platform_post_id,
        platform_post_url=f"https://sandbox.example/{name}/{platform_post_id}",
        published_at=NOW,
    )
    (post,) = recorded.store.posts()
    assert (post.destination_id, post.account, post.attempt) == (DESTINATION.id, name, attempt)
    assert await recorded.sandbox.look_up(publish_request(name, attempt=attempt)) == publication
    assert recorded.sleeps == [*sleeps, 1]


@pytest.mark.parametrize(
    ("name", "attempt", "category", "code", "http_status", "retry_after"),
    [
        ("rate-limited", 1, ErrorCategory.RATE_LIMITED, "TOO_MANY_POSTS", 429, 20),
        ("rate-limited 3s", 1, ErrorCategory.RATE_LIMITED, "TOO_MANY_POSTS", 429, 3),
        ("flaky", 1, ErrorCategory.TRANSIENT, "OVERLOADED", 503, None),
        ("loses-token", 1, ErrorCategory.AUTH, "TOKEN_EXPIRED", 401, None),
        ("rejects", 1, ErrorCategory.CONTENT_REJECTED, "CONTENT_REFUSED", 422, None),
        ("rejects", 9, ErrorCategory.CONTENT_REJECTED, "CONTENT_REFUSED", 422, None),
    ],
)
async def test_rejected_post_is_not_stored(
    name: str,
    attempt: int,
    category: ErrorCategory,
    code: str,
    http_status: int,
    retry_after: float | None,
) -> None:
    recorded = RecordedSandbox()
    with pytest.raises(NotPublished) as caught:
        await recorded.sandbox.publish(publish_request(name, attempt=attempt))

    error = caught.value
    assert (error.category, error.code, error.http_status) == (category, code, http_status)
    assert error.retry_after == (None if retry_after is None else timedelta(seconds=retry_after))
    assert recorded.store.posts() == ()
    assert await recorded.sandbox.look_up(publish_request(name)) is LookupFailure.NOT_FOUND


async def test_timeout_comes_after_publishing() -> None:
    recorded = RecordedSandbox()
    with pytest.raises(TimeoutError, match="the sandbox did not answer"):
        await recorded.sandbox.publish(publish_request("times-out"))

    assert recorded.sleeps == [1, 3]
    assert len(recorded.store.posts()) == 1
    assert isinstance(await recorded.sandbox.look_up(publish_request("times-out")), Publication)


async def test_nothing_is_published_after_the_deadline() -> None:
    recorded = RecordedSandbox()
    with pytest.raises(NotPublished, match="did not send the post"):
        await recorded.sandbox.publish(publish_request("slow", deadline=FixedDeadline(-1)))

    assert recorded.store.posts() == ()


async def test_unwritable_store_publishes_nothing_and_hides_the_path(tmp_path: Path) -> None:
    recorded = RecordedSandbox(tmp_path)
    with structlog.testing.capture_logs() as logs, pytest.raises(NotPublished) as caught:
        await recorded.sandbox.publish(publish_request("succeeds"))

    error = caught.value
    assert (error.category, error.code) == (ErrorCategory.TRANSIENT, "NOT_STORED")
    assert error.message == "The sandbox could not store the post, so it is not published."
    assert error.raw is None
    assert [(entry["event"], entry["log_level"]) for entry in logs] == [
        ("sandbox file write failed", "error")
    ]


async def test_unreadable_store_makes_lookup_inconclusive(tmp_path: Path) -> None:
    recorded = RecordedSandbox(tmp_path)
    with structlog.testing.capture_logs() as logs:
        assert (
            await recorded.sandbox.look_up(publish_request("succeeds"))
            is LookupFailure.INCONCLUSIVE
        )

    assert [(entry["event"], entry["log_level"]) for entry in logs] == [
        ("sandbox file read failed", "error")
    ]
