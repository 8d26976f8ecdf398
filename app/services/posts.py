"""Posts: created, changed, scheduled, cancelled and deleted, each in one transaction. Rules are elsewhere."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self
from uuid import UUID

from app.db.core.database import Database
from app.domain import post_commands
from app.domain.accounts import Account, HealthReason, blocking_reason
from app.domain.errors import BulkLimitExceeded, ErrorCode, InvalidInput, NotFound
from app.domain.idempotency import IdempotencyKey, canonicalize
from app.domain.ids import AccountId, IdFactory, PostId
from app.domain.post_commands import NewPost, PostChanges
from app.domain.posts import MAX_BULK_DESTINATIONS, MAX_BULK_POSTS, Post
from app.services.idempotency import StoredOutcome, run_idempotently
from app.services.unit_of_work import UnitOfWork, WriteContext, run_in_transaction


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
class RejectedPost:
    """One of several that was not created."""

    code: ErrorCode
    message: str
    argument: str | None

    @classmethod
    def from_error(cls, error: InvalidInput) -> Self:
        return cls(error.code, error.message, error.argument)


async def create_post(
    database: Database,
    write_context: WriteContext,
    new_post: NewPost,
    idempotency_key: IdempotencyKey | None,
    *,
    check_quota: Callable[[], None],
    new_id: IdFactory,
) -> CreatedPost:
    """A new post, or what the first request with this key created.

    `admit` is asked before anything is created, and not for a repetition; it may refuse.
    """
    post_commands.check_new_post(new_post)

    async def work(uow: UnitOfWork) -> StoredOutcome:
        async def create() -> StoredOutcome:
            check_quota()
            accounts = await uow.load_accounts(new_post.account_ids)
            post = _build_post(new_post, accounts, write_context, new_id)
            await uow.save_posts([post])
            return _to_stored_outcome(post, accounts, write_context)

        async def still_valid(outcome: StoredOutcome) -> bool:
            return await _any_exists(uow, [outcome])

        return await run_idempotently(
            uow, idempotency_key, canonicalize(new_post), create, still_valid=still_valid
        )

    return _parse_created(await run_in_transaction(database, write_context, work))


async def create_posts(
    database: Database,
    write_context: WriteContext,
    posts: Sequence[NewPost | RejectedPost],
    idempotency_key: IdempotencyKey | None,
    *,
    check_quota: Callable[[], None],
    new_id: IdFactory,
) -> list[CreatedPost | RejectedPost]:
    """Whatever of them can be created, in one transaction; what is refused costs no other.

    `admit` is asked before anything is created, and not for a repetition; it may refuse them all.
    """
    if not posts:
        raise InvalidInput(
            f"There are no posts; 1 to {MAX_BULK_POSTS} are allowed.", argument="posts"
        )
    if len(posts) > MAX_BULK_POSTS:
        raise BulkLimitExceeded(
            f"There are {len(posts)} posts; at most {MAX_BULK_POSTS} are allowed.", argument="posts"
        )
    destinations = sum(len(each.account_ids) for each in posts if isinstance(each, NewPost))
    if destinations > MAX_BULK_DESTINATIONS:
        raise BulkLimitExceeded(
            f"The posts go to {destinations} accounts in all; at most {MAX_BULK_DESTINATIONS} are"
            " allowed at once.",
            argument="posts",
        )

    checked = [_check_or_reject(each) for each in posts]

    async def work(uow: UnitOfWork) -> StoredOutcome:
        async def create() -> StoredOutcome:
            check_quota()
            named = {
                each for post in checked if isinstance(post, NewPost) for each in post.account_ids
            }
            accounts = await uow.load_accounts(named)
            made = [_build_or_reject(each, accounts, write_context, new_id) for each in checked]
            await uow.save_posts([each for each in made if isinstance(each, Post)])
            outcomes = [
                _to_stored_outcome(each, accounts, write_context)
                if isinstance(each, Post)
                else asdict(each)
                for each in made
            ]
            return {"posts": outcomes}

        async def still_valid(outcome: StoredOutcome) -> bool:
            return await _any_exists(uow, outcome["posts"])

        request = [canonicalize(each) for each in posts]
        return await run_idempotently(
            uow, idempotency_key, request, create, still_valid=still_valid
        )

    outcome = await run_in_transaction(database, write_context, work)
    return [_parse_created_or_rejected(each) for each in outcome["posts"]]


async def change_post(
    database: Database,
    write_context: WriteContext,
    post_id: PostId,
    changes: PostChanges,
    *,
    account_ids: Sequence[AccountId] | None,
    expected_version: int | None,
    new_id: IdFactory,
) -> tuple[AccountWarning, ...]:
    def change(post: Post, accounts: Mapping[AccountId, Account]) -> Post:
        return post_commands.change_post(
            post,
            changes,
            accounts,
            account_ids=account_ids,
            expected_version=expected_version,
            new_id=new_id,
            now=write_context.now,
        )

    return await _apply_post_change(
        database, write_context, post_id, change, requested_account_ids=account_ids or ()
    )


async def schedule_post(
    database: Database,
    write_context: WriteContext,
    post_id: PostId,
    schedule: post_commands.Schedule,
    *,
    account_ids: Sequence[AccountId] | None,
    expected_version: int | None,
    new_id: IdFactory,
) -> tuple[AccountWarning, ...]:
    def change(post: Post, accounts: Mapping[AccountId, Account]) -> Post:
        return post_commands.schedule_post(
            post,
            accounts,
            schedule,
            account_ids=account_ids,
            expected_version=expected_version,
            new_id=new_id,
            now=write_context.now,
        )

    return await _apply_post_change(
        database, write_context, post_id, change, requested_account_ids=account_ids or ()
    )


async def cancel_post(
    database: Database,
    write_context: WriteContext,
    post_id: PostId,
    *,
    expected_version: int | None,
) -> None:
    def change(post: Post, _accounts: Mapping[AccountId, Account]) -> Post:
        return post_commands.cancel_post(
            post, expected_version=expected_version, now=write_context.now
        )

    await _apply_post_change(database, write_context, post_id, change)


async def delete_post(
    database: Database,
    write_context: WriteContext,
    post_id: PostId,
    *,
    expected_version: int | None,
) -> None:
    def change(post: Post, _accounts: Mapping[AccountId, Account]) -> Post:
        return post_commands.delete_post(
            post, expected_version=expected_version, now=write_context.now
        )

    await _apply_post_change(database, write_context, post_id, change)


async def get_post_for_update(uow: UnitOfWork, post_id: PostId) -> Post:
    """The post, which nobody else changes until the end; NotFound where there is none."""
    post = await get_post_for_update_including_deleted(uow, post_id)
    if post.deleted_at is not None:
        raise _post_not_found()
    return post


async def get_post_for_update_including_deleted(uow: UnitOfWork, post_id: PostId) -> Post:
    """As `locked_post`, of a deleted post too: what becomes of it on a platform stays on record."""
    await uow.lock_posts([post_id])
    post = (await uow.load_posts([post_id])).get(post_id)
    if post is None:
        raise _post_not_found()
    return post


def _post_not_found() -> NotFound:
    return NotFound("The post was not found: this workspace has none with that id.")


async def _apply_post_change(
    database: Database,
    write_context: WriteContext,
    post_id: PostId,
    change: Callable[[Post, Mapping[AccountId, Account]], Post],
    *,
    requested_account_ids: Sequence[AccountId] = (),
) -> tuple[AccountWarning, ...]:
    post_commands.check_account_ids(requested_account_ids)

    async def work(uow: UnitOfWork) -> tuple[AccountWarning, ...]:
        post = await get_post_for_update(uow, post_id)
        on = {each.account_id for each in post.destinations}
        accounts = await uow.load_accounts(on | set(requested_account_ids))
        changed = change(post, accounts)
        await uow.save_posts([changed])
        return _account_warnings(changed, accounts, write_context)

    return await run_in_transaction(database, write_context, work)


def _build_post(
    new_post: NewPost,
    accounts: Mapping[AccountId, Account],
    write_context: WriteContext,
    new_id: IdFactory,
) -> Post:
    return post_commands.create_post(
        new_post, accounts, post_id=PostId(new_id()), new_id=new_id, now=write_context.now
    )


def _check_or_reject(new_post: NewPost | RejectedPost) -> NewPost | RejectedPost:
    if isinstance(new_post, RejectedPost):
        return new_post
    try:
        post_commands.check_new_post(new_post)
    except InvalidInput as error:
        return RejectedPost.from_error(error)
    return new_post


def _build_or_reject(
    new_post: NewPost | RejectedPost,
    accounts: Mapping[AccountId, Account],
    write_context: WriteContext,
    new_id: IdFactory,
) -> Post | RejectedPost:
    if isinstance(new_post, RejectedPost):
        return new_post
    try:
        return _build_post(new_post, accounts, write_context, new_id)
    except InvalidInput as error:
        return RejectedPost.from_error(error)


def _account_warnings(
    post: Post, accounts: Mapping[AccountId, Account], write_context: WriteContext
) -> tuple[AccountWarning, ...]:
    reasons = {
        each.account_id: blocking_reason(accounts[each.account_id].connection, write_context.now)
        for each in post.destinations
        if not each.state.status.is_final
    }
    return tuple(AccountWarning(key, reason) for key, reason in reasons.items() if reason)


def _to_stored_outcome(
    post: Post, accounts: Mapping[AccountId, Account], write_context: WriteContext
) -> StoredOutcome:
    warnings = [asdict(each) for each in _account_warnings(post, accounts, write_context)]
    return {"id": str(post.id), "warnings": warnings}


async def _any_exists(uow: UnitOfWork, outcomes: Sequence[StoredOutcome]) -> bool:
    """Whether a post that was created is not deleted."""
    ids = [PostId(UUID(each["id"])) for each in outcomes if "id" in each]
    return any(each.deleted_at is None for each in (await uow.load_posts(ids)).values())


def _parse_created(outcome: StoredOutcome) -> CreatedPost:
    return CreatedPost(
        PostId(UUID(outcome["id"])),
        tuple(
            AccountWarning(AccountId(each["account_id"]), HealthReason(each["reason"]))
            for each in outcome["warnings"]
        ),
    )


def _parse_created_or_rejected(outcome: dict[str, Any]) -> CreatedPost | RejectedPost:
    if "id" in outcome:
        return _parse_created(outcome)
    return RejectedPost(ErrorCode(outcome["code"]), outcome["message"], outcome["argument"])
