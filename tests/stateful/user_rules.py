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
from tests.domain.post_commands import new_post_request
from tests.factories import no_quota
from tests.stateful.machine import ACCOUNTS, Life, which

UNKNOWN = AccountId(9)
places = st.lists(st.sampled_from([*ACCOUNTS * 4, UNKNOWN]), max_size=3, unique=True)
keys = st.sampled_from([None, None, "a", "b"])
texts = st.sampled_from(["One", "Two", "Three"])
versions = st.sampled_from(["none", "none", "none", "right", "right", "stale"])
times = st.sampled_from([*[None, timedelta(hours=1), timedelta(days=2)] * 2, timedelta(minutes=-1)])


class People(Life):
    """Whoever creates, changes, schedules, cancels, deletes and retries posts, or switches accounts."""

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
        before, errand = self.views(), self.errand("createPost")
        new = new_post_request(content=content, account_ids=on, is_draft=draft, scheduled_for=when)
        code, made = self.outcome(
            service.create_post(
                self._database, errand, new, given(key), check_quota=no_quota, new_id=uuid4
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
            self.compare(errand, before, made.id)

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
        before, errand = self.views(), self.errand("updatePost")
        expected = self.version(post, version)
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
        self.compare(errand, before, post_id)

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
        before, errand = self.views(), self.errand("schedulePost")
        expected = self.version(post, version)
        code, _ = self.outcome(
            service.schedule_post(
                self._database,
                errand,
                post_id,
                Schedule(scheduled_for=when, publish_now=now),
                account_ids=on,
                expected_version=expected,
                new_id=uuid4,
            )
        )
        assert code == self.model.schedule(post, when, on, expected, at_once=now)
        self.compare(errand, before, post_id)

    @rule(number=which, version=versions)
    def cancel(self, number: int, version: str) -> None:
        if (picked := self.picked(number)) is None:
            return
        post_id, post = picked
        before, errand = self.views(), self.errand("cancelPost")
        expected = self.version(post, version)
        code, _ = self.outcome(
            service.cancel_post(self._database, errand, post_id, expected_version=expected)
        )
        assert code == self.model.cancel(post, expected)
        self.compare(errand, before, post_id)

    @rule(number=which, version=versions)
    def delete(self, number: int, version: str) -> None:
        if (picked := self.picked(number)) is None:
            return
        post_id, post = picked
        before, errand = self.views(), self.errand("deletePost")
        expected = self.version(post, version)
        code, _ = self.outcome(
            service.delete_post(self._database, errand, post_id, expected_version=expected)
        )
        assert code == self.model.delete(post, expected)
        self.compare(errand, before, post_id)

    @rule(number=which, only=st.none() | places, force=st.booleans(), key=keys)
    def retry(
        self, number: int, only: list[AccountId] | None, force: bool, key: str | None
    ) -> None:
        if (picked := self.picked(number, "failed", "unknown")) is None:
            return
        post_id, post = picked
        before, errand = self.views(), self.errand("retryPost")
        code, decided = self.outcome(
            retry_one_post(
                self._database,
                errand,
                post_id,
                account_ids=only,
                force=force,
                idempotency_key=given(key),
            )
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
        self.compare(errand, before, post_id)

    @rule(account_id=st.sampled_from(ACCOUNTS))
    def switch(self, account_id: AccountId) -> None:
        can_post = not self.model.accounts[account_id]
        errand = self.errand("updateAccount")

        async def save(writing: UnitOfWork) -> None:
            await writing.lock_accounts([account_id])
            (known,) = (await writing.load_accounts([account_id])).values()
            back = replace(known, is_active=True, needs_reconnection_since=None)
            await writing.save_accounts([back if can_post else replace(known, is_active=False)])

        self.run(run_in_transaction(self._database, errand, save))
        self.model.accounts[account_id] = can_post
        assert self.told(errand) == 1


def given(key: str | None) -> IdempotencyKey | None:
    return None if key is None else parse_client_key(key, "idempotencyKey")
