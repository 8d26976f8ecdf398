"""Runs a coroutine in a task that is cancelled at its nth await, so that tests can try every await."""

import asyncio
from collections.abc import Coroutine, Generator
from functools import partial
from typing import Any


async def cancel_at_await(work: Coroutine[Any, Any, Any], *, await_number: int) -> int:
    """Cancel `work` at the given await, or never if it is 0; return the number of awaits."""
    steps = _CancelledAt(work, await_number)

    async def run() -> None:
        await steps

    await asyncio.wait([asyncio.create_task(run())])
    return steps.await_count


class _CancelledAt:
    """Awaitable that cancels its own task at the given await."""

    def __init__(self, work: Coroutine[Any, Any, Any], cancel_at: int) -> None:
        self._work = work
        self._cancel_at = cancel_at
        self.await_count = 0

    def __await__(self) -> Generator[Any, Any, Any]:
        steps = self._work.__await__()
        resume: partial[Any] = partial(steps.send, None)
        while True:
            try:
                awaited = resume()
            except StopIteration as end:
                return end.value
            self.await_count += 1
            if self.await_count == self._cancel_at:
                task = asyncio.current_task()
                assert task is not None
                task.cancel()
            try:
                yield awaited
            except BaseException as error:  # noqa: BLE001 - the work handles the exception
                resume = partial(steps.throw, error)
            else:
                resume = partial(steps.send, None)
