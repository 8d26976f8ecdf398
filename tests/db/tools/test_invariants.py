"""Rules between destinations, their attempts and the evidence of publications."""

from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest
from sqlalchemy import insert

from app.db.core.database import Database
from app.db.models import PublishEvidence
from app.db.tools.integrity import find_problems
from app.domain.attempts import AttemptKind
from app.domain.destinations import DestinationState, Outcome
from app.domain.ids import DestinationId, WorkspaceId
from tests.factories import (
    NOW,
    add_account,
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
async def test_last_attempt_must_lead_to_the_state_of_its_destination(
    database: Database, state: DestinationState, last: Outcome, settled: str | None
) -> None:
    state = replace(state, attempts=2, fence=2)
    workspace, destination = await add_destination(database, state)
    await add_attempt(database, workspace, destination, outcome=Outcome.FAILED)
    attempt = await add_attempt(database, workspace, destination, fence=2, number=2, outcome=last)
    await add_attempt(
        database,
        workspace,
        destination,
        kind=AttemptKind.LATE,
        number=None,
        outcome=Outcome.FAILED,
        fence=3,
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
async def test_late_report_may_publish_after_any_attempt(database: Database, last: Outcome) -> None:
    workspace, destination = await add_destination(database, published(attempts=2))
    await add_attempt(database, workspace, destination, outcome=Outcome.UNKNOWN)
    await add_attempt(database, workspace, destination, fence=2, number=2, outcome=last)
    await add_attempt(database, workspace, destination, kind=AttemptKind.LATE, number=None)
    await add_evidence(database, workspace, destination)

    assert await find_problems(database) == []


@pytest.mark.parametrize(
    "state", [failed(), unknown(), queued()], ids=["failed", "unknown", "queued"]
)
async def test_evidence_of_an_unpublished_destination_is_reported(
    database: Database, state: DestinationState
) -> None:
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
async def test_external_destination_may_lack_log_and_evidence(
    database: Database, origin: dict[str, Any]
) -> None:
    states = [published(attempts=3), failed(attempts=2), waiting_for_retry(attempts=2)]
    await add_destination(database, *states, **origin)

    assert await find_problems(database) == []


@external_origins
async def test_external_destination_must_count_all_logged_attempts(
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
    """Add a post with one account for each state to a new workspace; return its first destination."""
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
