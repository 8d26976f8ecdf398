"""The check of a database: silent on a sound one, one sentence for each thing that is wrong."""

import re
import sqlite3
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import insert, select, update
from sqlalchemy.exc import DBAPIError

from app.db.core.database import Database
from app.db.migrations import migrate
from app.db.models import Event, Post, PublishEvidence
from app.db.tools.integrity import MAX_PROBLEMS, find_problems
from app.domain.api_keys import Scope
from app.domain.attempts import AttemptKind
from app.domain.destinations import DestinationState, Outcome
from app.domain.ids import DestinationId, WorkspaceId
from tests.db.all_tables import (
    DELIVERY,
    FAILED,
    KEY,
    POST,
    PUBLISHED,
    WEBHOOK,
    WORKSPACE,
    add_row_in_every_table,
)
from tests.factories import (
    NOW,
    add_account,
    add_api_key,
    add_attempt,
    add_post,
    add_workspace,
    failed,
    published,
    queued,
    started,
    unknown,
    waiting_for_retry,
)

ATTEMPT = UUID(int=0xA1)

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
async def unconstrained_database(
    anyio_backend: str, empty_database_url: str
) -> AsyncIterator[Database]:
    """A database with rows in every table, whose constraints a test may remove."""
    async with Database(empty_database_url) as opened:
        await migrate(opened, now=NOW, random_bytes=bytes)
        await add_row_in_every_table(opened)
        yield opened


async def execute_unchecked(database: Database, statement: str) -> None:
    """Run SQL that the constraints would forbid."""
    if database.is_sqlite:
        connection = sqlite3.connect(str(database.url.database), isolation_level=None)
        connection.execute("PRAGMA ignore_check_constraints = ON")
        connection.execute(statement)
        connection.close()
    else:
        async with database.schema_transaction() as writer:
            await writer.exec_driver_sql(DROP_CHECKS_AND_LINKS)
            await writer.exec_driver_sql(statement)


async def test_a_sound_database_has_no_problems(
    unconstrained_database: Database, database: Database
) -> None:
    assert await find_problems(unconstrained_database) == []
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
        f"UPDATE post SET platform_content = '{{}}' WHERE id = '{POST}'",
        f"Workspace {WORKSPACE}: post {POST} is not found by its own text.",
    ),
    (
        f"UPDATE destination SET position = 7 WHERE id = '{FAILED}'",
        f"Workspace {WORKSPACE}: post {POST} has its destinations at the positions 0, 2, 3, 7;"
        " they must be 0 to 3, each once.",
    ),
    (
        f"UPDATE destination SET position = 0 WHERE id = '{FAILED}'",
        f"Workspace {WORKSPACE}: post {POST} has its destinations at the positions 0, 0, 2, 3;"
        " they must be 0 to 3, each once.",
    ),
    (
        f"UPDATE destination SET platform = 'x' WHERE id = '{FAILED}'",
        f"Workspace {WORKSPACE}: destination {FAILED} has platform x; its account 2 has instagram.",
    ),
    (
        f"UPDATE destination SET due_day = '2026-04-16' WHERE id = '{FAILED}'",
        f"Workspace {WORKSPACE}: destination {FAILED} has due_day 2026-04-16;"
        " its due_at makes it 2026-04-15.",
    ),
    (
        f"UPDATE destination SET due_at = NULL, round_started_at = NULL WHERE id = '{FAILED}'",
        f"Workspace {WORKSPACE}: destination {FAILED} has due_day 2026-04-15;"
        " its due_at makes it none.",
    ),
    (
        f"UPDATE destination SET lateness_ms = -1 WHERE id = '{PUBLISHED}'",
        f"Workspace {WORKSPACE}: destination {PUBLISHED} has lateness_ms -1;"
        " its due_at and published_at make it 5000.",
    ),
    (
        f"UPDATE destination SET attempts = 0, round_attempts = 0 WHERE id = '{PUBLISHED}'",
        f"Workspace {WORKSPACE}: destination {PUBLISHED} counts 0 attempts, but 1 are logged.",
    ),
    (
        f"UPDATE destination SET attempts = attempts + 1 WHERE id = '{PUBLISHED}'",
        f"Workspace {WORKSPACE}: destination {PUBLISHED} counts 2 attempts, but 1 are logged.",
    ),
    (
        f"DELETE FROM attempt WHERE destination_id = '{FAILED}' AND kind = 'regular'",
        f"Workspace {WORKSPACE}: destination {FAILED} counts 1 attempts, but 0 are logged.",
    ),
    (
        f"UPDATE attempt SET id = '{ATTEMPT}', started_at = (SELECT published_at FROM destination"
        f" WHERE id = '{PUBLISHED}') WHERE destination_id = '{PUBLISHED}'",
        f"Workspace {WORKSPACE}: attempt {ATTEMPT} finished at 2026-04-15T15:00:01.000Z,"
        " before it started at 2026-04-15T15:00:05.000Z.",
    ),
    (
        "DELETE FROM publish_evidence",
        f"Workspace {WORKSPACE}: destination {PUBLISHED} has no evidence of its publication"
        " that counts.",
    ),
    (
        "UPDATE publish_evidence SET counted = FALSE",
        f"Workspace {WORKSPACE}: destination {PUBLISHED} has no evidence of its publication"
        " that counts.",
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
    (
        "UPDATE webhook SET fan_out_seq = 4",
        f"Workspace {WORKSPACE}: webhook {WEBHOOK} has fan_out_seq 4,"
        " beyond the workspace's event_seq, which is 3.",
    ),
]
UNREADABLE = [
    (
        f"UPDATE post SET created_at = 'infinity' WHERE id = '{POST}'",
        f"Workspace {WORKSPACE}: post {POST} cannot be read: created_at is not a time.",
    ),
    (
        f"UPDATE post SET media_ids = '5', media = '{{}}' WHERE id = '{POST}'",
        f"Workspace {WORKSPACE}: post {POST} cannot be read:"
        " media_ids is not a list of texts, media is not a list.",
    ),
    (
        f"UPDATE post SET media_ids = '[5]' WHERE id = '{POST}'",
        f"Workspace {WORKSPACE}: post {POST} cannot be read: media_ids is not a list of texts.",
    ),
    (
        f"UPDATE post SET platform_content = 'null' WHERE id = '{POST}'",
        f"Workspace {WORKSPACE}: post {POST} cannot be read: platform_content is not an object.",
    ),
    (
        f"""UPDATE post SET platform_content = '{{"x": "\\ud800"}}' WHERE id = '{POST}'""",
        f"Workspace {WORKSPACE}: post {POST} cannot be read: platform_content is not an object.",
    ),
    (
        f"UPDATE post SET media = '{'[' * 5000 + ']' * 5000}' WHERE id = '{POST}'",
        f"Workspace {WORKSPACE}: post {POST} cannot be read: media is not a list.",
    ),
    (
        f"UPDATE destination SET due_day = 'infinity' WHERE id = '{FAILED}'",
        f"Workspace {WORKSPACE}: destination {FAILED} cannot be read: due_day is not a day.",
    ),
    (
        """UPDATE api_key SET scopes = '["everything"]'""",
        f"Workspace {WORKSPACE}: api_key {KEY} cannot be read:"
        " scopes is not a list of known scopes.",
    ),
    (
        "UPDATE event SET payload = '[]' WHERE seq = 2",
        f"Workspace {WORKSPACE}: event 2 cannot be read: payload is not an object.",
    ),
    (
        "UPDATE webhook SET events = '{}'",
        f"Workspace {WORKSPACE}: webhook {WEBHOOK} cannot be read: events is not a list of texts.",
    ),
    (
        "UPDATE idempotency_key SET outcome = '[]'",
        f"Workspace {WORKSPACE}: idempotency_key createPost given:k cannot be read:"
        " outcome is not an object.",
    ),
    (
        "UPDATE webhook_delivery_try SET tried_at = '-infinity'",
        f"Workspace {WORKSPACE}: webhook_delivery_try {DELIVERY} 1 cannot be read:"
        " tried_at is not a time.",
    ),
    (
        "UPDATE deployment SET created_at = 'infinity'",
        "Deployment 1 cannot be read: created_at is not a time.",
    ),
    (
        f"UPDATE workspace SET created_at = 'infinity' WHERE id = '{WORKSPACE}'",
        f"Workspace {WORKSPACE} cannot be read: created_at is not a time.",
    ),
]
UNREADABLE_ON_SQLITE = [
    (
        f"UPDATE post SET media = '{{' WHERE id = '{POST}'",
        f"Workspace {WORKSPACE}: post {POST} cannot be read: media is not a list.",
    ),
    (
        f"UPDATE post SET content = CAST(x'ff' AS TEXT) WHERE id = '{POST}'",
        f"Workspace {WORKSPACE}: post {POST} cannot be read: content is not text.",
    ),
    (
        f"UPDATE post SET submitted_now = 7 WHERE id = '{POST}'",
        f"Workspace {WORKSPACE}: post {POST} cannot be read: submitted_now is not true or false.",
    ),
    (
        f"UPDATE post SET version = 'many' WHERE id = '{POST}'",
        f"Workspace {WORKSPACE}: post {POST} cannot be read: version is not an integer of 32 bits.",
    ),
    (
        "UPDATE webhook SET consecutive_failures = 2147483648",
        f"Workspace {WORKSPACE}: webhook {WEBHOOK} cannot be read:"
        " consecutive_failures is not an integer of 32 bits.",
    ),
    (
        "UPDATE post SET id = 'two' || char(10) || 'lines' WHERE deleted_at IS NOT NULL",
        f"Workspace {WORKSPACE}: post 'two\\nlines' cannot be read: id is not a UUID.",
    ),
    (
        "UPDATE idempotency_key SET key = CAST(x'ff' AS TEXT)",
        f"Workspace {WORKSPACE}: idempotency_key createPost '\\udcff' cannot be read: key is not text.",
    ),
    (
        "UPDATE event SET actor_key_id = 5 WHERE seq = 2",
        f"Workspace {WORKSPACE}: event 2 cannot be read: actor_key_id is not a UUID.",
    ),
    (
        "UPDATE deployment SET secret_key = 'text'",
        "Deployment 1 cannot be read: secret_key is not bytes.",
    ),
]


ALL_PROBLEMS = BROKEN_LINKS + BROKEN_RULES + UNREADABLE


@pytest.mark.parametrize(
    ("statement", "problem"),
    ALL_PROBLEMS,
    ids=[statement[:60] for statement, _ in ALL_PROBLEMS],
)
async def test_a_planted_problem_is_the_one_that_is_found(
    unconstrained_database: Database, statement: str, problem: str
) -> None:
    await execute_unchecked(unconstrained_database, statement)

    assert await find_problems(unconstrained_database) == [problem]


@pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
@pytest.mark.parametrize(
    ("statement", "problem"),
    UNREADABLE_ON_SQLITE,
    ids=[statement[:60] for statement, _ in UNREADABLE_ON_SQLITE],
)
async def test_what_only_sqlite_lets_in_is_found(
    unconstrained_database: Database, statement: str, problem: str
) -> None:
    await execute_unchecked(unconstrained_database, statement)

    assert await find_problems(unconstrained_database) == [problem]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (
            "error = NULL",
            ": impossible destination state: error_failed, error_category, error_code",
        ),
        ("claimable_at = due_at", ": impossible destination state: claimable_at"),
        ("fence = -1", ": impossible destination state: fence"),
        (
            "status = 'lost'",
            " cannot be read: status is not one of queued, publishing, published, failed",
        ),
        (
            "outcome = 'maybe'",
            " cannot be read: outcome is not one of none, published, failed, unknown",
        ),
        (
            "error_category = 'moody'",
            " cannot be read: error_category is not one of transient, rate_limited, auth,"
            " content_rejected, permanent, unclassified",
        ),
    ],
)
async def test_an_impossible_destination_is_found(
    unconstrained_database: Database, change: str, reason: str
) -> None:
    await execute_unchecked(
        unconstrained_database, f"UPDATE destination SET {change} WHERE id = '{FAILED}'"
    )

    problems = await find_problems(unconstrained_database)

    if unconstrained_database.is_sqlite:
        assert problems.pop(0) == (
            "SQLite's integrity check: CHECK constraint failed in destination."
        )
    assert problems == [f"Workspace {WORKSPACE}: destination {FAILED}{reason}."]


async def test_what_cannot_be_read_hides_nothing_else(unconstrained_database: Database) -> None:
    await execute_unchecked(
        unconstrained_database, f"UPDATE post SET platform_content = 'null' WHERE id = '{POST}'"
    )
    await execute_unchecked(
        unconstrained_database, f"UPDATE destination SET due_at = 'infinity' WHERE id = '{FAILED}'"
    )
    await execute_unchecked(
        unconstrained_database, f"UPDATE workspace SET next_account_id = 4 WHERE id = '{WORKSPACE}'"
    )
    await execute_unchecked(
        unconstrained_database, "UPDATE post SET search_text = '?' WHERE is_draft"
    )

    problems = await find_problems(unconstrained_database)

    async with unconstrained_database.unscoped_connection() as connection:
        draft_id = await connection.scalar(select(Post.id).where(Post.is_draft))
    assert problems == [
        f"Workspace {WORKSPACE}: post {POST} cannot be read: platform_content is not an object.",
        f"Workspace {WORKSPACE}: destination {FAILED} cannot be read: due_at is not a time.",
        f"Workspace {WORKSPACE}: post {draft_id} is not found by its own text.",
        f"Workspace {WORKSPACE}: account 4 is not below next_account_id, which is 4.",
    ]


@pytest.mark.parametrize("engine", ["postgresql"], indirect=True)
async def test_a_value_that_is_missing_hides_nothing_else(unconstrained_database: Database) -> None:
    for table, column in (("post", "content"), ("destination", "attempts")):
        await execute_unchecked(
            unconstrained_database, f"ALTER TABLE {table} ALTER {column} DROP NOT NULL"
        )
    await execute_unchecked(
        unconstrained_database, f"UPDATE post SET content = NULL WHERE id = '{POST}'"
    )
    await execute_unchecked(
        unconstrained_database, f"UPDATE destination SET attempts = NULL WHERE id = '{FAILED}'"
    )
    await execute_unchecked(
        unconstrained_database, f"UPDATE workspace SET next_account_id = 4 WHERE id = '{WORKSPACE}'"
    )

    assert await find_problems(unconstrained_database) == [
        f"Workspace {WORKSPACE}: post {POST} cannot be read: content is not text.",
        f"Workspace {WORKSPACE}: destination {FAILED} cannot be read:"
        " attempts is not an integer of 32 bits.",
        f"Workspace {WORKSPACE}: account 4 is not below next_account_id, which is 4.",
    ]


async def test_text_that_is_not_text_is_refused_again_after_a_check(
    unconstrained_database: Database,
) -> None:
    assert await find_problems(unconstrained_database) == []

    async with unconstrained_database.unscoped_connection() as connection:
        with pytest.raises(DBAPIError):
            await connection.exec_driver_sql(
                "SELECT CAST(x'ff' AS TEXT)"
                if unconstrained_database.is_sqlite
                else "SELECT convert_from('\\xff', 'UTF8')"
            )


@pytest.mark.parametrize(
    ("state", "last", "settled"),
    [
        (queued(), Outcome.NONE, "none and started_at none"),
        (queued(), Outcome.PUBLISHED, "none and started_at none"),
        (queued(), Outcome.FAILED, None),
        (queued(), Outcome.UNKNOWN, None),
        (started(), Outcome.NONE, None),
        (started(), Outcome.PUBLISHED, "none and started_at 2026-04-15T15:00:00.000Z"),
        (started(), Outcome.FAILED, "none and started_at 2026-04-15T15:00:00.000Z"),
        (started(), Outcome.UNKNOWN, "none and started_at 2026-04-15T15:00:00.000Z"),
        (failed(), Outcome.NONE, "failed and started_at none"),
        (failed(), Outcome.PUBLISHED, "failed and started_at none"),
        (failed(), Outcome.FAILED, None),
        (failed(), Outcome.UNKNOWN, None),
        (unknown(), Outcome.NONE, "unknown and started_at none"),
        (unknown(), Outcome.PUBLISHED, "unknown and started_at none"),
        (unknown(), Outcome.FAILED, "unknown and started_at none"),
        (unknown(), Outcome.UNKNOWN, None),
    ],
)
async def test_the_last_attempt_leads_to_where_its_destination_is(
    database: Database, state: DestinationState, last: Outcome, settled: str | None
) -> None:
    state = replace(state, attempts=2, fence=2)
    workspace, destination = await add_destination(database, state)
    await add_attempt(database, workspace, destination, outcome=Outcome.FAILED)
    attempt = await add_attempt(database, workspace, destination, fence=2, number=2, outcome=last)
    await add_attempt(
        database, workspace, destination, kind=AttemptKind.LATE, outcome=Outcome.FAILED, fence=3
    )

    assert await find_problems(database) == (
        []
        if settled is None
        else [
            f"Workspace {workspace}: destination {destination} has outcome {settled},"
            f" which cannot follow from its last attempt {attempt}, of outcome {last}."
        ]
    )


@pytest.mark.parametrize("last", list(Outcome))
async def test_a_late_report_publishes_after_any_attempt(database: Database, last: Outcome) -> None:
    workspace, destination = await add_destination(database, published(attempts=2))
    await add_attempt(database, workspace, destination, outcome=Outcome.UNKNOWN)
    await add_attempt(database, workspace, destination, fence=2, number=2, outcome=last)
    await add_attempt(database, workspace, destination, kind=AttemptKind.LATE, number=None)
    await add_evidence(database, workspace, destination)

    assert await find_problems(database) == []


@pytest.mark.parametrize("logged", [[], [Outcome.UNKNOWN], [Outcome.FAILED, Outcome.PUBLISHED]])
async def test_a_publication_that_nobody_told_of_is_found(
    database: Database, logged: list[Outcome]
) -> None:
    workspace, destination = await add_destination(database, published(attempts=len(logged)))
    for fence, outcome in enumerate(logged, start=1):
        await add_attempt(
            database, workspace, destination, number=fence, fence=fence, outcome=outcome
        )

    assert await find_problems(database) == [
        f"Workspace {workspace}: destination {destination}"
        " has no evidence of its publication that counts."
    ]


EVIDENCE_PROBLEMS: list[tuple[str, str]] = [
    ("fence = 1", ""),
    (
        "platform_post_id = '2'",
        " is not where, or not since when, the evidence that counts has it.",
    ),
    (
        "platform_post_url = NULL",
        " is not where, or not since when, the evidence that counts has it.",
    ),
    ("published_at = reported_at", ""),
    (
        "fence = 3",
        " has had 1 claims, but there is evidence of the publication by claim 3.",
    ),
    ("counted = FALSE", " has no evidence of its publication that counts."),
]


@pytest.mark.parametrize(
    ("change", "problem"), EVIDENCE_PROBLEMS, ids=[each for each, _ in EVIDENCE_PROBLEMS]
)
async def test_evidence_is_of_a_claim_and_of_the_place_where_the_post_is(
    unconstrained_database: Database, change: str, problem: str
) -> None:
    await execute_unchecked(unconstrained_database, f"UPDATE publish_evidence SET {change}")

    name = f"Workspace {WORKSPACE}: destination {PUBLISHED}"
    assert await find_problems(unconstrained_database) == ([name + problem] if problem else [])


@pytest.mark.parametrize(
    "state", [failed(), unknown(), queued()], ids=["failed", "unknown", "queued"]
)
async def test_what_was_published_stays_so(database: Database, state: DestinationState) -> None:
    state = replace(state, attempts=1, fence=1)
    workspace, destination = await add_destination(database, state)
    outcome = Outcome.FAILED if state.outcome is Outcome.NONE else state.outcome
    await add_attempt(database, workspace, destination, outcome=outcome)
    await add_evidence(database, workspace, destination)

    assert await find_problems(database) == [
        f"Workspace {workspace}: destination {destination} is {state.status.value},"
        " though there is evidence of its publication."
    ]


external_origins = pytest.mark.parametrize(
    "origin", [{"mirror_of": "https://example.com"}, {"imported_at": NOW}], ids=["mirror", "import"]
)


@external_origins
async def test_what_happened_elsewhere_may_lack_a_log_and_evidence(
    database: Database, origin: dict[str, Any]
) -> None:
    states = [published(attempts=3), failed(attempts=2), waiting_for_retry(attempts=2)]
    await add_destination(database, *states, **origin)

    assert await find_problems(database) == []


@external_origins
async def test_no_more_attempts_are_logged_than_are_counted(
    database: Database, origin: dict[str, Any]
) -> None:
    workspace, destination = await add_destination(database, failed(attempts=1), **origin)
    for fence in (1, 2):
        await add_attempt(
            database, workspace, destination, number=fence, fence=fence, outcome=Outcome.FAILED
        )

    assert await find_problems(database) == [
        f"Workspace {workspace}: destination {destination} counts 1 attempts, but 2 are logged."
    ]


async def add_destination(
    database: Database,
    *states: DestinationState,
    mirror_of: str | None = None,
    imported_at: datetime | None = None,
) -> tuple[WorkspaceId, DestinationId]:
    """A post in a workspace of its own, on as many accounts as states; the first destination."""
    workspace = await add_workspace(database, mirror_of=mirror_of)
    accounts = [await add_account(database, workspace) for _ in states]
    post = await add_post(
        database, workspace, dict(zip(accounts, states, strict=True)), imported_at=imported_at
    )
    return workspace, post.destinations[0]


async def add_evidence(
    database: Database, workspace: WorkspaceId, destination: DestinationId
) -> None:
    async with database.write_engine.begin() as connection:
        await connection.execute(
            insert(PublishEvidence).values(
                workspace_id=workspace,
                destination_id=destination,
                fence=1,
                counted=True,
                platform_post_id=published().platform_post_id,
                platform_post_url=published().platform_post_url,
                published_at=published().published_at,
                reported_at=NOW,
            )
        )


async def test_an_event_may_be_caused_by_nobody_and_by_a_key_of_another_workspace(
    unconstrained_database: Database,
) -> None:
    key = await add_api_key(
        unconstrained_database,
        await add_workspace(unconstrained_database),
        scopes=[Scope.PUBLISH_ALL],
    )
    async with unconstrained_database.write_engine.begin() as connection:
        for seq, actor in ((1, None), (2, key.id)):
            await connection.execute(
                update(Event).where(Event.seq == seq).values(actor_key_id=actor)
            )

    assert await find_problems(unconstrained_database) == []


@pytest.mark.parametrize("kept", ["seq > 1", "seq > 3"])
async def test_old_events_may_be_gone(unconstrained_database: Database, kept: str) -> None:
    await execute_unchecked(unconstrained_database, f"DELETE FROM event WHERE NOT {kept}")

    assert await find_problems(unconstrained_database) == []


async def test_a_check_stops_at_very_many_problems(unconstrained_database: Database) -> None:
    await execute_unchecked(
        unconstrained_database,
        "INSERT INTO idempotency_key"
        " (workspace_id, operation, key, fingerprint, outcome, created_at, expires_at)"
        " WITH RECURSIVE number (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM number WHERE n < 1500)"
        " SELECT webhook.id, 'createPost', CAST(n AS TEXT), deployment.secret_key, '{}',"
        " webhook.created_at, webhook.created_at FROM number, webhook, deployment",
    )

    problems = await find_problems(unconstrained_database)

    assert len(problems) == MAX_PROBLEMS + 1
    assert problems[-1] == "The check stopped after 1000 problems."


@pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
async def test_a_damaged_page_is_told_of_in_sentences_and_the_check_goes_on(
    unconstrained_database: Database,
) -> None:
    await execute_unchecked(
        unconstrained_database, f"UPDATE workspace SET next_account_id = 4 WHERE id = '{WORKSPACE}'"
    )
    await corrupt_table(unconstrained_database, "attempt")

    file, values, *others, counter = await find_problems(unconstrained_database)

    assert file == "The check of the file could not be finished: the file is damaged."
    assert values == (
        "The check of the values in attempt could not be finished: the file is damaged."
    )
    for other in others:
        assert re.fullmatch(
            r"The check of [\w ]+ could not be finished: the file is damaged\.", other
        )
    assert counter == f"Workspace {WORKSPACE}: account 4 is not below next_account_id, which is 4."


async def test_an_error_of_the_database_ends_one_check_alone(
    unconstrained_database: Database,
) -> None:
    await execute_unchecked(
        unconstrained_database, "ALTER TABLE idempotency_key DROP COLUMN outcome"
    )
    await execute_unchecked(
        unconstrained_database, f"UPDATE workspace SET next_account_id = 4 WHERE id = '{WORKSPACE}'"
    )

    assert await find_problems(unconstrained_database) == [
        "The check of the values in idempotency_key could not be finished: "
        + (
            "no such column: idempotency_key.outcome."
            if unconstrained_database.is_sqlite
            else "column idempotency_key.outcome does not exist."
        ),
        f"Workspace {WORKSPACE}: account 4 is not below next_account_id, which is 4.",
    ]


@pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
async def test_where_the_version_cannot_be_read_the_check_says_so(
    unconstrained_database: Database,
) -> None:
    await corrupt_table(unconstrained_database, "alembic_version")

    assert await find_problems(unconstrained_database) == [
        "The check could not begin: the file is damaged."
    ]


async def corrupt_table(database: Database, table: str) -> None:
    """Overwrite the first page of a table in its file, and let nobody have it in memory."""
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
