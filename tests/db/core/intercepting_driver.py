"""Driver that runs a callback before each statement and counts the statements."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

from app.db.core.database import ReadDriver
from app.db.core.statements import CompiledStatement, Record


async def do_nothing() -> None:
    """Default callback."""


@dataclass(slots=True)
class InterceptingDriver:
    """For `Database(wrap_driver=…)`; an exception of the callback replaces the statement."""

    before_statement: Callable[[], Awaitable[object]] = do_nothing
    count: int = 0
    """Number of statements so far."""
    running: int = 0
    """Number of running statements."""
    driver: ReadDriver = field(init=False)

    def before_nth(self, number: int, work: Callable[[], Awaitable[None]]) -> None:
        """Run `work` before the nth of the next statements, counted from 0."""
        at = self.count + number

        async def run_at_nth() -> None:
            if self.count == at:
                await work()

        self.before_statement = run_at_nth

    def __call__(self, driver: ReadDriver) -> "InterceptingDriver":
        self.driver = driver
        return self

    async def fetch(
        self, statement: CompiledStatement, arguments: Sequence[object]
    ) -> Sequence[Record]:
        self.running += 1
        try:
            await self.before_statement()
            self.count += 1
            return await self.driver.fetch(statement, arguments)
        finally:
            self.running -= 1

    async def close(self) -> None:
        await self.driver.close()
