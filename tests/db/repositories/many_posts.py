"""Workspace with enough posts for a query planner to use indexes."""

from datetime import datetime, timedelta
from random import Random
from typing import Any
from uuid import UUID

from app.db.core.database import Database
from app.db.core.write_session import AllWorkspacesWriteSession
from app.db.models import Account, Attempt, Destination, Event, Post, Workspace
from app.db.repositories.posts import state_columns
from app.domain.attempts import AttemptKind
from app.domain.destinations import DestinationState, Outcome
from app.domain.ids import WorkspaceId, WorkspaceKind
from app.domain.posts import post_published_at, post_status
from tests.factories import NOW, draft, failed, published, queued, started, waiting_for_retry
from tests.raw_statements import insert_raw

POSTS = 1000
ACCOUNTS = 20

Rows = dict[type[Any], list[dict[str, Any]]]


async def add_many_posts(database: Database, workspace: WorkspaceId) -> None:
    """Add a workspace with a year of posts on two accounts each, and one event per post; deterministic."""

    async def work(session: AllWorkspacesWriteSession) -> None:
        for model, rows in _rows(workspace).items():
            await insert_raw(session, model, rows)

    await database.write_all_workspaces(work)


def _rows(workspace: WorkspaceId) -> Rows:
    random = Random(str(workspace))
    rows: Rows = {Workspace: [], Account: [], Post: [], Destination: [], Attempt: [], Event: []}
    rows[Workspace].append(
        {
            "id": workspace,
            "name": str(workspace),
            "kind": WorkspaceKind.LOCAL,
            "event_seq": POSTS,
            "next_account_id": ACCOUNTS + 1,
            "created_at": NOW,
        }
    )
    for account in range(1, ACCOUNTS + 1):
        times = dict.fromkeys(("connected_at", "created_at", "updated_at"), NOW)
        platform = _platform(account)
        rows[Account].append(
            {
                "workspace_id": workspace,
                "id": account,
                "platform": platform,
                "is_active": True,
                **times,
            }
        )
    for number in range(POSTS):
        _add_post(rows, workspace, number, random)
    return rows


def _platform(account: int) -> str:
    return f"platform-{account % 5}"


def _add_post(rows: Rows, workspace: WorkspaceId, number: int, random: Random) -> None:
    created_at = NOW - timedelta(minutes=random.randrange(60 * 24 * 365))
    states = [_state(number + position, created_at) for position in range(2)]
    post_id = UUID(int=random.getrandbits(128))
    times = {"created_at": created_at, "updated_at": created_at + timedelta(minutes=number)}
    rows[Post].append(
        {
            "workspace_id": workspace,
            "id": post_id,
            "content": "Spring sale starts today. " * 10,
            "is_draft": False,
            "submitted_now": number % 4 == 0,
            "scheduled_for": None if number % 4 == 0 else created_at + timedelta(hours=1),
            "media_ids": [],
            "media": [],
            "platform_content": {},
            "reference": f"reference-{number}" if number % 10 == 0 else None,
            "status": post_status(is_draft=False, submitted_now=False, destinations=states),
            "published_at": post_published_at(states),
            "version": 1,
            "search_text": "spring sale starts today. " * 10,
            "deleted_at": NOW if number % 50 == 0 else None,
            **times,
        }
    )
    rows[Event].append(
        {
            "workspace_id": workspace,
            "seq": number + 1,
            "kind": "post.created" if number % 50 else "post.deleted",
            "post_id": post_id,
            "payload": {"operation": "createPost", "changes": {}},
            "created_at": created_at,
        }
    )
    for position, state in enumerate(states):
        account = (number + 7 * position) % ACCOUNTS + 1
        destination_id = UUID(int=random.getrandbits(128))
        rows[Destination].append(
            {
                "workspace_id": workspace,
                "id": destination_id,
                "post_id": post_id,
                "account_id": account,
                "platform": _platform(account),
                "position": position,
                **state_columns(_platform(account), state),
                **times,
            }
        )
        rows[Attempt].append(
            {
                "workspace_id": workspace,
                "id": UUID(int=random.getrandbits(128)),
                "destination_id": destination_id,
                "kind": AttemptKind.REGULAR,
                "number": 1,
                "fence": 1,
                "outcome": Outcome.NONE,
                "started_at": created_at,
            }
        )


def _state(number: int, due_at: datetime) -> DestinationState:
    """Return a failed state for one number in 10, a queued one in 25, and each rarer state in 100."""
    remainder = number % 100
    if remainder % 10 == 1:
        return failed(due_at=due_at)
    if remainder % 25 == 2:
        return queued(due_at)
    rare = {
        3: waiting_for_retry(due_at + timedelta(minutes=1), due_at=due_at),
        4: started(due_at),
        5: draft(),
    }
    return rare.get(remainder) or published(due_at + timedelta(seconds=5), due_at=due_at)
