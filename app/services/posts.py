"""Posts: created, changed, scheduled, cancelled and deleted, each in one transaction. Rules are elsewhere."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self
from uuid import UUID

from app.db.engine import Database
from app.domain import editing
from app.domain.accounts import Account, HealthReason, blocking_reason
from app.domain.editing import NewPost, PostChanges
from app.domain.errors import BulkLimitExceeded, ErrorCode, InvalidInput, NotFound
from app.domain.idempotency import RepetitionKey, canonical
from app.domain.ids import AccountId, NewId, PostId
from app.domain.posts import MAX_BULK, MAX_BULK_DESTINATIONS, Post
from app.services.repetition import Outcome, once
from app.services.writing import Errand, Writing, write


@dataclass(frozen=True, slots=True)
class AccountWarning:
    """An account of a post that could not post if the post were due now."""

    account_id: AccountId
    reason: HealthReason


@dataclass(frozen=True, slots=True)
class CreatedPost:
    id: PostId
    warnings: tuple[AccountWarning, ...]


@dataclass(frozen=True, slots=True)
class RefusedPost:
    """One of several that was not created."""

    code: ErrorCode
    message: str
    argument: str | None

    @classmethod
    def of(cls, error: InvalidInput) -> Self:
        return cls(error.code, error.message, error.argument)


async def create_post(
    database: Database,
    errand: Errand,
    wanted: NewPost,
    key: RepetitionKey | None,
    *,
    admit: Callable[[], None],
    new_id: NewId,
) -> CreatedPost:
    """A new post, or what the first request with this key created.

    `admit` is asked before anything is created, and not for a repetition; it may refuse.
    """
    editing.check_new_post(wanted)

    async def work(writing: Writing) -> Outcome:
        async def create() -> Outcome:
            admit()
            accounts = await writing.accounts(wanted.account_ids)
            post = _new_post(wanted, accounts, errand, new_id)
            await writing.save_posts([post])
            return _outcome(post, accounts, errand)

        async def stands(outcome: Outcome) -> bool:
            return await _any_is_there(writing, [outcome])

        return await once(writing, key, canonical(wanted), create, stands=stands)

    return _created(await write(database, errand, work))


async def create_posts(
    database: Database,
    errand: Errand,
    wanted: Sequence[NewPost | RefusedPost],
    key: RepetitionKey | None,
    *,
    admit: Callable[[], None],
    new_id: NewId,
) -> list[CreatedPost | RefusedPost]:
    """Whatever of them can be created, in one transaction; what is refused costs no other.

    `admit` is asked before anything is created, and not for a repetition; it may refuse them all.
    """
    if not wanted:
        raise InvalidInput(f"There are no posts; 1 to {MAX_BULK} are allowed.", argument="posts")
    if len(wanted) > MAX_BULK:
        raise BulkLimitExceeded(
            f"There are {len(wanted)} posts; at most {MAX_BULK} are allowed.", argument="posts"
        )
    destinations = sum(len(each.account_ids) for each in wanted if isinstance(each, NewPost))
    if destinations > MAX_BULK_DESTINATIONS:
        raise BulkLimitExceeded(
            f"The posts go to {destinations} accounts in all; at most {MAX_BULK_DESTINATIONS} are"
            " allowed at once.",
            argument="posts",
        )

    checked = [_checked(each) for each in wanted]

    async def work(writing: Writing) -> Outcome:
        async def create() -> Outcome:
            admit()
            named = {
                each for post in checked if isinstance(post, NewPost) for each in post.account_ids
            }
            accounts = await writing.accounts(named)
            made = [_new_or_refused(each, accounts, errand, new_id) for each in checked]
            await writing.save_posts([each for each in made if isinstance(each, Post)])
            outcomes = [
                _outcome(each, accounts, errand) if isinstance(each, Post) else asdict(each)
                for each in made
            ]
            return {"posts": outcomes}

        async def stands(outcome: Outcome) -> bool:
            return await _any_is_there(writing, outcome["posts"])

        request = [canonical(each) for each in wanted]
        return await once(writing, key, request, create, stands=stands)

    outcome = await write(database, errand, work)
    return [_created_or_refused(each) for each in outcome["posts"]]


async def change_post(
    database: Database,
    errand: Errand,
    post_id: PostId,
    changes: PostChanges,
    *,
    account_ids: Sequence[AccountId] | None,
    expected_version: int | None,
    new_id: NewId,
) -> tuple[AccountWarning, ...]:
    def change(post: Post, accounts: Mapping[AccountId, Account]) -> Post:
        return editing.change_post(
            post,
            changes,
            accounts,
            account_ids=account_ids,
            expected_version=expected_version,
            new_id=new_id,
            now=errand.now,
        )

    return await _change(database, errand, post_id, change, naming=account_ids or ())


async def schedule_post(
    database: Database,
    errand: Errand,
    post_id: PostId,
    when: editing.Submission,
    *,
    account_ids: Sequence[AccountId] | None,
    expected_version: int | None,
    new_id: NewId,
) -> tuple[AccountWarning, ...]:
    def change(post: Post, accounts: Mapping[AccountId, Account]) -> Post:
        return editing.schedule_post(
            post,
            accounts,
            when,
            account_ids=account_ids,
            expected_version=expected_version,
            new_id=new_id,
            now=errand.now,
        )

    return await _change(database, errand, post_id, change, naming=account_ids or ())


async def cancel_post(
    database: Database, errand: Errand, post_id: PostId, *, expected_version: int | None
) -> None:
    def change(post: Post, _accounts: Mapping[AccountId, Account]) -> Post:
        return editing.cancel_post(post, expected_version=expected_version, now=errand.now)

    await _change(database, errand, post_id, change)


async def delete_post(
    database: Database, errand: Errand, post_id: PostId, *, expected_version: int | None
) -> None:
    def change(post: Post, _accounts: Mapping[AccountId, Account]) -> Post:
        return editing.delete_post(post, expected_version=expected_version, now=errand.now)

    await _change(database, errand, post_id, change)


async def locked_post(writing: Writing, post_id: PostId) -> Post:
    """The post, which nobody else changes until the end; NotFound where there is none."""
    post = await locked_record(writing, post_id)
    if post.deleted_at is not None:
        raise _no_such_post()
    return post


async def locked_record(writing: Writing, post_id: PostId) -> Post:
    """As `locked_post`, of a deleted post too: what becomes of it on a platform stays on record."""
    await writing.lock_posts([post_id])
    post = (await writing.posts([post_id])).get(post_id)
    if post is None:
        raise _no_such_post()
    return post


def _no_such_post() -> NotFound:
    return NotFound("The post was not found: this workspace has none with that id.")


async def _change(
    database: Database,
    errand: Errand,
    post_id: PostId,
    change: Callable[[Post, Mapping[AccountId, Account]], Post],
    *,
    naming: Sequence[AccountId] = (),
) -> tuple[AccountWarning, ...]:
    editing.check_account_ids(naming)

    async def work(writing: Writing) -> tuple[AccountWarning, ...]:
        post = await locked_post(writing, post_id)
        on = {each.account_id for each in post.destinations}
        accounts = await writing.accounts(on | set(naming))
        changed = change(post, accounts)
        await writing.save_posts([changed])
        return _warnings(changed, accounts, errand)

    return await write(database, errand, work)


def _new_post(
    wanted: NewPost, accounts: Mapping[AccountId, Account], errand: Errand, new_id: NewId
) -> Post:
    return editing.create_post(
        wanted, accounts, post_id=PostId(new_id()), new_id=new_id, now=errand.now
    )


def _checked(wanted: NewPost | RefusedPost) -> NewPost | RefusedPost:
    if isinstance(wanted, RefusedPost):
        return wanted
    try:
        editing.check_new_post(wanted)
    except InvalidInput as error:
        return RefusedPost.of(error)
    return wanted


def _new_or_refused(
    wanted: NewPost | RefusedPost,
    accounts: Mapping[AccountId, Account],
    errand: Errand,
    new_id: NewId,
) -> Post | RefusedPost:
    if isinstance(wanted, RefusedPost):
        return wanted
    try:
        return _new_post(wanted, accounts, errand, new_id)
    except InvalidInput as error:
        return RefusedPost.of(error)


def _warnings(
    post: Post, accounts: Mapping[AccountId, Account], errand: Errand
) -> tuple[AccountWarning, ...]:
    reasons = {
        each.account_id: blocking_reason(accounts[each.account_id].connection, errand.now)
        for each in post.destinations
        if not each.state.status.is_final
    }
    return tuple(AccountWarning(key, reason) for key, reason in reasons.items() if reason)


def _outcome(post: Post, accounts: Mapping[AccountId, Account], errand: Errand) -> Outcome:
    warnings = [asdict(each) for each in _warnings(post, accounts, errand)]
    return {"id": str(post.id), "warnings": warnings}


async def _any_is_there(writing: Writing, outcomes: Sequence[Outcome]) -> bool:
    """Whether a post that was created is not deleted."""
    ids = [PostId(UUID(each["id"])) for each in outcomes if "id" in each]
    return any(each.deleted_at is None for each in (await writing.posts(ids)).values())


def _created(outcome: Outcome) -> CreatedPost:
    return CreatedPost(
        PostId(UUID(outcome["id"])),
        tuple(
            AccountWarning(AccountId(each["account_id"]), HealthReason(each["reason"]))
            for each in outcome["warnings"]
        ),
    )


def _created_or_refused(outcome: dict[str, Any]) -> CreatedPost | RefusedPost:
    if "id" in outcome:
        return _created(outcome)
    return RefusedPost(ErrorCode(outcome["code"]), outcome["message"], outcome["argument"])
