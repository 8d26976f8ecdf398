"""Order in which delayed requests start, and how many start per iteration of the event loop."""

import asyncio
from collections import Counter
from datetime import timedelta

import pytest

from app.domain.errors import ServiceUnavailable
from app.http.fair_queue import FairQueue
from app.http.request import ApiRequest

LONG = timedelta(minutes=1)
ANY_WAIT_IS_TOO_LONG = timedelta(microseconds=-1)
"""Less than zero, which a clock of milliseconds may measure."""
PAST_BUDGET = 0.011
"""Seconds after the begin of an iteration at which a request is delayed."""


class StartLog:
    """Sends requests through a queue, and records the start of each with the iteration of the event loop."""

    def __init__(self, timeout: timedelta = LONG) -> None:
        self._loop = asyncio.get_running_loop()
        self._queue = FairQueue(lambda request: request.token, timeout)
        self.starts: list[str] = []
        """Callers in the order of their starts."""
        self.iterations: list[int] = []
        """Iteration of each start."""
        self._iteration = 0
        self._count_iterations()

    def _count_iterations(self) -> None:
        self._iteration += 1
        self._loop.call_soon(self._count_iterations)

    async def send(self, caller: str, now: float = PAST_BUDGET) -> None:
        await self._queue.wait(ApiRequest("5f3a9c1d", caller, None), now)
        self.starts.append(caller)
        self.iterations.append(self._iteration)

    def send_all(self, *callers: str) -> list["asyncio.Task[None]"]:
        """Send requests in one iteration, whose budget ends before the second one."""
        tasks = [asyncio.create_task(self.send(callers[0], 0.0))]
        tasks += [asyncio.create_task(self.send(caller)) for caller in callers[1:]]
        return tasks


async def test_requests_within_budget_start_immediately() -> None:
    log = StartLog()

    await asyncio.gather(*(log.send("a", now / 10_000) for now in range(50)))

    assert log.starts == ["a"] * 50
    assert set(log.iterations) == {log.iterations[0]}


async def test_one_delayed_request_starts_per_iteration() -> None:
    log = StartLog()

    await asyncio.gather(*log.send_all(*["a"] * 50))

    assert len(log.starts) == 50
    assert set(Counter(log.iterations).values()) == {1}


async def test_callers_rotate() -> None:
    log = StartLog()

    await asyncio.gather(*log.send_all(*["a"] * 5, "b", "b", "c"))

    assert log.starts == ["a", "a", "b", "c", "a", "b", "a", "a"]


async def test_later_caller_starts_before_earlier_requests_of_another() -> None:
    log = StartLog()
    flood = log.send_all(*["a"] * 100)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    started_before = len(log.starts)

    await log.send("b", 0.0)

    assert log.starts.index("b") <= started_before + 2
    await asyncio.gather(*flood)


async def test_requests_arriving_behind_delayed_ones_are_delayed_too() -> None:
    log = StartLog()
    first = log.send_all("a", "a", "a", "a")
    await asyncio.sleep(0)

    await asyncio.gather(log.send("a", 0.0), *first)

    assert len(set(log.iterations)) == 5


async def test_budget_is_renewed_after_all_delayed_requests_have_started() -> None:
    log = StartLog()
    await asyncio.gather(*log.send_all("a", "a", "a"))
    del log.iterations[:]

    await asyncio.gather(*(log.send("a", 1.0) for _ in range(10)))

    assert set(log.iterations) == {log.iterations[0]}


async def test_cancelled_requests_are_skipped() -> None:
    log = StartLog()
    first, second, third, fourth = log.send_all("a", "b", "c", "d")
    await asyncio.sleep(0)

    second.cancel()
    await asyncio.gather(first, third, fourth)

    assert log.starts == ["a", "c", "d"]
    with pytest.raises(asyncio.CancelledError):
        await second


async def test_too_many_delayed_requests_of_one_caller_are_refused() -> None:
    log = StartLog()
    tasks = log.send_all(*["a"] * 20_001)
    await asyncio.sleep(0)

    with pytest.raises(ServiceUnavailable) as error:
        await log.send("a")
    assert error.value.message == "Too many requests are waiting. Try again in 5 s."
    assert error.value.retry_after == 5
    await log.send("b")

    assert log.starts[-1] == "b"
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_requests_that_waited_too_long_are_refused_one_per_iteration() -> None:
    log = StartLog(ANY_WAIT_IS_TOO_LONG)

    results = await asyncio.gather(*log.send_all(*["a"] * 5), return_exceptions=True)

    assert log.starts == ["a"]
    assert results[0] is None
    for error in results[1:]:
        assert isinstance(error, ServiceUnavailable)
        assert error.message == (
            "The server is busy: the request has waited for 0 s. Try again in 5 s."
        )
        assert error.retry_after == 5
