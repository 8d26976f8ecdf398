"""Integrity check: no problems in a valid database, one sentence for each problem."""

import re
import sqlite3
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from uuid import UUID

import pytest
from sqlalchemy import update

from app.db.core.database import Database
from app.db.models import Event
from app.db.tools.integrity import MAX_PROBLEMS, find_problems
from app.domain.api_keys import Scope
from app.domain.failure_groups import failure_group
from tests.databases import DatabaseTemplates, cached_database
from tests.db.all_tables import (
    DELIVERY,
    FAILED,
    POST,
    PUBLISHED,
    RETRYING,
    WORKSPACE,
    add_row_in_every_table,
)
from tests.factories import (
    add_api_key,
    add_workspace,
    failed,
)

ATTEMPT = UUID(int=0xA1)

DROP_CONSTRAINTS = """
DO $$
DECLARE item record;
BEGIN
    FOR item IN SELECT conrelid::regclass AS tbl, conname FROM pg_constraint
                 WHERE contype IN ('c', 'f') AND connamespace = 'public'::regnamespace
    LOOP
        EXECUTE format('ALTER TABLE %s DROP CONSTRAINT %I', item.tbl, item.conname);
    END LOOP;
END $$;
"""


@pytest.fixture
def filled_database_url(database_templates: DatabaseTemplates) -> Iterator[str]:
    with database_templates.copy(fill_without_constraints) as url:
        yield url


async def fill_without_constraints(database: Database) -> None:
    """Add rows in every table; drop the CHECK constraints and foreign keys of PostgreSQL."""
    await add_row_in_every_table(database)
    if not database.is_sqlite:
        async with database.schema_transaction() as writer:
            await writer.exec_driver_sql(DROP_CONSTRAINTS)


@pytest.fixture
async def filled_database(anyio_backend: str, filled_database_url: str) -> AsyncIterator[Database]:
    """A database with rows in every table, which a test may damage."""
    async with cached_database(filled_database_url) as opened:
        yield opened


async def execute_unchecked(database: Database, statement: str) -> None:
    """Run SQL that constraints would reject, in a filled database."""
    if database.is_sqlite:
        connection = sqlite3.connect(str(database.url.database), isolation_level=None)
        connection.execute("PRAGMA ignore_check_constraints = ON")
        connection.execute(statement)
        connection.close()
    else:
        async with database.schema_transaction() as writer:
            await writer.exec_driver_sql(statement)


async def test_valid_database_has_no_problems(
    filled_database: Database, database: Database
) -> None:
    assert await find_problems(filled_database) == []
    assert await find_problems(database) == []


COUNTER_STATEMENT = f"UPDATE workspace SET next_account_id = 4 WHERE id = '{WORKSPACE}'"
COUNTER_PROBLEM = f"Workspace {WORKSPACE}: account 4 is not below next_account_id, which is 4."

BROKEN_LINKS = [
    (
        "DELETE FROM webhook",
        f"webhook_delivery {DELIVERY} refers by workspace_id, webhook_id"
        " to a row of webhook that does not exist.",
    ),
    (
        "UPDATE event SET account_id = 77 WHERE seq = 2",
        "event 2 refers by workspace_id, account_id to a row of account that does not exist.",
    ),
]
BROKEN_RULES = [
    (
        f"UPDATE post SET status = 'published' WHERE id = '{POST}'",
        f"post {POST} has status published; its destinations make it publishing.",
    ),
    (
        f"UPDATE post SET published_at = NULL WHERE id = '{POST}'",
        f"post {POST} has published_at none; its destinations make it 2026-04-15T15:00:05.000Z.",
    ),
    (
        f"UPDATE post SET search_text = 'GRÜẞE' WHERE id = '{POST}'",
        f"post {POST} has a search_text that does not match its content.",
    ),
    (
        f"UPDATE post SET platform_content = '{{}}' WHERE id = '{POST}'",
        f"post {POST} has a search_text that does not match its content.",
    ),
    (
        f"UPDATE destination SET position = 7 WHERE id = '{FAILED}'",
        f"post {POST} has its destinations at the positions 0, 2, 3, 7;"
        " they must be 0 to 3, each once.",
    ),
    (
        f"UPDATE destination SET position = 0 WHERE id = '{FAILED}'",
        f"post {POST} has its destinations at the positions 0, 0, 2, 3;"
        " they must be 0 to 3, each once.",
    ),
    (
        f"UPDATE post SET deleted_at = created_at WHERE id = '{POST}'",
        f"destination {RETRYING} is claimable, although its post is deleted.",
    ),
    (
        "UPDATE account SET platform = 'x' WHERE id = 3",
        f"destination {RETRYING} has platform instagram; its account 3 has x.",
    ),
    (
        f"UPDATE destination SET due_day = '2026-04-16' WHERE id = '{FAILED}'",
        f"destination {FAILED} has due_day 2026-04-16; its due_at makes it 2026-04-15.",
    ),
    (
        f"UPDATE destination SET due_at = NULL, round_started_at = NULL WHERE id = '{FAILED}'",
        f"destination {FAILED} has due_day 2026-04-15; its due_at makes it none.",
    ),
    (
        f"UPDATE destination SET lateness_ms = -1 WHERE id = '{PUBLISHED}'",
        f"destination {PUBLISHED} has lateness_ms -1; its due_at and published_at make it 5000.",
    ),
    (
        "UPDATE destination SET failed_at = (SELECT published_at FROM destination"
        f" WHERE id = '{PUBLISHED}') WHERE id = '{FAILED}'",
        f"destination {FAILED} has failed_at 2026-04-15T15:00:05.000Z;"
        " its status and settled_at make it 2026-04-15T15:00:00.000Z.",
    ),
    (
        f"UPDATE destination SET failure_group = 'group' WHERE id = '{FAILED}'",
        f"destination {FAILED} has failure_group group;"
        f" its platform and error make it {failure_group('instagram', failed())}.",
    ),
    (
        f"UPDATE destination SET post_created_at = created_at WHERE id = '{FAILED}'",
        f"destination {FAILED} has post_created_at 2026-04-15T15:00:00.000Z;"
        " its post makes it none.",
    ),
    (
        f"UPDATE destination SET attempts = 0, round_attempts = 0 WHERE id = '{PUBLISHED}'",
        f"destination {PUBLISHED} counts 0 attempts, but 1 are logged.",
    ),
    (
        f"UPDATE destination SET attempts = attempts + 1 WHERE id = '{PUBLISHED}'",
        f"destination {PUBLISHED} counts 2 attempts, but 1 are logged.",
    ),
    (
        f"DELETE FROM attempt WHERE destination_id = '{FAILED}' AND kind = 'regular'",
        f"destination {FAILED} counts 1 attempts, but 0 are logged.",
    ),
    (
        f"UPDATE attempt SET id = '{ATTEMPT}', started_at = (SELECT published_at FROM destination"
        f" WHERE id = '{PUBLISHED}') WHERE destination_id = '{PUBLISHED}'",
        f"attempt {ATTEMPT} finished at 2026-04-15T15:00:01.000Z,"
        " before it started at 2026-04-15T15:00:05.000Z.",
    ),
    (
        "DELETE FROM publish_evidence",
        f"destination {PUBLISHED} has no counted evidence of its publication.",
    ),
    (
        f"UPDATE destination SET is_mirrored = TRUE WHERE id = '{PUBLISHED}'",
        f"destination {PUBLISHED} has is_mirrored True; its workspace makes it False.",
    ),
    (
        f"UPDATE destination SET is_duplicated = TRUE WHERE id = '{PUBLISHED}'",
        f"destination {PUBLISHED} has is_duplicated True; its evidence makes it False.",
    ),
    (
        "INSERT INTO publish_evidence (workspace_id, destination_id, fence, counted, published_at,"
        " reported_at) SELECT workspace_id, destination_id, 0, FALSE, published_at, reported_at"
        " FROM publish_evidence",
        f"destination {PUBLISHED} has is_duplicated False; its evidence makes it True.",
    ),
    (
        f"UPDATE attempt SET id = '{ATTEMPT}', account_id = 9 WHERE destination_id = '{PUBLISHED}'",
        f"attempt {ATTEMPT} has account 9 on instagram; its destination has account 1 on instagram.",
    ),
    (
        f"UPDATE attempt SET id = '{ATTEMPT}', platform = NULL WHERE destination_id = '{PUBLISHED}'",
        f"attempt {ATTEMPT} has account 1 on none; its destination has account 1 on instagram.",
    ),
    (
        "DELETE FROM event WHERE seq = 2",
        "its events run from 1 to 3 and 1 of them are missing; they must run to 3 without a gap.",
    ),
    (
        "DELETE FROM event WHERE seq = 3",
        "its events run from 1 to 2 and 0 of them are missing; they must run to 3 without a gap.",
    ),
    (
        f"UPDATE event SET actor_key_id = '{POST}' WHERE seq = 2",
        f"event 2 was caused by the API key {POST}, which does not exist.",
    ),
    (COUNTER_STATEMENT, "account 4 is not below next_account_id, which is 4."),
]
UNREADABLE_ON_SQLITE = [
    (
        f"UPDATE post SET created_at = 'infinity' WHERE id = '{POST}'",
        f"Workspace {WORKSPACE}: post {POST} cannot be read:"
        " created_at: Invalid isoformat string: 'infinity'.",
    ),
    (
        f"UPDATE post SET media = '{{' WHERE id = '{POST}'",
        f"Workspace {WORKSPACE}: post {POST} cannot be read: media: Expecting property name enclosed"
        " in double quotes: line 1 column 2 (char 1).",
    ),
    (
        f"UPDATE post SET version = 'many' WHERE id = '{POST}'",
        f"Workspace {WORKSPACE}: post {POST} cannot be read:"
        " version: 'many' is not a value of type int.",
    ),
    (
        "UPDATE post SET id = 'two' || char(10) || 'lines' WHERE deleted_at IS NOT NULL",
        f"Workspace {WORKSPACE}: post 'two\\nlines' cannot be read:"
        " id: badly formed hexadecimal UUID string.",
    ),
    (
        f"UPDATE post SET content = CAST(x'ff' AS TEXT) WHERE id = '{POST}'",
        "The check of the values in post could not be finished:"
        " Could not decode to UTF-8 column 'content' with text '\ufffd'.",
    ),
]
UNREADABLE_ON_POSTGRESQL = [
    (
        f"UPDATE post SET created_at = '4000-01-01 BC' WHERE id = '{POST}'",
        "The check of the values in post could not be finished: date value out of range.",
    )
]
PROBLEMS = BROKEN_LINKS + BROKEN_RULES


@pytest.mark.parametrize(
    ("statement", "problem"), PROBLEMS, ids=[statement[:60] for statement, _ in PROBLEMS]
)
async def test_single_problem_is_reported(
    filled_database: Database, statement: str, problem: str
) -> None:
    await execute_unchecked(filled_database, statement)

    assert await find_problems(filled_database) == [f"Workspace {WORKSPACE}: {problem}"]


@pytest.mark.parametrize(
    ("engine", "statement", "problem"),
    [
        *(("sqlite", *case) for case in UNREADABLE_ON_SQLITE),
        *(("postgresql", *case) for case in UNREADABLE_ON_POSTGRESQL),
        *(
            (
                engine,
                f"UPDATE destination SET status = 'lost' WHERE id = '{FAILED}'",
                f"Workspace {WORKSPACE}: destination {FAILED} cannot be read:"
                " status: 'lost' is not a valid DestinationStatus.",
            )
            for engine in ("sqlite", "postgresql")
        ),
    ],
    indirect=["engine"],
)
async def test_unreadable_value_is_reported_and_other_checks_continue(
    filled_database: Database, statement: str, problem: str
) -> None:
    await execute_unchecked(filled_database, statement)
    await execute_unchecked(filled_database, COUNTER_STATEMENT)

    problems = await find_problems(filled_database)

    assert problem in problems
    assert COUNTER_PROBLEM in problems
    for other in set(problems) - {problem, COUNTER_PROBLEM}:
        assert re.fullmatch(
            r"The check of [\w ]+ could not be finished: .+\."
            r"|SQLite's integrity check: .+ failed in destination\.",
            other,
        )


EVIDENCE_PROBLEMS: list[tuple[str, str]] = [
    ("fence = 1", ""),
    (
        "platform_post_id = '2'",
        " differs in place or time of publication from the counted evidence.",
    ),
    (
        "platform_post_url = NULL",
        " differs in place or time of publication from the counted evidence.",
    ),
    ("published_at = reported_at", ""),
    ("fence = 3", " has had 1 claims, but there is evidence of a publication by claim 3."),
    ("counted = FALSE", " has no counted evidence of its publication."),
]


@pytest.mark.parametrize(
    ("change", "problem"), EVIDENCE_PROBLEMS, ids=[change for change, _ in EVIDENCE_PROBLEMS]
)
async def test_evidence_must_match_the_claims_and_the_publication(
    filled_database: Database, change: str, problem: str
) -> None:
    await execute_unchecked(filled_database, f"UPDATE publish_evidence SET {change}")

    name = f"Workspace {WORKSPACE}: destination {PUBLISHED}"
    assert await find_problems(filled_database) == ([name + problem] if problem else [])


async def test_actor_of_an_event_may_be_missing_or_belong_to_another_workspace(
    filled_database: Database,
) -> None:
    key = await add_api_key(
        filled_database, await add_workspace(filled_database), scopes=[Scope.PUBLISH_ALL]
    )
    async with filled_database.write_engine.begin() as connection:
        for seq, actor in ((1, None), (2, key.id)):
            await connection.execute(
                update(Event).where(Event.seq == seq).values(actor_key_id=actor)
            )

    assert await find_problems(filled_database) == []


@pytest.mark.parametrize("condition", ["seq <= 1", "seq <= 3"])
async def test_oldest_events_may_be_pruned(filled_database: Database, condition: str) -> None:
    await execute_unchecked(filled_database, f"DELETE FROM event WHERE {condition}")

    assert await find_problems(filled_database) == []


async def test_check_stops_after_the_maximum_of_problems(filled_database: Database) -> None:
    await execute_unchecked(
        filled_database,
        "INSERT INTO idempotency_key"
        " (workspace_id, operation, key, fingerprint, outcome, created_at, expires_at)"
        " WITH RECURSIVE number (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM number WHERE n < 1500)"
        " SELECT webhook.id, 'createPost', CAST(n AS TEXT), deployment.secret_key, '{}',"
        " webhook.created_at, webhook.created_at FROM number, webhook, deployment",
    )

    problems = await find_problems(filled_database)

    assert len(problems) == MAX_PROBLEMS + 1
    assert problems[-1] == "The check stopped after 1000 problems."


@pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
@pytest.mark.parametrize(
    ("statement", "problem"),
    [
        (
            f"DELETE FROM post_search_key WHERE post_id = '{POST}'",
            f"Workspace {WORKSPACE}: post {POST} is not in the search index.",
        ),
        (
            f"INSERT INTO post_search_key (workspace_id, post_id) VALUES ('{WORKSPACE}', '{ATTEMPT}')",
            f"Workspace {WORKSPACE}: post {ATTEMPT} does not exist, but is in the search index.",
        ),
        *(
            (
                f"DROP {kind} {name}",
                f"The search index lacks {name}. A backup and its restore create the index again.",
            )
            for kind, name in (
                ("TABLE", "post_search_index"),
                ("TRIGGER", "post_search_insert"),
                ("TRIGGER", "post_search_update"),
                ("TRIGGER", "post_search_delete"),
            )
        ),
    ],
)
async def test_gap_in_the_search_index_is_reported(
    filled_database: Database, statement: str, problem: str
) -> None:
    await execute_unchecked(filled_database, statement)

    assert await find_problems(filled_database) == [problem]


@pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
async def test_damaged_page_is_reported_and_other_checks_continue(
    filled_database: Database,
) -> None:
    await execute_unchecked(filled_database, COUNTER_STATEMENT)
    await corrupt_table(filled_database, "attempt")

    file, values, *others, counter = await find_problems(filled_database)

    assert file == "The check of the file could not be finished: the file is damaged."
    assert values == (
        "The check of the values in attempt could not be finished: the file is damaged."
    )
    for other in others:
        assert re.fullmatch(
            r"The check of [\w ]+ could not be finished: the file is damaged\.", other
        )
    assert counter == COUNTER_PROBLEM


async def test_database_error_ends_only_one_check(filled_database: Database) -> None:
    await execute_unchecked(filled_database, "ALTER TABLE idempotency_key DROP COLUMN outcome")
    await execute_unchecked(filled_database, COUNTER_STATEMENT)

    assert await find_problems(filled_database) == [
        "The check of the values in idempotency_key could not be finished: "
        + (
            "no such column: idempotency_key.outcome."
            if filled_database.is_sqlite
            else "column idempotency_key.outcome does not exist."
        ),
        COUNTER_PROBLEM,
    ]


@pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
async def test_unreadable_version_is_reported(filled_database: Database) -> None:
    await corrupt_table(filled_database, "alembic_version")

    assert await find_problems(filled_database) == [
        "The check could not begin: the file is damaged."
    ]


async def corrupt_table(database: Database, table: str) -> None:
    """Overwrite the first page of a table in the file, after closing all connections that cache it."""
    await database.writer.close()
    await database.read_engine.dispose()
    await database.write_engine.dispose()
    file = Path(str(database.url.database))
    connection = sqlite3.connect(file)
    query = "SELECT rootpage FROM sqlite_schema WHERE name = ?"
    ((page,),) = connection.execute(query, (table,))
    ((size,),) = connection.execute("PRAGMA page_size")
    connection.close()
    with file.open("r+b") as opened:  # noqa: ASYNC230
        opened.seek((page - 1) * size)
        opened.write(b"\xde\xad" * (size // 2))
