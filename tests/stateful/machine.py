"""Base of the state machine: a workspace, its model, and the comparison of both."""

import asyncio
from collections.abc import Awaitable, Collection, Coroutine
from datetime import datetime, timedelta
from itertools import count
from random import Random
from typing import Any, TypeVar

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

from app.db.core.database import Database
from app.db.core.write_session import AllWorkspacesWriteSession
from app.db.models import Base
from app.db.repositories.posts import load_posts
from app.db.repositories.workspaces import reserve_account_ids
from app.db.tools.invariants import RULES
from app.domain.errors import PostResultsError
from app.domain.ids import AccountId, ApiKeyId, PostId, WorkspaceId
from app.domain.posts import Post
from app.services.unit_of_work import UnitOfWork, WriteContext, run_in_transaction
from tests.domain.destination_states import make_account
from tests.factories import NOW, add_api_key, add_workspace
from tests.raw_statements import run_raw
from tests.stateful import event_replay
from tests.stateful.model import ModelPost
from tests.stateful.publishing_model import PublishingModel

T = TypeVar("T")

ACCOUNTS = [AccountId(1), AccountId(2), AccountId(3)]
PUBLISHING_RULES = ("attempt logs", "publish evidence")
post_indexes = st.integers(0, 7)


class ModelMachine(RuleBasedStateMachine):
    """Runs commands in a new workspace; `runner` owns the event loop of the database."""

    def __init__(self, runner: asyncio.Runner, database: Database) -> None:
        super().__init__()
        self._runner, self._database = runner, database
        self._actors = count()
        self._random = Random(0)
        self._seq = 0
        self.workspace, self.key = self.run(self._create_workspace())
        self.model = PublishingModel(NOW, dict.fromkeys(ACCOUNTS, True))

    async def _create_workspace(self) -> tuple[WorkspaceId, ApiKeyId]:
        await self._database.write_all_workspaces(_delete_all)
        workspace = await add_workspace(self._database)
        key = await add_api_key(self._database, workspace)

        async def add_accounts(unit: UnitOfWork) -> None:
            await reserve_account_ids(unit.session, highest_id=ACCOUNTS[-1])
            await unit.save_accounts([*map(make_account, ACCOUNTS)])

        context = WriteContext(workspace_id=workspace, actor=key.id, operation="connect", now=NOW)
        await run_in_transaction(self._database, context, add_accounts)
        self._seq = len(ACCOUNTS)
        return workspace, key.id

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self._runner.run(work)

    def write_context(self, operation: str) -> WriteContext:
        """Context of the API key and of the operator, alternately."""
        actor = self.key if next(self._actors) % 2 else None
        return WriteContext(
            workspace_id=self.workspace, actor=actor, operation=operation, now=self.model.now
        )

    def result_or_code(self, work: Awaitable[T]) -> tuple[str | None, T | None]:
        """The error code or the result."""

        async def run() -> tuple[str | None, T | None]:
            try:
                return None, await work
            except PostResultsError as error:
                return str(error.code), None

        return self.run(run())

    def pick_post(self, index: int, *phases: str) -> tuple[PostId, ModelPost] | None:
        """Pick a post, deleted or not; prefer posts with a destination in one of the phases."""
        all_posts = list(self.model.posts.items())
        posts = [(key, post) for key, post in all_posts if post.has_phase(*phases)] or all_posts
        return posts[index % len(posts)] if posts else None

    def resolve_version(self, post: ModelPost, version: str) -> int | None:
        return {"none": None, "right": post.version, "stale": post.version - 1}[version]

    def time_after(self, delay: timedelta | None) -> datetime | None:
        return None if delay is None else self.model.now + delay

    def count_new_events(self, context: WriteContext) -> int:
        """Count the events since the last call; they must all have this context, without gaps."""
        events = self.run(event_replay.events_after(self._database, self.workspace, self._seq))
        end = self._seq + len(events)
        assert [event.seq for event in events] == [*range(self._seq + 1, end + 1)]
        for event in events:
            assert event.payload["operation"] == context.operation
            assert (event.actor_key_id, event.created_at) == (context.actor, context.now)
        self._seq = end
        return len(events)

    def post_views(self) -> dict[PostId, object]:
        return {key: post.view() for key, post in self.model.posts.items()}

    def assert_matches_model(
        self,
        context: WriteContext,
        before: dict[PostId, object],
        *changed_posts: PostId,
        expects_events: bool = False,
    ) -> None:
        """Compare posts with the model; there must be events if a post changed or the caller expects some."""
        changed = [key for key, view in self.post_views().items() if before.get(key) != view]
        assert (self.count_new_events(context) > 0) == (bool(changed) or expects_events)
        stored = self.run(self._load({*changed, *changed_posts}))
        for key, post in stored.items():
            model = self.model.posts[key]
            assert view_of_post(post) == model.view()
            for destination in post.destinations:
                model.destinations[destination.account_id].id = destination.id
        if changed or expects_events:
            assert self.run(find_problems_in_publishing(self._database)) == []

    async def _load(self, ids: Collection[PostId]) -> dict[PostId, Post]:
        reader = self._database.reader(self.workspace)
        return await load_posts(reader, ids)

    @rule(duration=st.sampled_from([timedelta(minutes=1), timedelta(hours=2), timedelta(hours=25)]))
    def wait(self, duration: timedelta) -> None:
        self.model.now += duration

    def teardown(self) -> None:
        for key, post in self.run(self._load(self.model.posts)).items():
            assert view_of_post(post) == self.model.posts[key].view()
        events = self.run(event_replay.events_after(self._database, self.workspace, 0))
        assert event_replay.apply_events(events) == self.run(
            event_replay.stored_rows(self._database, self.workspace)
        )


async def find_problems_in_publishing(database: Database) -> list[str]:
    """Contradictions between the rows that publishing writes."""
    async with database.snapshot() as connection:
        rules = [RULES[name](connection) for name in PUBLISHING_RULES]
        return [problem for rule in rules async for problem in rule]


async def _delete_all(session: AllWorkspacesWriteSession) -> None:
    """Delete the rows of earlier examples, which each check would read."""
    for table in reversed(Base.metadata.sorted_tables):
        if table.name != "deployment":
            await run_raw(session, table.delete())


def view_of_post(post: Post) -> tuple[object, ...]:
    """The values that the model has of a stored post."""
    states = {each.account_id: each.state for each in post.destinations}
    return (
        post.status.value,
        post.content,
        post.version,
        post.scheduled_for,
        post.deleted_at is not None,
        [
            (
                account_id,
                (
                    state.status.value,
                    state.outcome.value,
                    state.due_at,
                    state.claimable_at,
                    state.attempts,
                    state.round_attempts,
                    state.next_retry_at,
                    state.error_code,
                    state.fence,
                    state.lease_expires_at,
                    state.verifiable_at,
                ),
            )
            for account_id, state in states.items()
        ],
    )
