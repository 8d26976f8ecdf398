"""Merging of records into posts."""

from dataclasses import replace
from datetime import datetime
from typing import Any
from uuid import UUID, uuid5

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.destinations import DestinationState, DestinationStatus, ErrorCategory, Outcome
from app.domain.ids import AccountId, DestinationId
from app.domain.importing.merging import (
    MISSING_REASON_MESSAGE,
    has_only_results,
    merge_record,
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
    LOCAL_STATES,
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
    local_post,
    merge_records,
    merged_state,
    post_record,
    results_record,
    states_of_post,
)
from tests.factories import NOW

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
