"""Values that no column should have, put into rows on their way from SQLite's driver. No documents."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from hypothesis import strategies as st

from app.db.accounts import ACCOUNT_COLUMNS
from app.db.engine import Driver
from app.db.models import Attempt, Destination, Post
from app.db.queries import Prepared, Record

STRANGE: tuple[object, ...] = (
    None,
    -1,
    7,
    2**31,
    1.5,
    "",
    "nope",
    "2026-13-45 00:00:00.000000",
    "2026-04-15",
    "[1",
    '{"a": 1}',
    b"x",
)
COLUMNS = sorted(
    {
        str(column.key)
        for columns in (Post.__table__.c, Destination.__table__.c, Attempt.__table__.c)
        for column in columns
    }
    | {str(column.key) for column in ACCOUNT_COLUMNS}
)


@dataclass(frozen=True, slots=True)
class Breakage:
    """A column has another value in every so many rows of a statement."""

    column: str
    value: object
    every: int


BREAKAGES: st.SearchStrategy[list[Breakage]] = st.just([]) | st.lists(
    st.builds(Breakage, st.sampled_from(COLUMNS), st.sampled_from(STRANGE), st.integers(1, 3)),
    max_size=2,
)


@dataclass(slots=True)
class Breaking:
    """A driver that breaks what it has read."""

    breakages: Sequence[Breakage] = ()
    driver: Driver = field(init=False)

    def __call__(self, driver: Driver) -> "Breaking":
        self.driver = driver
        return self

    async def fetch(self, query: Prepared, arguments: Sequence[object]) -> Sequence[Record]:
        rows = await self.driver.fetch(query, arguments)
        return [self._broken(number, row) for number, row in enumerate(rows)]

    async def close(self) -> None:
        await self.driver.close()

    def _broken(self, number: int, row: Record) -> Record:
        known = [row.places, *(part.places for part in row.parts.values())]
        changed = {
            places[each.column]: each.value
            for each in self.breakages
            for places in known
            if each.column in places and number % each.every == 0
        }
        if not changed:
            return row
        values = (changed.get(place, value) for place, value in enumerate(row))
        return type(row)(values)  # type: ignore[call-arg]
