"""Any commands, workers and clocks, one after the other: a small model says what comes of each.

After each, the post is as the model has it and the events are those of this one errand; in the end the
feed, read from its start, gives every row, and the check finds nothing. LIFE_EXAMPLES runs more.
"""

import asyncio
import os
from collections.abc import Awaitable, Coroutine
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import count
from typing import Any, TypeVar
from uuid import uuid4

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)

from app.db.engine import Database
from app.db.integrity import find_problems
from app.db.post_writes import load_posts
from app.db.workspaces import reserve_account_ids
from app.domain.editing import Submission
from app.domain.errors import PostResultsError
from app.domain.idempotency import RepetitionKey, given_key
from app.domain.ids import AccountId, ApiKeyId, PostId, WorkspaceId
from app.domain.posts import Post
from app.services import posts as service
from app.services.retries import retry_one_post
from app.services.writing import Errand, Writing, write
from tests.domain.states import account
from tests.domain.test_editing import wanted
from tests.factories import NOW, add_api_key, add_workspace, nobody_minds
from tests.life import replay, worker
from tests.life.model import Model, ModelPost

T = TypeVar("T")

EXAMPLES = int(os.environ.get("LIFE_EXAMPLES", "20"))
STEPS = 40

ACCOUNTS = [AccountId(each) for each in (1, 2, 3)]
UNKNOWN = AccountId(9)
places = st.lists(st.sampled_from([*ACCOUNTS * 4, UNKNOWN]), max_size=3, unique=True)
keys = st.sampled_from([None, None, "a", "b"])
texts = st.sampled_from(["One", "Two", "Three"])
versions = st.sampled_from(["none", "none", "none", "right", "right", "stale"])
times = st.sampled_from([*[None, timedelta(hours=1), timedelta(days=2)] * 2, timedelta(minutes=-1)])
which = st.integers(0, 7)


class Life(RuleBasedStateMachine):
    """In a workspace of its own; `runner` has the event loop of the database."""

    def __init__(self, runner: asyncio.Runner, database: Database) -> None:
        super().__init__()
        self._runner, self._database = runner, database
        self._actors = count()
        self._seq = 0
        self.workspace, self.key = self.run(self._begin())
        self.model = Model(NOW, dict.fromkeys(ACCOUNTS, True))

    async def _begin(self) -> tuple[WorkspaceId, ApiKeyId]:
        workspace = await add_workspace(self._database)
        key = await add_api_key(self._database, workspace)

        async def connect(writing: Writing) -> None:
            await reserve_account_ids(writing.session, workspace, up_to=ACCOUNTS[-1])
            await writing.save_accounts([account(each) for each in ACCOUNTS])

        errand = Errand(workspace_id=workspace, actor=key.id, operation="connect", now=NOW)
        await write(self._database, errand, connect)
        self._seq = len(ACCOUNTS)
        return workspace, key.id

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self._runner.run(work)

    # What every rule does.

    def errand(self, operation: str) -> Errand:
        """By the key and by the operator in turn."""
        actor = self.key if next(self._actors) % 2 else None
        return Errand(
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

    def told(self, errand: Errand) -> int:
        """How many events there are since; they must be of this errand alone, without a gap."""
        events = self.run(replay.events_after(self._database, self.workspace, self._seq))
        assert [each.seq for each in events] == [*range(self._seq + 1, self._seq + 1 + len(events))]
        for each in events:
            assert each.payload["operation"] == errand.operation
            assert (each.actor_key_id, each.created_at) == (errand.actor, errand.now)
        self._seq += len(events)
        return len(events)

    def compare(self, post_id: PostId, errand: Errand, before: object) -> None:
        """The post is as the model has it, and events tell of a change where there was one."""
        model = self.model.posts[post_id]
        has_changed = model.view() != before
        assert (self.told(errand) > 0) == has_changed
        assert view(self.run(self._load(post_id))) == model.view()

    async def _load(self, post_id: PostId) -> Post:
        async with self._database.read(self.workspace) as reader:
            return (await load_posts(reader, [post_id]))[post_id]

    # What people do.

    @initialize()
    def begin(self) -> None:
        self.create("One", ACCOUNTS[:2], draft=False, after=None, key="a")
        self.create("Two", ACCOUNTS, draft=True, after=None, key=None)
        self.create("Three", ACCOUNTS[1:], draft=False, after=timedelta(hours=1), key=None)
        self.create("Four", ACCOUNTS, draft=False, after=None, key=None)
        for place, end in enumerate(("fail for now", "fail", "lose")):
            self.publish(3, place, ["claim", "start", end])
        self.create("Five", ACCOUNTS[:1], draft=False, after=None, key=None)
        self.publish(4, 0, ["claim", "start", "fail for now"])

    def has_room(self) -> bool:
        """So that there are not so many posts that little happens to each."""
        return len(self.model.posts) < 8

    @precondition(has_room)
    @rule(
        content=texts,
        on=places,
        draft=st.sampled_from([False, False, True]),
        after=times,
        key=keys,
    )
    def create(
        self,
        content: str,
        on: list[AccountId],
        draft: bool,
        after: timedelta | None,
        key: str | None,
    ) -> None:
        when = self.soon(after)
        errand = self.errand("createPost")
        new = wanted(content=content, account_ids=on, is_draft=draft, scheduled_for=when)
        code, made = self.outcome(
            service.create_post(
                self._database, errand, new, given(key), admit=nobody_minds, new_id=uuid4
            )
        )

        request = (content, tuple(on), draft, when)
        is_malformed = not on and not draft
        first = None if is_malformed else self.model.repeated("createPost", key, request)
        refusal = self.model.create_refusal(on, is_draft=draft, when=when)
        if first is not None:
            assert (code or "", made and made.id) == first
            assert self.told(errand) == 0
        elif refusal is not None:
            assert code == refusal
            assert self.told(errand) == 0
        else:
            assert (code, made is None) == (None, False)
            assert made is not None
            post = self.model.created(content, on, is_draft=draft, when=when)
            self.model.posts[made.id] = post
            self.model.keep("createPost", key, request, made.id)
            self.compare(made.id, errand, None)

    @rule(
        number=which,
        content=st.none() | texts,
        after=st.just("as it is") | times,
        on=st.none() | places,
        version=versions,
    )
    def change(
        self,
        number: int,
        content: str | None,
        after: Any,
        on: list[AccountId] | None,
        version: str,
    ) -> None:
        if (picked := self.picked(number)) is None:
            return
        post_id, post = picked
        changes: dict[str, Any] = {} if content is None else {"content": content}
        if after != "as it is":
            changes["scheduled_for"] = self.soon(after)
        before, errand, expected = (
            post.view(),
            self.errand("updatePost"),
            self.version(post, version),
        )
        code, _ = self.outcome(
            service.change_post(
                self._database,
                errand,
                post_id,
                changes,  # type: ignore[arg-type]
                account_ids=on,
                expected_version=expected,
                new_id=uuid4,
            )
        )
        assert code == self.model.change(post, changes, on, expected)
        self.compare(post_id, errand, before)

    @rule(number=which, after=times, now=st.booleans(), on=st.none() | places, version=versions)
    def schedule(
        self,
        number: int,
        after: timedelta | None,
        now: bool,
        on: list[AccountId] | None,
        version: str,
    ) -> None:
        if (picked := self.picked(number)) is None:
            return
        post_id, post = picked
        when = self.soon(after)
        before, errand, expected = (
            post.view(),
            self.errand("schedulePost"),
            self.version(post, version),
        )
        code, _ = self.outcome(
            service.schedule_post(
                self._database,
                errand,
                post_id,
                Submission(scheduled_for=when, publish_now=now),
                account_ids=on,
                expected_version=expected,
                new_id=uuid4,
            )
        )
        assert code == self.model.schedule(post, when, on, expected, at_once=now)
        self.compare(post_id, errand, before)

    @rule(number=which, version=versions)
    def cancel(self, number: int, version: str) -> None:
        if (picked := self.picked(number)) is None:
            return
        post_id, post = picked
        before, errand, expected = (
            post.view(),
            self.errand("cancelPost"),
            self.version(post, version),
        )
        code, _ = self.outcome(
            service.cancel_post(self._database, errand, post_id, expected_version=expected)
        )
        assert code == self.model.cancel(post, expected)
        self.compare(post_id, errand, before)

    @rule(number=which, version=versions)
    def delete(self, number: int, version: str) -> None:
        if (picked := self.picked(number)) is None:
            return
        post_id, post = picked
        before, errand, expected = (
            post.view(),
            self.errand("deletePost"),
            self.version(post, version),
        )
        code, _ = self.outcome(
            service.delete_post(self._database, errand, post_id, expected_version=expected)
        )
        assert code == self.model.delete(post, expected)
        self.compare(post_id, errand, before)

    @rule(number=which, only=st.none() | places, force=st.booleans(), key=keys)
    def retry(
        self, number: int, only: list[AccountId] | None, force: bool, key: str | None
    ) -> None:
        if (picked := self.picked(number, "failed", "unknown")) is None:
            return
        post_id, post = picked
        before, errand = post.view(), self.errand("retryPost")
        code, decided = self.outcome(
            retry_one_post(self._database, errand, post_id, only=only, force=force, key=given(key))
        )
        request = (post_id, None if only is None else tuple(sorted(only)), force)
        if (first := self.model.repeated("retryPost", key, request)) is not None:
            told = None if decided is None else [each.refusal for each in decided]
            assert (code or "", told) == first
        else:
            refusal, refusals = self.model.retry(post, only, force=force)
            assert code == refusal
            if decided is not None:
                assert [each.refusal for each in decided] == refusals
                self.model.keep("retryPost", key, request, refusals)
        self.compare(post_id, errand, before)

    @rule(account_id=st.sampled_from(ACCOUNTS))
    def switch(self, account_id: AccountId) -> None:
        can_post = not self.model.accounts[account_id]
        errand = self.errand("updateAccount")

        async def save(writing: Writing) -> None:
            await writing.lock_accounts([account_id])
            (known,) = (await writing.accounts([account_id])).values()
            await writing.save_accounts([replace(known, is_active=can_post)])

        self.run(write(self._database, errand, save))
        self.model.accounts[account_id] = can_post
        assert self.told(errand) == 1

    # What workers and the clock do.

    @rule(
        number=which,
        place=which,
        steps=st.sampled_from(
            [
                ["claim"],
                ["claim", "release"],
                ["claim", "start"],
                ["claim", "start", "publish"],
                ["claim", "start", "fail"],
                ["claim", "start", "fail for now"],
                ["claim", "start", "lose"],
                ["start"],
                ["publish"],
                ["fail"],
                ["fail for now"],
                ["lose"],
            ]
        ),
    )
    def publish(self, number: int, place: int, steps: list[str]) -> None:
        for step in steps:
            self._work(number, place, step)

    def _work(self, number: int, place: int, step: str) -> None:
        if (picked := self.picked(number)) is None or not picked[1].on:
            return
        post_id, post = picked
        account_id, at = list(post.on.items())[place % len(post.on)]
        claimable = at.view()[3]
        may = {
            "claim": at.phase == "queued"
            and isinstance(claimable, datetime)
            and claimable <= self.model.now,
            "release": at.phase == "claimed",
            "start": at.phase == "claimed",
        }
        if not may.get(step, at.phase == "started"):
            return
        assert not post.is_deleted
        assert not post.is_draft
        before, errand = post.view(), self.errand(step)
        self.run(worker.work(self._database, errand, post_id, AccountId(account_id), step))
        now = self.model.now
        match step:
            case "claim":
                at.phase, at.lease_expires, at.retry_at = "claimed", now + worker.LEASE, None
            case "release":
                at.phase, at.retry_at = "queued", now if at.code else None
            case "start":
                at.phase, at.attempts = "started", at.attempts + 1
            case "publish":
                at.phase, at.code = "published", None
            case "fail":
                at.phase, at.code = "failed", "PERMANENT"
            case "lose":
                at.phase, at.code = "unknown", "OUTCOME_UNKNOWN"
            case "fail for now":
                at.phase, at.code, at.retry_at = "queued", "TIMEOUT", now + worker.RETRY_AFTER
        self.compare(post_id, errand, before)

    @rule(by=st.sampled_from([timedelta(minutes=1), timedelta(hours=2), timedelta(hours=25)]))
    def wait(self, by: timedelta) -> None:
        self.model.now += by

    def teardown(self) -> None:
        for post_id, post in self.model.posts.items():
            assert view(self.run(self._load(post_id))) == post.view()
        events = self.run(replay.events_after(self._database, self.workspace, 0))
        assert replay.replayed(events) == self.run(replay.stored(self._database, self.workspace))


def given(key: str | None) -> RepetitionKey | None:
    return None if key is None else given_key(key, "idempotencyKey")


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
                    state.next_retry_at,
                    state.error_code,
                ),
            )
            for key, state in states
        ],
    )


def test_the_life_of_posts_is_that_of_the_model(database_url: str) -> None:
    with asyncio.Runner() as runner:
        database = Database(database_url)
        try:
            run_state_machine_as_test(
                lambda: Life(runner, database),  # type: ignore[arg-type]
                settings=settings(max_examples=EXAMPLES, stateful_step_count=STEPS),
            )
            assert runner.run(find_problems(database)) == []
        finally:
            runner.run(database.__aexit__())
