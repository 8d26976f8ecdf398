"""Post use cases: create, change, schedule, cancel and delete, each in one transaction."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from functools import partial
from types import MappingProxyType
from typing import Self, TypeVar
from uuid import UUID

from app.db.core.database import Database
from app.domain import post_commands
from app.domain.accounts import Account
from app.domain.errors import BulkLimitExceeded, ErrorCode, InvalidInput, not_found_error
from app.domain.idempotency import IdempotencyKey, canonicalize
from app.domain.ids import AccountId, IdFactory, PostId
from app.domain.post_commands import NewPost, PostUpdate
from app.domain.posts import MAX_BULK_DESTINATIONS, MAX_BULK_POSTS, Post
from app.platforms.content_checks import ContentChecks
from app.runtime.computations import compute
from app.services.idempotency import StoredOutcome, run_idempotently
from app.services.post_contents import check_contents, load_account_platforms
from app.services.post_warnings import (
    PostWarnings,
    find_warnings,
    parse_stored_warnings,
    to_stored_warnings,
)
from app.services.unit_of_work import UnitOfWork, WriteContext

_NO_ERRORS: Mapping[int, InvalidInput] = MappingProxyType({})

S = TypeVar("S")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class CreatedPost:
    id: PostId
    warnings: PostWarnings


@dataclass(frozen=True, slots=True)
class RejectedPost:
    """A post of a bulk request that was not created, with the error."""

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
    unknown_member: InvalidInput | None = None,
    charge_quota: Callable[[], None],
    new_id: IdFactory,
) -> CreatedPost:
    """Create a post, or return the one that the first request with this key created.

    `unknown_member` is the error of a member of the request that posts do not have, as for `refusals`.
    `charge_quota` runs before anything is created, but not for a repetition; its exception rejects the post.
    """
    await compute(post_commands.check_new_post, new_post)

    async def work(uow: UnitOfWork) -> StoredOutcome:
        charge_quota()
        accounts = await uow.load_accounts(new_post.account_ids)
        built = _build_post(new_post, accounts, write_context, new_id)
        copied = await _load_copied(uow, [new_post])
        platforms = await load_account_platforms(uow.reader, [built])
        copy = copied.get(new_post.copy_of)
        post = await compute(
            check_contents, built, copy, platforms, unknown_member, write_context.now
        )
        await uow.save_posts([post])
        return _to_stored_outcome(post, accounts, write_context, ContentChecks())

    outcome = await run_idempotently(
        database,
        write_context,
        idempotency_key,
        canonicalize(new_post),
        work,
        still_valid=lambda uow, outcome: _any_exists(uow, [outcome]),
    )
    return _parse_created(outcome)


async def create_posts(
    database: Database,
    write_context: WriteContext,
    posts: Sequence[NewPost | RejectedPost],
    idempotency_key: IdempotencyKey | None,
    *,
    unknown_members: Mapping[int, InvalidInput] = _NO_ERRORS,
    charge_quota: Callable[[], None],
    new_id: IdFactory,
) -> list[CreatedPost | RejectedPost]:
    """Create the valid posts in one transaction; a rejected post does not affect the others.

    `unknown_members` are the errors of members that posts do not have, by the index of the post.
    `charge_quota` runs before anything is created, but not for a repetition; its exception rejects all.
    """
    _check_bulk_limits(posts)
    checked = await compute(_check_all, posts)

    async def work(uow: UnitOfWork) -> StoredOutcome:
        charge_quota()
        accounts = await uow.load_accounts(
            {
                account_id
                for post in checked
                if isinstance(post, NewPost)
                for account_id in post.account_ids
            }
        )
        built = [
            _accept_or_reject(post, lambda new: _build_post(new, accounts, write_context, new_id))
            for post in checked
        ]
        copied = await _load_copied(uow, checked)
        platforms = await load_account_platforms(
            uow.reader, [post for post in built if isinstance(post, Post)]
        )
        accepted = await compute(
            _check_all_contents,
            checked,
            built,
            copied,
            platforms,
            unknown_members,
            write_context.now,
        )
        await uow.save_posts([post for post in accepted if isinstance(post, Post)])
        checks = ContentChecks()
        outcomes = [
            _to_stored_outcome(post, accounts, write_context, checks)
            if isinstance(post, Post)
            else asdict(post)
            for post in accepted
        ]
        return {"posts": outcomes}

    outcome = await run_idempotently(
        database,
        write_context,
        idempotency_key,
        [canonicalize(post) for post in posts],
        work,
        still_valid=lambda uow, outcome: _any_exists(uow, outcome["posts"]),
    )
    return [_parse_created_or_rejected(post) for post in outcome["posts"]]


async def update_post(
    database: Database,
    write_context: WriteContext,
    post_id: PostId,
    update: PostUpdate,
    *,
    account_ids: Sequence[AccountId] | None,
    expected_version: int | None,
    unknown_member: InvalidInput | None = None,
    new_id: IdFactory,
    idempotency_key: IdempotencyKey | None,
) -> PostWarnings:
    return await _apply_post_change(
        database,
        write_context,
        post_id,
        lambda post, accounts: post_commands.update_post(
            post,
            update,
            accounts,
            account_ids=account_ids,
            expected_version=expected_version,
            new_id=new_id,
            now=write_context.now,
        ),
        {"update": update, "accounts": account_ids, "version": expected_version},
        idempotency_key,
        requested_account_ids=account_ids or (),
        unknown_member=unknown_member,
    )


async def schedule_post(
    database: Database,
    write_context: WriteContext,
    post_id: PostId,
    schedule: post_commands.Schedule,
    *,
    account_ids: Sequence[AccountId] | None,
    expected_version: int | None,
    unknown_member: InvalidInput | None = None,
    new_id: IdFactory,
    idempotency_key: IdempotencyKey | None,
) -> PostWarnings:
    return await _apply_post_change(
        database,
        write_context,
        post_id,
        lambda post, accounts: post_commands.schedule_post(
            post,
            accounts,
            schedule,
            account_ids=account_ids,
            expected_version=expected_version,
            new_id=new_id,
            now=write_context.now,
        ),
        {"schedule": asdict(schedule), "accounts": account_ids, "version": expected_version},
        idempotency_key,
        requested_account_ids=account_ids or (),
        unknown_member=unknown_member,
    )


async def cancel_post(
    database: Database,
    write_context: WriteContext,
    post_id: PostId,
    *,
    expected_version: int | None,
    idempotency_key: IdempotencyKey | None,
) -> None:
    now = write_context.now
    await _apply_post_change(
        database,
        write_context,
        post_id,
        lambda post, _: post_commands.cancel_post(post, expected_version=expected_version, now=now),
        {"version": expected_version},
        idempotency_key,
    )


async def delete_post(
    database: Database,
    write_context: WriteContext,
    post_id: PostId,
    *,
    expected_version: int | None,
    idempotency_key: IdempotencyKey | None,
) -> None:
    now = write_context.now
    await _apply_post_change(
        database,
        write_context,
        post_id,
        lambda post, _: post_commands.delete_post(post, expected_version=expected_version, now=now),
        {"version": expected_version},
        idempotency_key,
    )


async def get_post_for_update(uow: UnitOfWork, post_id: PostId) -> Post:
    """Lock and load a post; raises NotFound if the workspace has none with this id."""
    post = await get_post_for_update_including_deleted(uow, post_id)
    if post.deleted_at is not None:
        raise not_found_error("post")
    return post


async def get_post_for_update_including_deleted(uow: UnitOfWork, post_id: PostId) -> Post:
    """Lock and load a post, even a deleted one, so that its results can still be recorded."""
    post = (await uow.load_posts_for_update([post_id])).get(post_id)
    if post is None:
        raise not_found_error("post")
    return post


def _check_bulk_limits(posts: Sequence[NewPost | RejectedPost]) -> None:
    if not posts:
        raise InvalidInput(
            f"There are no posts; 1 to {MAX_BULK_POSTS} are allowed.", argument="posts"
        )
    post_commands.check_post_count(len(posts))
    destinations = sum(len(post.account_ids) for post in posts if isinstance(post, NewPost))
    if destinations > MAX_BULK_DESTINATIONS:
        raise BulkLimitExceeded(
            f"The posts go to {destinations} accounts in all; at most {MAX_BULK_DESTINATIONS} are"
            " allowed in one request.",
            argument="posts",
        )


async def _apply_post_change(
    database: Database,
    write_context: WriteContext,
    post_id: PostId,
    change: Callable[[Post, Mapping[AccountId, Account]], Post],
    arguments: Mapping[str, object],
    idempotency_key: IdempotencyKey | None,
    *,
    requested_account_ids: Sequence[AccountId] = (),
    unknown_member: InvalidInput | None = None,
) -> PostWarnings:
    """Save the post that `change` returns; `arguments` are its arguments, which identify a repetition."""
    post_commands.check_account_ids(requested_account_ids)

    async def work(uow: UnitOfWork) -> StoredOutcome:
        post = await get_post_for_update(uow, post_id)
        accounts = await uow.load_accounts(
            {destination.account_id for destination in post.destinations}
            | set(requested_account_ids)
        )
        changed = await compute(change, post, accounts)
        platforms = await load_account_platforms(uow.reader, [changed])
        changed = await compute(
            check_contents, changed, post, platforms, unknown_member, write_context.now
        )
        await uow.save_posts([changed])
        return _to_stored_outcome(changed, accounts, write_context, ContentChecks())

    request = {"post": str(post_id), **arguments}
    outcome = await run_idempotently(database, write_context, idempotency_key, request, work)
    return _parse_created(outcome).warnings


def _build_post(
    new_post: NewPost,
    accounts: Mapping[AccountId, Account],
    write_context: WriteContext,
    new_id: IdFactory,
) -> Post:
    return post_commands.create_post(
        new_post, accounts, post_id=PostId(new_id()), new_id=new_id, now=write_context.now
    )


def _check_all(posts: Sequence[NewPost | RejectedPost]) -> list[NewPost | RejectedPost]:
    return [_accept_or_reject(post, _validate_new_post) for post in posts]


def _validate_new_post(new_post: NewPost) -> NewPost:
    post_commands.check_new_post(new_post)
    return new_post


def _check_all_contents(
    new_posts: Sequence[NewPost | RejectedPost],
    built: Sequence[Post | RejectedPost],
    copied: Mapping[PostId | None, Post],
    platforms: Collection[str],
    unknown_members: Mapping[int, InvalidInput],
    now: datetime,
) -> list[Post | RejectedPost]:
    """Return each built post with its content errors, or its rejection."""
    stored = [
        copied.get(new_post.copy_of) if isinstance(new_post, NewPost) else None
        for new_post in new_posts
    ]
    return [
        _accept_or_reject(
            post,
            partial(
                check_contents,
                stored=copy,
                platforms=platforms,
                unknown_member=unknown_members.get(index),
                now=now,
            ),
        )
        for index, (post, copy) in enumerate(zip(built, stored, strict=True))
    ]


async def _load_copied(
    uow: UnitOfWork, new_posts: Sequence[NewPost | RejectedPost]
) -> Mapping[PostId | None, Post]:
    """Return the posts of which new posts are copies, if they exist in the workspace."""
    ids = {new_post.copy_of for new_post in new_posts if isinstance(new_post, NewPost)} - {None}
    posts = await uow.load_posts([post_id for post_id in ids if post_id is not None]) if ids else {}
    return {post.id: post for post in posts.values()}


def _accept_or_reject(post: S | RejectedPost, accept: Callable[[S], T]) -> T | RejectedPost:
    """Return the result of `accept`, or the rejection by its InvalidInput or by an earlier check."""
    if isinstance(post, RejectedPost):
        return post
    try:
        return accept(post)
    except InvalidInput as error:
        return RejectedPost.from_error(error)


def _to_stored_outcome(
    post: Post,
    accounts: Mapping[AccountId, Account],
    write_context: WriteContext,
    checks: ContentChecks,
) -> StoredOutcome:
    warnings = find_warnings(post, accounts, write_context.now, checks)
    return {"id": str(post.id), **to_stored_warnings(warnings)}


async def _any_exists(uow: UnitOfWork, outcomes: Sequence[StoredOutcome]) -> bool:
    """Return True if at least one of the created posts is not deleted."""
    ids = [PostId(UUID(outcome["id"])) for outcome in outcomes if "id" in outcome]
    return any(post.deleted_at is None for post in (await uow.load_posts(ids)).values())


def _parse_created(outcome: StoredOutcome) -> CreatedPost:
    return CreatedPost(PostId(UUID(outcome["id"])), parse_stored_warnings(outcome))


def _parse_created_or_rejected(outcome: StoredOutcome) -> CreatedPost | RejectedPost:
    if "id" in outcome:
        return _parse_created(outcome)
    return RejectedPost(ErrorCode(outcome["code"]), outcome["message"], outcome["argument"])
