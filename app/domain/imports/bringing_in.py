"""One record after the other into what a workspace has: which are new, and which are refused. No storage."""

from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum

from app.domain.accounts import numbered_name
from app.domain.errors import InvalidInput
from app.domain.ids import MAX_ACCOUNT_ID, AccountId, DestinationId, PostId
from app.domain.imports.merging import merge
from app.domain.imports.records import DestinationRecord, PostRecord
from app.domain.imports.stored import StoredAccount, StoredPost
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
    accounts: dict[AccountId, StoredAccount]
    posts: dict[PostId, StoredPost]
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
    if merged is not post and post is not None and post.belongs_here:
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


def _account(told: DestinationRecord, known: Known, created_at: datetime) -> StoredAccount:
    """The account of a destination, with the name that it was missing; InvalidInput for another one."""
    account_id, name = told.account_id, told.account_name
    if name == numbered_name(account_id, told.platform):
        name = None
    account = known.accounts.get(account_id)
    if account is None:
        if account_id == MAX_ACCOUNT_ID:
            raise InvalidInput(f"It has account {account_id}, which leaves no number for another.")
        return StoredAccount(
            id=account_id, platform=told.platform, name=name, created_at=created_at
        )
    if account.platform != told.platform and known.kind is WorkspaceKind.LOCAL:
        raise InvalidInput(f"In this workspace, account {account_id} is on another platform.")
    return account if account.name else replace(account, name=name)


def _require_free_ids(post: StoredPost, known: Known) -> None:
    ids = [each.id for each in post.destinations]
    taken = [each for each in ids if known.owners.get(each, post.id) != post.id]
    if taken or len(set(ids)) < len(ids):
        raise InvalidInput("It has the id of another destination.")
