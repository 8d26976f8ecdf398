"""A driver that runs another statement than it is asked to. Nothing of its own to run."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from app.db.engine import Driver
from app.db.queries import Prepared, Record


@dataclass(slots=True)
class Instead:
    """Runs this text, which has no arguments, as long as there is one."""

    sql: str | None
    driver: Driver = field(init=False)

    def __call__(self, driver: Driver) -> "Instead":
        self.driver = driver
        return self

    async def fetch(self, query: Prepared, arguments: Sequence[object]) -> Sequence[Record]:
        if self.sql is None:
            return await self.driver.fetch(query, arguments)
        return await self.driver.fetch(replace(query, sql=self.sql), ())

    async def close(self) -> None:
        await self.driver.close()
