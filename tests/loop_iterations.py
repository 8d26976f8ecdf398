"""Counts iterations of the event loop: a long computation in the event loop would allow only a few."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass


@dataclass
class Iterations:
    count: int = 0


@asynccontextmanager
async def count_iterations() -> AsyncIterator[Iterations]:
    """Count the iterations of the event loop while the context is open."""
    iterations = Iterations()

    async def count() -> None:
        while True:
            iterations.count += 1
            await asyncio.sleep(0)

    counting = asyncio.create_task(count())
    try:
        yield iterations
    finally:
        counting.cancel()
