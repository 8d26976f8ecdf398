"""A driver that does something before each statement, and counts them. Knows no statements."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

from app.db.engine import Driver
from app.db.queries import Prepared, Record


async def nothing() -> None:
    """Before a statement that is run as it is."""


@dataclass(slots=True)
class Between:
    """For `Database(driven_by=…)`; what is raised before a statement is raised in its place."""

    before: Callable[[], Awaitable[None]] = nothing
    count: int = 0
    """Of the statements so far."""
    running: int = 0
    """Of the statements that have not ended."""
    driver: Driver = field(init=False)

    def once_before(self, number: int, work: Callable[[], Awaitable[None]]) -> None:
        """Before the statement with this number among those to come, counted from 0."""
        at = self.count + number

        async def work_if_it_is_time() -> None:
            if self.count == at:
                await work()

        self.before = work_if_it_is_time

    def __call__(self, driver: Driver) -> "Between":
        self.driver = driver
        return self

    async def fetch(self, query: Prepared, arguments: Sequence[object]) -> Sequence[Record]:
        self.running += 1
        try:
            await self.before()
            self.count += 1
            return await self.driver.fetch(query, arguments)
        finally:
            self.running -= 1

    async def close(self) -> None:
        await self.driver.close()
