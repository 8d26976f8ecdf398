"""What all rules of the machine stand on: a workspace, its model, and how the two are compared. No rules."""

import asyncio
from collections.abc import Awaitable, Collection, Coroutine
from datetime import datetime, timedelta
from itertools import count
from typing import Any, TypeVar

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

from app.db.core.database import Database, WriteSession
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
from tests.stateful import event_replay
from tests.stateful.model import ModelPost
from tests.stateful.publishing_model import PublishingModel

T = TypeVar("T")

ACCOUNTS = [AccountId(each) for each in (1, 2, 3)]
OF_PUBLISHING = ("the logs of attempts", "publish evidence")
which = st.integers(0, 7)


class Life(RuleBasedStateMachine):
    """In a workspace of its own; `runner` has the event loop of the database."""

    def __init__(self, runner: asyncio.Runner, database: Database) -> None:
        super().__init__()
        self._runner, self._database = runner, database
        self._actors = count()
        self._seq = 0
        self.workspace, self.key = self.run(self._begin())
        self.model = PublishingModel(NOW, dict.fromkeys(ACCOUNTS, True))

    async def _begin(self) -> tuple[WorkspaceId, ApiKeyId]:
        await self._database.write(_empty)
        workspace = await add_workspace(self._database)
        key = await add_api_key(self._database, workspace)

        async def connect(writing: UnitOfWork) -> None:
            await reserve_account_ids(writing.session, workspace, highest_id=ACCOUNTS[-1])
            await writing.save_accounts([make_account(each) for each in ACCOUNTS])

        errand = WriteContext(workspace_id=workspace, actor=key.id, operation="connect", now=NOW)
        await run_in_transaction(self._database, errand, connect)
        self._seq = len(ACCOUNTS)
        return workspace, key.id

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self._runner.run(work)

    # What every rule does.

    def errand(self, operation: str) -> WriteContext:
        """By the key and by the operator in turn."""
        actor = self.key if next(self._actors) % 2 else None
        return WriteContext(
            workspace_id=self.workspace, actor=actor, operation=operation, now=self.model.now
        )

    def outcome(self, work: Awaitable[T]) -> tuple[str | None, T | None]:
        """The code of a refusal, or the answer."""

        async def run() -> tuple[str | None, T | None]:
            try:
                return None, await work
            except PostResultsError as error:
                return str(error.code), None

        return self.run(run())

    def picked(self, number: int, *phases: str) -> tuple[PostId, ModelPost] | None:
        """One of the posts, deleted ones too; of those with a destination in such a phase, if any."""
        posts = list(self.model.posts.items())
        posts = [each for each in posts if each[1].any(*phases)] or posts
        return posts[number % len(posts)] if posts else None

    def version(self, post: ModelPost, version: str) -> int | None:
        return {"none": None, "right": post.version, "stale": post.version - 1}[version]

    def soon(self, after: timedelta | None) -> datetime | None:
        return None if after is None else self.model.now + after

    def told(self, errand: WriteContext) -> int:
        """How many events there are since; they must be of this errand alone, without a gap."""
        events = self.run(event_replay.events_after(self._database, self.workspace, self._seq))
        assert [each.seq for each in events] == [*range(self._seq + 1, self._seq + 1 + len(events))]
        for each in events:
            assert each.payload["operation"] == errand.operation
            assert (each.actor_key_id, each.created_at) == (errand.actor, errand.now)
        self._seq += len(events)
        return len(events)

    def views(self) -> dict[PostId, object]:
        return {key: post.view() for key, post in self.model.posts.items()}

    def compare(
        self,
        errand: WriteContext,
        before: dict[PostId, object],
        *touched: PostId,
        tells: bool = False,
    ) -> None:
        """The posts are as the model has them, and events tell of a change where there was one.

        Or of something else, as the caller knows.
        """
        changed = [key for key, view in self.views().items() if before.get(key) != view]
        assert (self.told(errand) > 0) == (bool(changed) or tells)
        stored = self.run(self._load({*changed, *touched}))
        for key, post in stored.items():
            model = self.model.posts[key]
            assert view(post) == model.view()
            for each in post.destinations:
                model.on[each.account_id].id = each.id
        if changed or tells:
            assert self.run(problems(self._database)) == []

    async def _load(self, ids: Collection[PostId]) -> dict[PostId, Post]:
        reader = self._database.read(self.workspace)
        return await load_posts(reader, ids)

    @rule(by=st.sampled_from([timedelta(minutes=1), timedelta(hours=2), timedelta(hours=25)]))
    def wait(self, by: timedelta) -> None:
        self.model.now += by

    def teardown(self) -> None:
        for key, post in self.run(self._load(self.model.posts)).items():
            assert view(post) == self.model.posts[key].view()
        events = self.run(event_replay.events_after(self._database, self.workspace, 0))
        assert event_replay.replayed(events) == self.run(
            event_replay.stored(self._database, self.workspace)
        )


async def problems(database: Database) -> list[str]:
    """What contradicts itself in what publishing writes."""
    async with database.snapshot() as connection:
        rules = [RULES[each](connection) for each in OF_PUBLISHING]
        return [problem for rule in rules async for problem in rule]


async def _empty(session: WriteSession) -> None:
    """So that a check after each step reads no other example's rows."""
    for table in reversed(Base.metadata.sorted_tables):
        if table.name != "deployment":
            await session.execute(table.delete())


def view(post: Post) -> tuple[object, ...]:
    """What the model has of a post, as it is stored."""
    states = [(each.account_id, each.state) for each in post.destinations]
    return (
        post.status.value,
        post.content,
        post.version,
        post.scheduled_for,
        post.deleted_at is not None,
        [
            (
                key,
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
            for key, state in states
        ],
    )
