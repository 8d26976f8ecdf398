"""Correction of a clock that differs from that of PostgreSQL."""

from datetime import UTC, datetime, timedelta

import pytest
from structlog.testing import capture_logs

from app.db.core.database import Database
from app.services.database_clock import DatabaseClock, keep_synchronized
from tests.db.core.test_database import only_on_postgresql, only_on_sqlite

SECOND = timedelta(seconds=1)
TEN_MINUTES = timedelta(minutes=10)


class WrongClock:
    """Clock of a machine that differs from that of the database, which runs on this one."""

    def __init__(self, error: timedelta) -> None:
        self.error = error

    def __call__(self) -> datetime:
        return datetime.now(UTC) + self.error


def error_of(clock: DatabaseClock) -> timedelta:
    return abs(clock() - datetime.now(UTC))


@only_on_postgresql
@pytest.mark.parametrize("error", [TEN_MINUTES, -TEN_MINUTES])
async def test_wrong_clock_is_corrected_once(database: Database, error: timedelta) -> None:
    clock = DatabaseClock(WrongClock(error))

    with capture_logs() as logs:
        for _ in range(3):
            await clock.synchronize(database)

    assert error_of(clock) < SECOND
    (line,) = logs
    assert line["event"] == "clock corrected to that of the database"
    assert line["correction_seconds"] == pytest.approx(-error.total_seconds(), abs=1)


@only_on_postgresql
async def test_clock_that_is_set_right_again_loses_its_correction(database: Database) -> None:
    wrong = WrongClock(TEN_MINUTES)
    clock = DatabaseClock(wrong)
    await clock.synchronize(database)

    wrong.error = timedelta()
    await clock.synchronize(database)

    assert error_of(clock) < SECOND


@only_on_postgresql
async def test_small_difference_is_not_corrected(database: Database) -> None:
    clock = DatabaseClock(WrongClock(SECOND / 2))
    with capture_logs() as logs:
        await clock.synchronize(database)

    assert logs == []
    assert error_of(clock) > SECOND / 4


@only_on_postgresql
async def test_clock_is_correct_from_the_start(database: Database) -> None:
    clock = DatabaseClock(WrongClock(TEN_MINUTES))
    async with keep_synchronized(clock, database):
        assert error_of(clock) < SECOND


@only_on_sqlite
async def test_sqlite_has_the_clock_of_the_machine(database: Database) -> None:
    clock = DatabaseClock(WrongClock(TEN_MINUTES))
    async with keep_synchronized(clock, database):
        assert error_of(clock) > TEN_MINUTES - SECOND
