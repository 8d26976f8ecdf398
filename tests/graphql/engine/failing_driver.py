"""A driver that fails for some statements."""

from collections.abc import Sequence

from app.db.core.database import ReadDriver
from app.db.core.statements import CompiledStatement, Record


class FailingDriver:
    """A driver that fails for statements that contain a text."""

    def __init__(self, driver: ReadDriver, error: Exception, pattern: str) -> None:
        self._driver = driver
        self._error = error
        self._pattern = pattern
        self.failures = 0
        """Number of statements that have failed."""

    async def fetch(
        self, query: CompiledStatement, arguments: Sequence[object]
    ) -> Sequence[Record]:
        if self._pattern in query.sql.replace("\n", " "):
            self.failures += 1
            raise self._error
        return await self._driver.fetch(query, arguments)

    async def close(self) -> None:
        await self._driver.close()
