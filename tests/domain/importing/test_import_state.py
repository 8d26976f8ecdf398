"""Merging of records into the posts and accounts of a workspace."""

from collections.abc import Iterable
from copy import deepcopy
from dataclasses import fields, replace
from datetime import datetime
from typing import Any
from uuid import UUID

import pytest

from app.domain.accounts import Account
from app.domain.destinations import DestinationState
from app.domain.errors import InvalidInput
from app.domain.ids import MAX_ACCOUNT_ID, AccountId, DestinationId, PostId, WorkspaceKind
from app.domain.importing.merging import (
    ImportResult,
    ImportState,
    import_record,
    is_locally_managed,
    placeholder_account,
)
from app.domain.importing.records import DestinationRecord, PostRecord
from app.domain.posts import Post, PostStatus
from tests import factories
from tests.domain.importing.record_factories import (
    AFTER_CHANGE,
    CREATED_AT,
    DUE_AT,
    FAILED,
    HOUR,
    LOCAL_STATES,
    POST,
    PUBLISHED,
    QUEUED,
    WAITING,
    destination_record,
    local_post,
    merge_records,
    post_record,
    results_record,
)
from tests.factories import NOW

OTHER_POST = PostId(UUID("0b5bbc4e-6a2b-4a8e-9d6a-0c0f3c0f9a11"))
MANAGED_HERE = "The record differs from the post, which is managed on this server."
TAKEN_ID = "A destination has the id of another destination."
OTHER_PLATFORM = "In this workspace, account 1 is on another platform."


def account(account_id: int = 1, platform: str = "x", name: str | None = None) -> Account:
    return placeholder_account(AccountId(account_id), platform, name, CREATED_AT)


def import_state(
    *accounts: Account,
    posts: Iterable[Post] = (),
    kind: WorkspaceKind = WorkspaceKind.LOCAL,
) -> ImportState:
    """State with the posts, the accounts, and the accounts of the posts."""
    stored = list(posts)
    destinations = [(post, destination) for post in stored for destination in post.destinations]
    return ImportState(
        kind=kind,
        accounts={
            destination.account_id: account(destination.account_id)
            for _, destination in destinations
        }
        | {stored_account.id: stored_account for stored_account in accounts},
        posts={post.id: post for post in stored},
        post_ids_by_destination={destination.id: post.id for post, destination in destinations},
    )


def import_all(workspace: ImportState, *records: PostRecord) -> list[ImportResult]:
    return [import_record(record, workspace, now=NOW) for record in records]


def assert_rejected(record: Any, workspace: ImportState, sentence: str) -> None:
    before = deepcopy(workspace)
    with pytest.raises(InvalidInput) as raised:
        import_record(record, workspace, now=NOW)
    assert raised.value.message == sentence
    assert workspace == before


def test_result_is_new_then_unchanged_then_changed() -> None:
    workspace = import_state()
    record, newer = post_record(QUEUED), post_record(PUBLISHED, updated_at=AFTER_CHANGE)

    results = import_all(workspace, record, record, newer, results_record(PUBLISHED), record)

    new, changed, unchanged = ImportResult
    assert results == [new, unchanged, changed, unchanged, unchanged]
    assert workspace == import_state(account(), posts=[merge_records(record, newer)])


# Posts that are managed on this server.


@pytest.mark.parametrize("imported_at", [None, CREATED_AT], ids=["created here", "claimed here"])
@pytest.mark.parametrize("state", LOCAL_STATES, ids=lambda state: str(state.status))
@pytest.mark.parametrize(
    "record",
    [
        post_record(destination_record(status="published", attempts=9)),
        post_record(QUEUED, content="Another", updated_at=AFTER_CHANGE),
        post_record(QUEUED, destination_record(2), updated_at=AFTER_CHANGE),
        results_record(destination_record(2, "failed")),
    ],
    ids=["progress", "content", "destination", "results"],
)
def test_locally_managed_post_rejects_a_different_record(
    imported_at: datetime | None, state: DestinationState, record: Any
) -> None:
    post = local_post(state, imported_at=imported_at)
    assert is_locally_managed(post)
    assert_rejected(record, import_state(posts=[post]), MANAGED_HERE)


@pytest.mark.parametrize("state", LOCAL_STATES, ids=lambda state: str(state.status))
def test_responses_of_a_locally_managed_post_leave_it_unchanged(state: DestinationState) -> None:
    post = local_post(state)
    workspace = import_state(posts=[post])
    names = [field.name for field in fields(DestinationRecord) if hasattr(state, field.name)]
    names.remove("status")
    values = {name: getattr(state, name) for name in names}
    recorded = destination_record(1, state.status.value, scheduled_for=state.due_at, **values)
    records = [make(recorded, status=post.status) for make in (post_record, results_record)]
    assert import_all(workspace, *records) == [ImportResult.UNCHANGED] * 2
    assert workspace == import_state(posts=[post])


def test_local_draft_rejects_a_different_record() -> None:
    draft = replace(local_post(factories.draft()), is_draft=True, scheduled_for=None)
    workspace = import_state(posts=[draft])

    same = post_record(QUEUED, status=PostStatus.DRAFT, scheduled_for=None)
    assert import_all(workspace, same) == [ImportResult.UNCHANGED]
    scheduled = post_record(QUEUED, status=PostStatus.SCHEDULED, updated_at=AFTER_CHANGE)
    for other in (scheduled, results_record(FAILED)):
        assert_rejected(other, workspace, MANAGED_HERE)


def test_imported_post_can_be_changed() -> None:
    post = local_post(replace(factories.queued(DUE_AT), claimable_at=None), imported_at=CREATED_AT)
    assert not is_locally_managed(post)
    assert import_all(import_state(posts=[post]), post_record(WAITING)) == [ImportResult.CHANGED]


@pytest.mark.parametrize(
    "record", [post_record(QUEUED), post_record(PUBLISHED), results_record(QUEUED)]
)
def test_post_that_was_deleted_here_stays_deleted(record: Any) -> None:
    post = replace(merge_records(post_record(QUEUED)), deleted_at=NOW)
    assert_rejected(record, import_state(posts=[post]), "The post was deleted on this server.")


# Accounts.


@pytest.mark.parametrize(
    ("stored", "name", "expected"),
    [
        (None, None, None),
        (None, "@acme", "@acme"),
        (None, "x account 1", None),
        (None, "x account 2", "x account 2"),
        (account(), "@acme", "@acme"),
        (account(), "x account 1", None),
        (account(name="@mine"), "@acme", "@mine"),
        (account(name="@mine"), None, "@mine"),
    ],
)
def test_account_is_added_or_gets_its_missing_name(
    stored: Account | None, name: str | None, expected: str | None
) -> None:
    workspace = import_state(*([stored] if stored else []))
    record = post_record(replace(QUEUED, account_name=name))
    assert import_all(workspace, record) == [ImportResult.NEW]
    assert workspace.accounts == {1: account(name=expected)}


@pytest.mark.parametrize(
    ("later", "expected"),
    [
        (post_record(replace(QUEUED, account_name="@acme")), account(name="@acme")),
        (post_record(QUEUED, destination_record(2), updated_at=CREATED_AT), account()),
    ],
    ids=["missing name is added", "account of an older record is not"],
)
def test_record_that_changes_no_post_adds_only_an_account_name(
    later: PostRecord, expected: Account
) -> None:
    workspace = import_state()
    results = import_all(workspace, post_record(QUEUED), later)
    assert results == [ImportResult.NEW, ImportResult.UNCHANGED]
    assert workspace.accounts == {1: expected}


def test_account_on_another_platform_is_rejected_in_a_local_workspace() -> None:
    stored = account(platform="instagram")
    record = post_record(QUEUED)
    assert_rejected(record, import_state(stored), OTHER_PLATFORM)
    mirror = import_state(stored, kind=WorkspaceKind.MIRROR)
    assert import_all(mirror, record) == [ImportResult.NEW]
    assert mirror.accounts == {1: stored}
    assert [destination.platform for destination in mirror.posts[POST].destinations] == ["x"]


def test_second_post_cannot_take_platform_or_id_of_the_first() -> None:
    workspace = import_state()
    import_all(workspace, post_record(QUEUED))
    other_platform = post_record(replace(QUEUED, id=None, platform="y"))
    assert_rejected(replace(other_platform, id=OTHER_POST), workspace, OTHER_PLATFORM)
    assert_rejected(replace(post_record(QUEUED), id=OTHER_POST), workspace, TAKEN_ID)


def test_highest_account_number_is_rejected_unless_it_exists() -> None:
    record = post_record(destination_record(MAX_ACCOUNT_ID))
    assert_rejected(
        record,
        import_state(),
        "Account 2147483647 has the highest possible number, which leaves none for others.",
    )
    existing = import_state(account(MAX_ACCOUNT_ID))
    assert import_all(existing, record) == [ImportResult.NEW]
    lower = post_record(destination_record(MAX_ACCOUNT_ID - 1))
    assert import_all(import_state(), lower) == [ImportResult.NEW]


# Ids.


def test_two_destinations_with_one_id_are_rejected() -> None:
    twin = destination_record(2, id=QUEUED.id)
    assert_rejected(post_record(QUEUED, twin), import_state(), TAKEN_ID)


def test_destination_id_can_move_to_another_account_of_the_post() -> None:
    workspace = import_state()
    moved = destination_record(2, id=QUEUED.id)
    results = import_all(
        workspace, post_record(QUEUED), post_record(moved, updated_at=AFTER_CHANGE)
    )
    assert results == [ImportResult.NEW, ImportResult.CHANGED]
    (destination,) = workspace.posts[POST].destinations
    assert (destination.id, destination.account_id) == (QUEUED.id, 2)


def test_destination_without_an_id_gets_a_derived_id() -> None:
    workspace = import_state()
    record = post_record(*(destination_record(number, id=None) for number in (1, 2)))
    import_all(workspace, record, replace(record, id=OTHER_POST))
    assert len(workspace.post_ids_by_destination) == 4
    assert {destination_id.version for destination_id in workspace.post_ids_by_destination} == {5}


# Merging of import states.


def test_merged_import_state_keeps_existing_entries() -> None:
    first = import_state(account(1, name="@acme"), posts=[merge_records(post_record(QUEUED))])
    later_post = replace(merge_records(post_record(destination_record(2))), id=OTHER_POST)
    later = import_state(
        account(1),
        account(3),
        posts=[merge_records(post_record(PUBLISHED), now=NOW + HOUR), later_post],
    )

    first.merge(later)

    assert first.accounts == {1: account(1, name="@acme"), 2: account(2), 3: account(3)}
    assert first.posts == {POST: merge_records(post_record(QUEUED)), OTHER_POST: later_post}
    assert first.post_ids_by_destination == {
        DestinationId(UUID(int=1)): POST,
        DestinationId(UUID(int=2)): OTHER_POST,
    }
