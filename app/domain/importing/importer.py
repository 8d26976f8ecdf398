"""One record after the other into what a workspace has: which are new, and which are refused. No storage."""

from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum

from app.domain.accounts import Account, fallback_label
from app.domain.errors import InvalidInput
from app.domain.ids import MAX_ACCOUNT_ID, AccountId, DestinationId, PostId
from app.domain.importing.merging import merge_record
from app.domain.importing.records import DestinationRecord, PostRecord
from app.domain.posts import Post
from app.domain.workspaces import WorkspaceKind


class ImportResult(StrEnum):
    """What a record did to its workspace."""

    NEW = "new"
    CHANGED = "changed"
    UNCHANGED = "unchanged"


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportState:
    """Whatever a workspace has of what some records are about; bringing in more adds to it."""

    kind: WorkspaceKind
    accounts: dict[AccountId, Account]
    posts: dict[PostId, Post]
    post_ids_by_destination: dict[DestinationId, PostId]
    """The post of each destination."""

    def merge(self, other: "ImportState") -> None:
        """Take over what is not known yet."""
        self.accounts.update(other.accounts | self.accounts)
        self.posts.update(other.posts | self.posts)
        self.post_ids_by_destination.update(
            other.post_ids_by_destination | self.post_ids_by_destination
        )


def import_record(record: PostRecord, state: ImportState, *, now: datetime) -> ImportResult:
    """NEW, CHANGED or UNCHANGED; InvalidInput, and nothing is changed, for what cannot be brought in.

    A post that was made here, or was taken up here, is never changed; nor one that was deleted here.
    An account that the workspace does not know is added as inactive.
    """
    post = state.posts.get(record.id)
    if post is not None and post.deleted_at is not None:
        raise InvalidInput("It was deleted here.")
    merged = merge_record(post, record, now=now)
    if merged is not post and post is not None and is_locally_managed(post):
        raise InvalidInput(
            "It says something else than this server, which made the post or took it up itself."
        )
    reached = {each.account_id for each in merged.destinations}
    accounts = {
        each.account_id: _resolve_account(each, state, merged.created_at)
        for each in record.destinations
        if each.account_id in reached
    }
    _require_unused_ids(merged, state)
    state.accounts.update(accounts)
    state.posts[merged.id] = merged
    state.post_ids_by_destination.update(
        dict.fromkeys((each.id for each in merged.destinations), merged.id)
    )
    if post is None:
        return ImportResult.NEW
    return ImportResult.UNCHANGED if merged is post else ImportResult.CHANGED


def is_locally_managed(post: Post) -> bool:
    """Whether it was made here, or was brought in and then taken up here."""
    return post.imported_at is None or any(
        each.state.fence > 0 or each.state.claimable_at is not None for each in post.destinations
    )


def placeholder_account(
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


def _resolve_account(
    record: DestinationRecord, state: ImportState, created_at: datetime
) -> Account:
    """The account of a destination, with the name that it was missing; InvalidInput for another one."""
    account_id, name = record.account_id, record.account_name
    if name == fallback_label(account_id, record.platform):
        name = None
    account = state.accounts.get(account_id)
    if account is None:
        if account_id == MAX_ACCOUNT_ID:
            raise InvalidInput(f"It has account {account_id}, which leaves no number for another.")
        return placeholder_account(account_id, record.platform, name, created_at)
    if account.platform != record.platform and state.kind is WorkspaceKind.LOCAL:
        raise InvalidInput(f"In this workspace, account {account_id} is on another platform.")
    has_name = account.account_name or account.display_name or account.platform_username
    return account if has_name else replace(account, account_name=name)


def _require_unused_ids(post: Post, state: ImportState) -> None:
    ids = [each.id for each in post.destinations]
    taken = [each for each in ids if state.post_ids_by_destination.get(each, post.id) != post.id]
    if taken or len(set(ids)) < len(ids):
        raise InvalidInput("It has the id of another destination.")
