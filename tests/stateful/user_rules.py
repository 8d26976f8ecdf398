"""Commands of users: create, change, schedule, cancel, delete and retry posts, and switch accounts."""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import Any
from uuid import uuid4

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from app.domain.idempotency import IdempotencyKey, parse_client_key
from app.domain.ids import AccountId
from app.domain.post_commands import Schedule
from app.services import posts as service
from app.services.retries import retry_one_post
from app.services.unit_of_work import UnitOfWork, run_in_transaction
from tests.domain.post_commands import new_post_request
from tests.factories import no_quota
from tests.stateful.machine import ACCOUNTS, ModelMachine, post_indexes
from tests.stateful.model import ModelPost

UNKNOWN_ACCOUNT = AccountId(9)
account_lists = st.lists(st.sampled_from([*ACCOUNTS * 4, UNKNOWN_ACCOUNT]), max_size=3, unique=True)
idempotency_keys = st.sampled_from([None, None, "a", "b"])
texts = st.sampled_from(["One", "Two", "Three"])
version_choices = st.sampled_from(["none", "none", "none", "right", "right", "stale"])
delays = st.sampled_from(
    [*[None, timedelta(hours=1), timedelta(days=2)] * 2, timedelta(minutes=-1)]
)


class UserRules(ModelMachine):
    """Commands of users on posts and accounts."""

    def has_few_posts(self) -> bool:
        """Limit the number of posts, so that each receives several commands."""
        return len(self.model.posts) < 8

    @precondition(has_few_posts)
    @rule(
        content=texts,
        accounts=account_lists,
        draft=st.sampled_from([False, False, True]),
        delay=delays,
        key=idempotency_keys,
    )
    def create(
        self,
        content: str,
        accounts: list[AccountId],
        draft: bool,
        delay: timedelta | None,
        key: str | None,
    ) -> None:
        scheduled_for = self.time_after(delay)
        before, context = self.post_views(), self.write_context("createPost")
        new = new_post_request(
            content=content, account_ids=accounts, is_draft=draft, scheduled_for=scheduled_for
        )
        code, created = self.result_or_code(
            service.create_post(
                self._database,
                context,
                new,
                client_idempotency_key(key),
                charge_quota=no_quota,
                new_id=uuid4,
            )
        )

        request = (content, tuple(accounts), draft, scheduled_for)
        is_malformed = not accounts and not draft
        stored = None if is_malformed else self.model.replay_result("createPost", key, request)
        refusal = self.model.create_refusal(accounts, is_draft=draft, scheduled_for=scheduled_for)
        if stored is not None:
            assert (code or "", created and created.id) == stored
            assert self.count_new_events(context) == 0
        elif refusal is not None:
            assert code == refusal
            assert self.count_new_events(context) == 0
        else:
            assert code is None
            assert created is not None
            post = self.model.add_post(
                content, accounts, is_draft=draft, scheduled_for=scheduled_for
            )
            self.model.posts[created.id] = post
            self.model.store_result("createPost", key, request, created.id)
            self.assert_matches_model(context, before, created.id)

    @rule(
        index=post_indexes,
        content=st.none() | texts,
        delay=st.just("unchanged") | delays,
        accounts=st.none() | account_lists,
        version=version_choices,
    )
    def change(
        self,
        index: int,
        content: str | None,
        delay: Any,
        accounts: list[AccountId] | None,
        version: str,
    ) -> None:
        changes: dict[str, Any] = {} if content is None else {"content": content}
        if delay != "unchanged":
            changes["scheduled_for"] = self.time_after(delay)
        self._check_command(
            "updatePost",
            index,
            version,
            partial(
                service.update_post,
                update=changes,  # type: ignore[arg-type]
                account_ids=accounts,
                new_id=uuid4,
            ),
            lambda post, expected_version: self.model.change(
                post, changes, accounts, expected_version
            ),
        )

    @rule(
        index=post_indexes,
        delay=delays,
        now=st.booleans(),
        accounts=st.none() | account_lists,
        version=version_choices,
    )
    def schedule(
        self,
        index: int,
        delay: timedelta | None,
        now: bool,
        accounts: list[AccountId] | None,
        version: str,
    ) -> None:
        scheduled_for = self.time_after(delay)
        self._check_command(
            "schedulePost",
            index,
            version,
            partial(
                service.schedule_post,
                schedule=Schedule(scheduled_for=scheduled_for, publish_now=now),
                account_ids=accounts,
                new_id=uuid4,
            ),
            lambda post, expected_version: self.model.schedule(
                post, scheduled_for, accounts, expected_version, publish_now=now
            ),
        )

    @rule(index=post_indexes, version=version_choices)
    def cancel(self, index: int, version: str) -> None:
        self._check_command("cancelPost", index, version, service.cancel_post, self.model.cancel)

    @rule(index=post_indexes, version=version_choices)
    def delete(self, index: int, version: str) -> None:
        self._check_command("deletePost", index, version, service.delete_post, self.model.delete)

    def _check_command(
        self,
        operation: str,
        index: int,
        version: str,
        run_service: Callable[..., Awaitable[object]],
        run_model: Callable[[ModelPost, int | None], str | None],
    ) -> None:
        """Run a command on one post, if there is any, and expect the error code of the model."""
        if (picked := self.pick_post(index)) is None:
            return
        post_id, post = picked
        before, context = self.post_views(), self.write_context(operation)
        expected_version = self.resolve_version(post, version)
        code, _ = self.result_or_code(
            run_service(
                self._database,
                context,
                post_id,
                expected_version=expected_version,
                idempotency_key=None,
            )
        )
        assert code == run_model(post, expected_version)
        self.assert_matches_model(context, before, post_id)

    @rule(
        index=post_indexes,
        accounts=st.none() | account_lists,
        force=st.booleans(),
        key=idempotency_keys,
    )
    def retry(
        self, index: int, accounts: list[AccountId] | None, force: bool, key: str | None
    ) -> None:
        if (picked := self.pick_post(index, "failed", "unknown")) is None:
            return
        post_id, post = picked
        before, context = self.post_views(), self.write_context("retryPost")
        code, retries = self.result_or_code(
            retry_one_post(
                self._database,
                context,
                post_id,
                account_ids=accounts,
                force=force,
                idempotency_key=client_idempotency_key(key),
            )
        )
        refusals = None if retries is None else [retry.refusal for retry in retries]
        request = (post_id, None if accounts is None else tuple(sorted(accounts)), force)
        if (stored := self.model.replay_result("retryPost", key, request)) is not None:
            assert (code or "", refusals) == stored
        else:
            expected_code, expected = self.model.retry(post, accounts, force=force)
            assert code == expected_code
            if refusals is not None:
                assert refusals == expected
                self.model.store_result("retryPost", key, request, expected)
        self.assert_matches_model(context, before, post_id)

    @rule(account_id=st.sampled_from(ACCOUNTS))
    def toggle_account(self, account_id: AccountId) -> None:
        can_post = not self.model.accounts[account_id]
        context = self.write_context("updateAccount")

        async def save(unit: UnitOfWork) -> None:
            await unit.lock_accounts([account_id])
            (stored,) = (await unit.load_accounts([account_id])).values()
            enabled = replace(stored, is_active=True, needs_reconnection_since=None)
            await unit.save_accounts([enabled if can_post else replace(stored, is_active=False)])

        self.run(run_in_transaction(self._database, context, save))
        self.model.accounts[account_id] = can_post
        assert self.count_new_events(context) == 1


def client_idempotency_key(key: str | None) -> IdempotencyKey | None:
    return None if key is None else parse_client_key(key, "idempotencyKey")
