"""Merging of records into posts and accounts."""

from collections.abc import Iterable
from copy import deepcopy
from dataclasses import fields, replace
from datetime import datetime
from typing import Any
from uuid import UUID, uuid5

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.accounts import Account
from app.domain.destinations import DestinationState, DestinationStatus, ErrorCategory, Outcome
from app.domain.errors import InvalidInput
from app.domain.ids import MAX_ACCOUNT_ID, AccountId, DestinationId, PostId, WorkspaceKind
from app.domain.importing.merging import (
    MISSING_REASON_MESSAGE,
    ImportResult,
    ImportState,
    has_only_results,
    import_record,
    is_locally_managed,
    merge_record,
    placeholder_account,
)
from app.domain.importing.records import DestinationRecord, PostDetails, PostRecord
from app.domain.posts import Post, PostStatus
from tests import factories
from tests.domain.importing.record_factories import (
    AFTER_CHANGE,
    ANSWERED_AT,
    BEFORE_CHANGE,
    CHANGED_AT,
    CREATED_AT,
    DESTINATION_RECORD_NAMES,
    DESTINATION_RECORDS,
    DRAFT,
    DUE_AT,
    FAILED,
    HOUR,
    POST,
    PUBLISHED,
    PUBLISHING,
    QUEUED,
    RUNNING,
    SCHEDULED,
    URL,
    WAITING,
    destination_accounts,
    destination_record,
    merge_records,
    merged_state,
    post_record,
    results_record,
    states_of_post,
)
from tests.factories import NOW

OTHER_POST = PostId(UUID("0b5bbc4e-6a2b-4a8e-9d6a-0c0f3c0f9a11"))
MANAGED_HERE = "The record differs from the post, which is managed on this server."
TAKEN_ID = "A destination has the id of another destination."
OTHER_PLATFORM = "In this workspace, account 1 is on another platform."

# New posts.


def test_new_post_has_the_recorded_values() -> None:
    record = post_record(
        PUBLISHED,
        replace(QUEUED, account_id=AccountId(2), id=None, scheduled_for=DUE_AT + HOUR),
        status=PUBLISHING,
        timezone="Europe/Berlin",
        media_ids=["a"],
        media=[{"url": URL}],
        platform_content={"x": {"content": "Sale"}},
    )

    post = merge_records(record)

    assert post == Post(
        id=POST,
        content="Spring sale",
        is_draft=False,
        submitted_now=False,
        scheduled_for=DUE_AT,
        timezone="Europe/Berlin",
        media_ids=["a"],
        media=[{"url": URL}],
        platform_content={"x": {"content": "Sale"}},
        reference=None,
        version=1,
        deleted_at=None,
        imported_at=NOW,
        created_at=CREATED_AT,
        updated_at=CHANGED_AT,
        destinations=post.destinations,
    )
    assert post.status is PUBLISHING
    created_and_changed = (CREATED_AT, CHANGED_AT)
    assert [
        (d.id, d.account_id, d.position, (d.created_at, d.updated_at)) for d in post.destinations
    ] == [
        (UUID(int=1), 1, 0, created_and_changed),
        (uuid5(POST, "2"), 2, 1, created_and_changed),
    ]
    assert states_of_post(post) == [
        DestinationState(
            status=DestinationStatus.PUBLISHED,
            outcome=Outcome.PUBLISHED,
            due_at=DUE_AT,
            claimable_at=None,
            round_started_at=DUE_AT,
            attempts=3,
            published_at=DUE_AT + HOUR,
            platform_post_id="1",
            platform_post_url=URL,
            settled_at=DUE_AT + HOUR,
            due_day=DUE_AT.date(),
            lateness_ms=3_600_000,
        ),
        DestinationState(
            status=DestinationStatus.QUEUED,
            due_at=DUE_AT + HOUR,
            claimable_at=None,
            round_started_at=DUE_AT + HOUR,
        ),
    ]


def test_failure_is_unclassified_and_settled_at_the_last_change_of_the_post() -> None:
    assert merged_state(post_record(FAILED)) == DestinationState(
        status=DestinationStatus.FAILED,
        outcome=Outcome.FAILED,
        due_at=DUE_AT,
        claimable_at=None,
        round_started_at=DUE_AT,
        attempts=2,
        error="Refused",
        error_category=ErrorCategory.UNCLASSIFIED,
        error_code="UNCLASSIFIED",
        settled_at=CHANGED_AT,
        due_day=DUE_AT.date(),
    )


@pytest.mark.parametrize(
    ("record", "created_at", "due_at", "learned_at"),
    [
        (post_record(FAILED, scheduled_for=None), CREATED_AT, CREATED_AT, CHANGED_AT),
        (post_record(FAILED, updated_at=None), CREATED_AT, DUE_AT, ANSWERED_AT),
        (
            post_record(FAILED, created_at=None, updated_at=None, scheduled_for=None),
            *[ANSWERED_AT] * 3,
        ),
        (
            post_record(FAILED, created_at=None, scheduled_for=None, as_of=None),
            NOW,
            NOW,
            CHANGED_AT,
        ),
        (results_record(FAILED), ANSWERED_AT, ANSWERED_AT, ANSWERED_AT),
        (results_record(FAILED, as_of=None), NOW, NOW, NOW),
    ],
)
def test_missing_times_default_to_the_time_of_the_response(
    record: PostRecord, created_at: datetime, due_at: datetime, learned_at: datetime
) -> None:
    post = merge_records(record)
    (destination,) = post.destinations
    assert (post.created_at, post.updated_at) == (created_at, learned_at)
    assert (destination.state.due_at, destination.state.settled_at) == (due_at, learned_at)


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"status": "failed"}, {"error": MISSING_REASON_MESSAGE}),
        (
            {"status": "queued", "next_retry_at": NOW},
            {"error": MISSING_REASON_MESSAGE, "next_retry_at": NOW},
        ),
        ({"status": "queued", "error": "Timed out"}, {"error": "Timed out", "next_retry_at": None}),
        ({"status": "publishing", "next_retry_at": NOW}, {"error": None, "next_retry_at": None}),
        ({"status": "publishing", "error": "Timed out"}, {"error": "Timed out"}),
        ({"status": "published"}, {"published_at": CHANGED_AT, "lateness_ms": 36_000_000}),
        ({"status": "published", "published_at": CREATED_AT}, {"lateness_ms": -64_800_000}),
        ({"status": "published", "error": "a", "next_retry_at": NOW}, {"error": None}),
        ({"status": "failed", "published_at": NOW}, {"published_at": None}),
        ({"status": "queued", "platform_post_url": URL}, {"platform_post_url": None}),
    ],
)
def test_contradictory_fields_become_a_valid_state(
    fields: dict[str, Any], expected: dict[str, object]
) -> None:
    state = merged_state(post_record(destination_record(**fields)))
    assert {name: getattr(state, name) for name in expected} == expected


# Flags, which responses lack.


@pytest.mark.parametrize(
    ("status", "destinations", "is_draft", "submitted_now", "expected_status"),
    [
        (DRAFT, [], True, False, DRAFT),
        (DRAFT, [QUEUED], True, False, DRAFT),
        (DRAFT, [RUNNING], False, False, PUBLISHING),
        (DRAFT, [PUBLISHED], False, False, PostStatus.PUBLISHED),
        (SCHEDULED, [QUEUED], False, False, SCHEDULED),
        (SCHEDULED, [], False, False, DRAFT),
        (PUBLISHING, [QUEUED], False, True, PUBLISHING),
        (PUBLISHING, [WAITING], False, False, PUBLISHING),
        (PostStatus.PUBLISHED, [PUBLISHED], False, False, PostStatus.PUBLISHED),
        (PostStatus.PUBLISHED, [FAILED], False, False, PostStatus.FAILED),
        (PostStatus.FAILED, [QUEUED], False, False, SCHEDULED),
        (None, [QUEUED], False, False, SCHEDULED),
    ],
)
def test_flags_give_the_recorded_status_if_possible(
    status: PostStatus | None,
    destinations: list[DestinationRecord],
    is_draft: bool,
    submitted_now: bool,
    expected_status: PostStatus,
) -> None:
    record = post_record(*destinations, status=status)
    post = merge_records(record)
    assert (post.is_draft, post.submitted_now, post.status) == (
        is_draft,
        submitted_now,
        expected_status,
    )
    assert [state.due_at for state in states_of_post(post)] == [None if is_draft else DUE_AT] * len(
        destinations
    )
    assert merge_record(post, record, now=NOW + HOUR) is post


@pytest.mark.parametrize("status", [None, DRAFT, PostStatus.PUBLISHED])
@pytest.mark.parametrize("attempted", [RUNNING, WAITING, FAILED, PUBLISHED])
@pytest.mark.parametrize("make_record", [post_record, results_record])
def test_draft_with_an_attempt_becomes_due(
    make_record: Any, attempted: DestinationRecord, status: PostStatus | None
) -> None:
    draft = post_record(
        QUEUED, destination_record(2), status=DRAFT, scheduled_for=None, updated_at=BEFORE_CHANGE
    )

    post = merge_records(draft, make_record(attempted, destination_record(2), status=status))

    assert (post.is_draft, post.status is DRAFT) == (False, False)
    assert None not in [state.due_at for state in states_of_post(post)]
    assert states_of_post(post)[0].status is attempted.status


def test_newer_records_schedule_a_draft_and_return_it_to_draft() -> None:
    draft = post_record(QUEUED, status=DRAFT, scheduled_for=None, updated_at=BEFORE_CHANGE)
    scheduled = post_record(QUEUED, status=SCHEDULED)
    draft_again = post_record(QUEUED, status=DRAFT, scheduled_for=None, updated_at=AFTER_CHANGE)

    posts = [
        merge_records(draft),
        merge_records(draft, scheduled),
        merge_records(draft, scheduled, draft_again),
    ]

    assert [post.status for post in posts] == [DRAFT, SCHEDULED, DRAFT]
    assert [states_of_post(post)[0].due_at for post in posts] == [None, DUE_AT, None]
    assert [post.version for post in posts] == [1, 2, 3]


# The newest record wins.


@pytest.mark.parametrize("after", DESTINATION_RECORDS, ids=DESTINATION_RECORD_NAMES)
@pytest.mark.parametrize("before", DESTINATION_RECORDS, ids=DESTINATION_RECORD_NAMES)
@pytest.mark.parametrize("make_record", [post_record, results_record])
def test_newer_record_replaces_any_state(
    make_record: Any, before: DestinationRecord, after: DestinationRecord
) -> None:
    current = merge_records(post_record(before, status=PUBLISHING))
    times = {"updated_at": AFTER_CHANGE} if make_record is post_record else {"as_of": AFTER_CHANGE}
    record = make_record(after, status=PUBLISHING, **times)

    post = merge_record(current, record, now=NOW + HOUR)

    (state,) = states_of_post(post)
    assert (state.status, state.attempts, state.error) == (
        after.status,
        after.attempts,
        after.error,
    )
    if before is after:
        assert (post is current) == (make_record is results_record)
    else:
        assert (post.version, post.imported_at) == (2, NOW + HOUR)
        assert post.destinations[0].updated_at == AFTER_CHANGE
        expected = AFTER_CHANGE if make_record is post_record else CHANGED_AT
        assert (post.content, post.updated_at) == (current.content, expected)


ADVANCES = {
    "queued": {"running", "waiting", "failed", "retried", "published"},
    "running": {"waiting", "failed", "retried", "published"},
    "waiting": {"failed", "retried", "published"},
    "failed": {"published"},
    "retried": {"failed", "published"},
    "published": set[str](),
}
"""States that follow each state as long as no one retries by hand."""


@pytest.mark.parametrize("after", range(6), ids=DESTINATION_RECORD_NAMES)
@pytest.mark.parametrize("before", range(6), ids=DESTINATION_RECORD_NAMES)
@pytest.mark.parametrize(
    ("record_type", "times"),
    [
        (post_record, {"updated_at": CHANGED_AT}),
        (post_record, {"updated_at": None, "as_of": None}),
        (results_record, {"as_of": CHANGED_AT}),
        (results_record, {"as_of": None}),
    ],
)
def test_record_of_the_same_or_of_an_unknown_time_only_advances_a_state(
    record_type: Any, times: dict[str, Any], before: int, after: int
) -> None:
    current = merge_records(post_record(DESTINATION_RECORDS[before], status=PUBLISHING))
    record = record_type(DESTINATION_RECORDS[after], **times)

    post = merge_record(current, record, now=NOW + HOUR)

    if DESTINATION_RECORD_NAMES[after] in ADVANCES[DESTINATION_RECORD_NAMES[before]]:
        (state,) = states_of_post(post)
        assert (state.status, state.attempts) == (
            DESTINATION_RECORDS[after].status,
            DESTINATION_RECORDS[after].attempts,
        )
        assert (post.content, post.updated_at) == (current.content, CHANGED_AT)
    else:
        assert post is current


@pytest.mark.parametrize("status", [None, DRAFT, SCHEDULED])
@pytest.mark.parametrize(
    "older",
    [
        post_record(PUBLISHED, content="Before", updated_at=BEFORE_CHANGE),
        post_record(destination_record(2, "failed"), updated_at=BEFORE_CHANGE),
        post_record(PUBLISHED, updated_at=None, as_of=BEFORE_CHANGE),
        results_record(PUBLISHED, as_of=BEFORE_CHANGE),
    ],
)
def test_older_record_changes_nothing(older: PostRecord, status: PostStatus | None) -> None:
    current = merge_records(post_record(QUEUED))
    assert merge_record(current, replace(older, status=status), now=NOW + HOUR) is current


@pytest.mark.parametrize(
    "record",
    [
        post_record(PUBLISHED),
        post_record(PUBLISHED, content="Edited"),
        post_record(PUBLISHED, created_at=None),
        post_record(PUBLISHED, content="Edited", updated_at=None, as_of=None),
        results_record(PUBLISHED),
        results_record(),
        results_record(replace(PUBLISHED, id=DestinationId(UUID(int=99)), platform="y")),
    ],
)
def test_record_without_newer_values_changes_nothing(record: PostRecord) -> None:
    current = merge_records(post_record(PUBLISHED))
    assert merge_record(current, record, now=NOW + HOUR) is current


def test_newer_record_replaces_the_details_and_the_due_time() -> None:
    newer = post_record(
        QUEUED, content="Edited", scheduled_for=DUE_AT + HOUR, updated_at=None, as_of=ANSWERED_AT
    )
    post = merge_records(post_record(QUEUED), newer)
    assert (post.content, post.updated_at, post.created_at) == ("Edited", ANSWERED_AT, CREATED_AT)
    assert (post.scheduled_for, states_of_post(post)[0].due_at) == (DUE_AT + HOUR,) * 2


def test_missing_detail_keeps_its_value() -> None:
    current = merge_records(post_record(QUEUED, timezone="Asia/Tokyo", media_ids=["a"]))
    record = replace(results_record(FAILED), details=PostDetails(updated_at=AFTER_CHANGE))

    post = merge_record(current, record, now=NOW)

    assert (post.content, post.timezone, post.media_ids) == ("Spring sale", "Asia/Tokyo", ["a"])
    assert (post.updated_at, post.version) == (AFTER_CHANGE, 2)
    assert states_of_post(post)[0].settled_at == AFTER_CHANGE


def test_missing_time_of_publication_keeps_its_value() -> None:
    bare = destination_record(status="published", attempts=4)
    state = merged_state(post_record(PUBLISHED), results_record(bare))
    assert (state.attempts, state.published_at) == (4, DUE_AT + HOUR)


def test_edit_before_newer_results_keeps_the_results() -> None:
    listed = post_record(QUEUED, updated_at=BEFORE_CHANGE)
    results = results_record(PUBLISHED, destination_record(3, "failed"))
    edited = post_record(QUEUED, content="Edited", updated_at=CHANGED_AT)

    post = merge_records(listed, results, edited)

    assert (post.content, post.updated_at) == ("Edited", CHANGED_AT)
    assert destination_accounts(post) == [1, 3]
    assert states_of_post(post)[0] == merged_state(post_record(PUBLISHED))


# Destinations.


@pytest.mark.parametrize(
    ("recorded", "updated_at", "expected"),
    [
        ([QUEUED, destination_record(3)], AFTER_CHANGE, [1, 3]),
        ([destination_record(3), QUEUED], AFTER_CHANGE, [3, 1]),
        ([destination_record(2)], AFTER_CHANGE, [2]),
        ([], AFTER_CHANGE, []),
        ([destination_record(3), QUEUED], CHANGED_AT, [1, 2]),
        ([destination_record(3), QUEUED], BEFORE_CHANGE, [1, 2]),
    ],
)
def test_only_a_newer_record_adds_removes_and_reorders_destinations(
    recorded: list[DestinationRecord], updated_at: datetime, expected: list[int]
) -> None:
    current = post_record(QUEUED, destination_record(2))
    post = merge_records(current, post_record(*recorded, updated_at=updated_at))
    assert destination_accounts(post) == expected
    assert [destination.position for destination in post.destinations] == [*range(len(expected))]


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        (
            post_record(destination_record(2), QUEUED),
            results_record(destination_record(3, "failed"), PUBLISHED),
            [2, 1, 3],
        ),
        (
            results_record(QUEUED, destination_record(2), as_of=BEFORE_CHANGE),
            post_record(destination_record(2)),
            [2],
        ),
    ],
    ids=["results add only", "the post itself replaces results"],
)
def test_newer_results_remove_no_destination_but_a_newer_post_does(
    before: PostRecord, after: PostRecord, expected: list[int]
) -> None:
    assert destination_accounts(merge_records(before, after)) == expected


def test_destination_keeps_its_first_id() -> None:
    post = merge_records(results_record(replace(QUEUED, id=None)), post_record(PUBLISHED))
    assert [destination.id for destination in post.destinations] == [uuid5(POST, "1")]


# Posts of which only results are known.


@pytest.mark.parametrize("scheduled_for", [DUE_AT, None])
@pytest.mark.parametrize("current", DESTINATION_RECORDS, ids=DESTINATION_RECORD_NAMES)
def test_older_record_of_the_post_completes_results(
    current: DestinationRecord, scheduled_for: datetime | None
) -> None:
    before = merge_records(results_record(current))
    assert (has_only_results(before), before.content) == (True, "")

    post = merge_record(before, post_record(QUEUED, scheduled_for=scheduled_for), now=NOW)

    assert (post.content, post.created_at, post.updated_at) == (
        "Spring sale",
        CREATED_AT,
        CHANGED_AT,
    )
    assert has_only_results(post) is False
    (destination,) = post.destinations
    assert (destination.created_at, destination.state.status) == (CREATED_AT, current.status)
    assert destination.state.due_at == (scheduled_for or CREATED_AT)


@pytest.mark.parametrize("make_record", [post_record, results_record])
def test_record_with_a_time_advances_undated_results(make_record: Any) -> None:
    imported = merge_records(results_record(RUNNING, as_of=None))
    imported_again = merge_record(imported, results_record(WAITING, as_of=None), now=NOW + HOUR)
    for current in (imported, imported_again):
        (state,) = states_of_post(merge_record(current, make_record(PUBLISHED), now=NOW + 2 * HOUR))
        assert state.status is DestinationStatus.PUBLISHED


def test_undated_results_do_not_block_a_later_record() -> None:
    undated, later = (
        results_record(RUNNING, as_of=None),
        post_record(FAILED, updated_at=AFTER_CHANGE),
    )
    assert merged_state(post_record(QUEUED), undated, later).status is DestinationStatus.FAILED


# Repeated imports.

RECORDS = st.builds(
    lambda make, destinations, status, time, content: make(
        *{destination.account_id: destination for destination in destinations}.values(),
        status=status,
        **({"as_of": time} if make is results_record else {"updated_at": time, "content": content}),
    ),
    st.sampled_from([post_record, results_record]),
    st.lists(
        st.sampled_from([*DESTINATION_RECORDS, *(destination_record(n) for n in (2, 3))]),
        max_size=3,
    ),
    st.sampled_from([None, DRAFT, SCHEDULED, PUBLISHING]),
    st.integers(0, 8).map(lambda hours: CHANGED_AT + hours * HOUR),
    st.sampled_from(["", "Spring sale", "Edited"]),
)


@given(st.lists(RECORDS, min_size=1, max_size=6, unique_by=lambda record: record.time))
def test_repeated_import_of_a_history_changes_nothing(records: list[PostRecord]) -> None:
    records.sort(key=lambda record: record.time or NOW)
    post = merge_records(*records)
    for record in records:
        assert merge_record(post, record, now=NOW + HOUR) is post
    for state in states_of_post(post):
        assert (state.claimable_at, state.lease_token, state.fence) == (None, None, 0)


LOCAL_STATES = [
    factories.queued(DUE_AT),
    factories.waiting_for_retry(due_at=DUE_AT),
    factories.claimed(DUE_AT),
    factories.started(DUE_AT),
    factories.published(due_at=DUE_AT),
    factories.failed(due_at=DUE_AT),
    factories.unknown(due_at=DUE_AT),
]


@pytest.mark.parametrize("state", [factories.draft(), *LOCAL_STATES, factories.being_verified()])
@pytest.mark.parametrize("record", DESTINATION_RECORDS, ids=DESTINATION_RECORD_NAMES)
@pytest.mark.parametrize("status", [None, DRAFT, PUBLISHING])
@pytest.mark.parametrize("updated_at", [BEFORE_CHANGE, CHANGED_AT, AFTER_CHANGE])
def test_local_state_and_record_merge_into_a_valid_post_once(
    state: DestinationState,
    record: DestinationRecord,
    status: PostStatus | None,
    updated_at: datetime,
) -> None:
    post = replace(local_post(state), is_draft=state.due_at is None)
    recorded = post_record(
        record, status=status, updated_at=updated_at, scheduled_for=DUE_AT + HOUR
    )

    merged = merge_record(post, recorded, now=NOW)

    assert merged.status in PostStatus
    assert merge_record(merged, recorded, now=NOW + HOUR) is merged


def test_unknown_outcome_stays_unknown_if_the_response_looks_the_same() -> None:
    current = merge_records(post_record(FAILED))
    unknown = replace(
        current.destinations[0].state,
        outcome=Outcome.UNKNOWN,
        verifiable_at=NOW,
        error="Timed out.",
    )
    current = replace(current, destinations=(replace(current.destinations[0], state=unknown),))

    same = replace(FAILED, error="Timed out.")
    newer = merge_record(current, post_record(same, updated_at=AFTER_CHANGE), now=NOW)

    assert states_of_post(newer) == [unknown]


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


def local_post(state: DestinationState, *, imported_at: datetime | None = None) -> Post:
    post = merge_records(post_record(QUEUED))
    destinations = tuple(replace(destination, state=state) for destination in post.destinations)
    return replace(post, imported_at=imported_at, destinations=destinations)


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
