"""Checks of posts that are not created: what would be refused, and for which accounts there are warnings."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from app.db.core.database import Database
from app.db.repositories.accounts import load_accounts
from app.db.repositories.posts import load_posts
from app.domain import post_commands
from app.domain.errors import InvalidInput
from app.domain.ids import AccountId, IdFactory, PostId, WorkspaceId
from app.domain.post_commands import NewPost
from app.domain.posts import Post
from app.domain.times import Clock
from app.platforms.content_checks import ContentChecks
from app.platforms.content_schemas import destination_errors
from app.runtime.computations import compute
from app.services.post_contents import load_account_platforms, refusals
from app.services.post_warnings import PostWarnings, find_warnings


@dataclass(frozen=True, slots=True)
class AccountCheck:
    """What a check found for one account of a post."""

    account_id: AccountId
    platform: str
    errors: Sequence[InvalidInput]
    """Reasons for which the post would be refused because of this account."""
    warnings: PostWarnings
    """Those of this account."""


@dataclass(frozen=True, slots=True)
class PostCheck:
    """Result of a check; the post would be created if there are no errors."""

    errors: Sequence[InvalidInput]
    """All reasons for which the post would be refused; the first is the error of `create_post`."""
    accounts: Sequence[AccountCheck]
    """Accounts in the order of the post; empty if something else than its content would be refused."""


async def check_post(
    database: Database,
    workspace_id: WorkspaceId,
    new_post: NewPost,
    unknown_member: InvalidInput | None,
    *,
    new_id: IdFactory,
    clock: Clock,
) -> PostCheck:
    """Return what `create_post` would refuse, and the warnings that it would return. Stores nothing.

    `unknown_member` is the error of a member of the request that posts do not have, as for `create_post`.
    """
    reader, now = database.reader(workspace_id), clock()
    try:
        await compute(post_commands.check_new_post, new_post)
        accounts = await load_accounts(reader, new_post.account_ids)
        post = post_commands.create_post(
            new_post, accounts, post_id=PostId(new_id()), new_id=new_id, now=now
        )
    except InvalidInput as error:
        return PostCheck([error], [])
    copied = {} if new_post.copy_of is None else await load_posts(reader, [new_post.copy_of])
    platforms = await load_account_platforms(reader, [post])
    copy = next(iter(copied.values()), None)
    errors = await compute(refusals, post, copy, platforms, unknown_member)
    warnings = await compute(find_warnings, post, accounts, now, ContentChecks())
    checks = await compute(_check_accounts, post, errors, warnings, platforms)
    return PostCheck(errors, checks)


def _check_accounts(
    post: Post,
    errors: Sequence[InvalidInput],
    warnings: PostWarnings,
    platforms: Collection[str],
) -> list[AccountCheck]:
    refused = {(error.message, error.argument) for error in errors}
    return [
        AccountCheck(
            each.account_id,
            each.platform,
            [
                error
                for _, error in destination_errors(post, each.platform, each.publisher, platforms)
                if (error.message, error.argument) in refused
            ],
            PostWarnings(
                tuple(item for item in warnings.accounts if item.account_id == each.account_id),
                tuple(item for item in warnings.contents if item.account_id == each.account_id),
            ),
        )
        for each in post.destinations
    ]
