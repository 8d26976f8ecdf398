"""What people do with posts and accounts, each step of it as the model says. Publishers are elsewhere."""

from dataclasses import replace
from datetime import timedelta
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
from tests.domain.test_post_commands import wanted
from tests.factories import no_quota
from tests.stateful.machine import ACCOUNTS, ModelMachine, post_indexes

UNKNOWN_POST = AccountId(9)
account_lists = st.lists(st.sampled_from([*ACCOUNTS * 4, UNKNOWN_POST]), max_size=3, unique=True)
idempotency_keys = st.sampled_from([None, None, "a", "b"])
texts = st.sampled_from(["One", "Two", "Three"])
version_choices = st.sampled_from(["none", "none", "none", "right", "right", "stale"])
delays = st.sampled_from([*[None, timedelta(hours=1), timedelta(days=2)] * 2, timedelta(minutes=-1)])


class UserRules(ModelMachine):
    """Whoever creates, changes, schedules, cancels, deletes and retries posts, or switches accounts."""

    def has_few_posts(self) -> bool:
        """So that there are not so many posts that little happens to each."""
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
        when = self.time_after(delay)
        before, errand = self.post_views(), self.write_context("createPost")
        new = wanted(content=content, account_ids=accounts, is_draft=draft, scheduled_for=when)
        code, made = self.result_or_code(
            service.create_post(
                self._database, errand, new, client_idempotency_key(key), check_quota=no_quota, new_id=uuid4
            )
        )

        request = (content, tuple(accounts), draft, when)
        is_malformed = not accounts and not draft
        first = None if is_malformed else self.model.replay_result("createPost", key, request)
        refusal = self.model.create_refusal(accounts, is_draft=draft, scheduled_for=when)
        if first is not None:
            assert (code or "", made and made.id) == first
            assert self.count_new_events(errand) == 0
        elif refusal is not None:
            assert code == refusal
            assert self.count_new_events(errand) == 0
        else:
            assert (code, made is None) == (None, False)
            assert made is not None
            post = self.model.add_post(content, accounts, is_draft=draft, scheduled_for=when)
            self.model.posts[made.id] = post
            self.model.store_result("createPost", key, request, made.id)
            self.assert_matches_model(errand, before, made.id)

    @rule(
        index=post_indexes,
        content=st.none() | texts,
        delay=st.just("as it is") | delays,
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
        if (picked := self.pick_post(index)) is None:
            return
        post_id, post = picked
        changes: dict[str, Any] = {} if content is None else {"content": content}
        if delay != "as it is":
            changes["scheduled_for"] = self.time_after(delay)
        before, errand = self.post_views(), self.write_context("updatePost")
        expected = self.resolve_version(post, version)
        code, _ = self.result_or_code(
            service.change_post(
                self._database,
                errand,
                post_id,
                changes,  # type: ignore[arg-type]
                account_ids=accounts,
                expected_version=expected,
                new_id=uuid4,
            )
        )
        assert code == self.model.change(post, changes, accounts, expected)
        self.assert_matches_model(errand, before, post_id)

    @rule(index=post_indexes, delay=delays, now=st.booleans(), accounts=st.none() | account_lists, version=version_choices)
    def schedule(
        self,
        index: int,
        delay: timedelta | None,
        now: bool,
        accounts: list[AccountId] | None,
        version: str,
    ) -> None:
        if (picked := self.pick_post(index)) is None:
            return
        post_id, post = picked
        when = self.time_after(delay)
        before, errand = self.post_views(), self.write_context("schedulePost")
        expected = self.resolve_version(post, version)
        code, _ = self.result_or_code(
            service.schedule_post(
                self._database,
                errand,
                post_id,
                Schedule(scheduled_for=when, publish_now=now),
                account_ids=accounts,
                expected_version=expected,
                new_id=uuid4,
            )
        )
        assert code == self.model.schedule(post, when, accounts, expected, publish_now=now)
        self.assert_matches_model(errand, before, post_id)

    @rule(index=post_indexes, version=version_choices)
    def cancel(self, index: int, version: str) -> None:
        if (picked := self.pick_post(index)) is None:
            return
        post_id, post = picked
        before, errand = self.post_views(), self.write_context("cancelPost")
        expected = self.resolve_version(post, version)
        code, _ = self.result_or_code(
            service.cancel_post(self._database, errand, post_id, expected_version=expected)
        )
        assert code == self.model.cancel(post, expected)
        self.assert_matches_model(errand, before, post_id)

    @rule(index=post_indexes, version=version_choices)
    def delete(self, index: int, version: str) -> None:
        if (picked := self.pick_post(index)) is None:
            return
        post_id, post = picked
        before, errand = self.post_views(), self.write_context("deletePost")
        expected = self.resolve_version(post, version)
        code, _ = self.result_or_code(
            service.delete_post(self._database, errand, post_id, expected_version=expected)
        )
        assert code == self.model.delete(post, expected)
        self.assert_matches_model(errand, before, post_id)

    @rule(index=post_indexes, accounts=st.none() | account_lists, force=st.booleans(), key=idempotency_keys)
    def retry(
        self, index: int, accounts: list[AccountId] | None, force: bool, key: str | None
    ) -> None:
        if (picked := self.pick_post(index, "failed", "unknown")) is None:
            return
        post_id, post = picked
        before, errand = self.post_views(), self.write_context("retryPost")
        code, decided = self.result_or_code(
            retry_one_post(
                self._database,
                errand,
                post_id,
                account_ids=accounts,
                force=force,
                idempotency_key=client_idempotency_key(key),
            )
        )
        request = (post_id, None if accounts is None else tuple(sorted(accounts)), force)
        if (first := self.model.replay_result("retryPost", key, request)) is not None:
            told = None if decided is None else [each.refusal for each in decided]
            assert (code or "", told) == first
        else:
            refusal, refusals = self.model.retry(post, accounts, force=force)
            assert code == refusal
            if decided is not None:
                assert [each.refusal for each in decided] == refusals
                self.model.store_result("retryPost", key, request, refusals)
        self.assert_matches_model(errand, before, post_id)

    @rule(account_id=st.sampled_from(ACCOUNTS))
    def toggle_account(self, account_id: AccountId) -> None:
        can_post = not self.model.accounts[account_id]
        errand = self.write_context("updateAccount")

        async def save(writing: UnitOfWork) -> None:
            await writing.lock_accounts([account_id])
            (known,) = (await writing.load_accounts([account_id])).values()
            back = replace(known, is_active=True, needs_reconnection_since=None)
            await writing.save_accounts([back if can_post else replace(known, is_active=False)])

        self.run(run_in_transaction(self._database, errand, save))
        self.model.accounts[account_id] = can_post
        assert self.count_new_events(errand) == 1


def client_idempotency_key(key: str | None) -> IdempotencyKey | None:
    return None if key is None else parse_client_key(key, "idempotencyKey")
