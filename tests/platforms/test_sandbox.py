"""The sandbox does what the account's name says, and the same each time."""

from datetime import timedelta
from pathlib import Path

import pytest
import structlog

from app.domain.attempts import Publication
from app.domain.destinations import ErrorCategory
from app.platforms.protocol import LookupMiss, NotPublished
from app.platforms.sandbox import Behaviour, Sandbox, Script
from app.platforms.sandbox_store import SandboxStore
from tests.factories import NOW
from tests.platforms.publish_requests import DESTINATION, FixedDeadline, publish_request


class RecordedSandbox:
    """A sandbox whose sleeps are counted and take no time."""

    def __init__(self, file: Path | None = None) -> None:
        self.sleeps: list[float] = []
        self.ledger = SandboxStore(file)
        self.sandbox = Sandbox(self.ledger, now=lambda: NOW, sleep=self._sleep)

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
def test_an_accounts_name_is_its_script(name: str, behaviour: Behaviour, seconds: float) -> None:
    assert Script.from_account_name(name) == Script(behaviour, seconds)


@pytest.mark.parametrize(
    ("name", "attempt", "slept"),
    [
        ("succeeds", 1, [1]),
        ("slow", 1, [1, 15]),
        ("rate-limited", 2, [1]),
        ("flaky", 2, [1]),
        ("loses-token", 2, [1]),
    ],
)
async def test_what_is_published_is_in_the_ledger(
    name: str, attempt: int, slept: list[float]
) -> None:
    made = RecordedSandbox()
    publication = await made.sandbox.publish(publish_request(name, attempt=attempt))

    platform_post_id = f"d1e2f3a4b5c6-{attempt}"
    assert publication == Publication(
        platform_post_id=platform_post_id,
        platform_post_url=f"https://sandbox.example/{name}/{platform_post_id}",
        published_at=NOW,
    )
    (entry,) = made.ledger.posts()
    assert (entry.destination_id, entry.account, entry.attempt) == (DESTINATION.id, name, attempt)
    assert await made.sandbox.look_up(publish_request(name, attempt=attempt)) == publication
    assert made.sleeps == [*slept, 1]


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
async def test_what_is_refused_is_not_in_the_ledger(
    name: str,
    attempt: int,
    category: ErrorCategory,
    code: str,
    http_status: int,
    retry_after: float | None,
) -> None:
    made = RecordedSandbox()
    with pytest.raises(NotPublished) as refused:
        await made.sandbox.publish(publish_request(name, attempt=attempt))

    told = refused.value
    assert (told.category, told.code, told.http_status) == (category, code, http_status)
    assert told.retry_after == (None if retry_after is None else timedelta(seconds=retry_after))
    assert made.ledger.posts() == ()
    assert await made.sandbox.look_up(publish_request(name)) is LookupMiss.NOT_FOUND


async def test_one_that_times_out_has_published_before() -> None:
    made = RecordedSandbox()
    with pytest.raises(TimeoutError, match="the sandbox did not answer"):
        await made.sandbox.publish(publish_request("times-out"))

    assert made.sleeps == [1, 3]
    assert len(made.ledger.posts()) == 1
    assert isinstance(await made.sandbox.look_up(publish_request("times-out")), Publication)


async def test_after_the_deadline_nothing_is_published() -> None:
    made = RecordedSandbox()
    with pytest.raises(NotPublished, match="did not call the platform"):
        await made.sandbox.publish(publish_request("slow", deadline=FixedDeadline(-1)))

    assert made.ledger.posts() == ()


async def test_what_cannot_be_stored_is_not_published_and_no_reader_sees_where(
    tmp_path: Path,
) -> None:
    made = RecordedSandbox(tmp_path)
    with structlog.testing.capture_logs() as logs, pytest.raises(NotPublished) as refused:
        await made.sandbox.publish(publish_request("succeeds"))

    told = refused.value
    assert (told.category, told.code) == (ErrorCategory.TRANSIENT, "NOT_STORED")
    assert told.message == "The sandbox could not store the post, so it is not published."
    assert told.raw is None
    assert [(each["event"], each["log_level"]) for each in logs] == [
        ("the sandbox cannot write its file", "error")
    ]


async def test_without_its_file_it_cannot_say_what_is_published(tmp_path: Path) -> None:
    made = RecordedSandbox(tmp_path)
    with structlog.testing.capture_logs() as logs:
        assert await made.sandbox.look_up(publish_request("succeeds")) is LookupMiss.INCONCLUSIVE

    assert [(each["event"], each["log_level"]) for each in logs] == [
        ("the sandbox cannot read its file", "error")
    ]
