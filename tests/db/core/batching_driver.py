"""Driver that makes concurrent point reads form batches, and may change the SQL of the batches."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from app.db.core.statements import CompiledStatement, Record
from tests.db.core.intercepting_driver import WrappingDriver


def unchanged(sql: str) -> str:
    return sql


@dataclass(slots=True)
class BatchingDriver(WrappingDriver):
    """Counts the reads that a batch answers."""

    rewrite: Callable[[str], str] = unchanged
    """Function from the SQL of a batch to the SQL that runs."""
    interval: float = 0
    """Point reads start at multiples of this time in seconds, so that those of slow requests meet."""
    batched_reads: int = 0
    """Number of reads that returned rows from a batch."""
    _statements: dict[CompiledStatement, CompiledStatement] = field(default_factory=dict)

    async def fetch(
        self, statement: CompiledStatement, arguments: Sequence[object]
    ) -> Sequence[Record]:
        if statement.batch is None:
            return await self.driver.fetch(statement, arguments)
        if statement not in self._statements:
            many = statement.batch.statement
            rewritten = replace(
                statement.batch, statement=replace(many, sql=self.rewrite(many.sql))
            )
            self._statements[statement] = replace(statement, batch=rewritten)
        if self.interval:
            await asyncio.sleep(self.interval - asyncio.get_running_loop().time() % self.interval)
        rows = await self.driver.fetch(self._statements[statement], arguments)
        self.batched_reads += bool(rows) and "request_number" in rows[0].indexes
        return rows
