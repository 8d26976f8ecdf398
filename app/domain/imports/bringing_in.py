"""One record after the other into what a workspace has: which are new, and which are refused. No storage."""

from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum

from app.domain.accounts import Account, numbered_name
from app.domain.errors import InvalidInput
from app.domain.ids import MAX_ACCOUNT_ID, AccountId, DestinationId, PostId
from app.domain.imports.merging import merge
from app.domain.imports.records import DestinationRecord, PostRecord
from app.domain.posts import Post
from app.domain.workspaces import WorkspaceKind


class Effect(StrEnum):
    """What a record did to its workspace."""

    NEW = "new"
    CHANGED = "changed"
    UNCHANGED = "unchanged"


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """Whatever a workspace has of what some records are about; bringing in more adds to it."""

    kind: WorkspaceKind
    accounts: dict[AccountId, Account]
    posts: dict[PostId, Post]
    owners: dict[DestinationId, PostId]
    """The post of each destination."""

    def learn(self, other: "Known") -> None:
        """Take over what is not known yet."""
        self.accounts.update(other.accounts | self.accounts)
        self.posts.update(other.posts | self.posts)
        self.owners.update(other.owners | self.owners)


def bring_in(record: PostRecord, known: Known, *, now: datetime) -> Effect:
    """NEW, CHANGED or UNCHANGED; InvalidInput, and nothing is changed, for what cannot be brought in.

    A post that was made here, or was taken up here, is never changed; nor one that was deleted here.
    An account that the workspace does not know is added as inactive.
    """
    post = known.posts.get(record.id)
    if post is not None and post.deleted_at is not None:
        raise InvalidInput("It was deleted here.")
    merged = merge(post, record, now=now)
    if merged is not post and post is not None and belongs_here(post):
        raise InvalidInput(
            "It says something else than this server, which made the post or took it up itself."
        )
    reached = {each.account_id for each in merged.destinations}
    accounts = {
        each.account_id: _account(each, known, merged.created_at)
        for each in record.destinations
        if each.account_id in reached
    }
    _require_free_ids(merged, known)
    known.accounts.update(accounts)
    known.posts[merged.id] = merged
    known.owners.update(dict.fromkeys((each.id for each in merged.destinations), merged.id))
    if post is None:
        return Effect.NEW
    return Effect.UNCHANGED if merged is post else Effect.CHANGED


def belongs_here(post: Post) -> bool:
    """Whether it was made here, or was brought in and then taken up here."""
    return post.imported_at is None or any(
        each.state.fence > 0 or each.state.claimable_at is not None for each in post.destinations
    )


def unknown_account(
    account_id: AccountId, platform: str, name: str | None, created_at: datetime
) -> Account:
    """What is kept of an account that only posts name: inactive, and as old as the first of them."""
    return Account(
        id=account_id,
        platform=platform,
        account_name=name,
        display_name=None,
        platform_user_id=None,
        platform_username=None,
        avatar_url=None,
        is_active=False,
        needs_reconnection_since=None,
        token_expires_at=None,
        token_refreshed_at=None,
        connected_at=created_at,
        created_at=created_at,
        updated_at=created_at,
    )


def _account(told: DestinationRecord, known: Known, created_at: datetime) -> Account:
    """The account of a destination, with the name that it was missing; InvalidInput for another one."""
    account_id, name = told.account_id, told.account_name
    if name == numbered_name(account_id, told.platform):
        name = None
    account = known.accounts.get(account_id)
    if account is None:
        if account_id == MAX_ACCOUNT_ID:
            raise InvalidInput(f"It has account {account_id}, which leaves no number for another.")
        return unknown_account(account_id, told.platform, name, created_at)
    if account.platform != told.platform and known.kind is WorkspaceKind.LOCAL:
        raise InvalidInput(f"In this workspace, account {account_id} is on another platform.")
    has_name = account.account_name or account.display_name or account.platform_username
    return account if has_name else replace(account, account_name=name)


def _require_free_ids(post: Post, known: Known) -> None:
    ids = [each.id for each in post.destinations]
    taken = [each for each in ids if known.owners.get(each, post.id) != post.id]
    if taken or len(set(ids)) < len(ids):
        raise InvalidInput("It has the id of another destination.")
