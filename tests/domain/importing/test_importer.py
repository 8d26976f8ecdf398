"""Records into what a workspace has: whose posts may change, which accounts come in, whose ids are taken."""

from collections.abc import Iterable
from copy import deepcopy
from dataclasses import replace
from datetime import datetime
from typing import Any
from uuid import UUID

import pytest

from app.domain.accounts import Account
from app.domain.destinations import DestinationState
from app.domain.errors import InvalidInput
from app.domain.ids import MAX_ACCOUNT_ID, AccountId, DestinationId, PostId
from app.domain.importing.importer import (
    ImportResult,
    ImportState,
    import_record,
    is_locally_managed,
    placeholder_account,
)
from app.domain.posts import Post, PostStatus
from app.domain.workspaces import WorkspaceKind
from tests import factories
from tests.domain.importing.records import (
    AFTER_CHANGE,
    CREATED_AT,
    DUE_AT,
    FAILED,
    HOUR,
    POST,
    PUBLISHED,
    QUEUED,
    WAITING,
    destination_record,
    merge_records,
    post_record,
    results_record,
)
from tests.factories import NOW

OTHER = PostId(UUID("0b5bbc4e-6a2b-4a8e-9d6a-0c0f3c0f9a11"))
MADE_HERE = "It says something else than this server, which made the post or took it up itself."
TAKEN = "It has the id of another destination."
OTHER_PLATFORM = "In this workspace, account 1 is on another platform."


def account(account_id: int = 1, platform: str = "x", name: str | None = None) -> Account:
    return placeholder_account(AccountId(account_id), platform, name, CREATED_AT)


def known(
    *accounts: Account,
    posts: Iterable[Post] = (),
    kind: WorkspaceKind = WorkspaceKind.LOCAL,
) -> ImportState:
    """An account that a post is on is known too."""
    stored = list(posts)
    destinations = [(post, each) for post in stored for each in post.destinations]
    return ImportState(
        kind=kind,
        accounts={each.account_id: account(each.account_id) for _, each in destinations}
        | {each.id: each for each in accounts},
        posts={post.id: post for post in stored},
        post_ids_by_destination={each.id: post.id for post, each in destinations},
    )


def made_here(state: DestinationState, *, imported_at: datetime | None = None) -> Post:
    post = merge_records(post_record(QUEUED))
    destinations = tuple(replace(each, state=state) for each in post.destinations)
    return replace(post, imported_at=imported_at, destinations=destinations)


def assert_refused(record: Any, workspace: ImportState, sentence: str) -> None:
    before = deepcopy(workspace)
    with pytest.raises(InvalidInput) as refused:
        import_record(record, workspace, now=NOW)
    assert refused.value.message == sentence
    assert workspace == before


def test_a_record_is_new_then_without_news_then_a_change() -> None:
    workspace = known()
    record = post_record(QUEUED)

    effects = [
        import_record(each, workspace, now=NOW)
        for each in (record, record, post_record(PUBLISHED), results_record(PUBLISHED), record)
    ]

    assert effects == [
        ImportResult.NEW,
        ImportResult.UNCHANGED,
        ImportResult.CHANGED,
        ImportResult.UNCHANGED,
        ImportResult.UNCHANGED,
    ]
    assert workspace == known(account(), posts=[merge_records(record, post_record(PUBLISHED))])


# Whose post it is.

TAKEN_UP = [
    factories.queued(DUE_AT),
    factories.waiting_for_retry(due_at=DUE_AT),
    factories.claimed(DUE_AT),
    factories.started(DUE_AT),
    factories.published(due_at=DUE_AT),
    factories.failed(due_at=DUE_AT),
    factories.unknown(due_at=DUE_AT),
]


@pytest.mark.parametrize("imported_at", [None, CREATED_AT], ids=["made here", "taken up here"])
@pytest.mark.parametrize("state", TAKEN_UP, ids=lambda state: str(state.status))
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
def test_a_post_that_belongs_here_is_not_changed(
    imported_at: datetime | None, state: DestinationState, record: Any
) -> None:
    post = made_here(state, imported_at=imported_at)
    assert is_locally_managed(post)
    assert_refused(record, known(posts=[post]), MADE_HERE)


@pytest.mark.parametrize("state", TAKEN_UP, ids=lambda state: str(state.status))
def test_what_a_post_that_belongs_here_says_itself_is_no_news(state: DestinationState) -> None:
    post = made_here(state)
    workspace = known(posts=[post])
    said = destination_record(
        1,
        state.status.value,
        scheduled_for=state.due_at,
        **{
            name: getattr(state, name)
            for name in (
                "published_at",
                "platform_post_id",
                "platform_post_url",
                "error",
                "attempts",
                "next_retry_at",
            )
        },
    )
    for record in (post_record(said, status=post.status), results_record(said, status=post.status)):
        assert import_record(record, workspace, now=NOW) is ImportResult.UNCHANGED
    assert workspace == known(posts=[post])


def test_a_draft_that_was_made_here_is_not_changed() -> None:
    draft = replace(made_here(factories.draft()), is_draft=True, scheduled_for=None)
    workspace = known(posts=[draft])

    same = post_record(QUEUED, status=PostStatus.DRAFT, scheduled_for=None)
    assert import_record(same, workspace, now=NOW) is ImportResult.UNCHANGED
    assert_refused(post_record(QUEUED, status=PostStatus.SCHEDULED), workspace, MADE_HERE)
    assert_refused(results_record(FAILED), workspace, MADE_HERE)


def test_a_post_that_was_only_imported_may_change() -> None:
    post = made_here(replace(factories.queued(DUE_AT), claimable_at=None), imported_at=CREATED_AT)
    assert not is_locally_managed(post)
    assert import_record(post_record(WAITING), known(posts=[post]), now=NOW) is ImportResult.CHANGED


@pytest.mark.parametrize(
    "record", [post_record(QUEUED), post_record(PUBLISHED), results_record(QUEUED)]
)
def test_a_post_that_was_deleted_here_stays_deleted(record: Any) -> None:
    post = replace(merge_records(post_record(QUEUED)), deleted_at=NOW)
    assert_refused(record, known(posts=[post]), "It was deleted here.")


# Accounts.


@pytest.mark.parametrize(
    ("stored", "said", "expected"),
    [
        (None, {}, account()),
        (None, {"account_name": "@acme"}, account(name="@acme")),
        (None, {"account_name": "x account 1"}, account()),
        (None, {"account_name": "x account 2"}, account(name="x account 2")),
        (account(), {"account_name": "@acme"}, account(name="@acme")),
        (account(), {"account_name": "x account 1"}, account()),
        (account(name="@mine"), {"account_name": "@acme"}, account(name="@mine")),
        (account(name="@mine"), {}, account(name="@mine")),
    ],
)
def test_an_account_is_added_or_gets_the_name_that_it_lacks(
    stored: Account | None, said: dict[str, Any], expected: Account
) -> None:
    workspace = known(*([stored] if stored else []))
    effect = import_record(post_record(replace(QUEUED, **said)), workspace, now=NOW)
    assert effect is ImportResult.NEW
    assert workspace.accounts == {1: expected}


def test_a_name_comes_in_with_a_record_that_has_no_other_news() -> None:
    workspace = known()
    named = replace(QUEUED, account_name="@acme")
    effects = [import_record(post_record(each), workspace, now=NOW) for each in (QUEUED, named)]
    assert effects == [ImportResult.NEW, ImportResult.UNCHANGED]
    assert workspace.accounts == {1: account(name="@acme")}


def test_an_account_of_a_destination_that_does_not_come_in_is_not_added() -> None:
    workspace = known()
    older = post_record(QUEUED, destination_record(2), updated_at=CREATED_AT)
    effects = [import_record(each, workspace, now=NOW) for each in (post_record(QUEUED), older)]
    assert effects == [ImportResult.NEW, ImportResult.UNCHANGED]
    assert set(workspace.accounts) == {1}


def test_an_account_on_another_platform_is_refused_in_a_local_workspace() -> None:
    stored = account(platform="instagram")
    record = post_record(QUEUED)
    assert_refused(record, known(stored), OTHER_PLATFORM)
    mirror = known(stored, kind=WorkspaceKind.MIRROR)
    assert import_record(record, mirror, now=NOW) is ImportResult.NEW
    assert mirror.accounts == {1: stored}
    assert [each.platform for each in mirror.posts[POST].destinations] == ["x"]


def test_two_platforms_of_one_account_in_one_import_are_refused_too() -> None:
    workspace = known()
    import_record(post_record(QUEUED), workspace, now=NOW)
    other = replace(post_record(replace(QUEUED, id=None, platform="y")), id=OTHER)
    assert_refused(other, workspace, OTHER_PLATFORM)


def test_the_last_account_number_of_all_is_refused_unless_it_is_known() -> None:
    record = post_record(destination_record(MAX_ACCOUNT_ID))
    assert_refused(
        record, known(), "It has account 2147483647, which leaves no number for another."
    )
    assert import_record(record, known(account(MAX_ACCOUNT_ID)), now=NOW) is ImportResult.NEW
    assert (
        import_record(post_record(destination_record(MAX_ACCOUNT_ID - 1)), known(), now=NOW)
        is ImportResult.NEW
    )


# Ids.


def test_the_id_of_a_destination_of_another_post_is_refused() -> None:
    workspace = known()
    import_record(post_record(QUEUED), workspace, now=NOW)
    assert_refused(replace(post_record(QUEUED), id=OTHER), workspace, TAKEN)


def test_two_destinations_of_one_id_are_refused() -> None:
    twin = destination_record(2, id=QUEUED.id)
    assert_refused(post_record(QUEUED, twin), known(), TAKEN)
    tried = merge_records(post_record(FAILED))
    assert_refused(post_record(twin, updated_at=AFTER_CHANGE), known(posts=[tried]), TAKEN)


def test_an_id_may_move_to_another_account_of_the_post() -> None:
    workspace = known()
    moved = destination_record(2, id=QUEUED.id)
    effects = [
        import_record(each, workspace, now=NOW)
        for each in (post_record(QUEUED), post_record(moved, updated_at=AFTER_CHANGE))
    ]
    assert effects == [ImportResult.NEW, ImportResult.CHANGED]
    (destination,) = workspace.posts[POST].destinations
    assert (destination.id, destination.account_id) == (QUEUED.id, 2)


def test_a_destination_without_an_id_gets_one_of_its_own() -> None:
    workspace = known()
    bare = replace(QUEUED, id=None)
    for post_id in (POST, OTHER):
        import_record(
            replace(post_record(bare, replace(destination_record(2), id=None)), id=post_id),
            workspace,
            now=NOW,
        )
    assert len(workspace.post_ids_by_destination) == 4
    assert {each.version for each in workspace.post_ids_by_destination} == {5}


# Learning.


def test_what_is_learned_later_does_not_replace_what_is_known() -> None:
    first = known(account(1, name="@acme"), posts=[merge_records(post_record(QUEUED))])
    later_post = replace(merge_records(post_record(destination_record(2))), id=OTHER)
    later = known(
        account(1),
        account(3),
        posts=[merge_records(post_record(PUBLISHED), now=NOW + HOUR), later_post],
    )

    first.merge(later)

    assert first.accounts == {1: account(1, name="@acme"), 2: account(2), 3: account(3)}
    assert first.posts == {POST: merge_records(post_record(QUEUED)), OTHER: later_post}
    assert first.post_ids_by_destination == {
        DestinationId(UUID(int=1)): POST,
        DestinationId(UUID(int=2)): OTHER,
    }
