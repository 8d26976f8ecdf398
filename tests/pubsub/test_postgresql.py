"""Wake-ups by PostgreSQL, while it is there: who is woken by what, and in how many notifications."""

import asyncio
import time
from uuid import UUID

import pytest
import structlog

from app.domain.ids import WorkspaceId
from app.pubsub.postgresql import MAX_WORKSPACES_PER_PAYLOAD, MIN_NOTIFY_INTERVAL, encode_payload
from tests.pubsub.notifiers import make_notifier, start_listening
from tests.pubsub.postgres_session import PostgresSession

FIRST, SECOND, THIRD = WORKSPACES = [WorkspaceId(UUID(int=number)) for number in (1, 2, 3)]


async def test_each_wakes_the_other(url: str) -> None:
    a, b = make_notifier(url), make_notifier(url)
    async with start_listening(a) as by_a, start_listening(b) as by_b:
        a.notify(FIRST)
        assert await by_b.next_wake_up() == FIRST
        b.notify(SECOND)
        assert [await by_a.next_wake_up() for _ in range(2)] == [FIRST, SECOND]


async def test_nobody_hears_of_its_own_again(url: str) -> None:
    a, b = make_notifier(url), make_notifier(url)
    async with start_listening(a) as by_a, start_listening(b) as by_b:
        a.notify(FIRST)
        assert await by_b.next_wake_up() == FIRST
        b.notify(SECOND)  # is sent, and so heard, after what was told by a
        assert [await by_a.next_wake_up() for _ in range(2)] == [FIRST, SECOND]
        assert (by_a.drain(), by_b.drain()) == ([], [SECOND])


async def test_a_burst_is_one_notification(url: str, postgres_session: PostgresSession) -> None:
    await postgres_session.listen()
    a, b = make_notifier(url), make_notifier(url)
    async with start_listening(a) as by_a, start_listening(b) as by_b:
        told = WORKSPACES * 333 + [FIRST]
        for each in told:
            a.notify(each)
        assert by_a.drain() == told
        assert [await by_b.next_wake_up() for _ in range(3)] == WORKSPACES
        assert await postgres_session.next_payload() == encode_payload(WORKSPACES)
        await postgres_session.notify("the last one")
        assert await postgres_session.next_payload() == "the last one"


async def test_under_many_writers_notifications_are_few_and_nothing_told_is_lost(
    url: str, postgres_session: PostgresSession
) -> None:
    await postgres_session.listen()
    a, b = make_notifier(url), make_notifier(url)
    told = [WorkspaceId(UUID(int=number)) for number in range(MAX_WORKSPACES_PER_PAYLOAD)]
    async with start_listening(a), start_listening(b) as by_b:
        began = time.monotonic()
        for each in told:
            a.notify(each)
            await asyncio.sleep(0.001)
        assert [await by_b.next_wake_up() for _ in told] == told
        assert (
            len(postgres_session.drain_payloads())
            <= 2 + (time.monotonic() - began) / MIN_NOTIFY_INTERVAL.total_seconds()
        )


@pytest.mark.parametrize("turns", range(10))
async def test_what_is_told_while_a_notification_is_sent_goes_into_the_next(
    url: str, postgres_session: PostgresSession, turns: int
) -> None:
    await postgres_session.listen()
    a = make_notifier(url)
    async with start_listening(a):
        a.notify(FIRST)
        for _ in range(turns):
            await asyncio.sleep(0)
        for each in (SECOND, THIRD, SECOND):
            a.notify(each)
        first = await postgres_session.next_payload()
        if first == encode_payload([FIRST]):
            assert await postgres_session.next_payload() == encode_payload([SECOND, THIRD])
        else:  # it was not being sent yet
            assert first == encode_payload(WORKSPACES)


async def test_more_than_can_be_named_may_be_any(url: str) -> None:
    a, b = make_notifier(url), make_notifier(url)
    async with start_listening(a) as by_a, start_listening(b) as by_b:
        many = [WorkspaceId(UUID(int=number)) for number in range(5 * MAX_WORKSPACES_PER_PAYLOAD)]
        for each in many:
            a.notify(each)
        assert await by_b.next_wake_up() is None
        a.notify(FIRST)
        assert await by_b.next_wake_up() == FIRST
        assert by_a.drain() == [*many, FIRST]


@pytest.mark.parametrize("payload", ["", "*", "x" * 7999, f"{FIRST},", "Zoë “☃” 🎉", "'; DROP"])
async def test_a_notification_of_somebody_else_breaks_nothing(
    url: str, postgres_session: PostgresSession, payload: str
) -> None:
    a, b = make_notifier(url), make_notifier(url)
    with structlog.testing.capture_logs() as logs:
        async with start_listening(a) as by_a, start_listening(b):
            await postgres_session.notify(payload)
            assert await by_a.next_wake_up() is None
            b.notify(FIRST)
            assert await by_a.next_wake_up() == FIRST
    assert logs == []


async def test_what_was_told_before_it_ran_is_sent(url: str) -> None:
    a, b = make_notifier(url), make_notifier(url)
    a.notify(FIRST)
    async with start_listening(b) as by_b, start_listening(a):
        assert await by_b.next_wake_up() == FIRST


@pytest.mark.parametrize("turns", range(10))
async def test_what_is_told_right_before_the_end_is_sent(url: str, turns: int) -> None:
    """Also while the notification of what was told before is on its way."""
    a, b = make_notifier(url), make_notifier(url)
    async with start_listening(b) as by_b:
        async with start_listening(a):
            await asyncio.sleep(
                3 * MIN_NOTIFY_INTERVAL.total_seconds()
            )  # so that the next is sent at once
            a.notify(FIRST)
            for _ in range(turns):
                await asyncio.sleep(0)
            a.notify(SECOND)
        assert [await by_b.next_wake_up() for _ in range(2)] == [FIRST, SECOND]


async def test_it_has_one_connection_and_none_at_the_end(
    url: str, postgres_session: PostgresSession
) -> None:
    a = make_notifier(url, "counted")
    tasks = asyncio.all_tasks()
    async with start_listening(a):
        for each in WORKSPACES:
            a.notify(each)
        assert len(await postgres_session.backend_pids("counted")) == 1
    await postgres_session.wait_until_disconnected("counted")
    assert asyncio.all_tasks() == tasks
