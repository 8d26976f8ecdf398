"""Wake-ups by PostgreSQL, while it is there: who is woken by what, and in how many notifications."""

import asyncio
import time
from uuid import UUID

import pytest
import structlog

from app.domain.ids import WorkspaceId
from app.pubsub.notifications import MOST_NAMED, write_payload
from app.pubsub.postgresql import GAP
from tests.pubsub.listening import listening, wake_ups_of
from tests.pubsub.psql import Psql

FIRST, SECOND, THIRD = WORKSPACES = [WorkspaceId(UUID(int=number)) for number in (1, 2, 3)]


async def test_each_wakes_the_other(url: str) -> None:
    a, b = wake_ups_of(url), wake_ups_of(url)
    async with listening(a) as by_a, listening(b) as by_b:
        a.tell(FIRST)
        assert await by_b.by() == FIRST
        b.tell(SECOND)
        assert [await by_a.by() for _ in range(2)] == [FIRST, SECOND]


async def test_nobody_hears_of_its_own_again(url: str) -> None:
    a, b = wake_ups_of(url), wake_ups_of(url)
    async with listening(a) as by_a, listening(b) as by_b:
        a.tell(FIRST)
        assert await by_b.by() == FIRST
        b.tell(SECOND)  # is sent, and so heard, after what was told by a
        assert [await by_a.by() for _ in range(2)] == [FIRST, SECOND]
        assert (by_a.so_far(), by_b.so_far()) == ([], [SECOND])


async def test_a_burst_is_one_notification(url: str, psql: Psql) -> None:
    await psql.listen()
    a, b = wake_ups_of(url), wake_ups_of(url)
    async with listening(a) as by_a, listening(b) as by_b:
        told = WORKSPACES * 333 + [FIRST]
        for each in told:
            a.tell(each)
        assert by_a.so_far() == told
        assert [await by_b.by() for _ in range(3)] == WORKSPACES
        assert await psql.payload() == write_payload(WORKSPACES)
        await psql.notify("the last one")
        assert await psql.payload() == "the last one"


async def test_under_many_writers_notifications_are_few_and_nothing_told_is_lost(
    url: str, psql: Psql
) -> None:
    await psql.listen()
    a, b = wake_ups_of(url), wake_ups_of(url)
    told = [WorkspaceId(UUID(int=number)) for number in range(MOST_NAMED)]
    async with listening(a), listening(b) as by_b:
        began = time.monotonic()
        for each in told:
            a.tell(each)
            await asyncio.sleep(0.001)
        assert [await by_b.by() for _ in told] == told
        assert len(psql.payloads_so_far()) <= 2 + (time.monotonic() - began) / GAP.total_seconds()


@pytest.mark.parametrize("turns", range(10))
async def test_what_is_told_while_a_notification_is_sent_goes_into_the_next(
    url: str, psql: Psql, turns: int
) -> None:
    await psql.listen()
    a = wake_ups_of(url)
    async with listening(a):
        a.tell(FIRST)
        for _ in range(turns):
            await asyncio.sleep(0)
        for each in (SECOND, THIRD, SECOND):
            a.tell(each)
        first = await psql.payload()
        if first == write_payload([FIRST]):
            assert await psql.payload() == write_payload([SECOND, THIRD])
        else:  # it was not being sent yet
            assert first == write_payload(WORKSPACES)


async def test_more_than_can_be_named_may_be_any(url: str) -> None:
    a, b = wake_ups_of(url), wake_ups_of(url)
    async with listening(a) as by_a, listening(b) as by_b:
        many = [WorkspaceId(UUID(int=number)) for number in range(5 * MOST_NAMED)]
        for each in many:
            a.tell(each)
        assert await by_b.by() is None
        a.tell(FIRST)
        assert await by_b.by() == FIRST
        assert by_a.so_far() == [*many, FIRST]


@pytest.mark.parametrize("payload", ["", "*", "x" * 7999, f"{FIRST},", "Zoë “☃” 🎉", "'; DROP"])
async def test_a_notification_of_somebody_else_breaks_nothing(
    url: str, psql: Psql, payload: str
) -> None:
    a, b = wake_ups_of(url), wake_ups_of(url)
    with structlog.testing.capture_logs() as logs:
        async with listening(a) as by_a, listening(b):
            await psql.notify(payload)
            assert await by_a.by() is None
            b.tell(FIRST)
            assert await by_a.by() == FIRST
    assert logs == []


async def test_what_was_told_before_it_ran_is_sent(url: str) -> None:
    a, b = wake_ups_of(url), wake_ups_of(url)
    a.tell(FIRST)
    async with listening(b) as by_b, listening(a):
        assert await by_b.by() == FIRST


@pytest.mark.parametrize("turns", range(10))
async def test_what_is_told_right_before_the_end_is_sent(url: str, turns: int) -> None:
    """Also while the notification of what was told before is on its way."""
    a, b = wake_ups_of(url), wake_ups_of(url)
    async with listening(b) as by_b:
        async with listening(a):
            await asyncio.sleep(3 * GAP.total_seconds())  # so that the next is sent at once
            a.tell(FIRST)
            for _ in range(turns):
                await asyncio.sleep(0)
            a.tell(SECOND)
        assert [await by_b.by() for _ in range(2)] == [FIRST, SECOND]


async def test_it_has_one_connection_and_none_at_the_end(url: str, psql: Psql) -> None:
    a = wake_ups_of(url, "counted")
    tasks = asyncio.all_tasks()
    async with listening(a):
        for each in WORKSPACES:
            a.tell(each)
        assert len(await psql.processes("counted")) == 1
    await psql.until_gone("counted")
    assert asyncio.all_tasks() == tasks
