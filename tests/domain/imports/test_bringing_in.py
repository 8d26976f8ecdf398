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
from app.domain.imports.bringing_in import Effect, Known, belongs_here, bring_in, unknown_account
from app.domain.posts import Post, PostStatus
from app.domain.workspaces import WorkspaceKind
from tests import factories
from tests.domain.imports.records import (
    AFTER,
    CREATED,
    DUE,
    FAILED,
    HOUR,
    POST,
    PUBLISHED,
    QUEUED,
    WAITING,
    merged,
    of_post,
    of_results,
    told,
)
from tests.factories import NOW

OTHER = PostId(UUID("0b5bbc4e-6a2b-4a8e-9d6a-0c0f3c0f9a11"))
MADE_HERE = "It says something else than this server, which made the post or took it up itself."
TAKEN = "It has the id of another destination."
OTHER_PLATFORM = "In this workspace, account 1 is on another platform."


def account(account_id: int = 1, platform: str = "x", name: str | None = None) -> Account:
    return unknown_account(AccountId(account_id), platform, name, CREATED)


def known(
    *accounts: Account,
    posts: Iterable[Post] = (),
    kind: WorkspaceKind = WorkspaceKind.LOCAL,
) -> Known:
    """An account that a post is on is known too."""
    stored = list(posts)
    destinations = [(post, each) for post in stored for each in post.destinations]
    return Known(
        kind=kind,
        accounts={each.account_id: account(each.account_id) for _, each in destinations}
        | {each.id: each for each in accounts},
        posts={post.id: post for post in stored},
        owners={each.id: post.id for post, each in destinations},
    )


def made_here(state: DestinationState, *, imported_at: datetime | None = None) -> Post:
    post = merged(of_post(QUEUED))
    destinations = tuple(replace(each, state=state) for each in post.destinations)
    return replace(post, imported_at=imported_at, destinations=destinations)


def assert_refused(record: Any, workspace: Known, sentence: str) -> None:
    before = deepcopy(workspace)
    with pytest.raises(InvalidInput) as refused:
        bring_in(record, workspace, now=NOW)
    assert refused.value.message == sentence
    assert workspace == before


def test_a_record_is_new_then_without_news_then_a_change() -> None:
    workspace = known()
    record = of_post(QUEUED)

    effects = [
        bring_in(each, workspace, now=NOW)
        for each in (record, record, of_post(PUBLISHED), of_results(PUBLISHED), record)
    ]

    assert effects == [
        Effect.NEW,
        Effect.UNCHANGED,
        Effect.CHANGED,
        Effect.UNCHANGED,
        Effect.UNCHANGED,
    ]
    assert workspace == known(account(), posts=[merged(record, of_post(PUBLISHED))])


# Whose post it is.

TAKEN_UP = [
    factories.queued(DUE),
    factories.waiting_for_retry(due_at=DUE),
    factories.claimed(DUE),
    factories.started(DUE),
    factories.published(due_at=DUE),
    factories.failed(due_at=DUE),
    factories.unknown(due_at=DUE),
]


@pytest.mark.parametrize("imported_at", [None, CREATED], ids=["made here", "taken up here"])
@pytest.mark.parametrize("state", TAKEN_UP, ids=lambda state: str(state.status))
@pytest.mark.parametrize(
    "record",
    [
        of_post(told(status="published", attempts=9)),
        of_post(QUEUED, content="Another", updated_at=AFTER),
        of_post(QUEUED, told(2), updated_at=AFTER),
        of_results(told(2, "failed")),
    ],
    ids=["progress", "content", "destination", "results"],
)
def test_a_post_that_belongs_here_is_not_changed(
    imported_at: datetime | None, state: DestinationState, record: Any
) -> None:
    post = made_here(state, imported_at=imported_at)
    assert belongs_here(post)
    assert_refused(record, known(posts=[post]), MADE_HERE)


@pytest.mark.parametrize("state", TAKEN_UP, ids=lambda state: str(state.status))
def test_what_a_post_that_belongs_here_says_itself_is_no_news(state: DestinationState) -> None:
    post = made_here(state)
    workspace = known(posts=[post])
    said = told(
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
    for record in (of_post(said, status=post.status), of_results(said, status=post.status)):
        assert bring_in(record, workspace, now=NOW) is Effect.UNCHANGED
    assert workspace == known(posts=[post])


def test_a_draft_that_was_made_here_is_not_changed() -> None:
    draft = replace(made_here(factories.draft()), is_draft=True, scheduled_for=None)
    workspace = known(posts=[draft])

    same = of_post(QUEUED, status=PostStatus.DRAFT, scheduled_for=None)
    assert bring_in(same, workspace, now=NOW) is Effect.UNCHANGED
    assert_refused(of_post(QUEUED, status=PostStatus.SCHEDULED), workspace, MADE_HERE)
    assert_refused(of_results(FAILED), workspace, MADE_HERE)


def test_a_post_that_was_only_imported_may_change() -> None:
    post = made_here(replace(factories.queued(DUE), claimable_at=None), imported_at=CREATED)
    assert not belongs_here(post)
    assert bring_in(of_post(WAITING), known(posts=[post]), now=NOW) is Effect.CHANGED


@pytest.mark.parametrize("record", [of_post(QUEUED), of_post(PUBLISHED), of_results(QUEUED)])
def test_a_post_that_was_deleted_here_stays_deleted(record: Any) -> None:
    post = replace(merged(of_post(QUEUED)), deleted_at=NOW)
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
    effect = bring_in(of_post(replace(QUEUED, **said)), workspace, now=NOW)
    assert effect is Effect.NEW
    assert workspace.accounts == {1: expected}


def test_a_name_comes_in_with_a_record_that_has_no_other_news() -> None:
    workspace = known()
    named = replace(QUEUED, account_name="@acme")
    effects = [bring_in(of_post(each), workspace, now=NOW) for each in (QUEUED, named)]
    assert effects == [Effect.NEW, Effect.UNCHANGED]
    assert workspace.accounts == {1: account(name="@acme")}


def test_an_account_of_a_destination_that_does_not_come_in_is_not_added() -> None:
    workspace = known()
    older = of_post(QUEUED, told(2), updated_at=CREATED)
    effects = [bring_in(each, workspace, now=NOW) for each in (of_post(QUEUED), older)]
    assert effects == [Effect.NEW, Effect.UNCHANGED]
    assert set(workspace.accounts) == {1}


def test_an_account_on_another_platform_is_refused_in_a_local_workspace() -> None:
    stored = account(platform="instagram")
    record = of_post(QUEUED)
    assert_refused(record, known(stored), OTHER_PLATFORM)
    mirror = known(stored, kind=WorkspaceKind.MIRROR)
    assert bring_in(record, mirror, now=NOW) is Effect.NEW
    assert mirror.accounts == {1: stored}
    assert [each.platform for each in mirror.posts[POST].destinations] == ["x"]


def test_two_platforms_of_one_account_in_one_import_are_refused_too() -> None:
    workspace = known()
    bring_in(of_post(QUEUED), workspace, now=NOW)
    other = replace(of_post(replace(QUEUED, id=None, platform="y")), id=OTHER)
    assert_refused(other, workspace, OTHER_PLATFORM)


def test_the_last_account_number_of_all_is_refused_unless_it_is_known() -> None:
    record = of_post(told(MAX_ACCOUNT_ID))
    assert_refused(
        record, known(), "It has account 2147483647, which leaves no number for another."
    )
    assert bring_in(record, known(account(MAX_ACCOUNT_ID)), now=NOW) is Effect.NEW
    assert bring_in(of_post(told(MAX_ACCOUNT_ID - 1)), known(), now=NOW) is Effect.NEW


# Ids.


def test_the_id_of_a_destination_of_another_post_is_refused() -> None:
    workspace = known()
    bring_in(of_post(QUEUED), workspace, now=NOW)
    assert_refused(replace(of_post(QUEUED), id=OTHER), workspace, TAKEN)


def test_two_destinations_of_one_id_are_refused() -> None:
    twin = told(2, id=QUEUED.id)
    assert_refused(of_post(QUEUED, twin), known(), TAKEN)
    tried = merged(of_post(FAILED))
    assert_refused(of_post(twin, updated_at=AFTER), known(posts=[tried]), TAKEN)


def test_an_id_may_move_to_another_account_of_the_post() -> None:
    workspace = known()
    moved = told(2, id=QUEUED.id)
    effects = [
        bring_in(each, workspace, now=NOW)
        for each in (of_post(QUEUED), of_post(moved, updated_at=AFTER))
    ]
    assert effects == [Effect.NEW, Effect.CHANGED]
    (destination,) = workspace.posts[POST].destinations
    assert (destination.id, destination.account_id) == (QUEUED.id, 2)


def test_a_destination_without_an_id_gets_one_of_its_own() -> None:
    workspace = known()
    bare = replace(QUEUED, id=None)
    for post_id in (POST, OTHER):
        bring_in(replace(of_post(bare, replace(told(2), id=None)), id=post_id), workspace, now=NOW)
    assert len(workspace.owners) == 4
    assert {each.version for each in workspace.owners} == {5}


# Learning.


def test_what_is_learned_later_does_not_replace_what_is_known() -> None:
    first = known(account(1, name="@acme"), posts=[merged(of_post(QUEUED))])
    later_post = replace(merged(of_post(told(2))), id=OTHER)
    later = known(
        account(1), account(3), posts=[merged(of_post(PUBLISHED), now=NOW + HOUR), later_post]
    )

    first.learn(later)

    assert first.accounts == {1: account(1, name="@acme"), 2: account(2), 3: account(3)}
    assert first.posts == {POST: merged(of_post(QUEUED)), OTHER: later_post}
    assert first.owners == {DestinationId(UUID(int=1)): POST, DestinationId(UUID(int=2)): OTHER}
