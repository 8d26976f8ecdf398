"""A driver that runs another statement than it is asked to. Nothing of its own to run."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from app.db.core.database import Driver
from app.db.core.statements import CompiledStatement, Record


@dataclass(slots=True)
class StubDriver:
    """Runs this text, which has no arguments, as long as there is one."""

    sql: str | None
    driver: Driver = field(init=False)

    def __call__(self, driver: Driver) -> "StubDriver":
        self.driver = driver
        return self

    async def fetch(
        self, query: CompiledStatement, arguments: Sequence[object]
    ) -> Sequence[Record]:
        if self.sql is None:
            return await self.driver.fetch(query, arguments)
        return await self.driver.fetch(replace(query, sql=self.sql), ())

    async def close(self) -> None:
        await self.driver.close()
