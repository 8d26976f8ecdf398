"""Drivers for `Database(wrap_driver=…)`: one that intercepts statements, and one that replaces their SQL."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Self

from app.db.core.database import ReadDriver
from app.db.core.statements import CompiledStatement, Record


@dataclass(slots=True)
class WrappingDriver:
    """Base class; runs each statement unchanged."""

    driver: ReadDriver = field(init=False)

    def __call__(self, driver: ReadDriver) -> Self:
        self.driver = driver
        return self

    async def fetch(
        self, statement: CompiledStatement, arguments: Sequence[object]
    ) -> Sequence[Record]:
        return await self.driver.fetch(statement, arguments)

    async def close(self) -> None:
        await self.driver.close()


async def do_nothing() -> None:
    """Default callback."""


@dataclass(slots=True)
class InterceptingDriver(WrappingDriver):
    """Runs a callback before each statement, whose exception replaces the statement, and counts them."""

    before_statement: Callable[[], Awaitable[object]] = do_nothing
    count: int = 0
    """Number of statements so far."""
    running: int = 0
    """Number of running statements."""

    def before_nth(self, number: int, work: Callable[[], Awaitable[None]]) -> None:
        """Run `work` before the nth of the next statements, counted from 0."""
        at = self.count + number

        async def run_at_nth() -> None:
            if self.count == at:
                await work()

        self.before_statement = run_at_nth

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


@dataclass(slots=True)
class StubDriver(WrappingDriver):
    """Runs `sql`, without arguments, instead of each statement; None runs the statements unchanged."""

    sql: str | None

    async def fetch(
        self, statement: CompiledStatement, arguments: Sequence[object]
    ) -> Sequence[Record]:
        if self.sql is None:
            return await self.driver.fetch(statement, arguments)
        return await self.driver.fetch(replace(statement, sql=self.sql, batch=None), ())
