"""Stub driver that replaces the SQL of every statement."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from app.db.core.database import ReadDriver
from app.db.core.statements import CompiledStatement, Record


@dataclass(slots=True)
class StubDriver:
    """Runs `sql`, without arguments, instead of each statement; None runs the statements unchanged."""

    sql: str | None
    driver: ReadDriver = field(init=False)

    def __call__(self, driver: ReadDriver) -> "StubDriver":
        self.driver = driver
        return self

    async def fetch(
        self, statement: CompiledStatement, arguments: Sequence[object]
    ) -> Sequence[Record]:
        if self.sql is None:
            return await self.driver.fetch(statement, arguments)
        return await self.driver.fetch(replace(statement, sql=self.sql, batch=None), ())

    async def close(self) -> None:
        await self.driver.close()
