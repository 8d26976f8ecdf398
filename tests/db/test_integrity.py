"""The check of a database: silent on a sound one, one sentence for each thing that is wrong."""

import sqlite3
from collections.abc import AsyncIterator

import pytest
from sqlalchemy import update

from app.db.engine import Database
from app.db.integrity import MAX_PROBLEMS, find_problems
from app.db.migrations import migrate
from app.db.models import Event
from app.domain.api_keys import Scope
from tests.db.contents import DELIVERY, FAILED, POST, PUBLISHED, WORKSPACE, add_everything
from tests.factories import NOW, add_api_key, add_workspace

DROP_CHECKS_AND_LINKS = """
DO $$
DECLARE each record;
BEGIN
    FOR each IN SELECT conrelid::regclass AS tbl, conname FROM pg_constraint
                 WHERE contype IN ('c', 'f') AND connamespace = 'public'::regnamespace
    LOOP
        EXECUTE format('ALTER TABLE %s DROP CONSTRAINT %I', each.tbl, each.conname);
    END LOOP;
END $$;
"""


@pytest.fixture
async def sound(anyio_backend: str, empty_database_url: str) -> AsyncIterator[Database]:
    """A database with rows in every table, whose constraints a test may remove."""
    async with Database(empty_database_url) as opened:
        await migrate(opened, now=NOW, random_bytes=bytes)
        await add_everything(opened)
        yield opened


async def plant(database: Database, statement: str) -> None:
    """Run SQL that the constraints would forbid."""
    if database.is_sqlite:
        connection = sqlite3.connect(str(database.url.database), isolation_level=None)
        connection.execute("PRAGMA ignore_check_constraints = ON")
        connection.execute(statement)
        connection.close()
    else:
        async with database.changing_schema() as writer:
            await writer.exec_driver_sql(DROP_CHECKS_AND_LINKS)
            await writer.exec_driver_sql(statement)


async def test_a_sound_database_has_no_problems(sound: Database, database: Database) -> None:
    assert await find_problems(sound) == []
    assert await find_problems(database) == []


BROKEN_LINKS = [
    (
        "DELETE FROM webhook",
        f"Workspace {WORKSPACE}: webhook_delivery {DELIVERY} refers by workspace_id, webhook_id"
        " to a row of webhook that does not exist.",
    ),
    (
        "UPDATE event SET account_id = 77 WHERE seq = 2",
        f"Workspace {WORKSPACE}: event 2 refers by workspace_id, account_id"
        " to a row of account that does not exist.",
    ),
]
BROKEN_RULES = [
    (
        f"UPDATE post SET status = 'published' WHERE id = '{POST}'",
        f"Workspace {WORKSPACE}: post {POST} has status published;"
        " its destinations make it publishing.",
    ),
    (
        f"UPDATE post SET published_at = NULL WHERE id = '{POST}'",
        f"Workspace {WORKSPACE}: post {POST} has published_at none;"
        " its destinations make it 2026-04-15T15:00:05.000Z.",
    ),
    (
        f"UPDATE post SET search_text = 'GRÜẞE' WHERE id = '{POST}'",
        f"Workspace {WORKSPACE}: post {POST} is not found by its own text.",
    ),
    (
        f"UPDATE destination SET attempts = 0, round_attempts = 0 WHERE id = '{PUBLISHED}'",
        f"Workspace {WORKSPACE}: destination {PUBLISHED} counts 0 attempts, but 1 are logged.",
    ),
    (
        "DELETE FROM event WHERE seq = 2",
        f"Workspace {WORKSPACE}: its events run from 1 to 3 and 1 of them are missing;"
        " they must run to 3 without a gap.",
    ),
    (
        "DELETE FROM event WHERE seq = 3",
        f"Workspace {WORKSPACE}: its events run from 1 to 2 and 0 of them are missing;"
        " they must run to 3 without a gap.",
    ),
    (
        f"UPDATE event SET actor_key_id = '{POST}' WHERE seq = 2",
        f"Workspace {WORKSPACE}: event 2 was caused by the API key {POST}, which does not exist.",
    ),
    (
        f"UPDATE workspace SET next_account_id = 4 WHERE id = '{WORKSPACE}'",
        f"Workspace {WORKSPACE}: account 4 is not below next_account_id, which is 4.",
    ),
]


@pytest.mark.parametrize(
    ("statement", "problem"),
    BROKEN_LINKS + BROKEN_RULES,
    ids=[statement[:40] for statement, _ in BROKEN_LINKS + BROKEN_RULES],
)
async def test_a_planted_problem_is_the_one_that_is_found(
    sound: Database, statement: str, problem: str
) -> None:
    await plant(sound, statement)

    assert await find_problems(sound) == [problem]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (
            "error = NULL",
            "impossible destination state: error_failed, error_category, error_code",
        ),
        ("claimable_at = due_at", "impossible destination state: claimable_at"),
        ("fence = -1", "impossible destination state: fence"),
        ("status = 'lost'", "'lost' is not a valid DestinationStatus"),
        ("outcome = 'maybe'", "'maybe' is not a valid Outcome"),
        ("error_category = 'moody'", "'moody' is not a valid ErrorCategory"),
    ],
)
async def test_an_impossible_destination_is_found(
    sound: Database, change: str, reason: str
) -> None:
    await plant(sound, f"UPDATE destination SET {change} WHERE id = '{FAILED}'")

    problems = await find_problems(sound)

    if sound.is_sqlite:
        assert problems.pop(0) == (
            "SQLite's integrity check: CHECK constraint failed in destination."
        )
    assert problems == [f"Workspace {WORKSPACE}: destination {FAILED}: {reason}."]


async def test_an_event_may_be_caused_by_nobody_and_by_a_key_of_another_workspace(
    sound: Database,
) -> None:
    key = await add_api_key(sound, await add_workspace(sound), scopes=[Scope.PUBLISH_ALL])
    async with sound.writing.begin() as connection:
        for seq, actor in ((1, None), (2, key.id)):
            await connection.execute(
                update(Event).where(Event.seq == seq).values(actor_key_id=actor)
            )

    assert await find_problems(sound) == []


@pytest.mark.parametrize("kept", ["seq > 1", "seq > 3"])
async def test_old_events_may_be_gone(sound: Database, kept: str) -> None:
    await plant(sound, f"DELETE FROM event WHERE NOT {kept}")

    assert await find_problems(sound) == []


async def test_attempts_that_nobody_logged_are_no_problem(sound: Database) -> None:
    await plant(sound, "DELETE FROM attempt")

    assert await find_problems(sound) == []


async def test_a_check_stops_at_very_many_problems(sound: Database) -> None:
    await plant(
        sound,
        "INSERT INTO idempotency_key"
        " (workspace_id, api_key_id, key, fingerprint, outcome, created_at, expires_at)"
        " WITH RECURSIVE number (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM number WHERE n < 1500)"
        " SELECT webhook.id, webhook.id, CAST(n AS TEXT), deployment.secret_key, '{}',"
        " webhook.created_at, webhook.created_at FROM number, webhook, deployment",
    )

    problems = await find_problems(sound)

    assert len(problems) == MAX_PROBLEMS + 1
    assert problems[-1] == "The check stopped after 1000 problems."


@pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
async def test_what_cannot_be_read_is_a_problem_and_the_check_goes_on(sound: Database) -> None:
    await plant(sound, f"UPDATE post SET platform_content = '[' WHERE id = '{POST}'")
    await plant(sound, f"UPDATE workspace SET next_account_id = 4 WHERE id = '{WORKSPACE}'")

    unreadable, counter = await find_problems(sound)

    assert unreadable.startswith("What is stored could not be read: ")
    assert counter == f"Workspace {WORKSPACE}: account 4 is not below next_account_id, which is 4."


@pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
async def test_a_damaged_file_is_a_problem(sound: Database) -> None:
    await sound.reading.dispose()  # so that the next reader opens the file anew
    await sound.writing.dispose()
    with open(str(sound.url.database), "r+b") as opened:  # noqa: ASYNC230, PTH123
        opened.seek(8 * 4096)
        opened.write(b"\xde\xad" * 4096)

    problems = await find_problems(sound)

    assert problems
    assert problems[0].startswith(
        ("SQLite's integrity check: ", "What is stored could not be read")
    )
