"""Poolers that are refused at the start: undeclared, of another database, or in statement mode."""

import pytest

from app.db.core.database import Database
from app.db.tools.pooler_check import check_pooler
from app.domain.errors import ServiceUnavailable
from app.settings import SettingsError
from tests.db.core.intercepting_driver import StubDriver
from tests.db.core.test_database import only_on_postgresql
from tests.pgbouncer import run_pgbouncer

pytestmark = only_on_postgresql


@pytest.mark.parametrize(
    "options",
    [
        {},
        {
            "ignore_startup_parameters": "statement_timeout, lock_timeout,"
            " default_transaction_read_only, plan_cache_mode"
        },
    ],
    ids=["refuses parameters", "ignores parameters"],
)
@pytest.mark.parametrize("mode", ["session", "transaction"])
async def test_undeclared_pooler_is_refused(
    database_url: str, mode: str, options: dict[str, str]
) -> None:
    with run_pgbouncer(database_url, mode, **options) as pgbouncer:
        message = (
            "A connection that must lead to PostgreSQL itself leads to a connection pooler: set"
            " DATABASE_POOLER to session or transaction if DATABASE_URL is that of a pooler, and"
            " DATABASE_DIRECT_URL to the URL of PostgreSQL."
        )
        for database in (
            Database(pgbouncer.url),
            Database(pgbouncer.url, pooler=mode, direct_url=pgbouncer.url),
        ):
            async with database:
                with pytest.raises(SettingsError) as raised:
                    async with database.read_connection():
                        pass
                assert str(raised.value) == message
        async with Database(pgbouncer.url) as undeclared:
            with pytest.raises(SettingsError) as raised:
                await undeclared.ping()
        assert str(raised.value) == message


async def test_pooler_of_another_database_is_refused(
    database_url: str, empty_database_url: str
) -> None:
    with run_pgbouncer(database_url, "transaction") as pgbouncer:
        async with Database(
            pgbouncer.url, pooler="transaction", direct_url=empty_database_url
        ) as database:
            with pytest.raises(SettingsError) as raised:
                await check_pooler(database)

    assert str(raised.value) == (
        "DATABASE_URL and DATABASE_DIRECT_URL must lead to the same database of the same server."
    )


async def test_pooler_that_does_not_limit_statements_is_refused(database_url: str) -> None:
    without_limits = "SELECT pg_postmaster_start_time(), current_database(), 'off'"
    with run_pgbouncer(database_url, "transaction") as pgbouncer:
        async with pgbouncer.database(wrap_driver=StubDriver(without_limits)) as database:
            with pytest.raises(SettingsError) as raised:
                await check_pooler(database)

    assert str(raised.value) == (
        "The pooler of DATABASE_URL must run all messages up to a Sync message in one transaction, as"
        " PgBouncer does: otherwise statements have no time limit."
    )


async def test_statement_mode_is_refused(database_url: str) -> None:
    with run_pgbouncer(database_url, "statement") as pgbouncer:
        async with Database(pgbouncer.url, pooler="transaction", direct_url=database_url) as pooled:
            with pytest.raises(ServiceUnavailable) as raised:
                await check_pooler(pooled)

    assert "not allowed in statement pooling mode" in str(raised.value.__cause__)
