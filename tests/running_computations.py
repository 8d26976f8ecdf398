"""Records whether a thread computed while the event loop ran."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

from app.runtime.computations import is_idle


@dataclass
class Observation:
    saw_computation: bool = False


@asynccontextmanager
async def observe_computations() -> AsyncIterator[Observation]:
    """Check in each iteration of the event loop whether a thread of `app.runtime.computations` works.

    The result does not depend on the speed of the machine: the loop continues when the thread starts, and
    must run again to receive its result.
    """
    observation = Observation()

    async def observe() -> None:
        while True:
            observation.saw_computation |= not is_idle()
            await asyncio.sleep(0)

    observing = asyncio.create_task(observe())
    try:
        yield observation
    finally:
        observing.cancel()
        with suppress(asyncio.CancelledError):
            await observing
