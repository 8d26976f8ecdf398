"""Work that is cancelled where it waits for the nth time, so that each such place can be tried. No tests."""

import asyncio
from collections.abc import Coroutine, Generator
from functools import partial
from typing import Any


async def cancel_at_await(work: Coroutine[Any, Any, Any], *, await_number: int) -> int:
    """Run it in a task that is cancelled at this wait, or never at 0; how often it waited."""
    steps = _CancelledAt(work, await_number)

    async def run() -> None:
        await steps

    await asyncio.wait([asyncio.create_task(run())])
    return steps.await_count


class _CancelledAt:
    """To be awaited by a task of its own, which is cancelled at this wait."""

    def __init__(self, work: Coroutine[Any, Any, Any], cancel_at: int) -> None:
        self._work = work
        self._cancel_at = cancel_at
        self.await_count = 0
        """How many there were."""

    def __await__(self) -> Generator[Any, Any, Any]:
        steps = self._work.__await__()
        go_on: partial[Any] = partial(steps.send, None)
        while True:
            try:
                what_is_waited_for = go_on()
            except StopIteration as end:
                return end.value
            self.await_count += 1
            if self.await_count == self._cancel_at:
                task = asyncio.current_task()
                assert task is not None
                task.cancel()
            try:
                yield what_is_waited_for
            except BaseException as error:  # noqa: BLE001 - it is the work's own affair
                go_on = partial(steps.throw, error)
            else:
                go_on = partial(steps.send, None)
