"""A driver that does something before each statement, and counts them. Knows no statements."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

from app.db.core.database import Driver
from app.db.core.statements import CompiledStatement, Record


async def do_nothing() -> None:
    """Before a statement that is run as it is."""


@dataclass(slots=True)
class InterceptingDriver:
    """For `Database(driven_by=…)`; what is raised before a statement is raised in its place."""

    before_statement: Callable[[], Awaitable[None]] = do_nothing
    count: int = 0
    """Of the statements so far."""
    running: int = 0
    """Of the statements that have not ended."""
    driver: Driver = field(init=False)

    def before_nth(self, number: int, work: Callable[[], Awaitable[None]]) -> None:
        """Before the statement with this number among those to come, counted from 0."""
        at = self.count + number

        async def run_at_nth() -> None:
            if self.count == at:
                await work()

        self.before_statement = run_at_nth

    def __call__(self, driver: Driver) -> "InterceptingDriver":
        self.driver = driver
        return self

    async def fetch(
        self, query: CompiledStatement, arguments: Sequence[object]
    ) -> Sequence[Record]:
        self.running += 1
        try:
            await self.before_statement()
            self.count += 1
            return await self.driver.fetch(query, arguments)
        finally:
            self.running -= 1

    async def close(self) -> None:
        await self.driver.close()
