"""What one record makes of one post: a table over what is known and what is told."""

from dataclasses import replace
from datetime import datetime
from typing import Any
from uuid import UUID, uuid5

import pytest

from app.domain.destinations import DestinationState, DestinationStatus, ErrorCategory, Outcome
from app.domain.ids import AccountId, DestinationId
from app.domain.importing.merging import has_only_results, merge_record
from app.domain.importing.records import DestinationRecord, PostDetails, PostRecord
from app.domain.importing.states import MISSING_REASON_MESSAGE
from app.domain.posts import Post, PostStatus
from tests import factories
from tests.domain.importing.records import (
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
    RETRIED,
    RUNNING,
    SCHEDULED,
    URL,
    WAITING,
    destination_accounts,
    destination_record,
    destination_states,
    merge_records,
    merged_state,
    post_details,
    post_record,
    results_record,
)
from tests.factories import NOW

# A post that is not known yet.


def test_a_new_post_is_stored_as_it_is_told() -> None:
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
    assert [(each.id, each.account_id, each.position) for each in post.destinations] == [
        (UUID(int=1), 1, 0),
        (uuid5(POST, "2"), 2, 1),
    ]
    assert {(each.created_at, each.updated_at) for each in post.destinations} == {
        (CREATED_AT, CHANGED_AT)
    }
    assert destination_states(post) == [
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


def test_a_failure_is_unclassified_and_settled_when_its_post_changed() -> None:
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
def test_times_that_are_not_told_are_those_of_the_answer(
    record: PostRecord, created_at: datetime, due_at: datetime, learned_at: datetime
) -> None:
    post = merge_records(record)
    (destination,) = post.destinations
    assert (post.created_at, post.updated_at) == (created_at, learned_at)
    assert (destination.state.due_at, destination.state.settled_at) == (due_at, learned_at)


@pytest.mark.parametrize(
    ("said", "expected"),
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
def test_whatever_is_told_becomes_a_possible_state(
    said: dict[str, Any], expected: dict[str, object]
) -> None:
    found = merged_state(post_record(destination_record(**said)))
    assert {name: getattr(found, name) for name in expected} == expected


# The flags, which no answer tells.


@pytest.mark.parametrize(
    ("status", "destinations", "is_draft", "submitted_now", "answered"),
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
def test_the_flags_give_the_status_that_is_told_where_any_do(
    status: PostStatus | None,
    destinations: list[DestinationRecord],
    is_draft: bool,
    submitted_now: bool,
    answered: PostStatus,
) -> None:
    record = post_record(*destinations, status=status)
    post = merge_records(record)
    assert (post.is_draft, post.submitted_now, post.status) == (is_draft, submitted_now, answered)
    assert [each.due_at for each in destination_states(post)] == [
        None if is_draft else DUE_AT
    ] * len(destinations)
    assert merge_record(post, record, now=NOW + HOUR) is post


@pytest.mark.parametrize("status", [None, DRAFT, PostStatus.PUBLISHED])
@pytest.mark.parametrize("updated_at", [BEFORE_CHANGE, CHANGED_AT, AFTER_CHANGE])
@pytest.mark.parametrize("tried", [RUNNING, WAITING, FAILED, PUBLISHED])
def test_a_draft_of_which_something_was_tried_is_none(
    status: PostStatus | None, updated_at: datetime, tried: DestinationRecord
) -> None:
    draft = post_record(QUEUED, destination_record(2), status=DRAFT, scheduled_for=None)

    post = merge_records(
        draft, post_record(tried, destination_record(2), status=status, updated_at=updated_at)
    )

    assert (post.is_draft, post.status is DRAFT) == (False, False)
    assert None not in [each.due_at for each in destination_states(post)]
    assert destination_states(post)[0].status is tried.status


@pytest.mark.parametrize("tried", [RUNNING, WAITING, FAILED, PUBLISHED])
def test_results_of_a_draft_that_was_tried_make_its_other_destinations_due(
    tried: DestinationRecord,
) -> None:
    post = merge_records(
        post_record(QUEUED, destination_record(2), status=DRAFT, scheduled_for=None),
        results_record(tried),
    )
    assert post.is_draft is False
    assert [each.due_at for each in destination_states(post)] == [CREATED_AT, CREATED_AT]


def test_a_draft_is_scheduled_and_taken_back() -> None:
    draft = post_record(QUEUED, status=DRAFT, scheduled_for=None, updated_at=BEFORE_CHANGE)
    scheduled = post_record(QUEUED, status=SCHEDULED)
    back = post_record(QUEUED, status=DRAFT, scheduled_for=None, updated_at=AFTER_CHANGE)

    posts = [
        merge_records(draft),
        merge_records(draft, scheduled),
        merge_records(draft, scheduled, back),
    ]

    assert [each.status for each in posts] == [DRAFT, SCHEDULED, DRAFT]
    assert [destination_states(each)[0].due_at for each in posts] == [None, DUE_AT, None]
    assert [each.version for each in posts] == [1, 2, 3]
    out_of_order = merge_records(draft, back, scheduled)
    assert (out_of_order.status, destination_states(out_of_order)) == (
        DRAFT,
        destination_states(posts[2]),
    )


# What follows what.

T, F = True, False
TAKEN = {
    # of QUEUED, RUNNING, WAITING, FAILED, RETRIED, PUBLISHED, after each of them
    "newer": [
        [F, T, T, T, T, T],
        [F, F, T, T, T, T],
        [F, T, F, T, T, T],
        [F, F, F, F, T, T],
        [F, F, F, T, F, T],
        [F, F, F, F, F, F],
    ],
    "same": [
        [F, T, T, T, T, T],
        [F, F, T, T, T, T],
        [F, F, F, T, T, T],
        [F, F, F, F, F, T],
        [F, F, F, T, F, T],
        [F, F, F, F, F, F],
    ],
    "older": [
        [F, T, T, T, T, T],
        [F, F, F, T, T, T],
        [F, F, F, T, T, T],
        [F, F, F, F, F, T],
        [F, F, F, F, F, T],
        [F, F, F, F, F, F],
    ],
}


@pytest.mark.parametrize("after", range(6), ids=DESTINATION_RECORD_NAMES)
@pytest.mark.parametrize("before", range(6), ids=DESTINATION_RECORD_NAMES)
@pytest.mark.parametrize(
    ("age", "updated_at"),
    [("newer", AFTER_CHANGE), ("newer", None), ("same", CHANGED_AT), ("older", BEFORE_CHANGE)],
)
def test_a_state_follows_another_by_the_age_of_the_record(
    age: str, updated_at: datetime | None, before: int, after: int
) -> None:
    known = merge_records(post_record(DESTINATION_RECORDS[before], status=PUBLISHING))
    record = post_record(DESTINATION_RECORDS[after], status=PUBLISHING, updated_at=updated_at)

    post = merge_record(known, record, now=NOW + HOUR)

    alone = destination_states(merge_records(record))
    assert destination_states(post) == (
        alone if TAKEN[age][before][after] else destination_states(known)
    )
    if age != "newer" and not TAKEN[age][before][after]:
        assert post is known


@pytest.mark.parametrize("after", range(6), ids=DESTINATION_RECORD_NAMES)
@pytest.mark.parametrize("before", range(6), ids=DESTINATION_RECORD_NAMES)
@pytest.mark.parametrize(
    ("age", "as_of"),
    [("same", None), ("same", CHANGED_AT), ("newer", AFTER_CHANGE), ("older", BEFORE_CHANGE)],
)
def test_results_are_as_old_as_their_answer(
    age: str, as_of: datetime | None, before: int, after: int
) -> None:
    known = merge_records(post_record(DESTINATION_RECORDS[before], status=PUBLISHING))

    post = merge_record(
        known, results_record(DESTINATION_RECORDS[after], as_of=as_of), now=NOW + HOUR
    )

    wanted = DESTINATION_RECORDS[after if TAKEN[age][before][after] else before].status
    assert [each.status for each in destination_states(post)] == [wanted]
    if TAKEN[age][before][after]:
        assert (post.content, post.updated_at) == (known.content, CHANGED_AT)
        assert (post.version, post.imported_at) == (2, NOW + HOUR)
        assert post.destinations[0].updated_at == max(CHANGED_AT, as_of or NOW + HOUR)
    else:
        assert post is known


def test_a_newer_answer_does_not_take_back_what_results_told_of_a_later_time() -> None:
    listed = post_record(QUEUED, updated_at=BEFORE_CHANGE)
    results = results_record(PUBLISHED)
    edited = post_record(QUEUED, content="Edited", updated_at=CHANGED_AT)

    post = merge_records(listed, results, edited)

    assert (post.content, post.updated_at) == ("Edited", CHANGED_AT)
    assert destination_states(post) == destination_states(merge_records(post_record(PUBLISHED)))


def test_what_is_not_told_again_stays_as_it_is_known() -> None:
    bare = destination_record(status="published", attempts=3)
    assert merged_state(
        post_record(PUBLISHED), post_record(bare, updated_at=AFTER_CHANGE)
    ) == merged_state(post_record(PUBLISHED))
    bare = destination_record(status="failed", attempts=2)
    assert merged_state(
        post_record(FAILED), post_record(bare, updated_at=AFTER_CHANGE)
    ) == merged_state(post_record(FAILED))
    bare = destination_record(attempts=1, next_retry_at=NOW + HOUR)
    assert merged_state(
        post_record(WAITING), post_record(bare, updated_at=AFTER_CHANGE)
    ) == replace(merged_state(post_record(WAITING)), next_retry_at=NOW + HOUR)


def test_more_is_learned_of_a_publication() -> None:
    first = destination_record(status="published", attempts=3)
    assert merged_state(post_record(first), results_record(PUBLISHED)) == merged_state(
        post_record(PUBLISHED)
    )
    other = replace(PUBLISHED, platform_post_url="https://x.com/other")
    assert (
        merged_state(post_record(PUBLISHED), post_record(other)).platform_post_url
        == "https://x.com/other"
    )
    assert (
        merged_state(
            post_record(PUBLISHED), post_record(other, updated_at=BEFORE_CHANGE)
        ).platform_post_url
        == URL
    )


def test_more_attempts_of_a_publication_do_not_cost_where_it_is() -> None:
    counted = destination_record(status="published", attempts=4)
    assert merged_state(post_record(PUBLISHED), results_record(counted)) == replace(
        merged_state(post_record(PUBLISHED)), attempts=4
    )


# The post itself.


@pytest.mark.parametrize(
    ("updated_at", "content", "known_to_be_changed_at"),
    [
        (AFTER_CHANGE, "Edited", AFTER_CHANGE),
        (CHANGED_AT, "Edited", CHANGED_AT),
        (None, "Edited", ANSWERED_AT),
        (BEFORE_CHANGE, "Spring sale", CHANGED_AT),
    ],
)
def test_the_post_follows_the_newest_record(
    updated_at: datetime | None, content: str, known_to_be_changed_at: datetime
) -> None:
    post = merge_records(
        post_record(QUEUED),
        post_record(QUEUED, content="Edited", scheduled_for=DUE_AT + HOUR, updated_at=updated_at),
    )
    assert (post.content, post.updated_at) == (content, known_to_be_changed_at)
    due_at = DUE_AT if content == "Spring sale" else DUE_AT + HOUR
    assert (post.scheduled_for, destination_states(post)[0].due_at) == (due_at, due_at)
    assert post.created_at == CREATED_AT


@pytest.mark.parametrize(
    "record",
    [
        post_record(PUBLISHED),
        post_record(PUBLISHED, created_at=None),
        post_record(PUBLISHED, updated_at=None, as_of=None),
        post_record(PUBLISHED, content="Before", updated_at=BEFORE_CHANGE),
        results_record(PUBLISHED),
        results_record(QUEUED),
        results_record(),
        results_record(replace(PUBLISHED, id=DestinationId(UUID(int=99)), platform="y")),
    ],
)
def test_a_record_without_news_changes_nothing(record: PostRecord) -> None:
    known = merge_records(post_record(PUBLISHED))
    assert merge_record(known, record, now=NOW + HOUR) is known


def test_the_shown_time_zone_does_not_tell_utc_from_none() -> None:
    known = replace(merge_records(post_record(QUEUED)), timezone="UTC")
    assert merge_record(known, post_record(QUEUED), now=NOW) is known
    assert (
        merge_record(known, post_record(QUEUED, timezone="Asia/Tokyo"), now=NOW).timezone
        == "Asia/Tokyo"
    )
    known = replace(known, timezone="Asia/Tokyo")
    assert merge_record(known, post_record(QUEUED), now=NOW).timezone is None


@pytest.mark.parametrize(
    "known",
    [post_record(QUEUED, updated_at=BEFORE_CHANGE), results_record(QUEUED, as_of=BEFORE_CHANGE)],
)
def test_a_post_that_is_older_than_results_takes_nothing_back(known: PostRecord) -> None:
    results = results_record(replace(FAILED, attempts=1), as_of=AFTER_CHANGE)
    older = post_record(RUNNING, status=PUBLISHING)

    one, other = merge_records(known, results, older), merge_records(known, older, results)

    assert destination_states(one) == destination_states(other)
    assert (one.status, other.status) == (PostStatus.FAILED, PostStatus.FAILED)
    assert merge_record(merge_record(one, older, now=NOW), results, now=NOW) is one


@pytest.mark.parametrize(
    "records",
    [
        [
            post_record(QUEUED, status=DRAFT, scheduled_for=None),
            results_record(QUEUED, status=PUBLISHING, as_of=AFTER_CHANGE),
        ],
        [
            results_record(QUEUED, status=DRAFT, as_of=BEFORE_CHANGE),
            results_record(QUEUED, status=SCHEDULED, as_of=AFTER_CHANGE),
        ],
    ],
    ids=["of a draft", "of results alone"],
)
def test_results_that_tell_another_status_tell_it_once(records: list[PostRecord]) -> None:
    known = merge_records(*records)
    assert known.status is records[1].status
    for record in records:
        assert merge_record(known, record, now=NOW) is known


def test_an_assumed_due_time_follows_an_answer_that_leaves_the_account_out() -> None:
    records = [
        post_record(PUBLISHED, scheduled_for=None),
        post_record(scheduled_for=DUE_AT, updated_at=AFTER_CHANGE),
    ]
    known = merge_records(*records)
    assert [each.due_at for each in destination_states(known)] == [DUE_AT]
    for record in records:
        assert merge_record(known, record, now=NOW) is known


# Destinations that come and go.


@pytest.mark.parametrize(
    ("told_now", "updated_at", "expected"),
    [
        ([QUEUED, destination_record(3)], AFTER_CHANGE, [1, 3]),
        ([destination_record(3), QUEUED], AFTER_CHANGE, [3, 1]),
        ([destination_record(2)], AFTER_CHANGE, [2]),
        ([], AFTER_CHANGE, []),
        ([destination_record(3), QUEUED], CHANGED_AT, [3, 1, 2]),
        ([destination_record(3), QUEUED], None, [3, 1, 2]),
        ([destination_record(3), QUEUED], BEFORE_CHANGE, [1, 2]),
        ([destination_record(3, "failed"), QUEUED], BEFORE_CHANGE, [1, 2, 3]),
    ],
)
def test_destinations_come_and_go_with_newer_records(
    told_now: list[DestinationRecord], updated_at: datetime | None, expected: list[int]
) -> None:
    post = merge_records(
        post_record(QUEUED, destination_record(2)), post_record(*told_now, updated_at=updated_at)
    )
    assert destination_accounts(post) == expected
    assert [each.position for each in post.destinations] == [*range(len(expected))]


@pytest.mark.parametrize("tried", [RUNNING, WAITING, FAILED, RETRIED, PUBLISHED])
def test_a_destination_that_was_tried_is_never_left_out(tried: DestinationRecord) -> None:
    known = merge_records(post_record(tried, destination_record(2)))

    post = merge_record(known, post_record(destination_record(3), updated_at=AFTER_CHANGE), now=NOW)

    assert destination_accounts(post) == [3, 1]
    assert destination_states(post)[1] == destination_states(known)[0]


def test_results_leave_out_nothing_and_keep_the_order() -> None:
    post = merge_records(
        post_record(destination_record(2), QUEUED),
        results_record(destination_record(3, "failed"), PUBLISHED),
    )
    assert destination_accounts(post) == [2, 1, 3]


@pytest.mark.parametrize("as_of", [None, BEFORE_CHANGE, AFTER_CHANGE])
def test_which_accounts_wait_is_told_by_the_post_and_not_by_its_results(
    as_of: datetime | None,
) -> None:
    carries, results = (
        post_record(PUBLISHED),
        results_record(destination_record(2), PUBLISHED, as_of=as_of),
    )

    one, other = merge_records(carries, results), merge_records(results, carries)

    assert destination_accounts(one) == destination_accounts(other) == [1]
    assert (one.status, other.status) == (PostStatus.PUBLISHED, PostStatus.PUBLISHED)
    for post in (one, other):
        assert merge_record(merge_record(post, results, now=NOW), carries, now=NOW) is post


def test_a_detail_that_is_not_told_stays() -> None:
    known = merge_records(post_record(QUEUED, timezone="Asia/Tokyo", media_ids=["a"]))
    record = replace(results_record(FAILED), details=PostDetails(updated_at=AFTER_CHANGE))

    post = merge_record(known, record, now=NOW)

    (destination,) = post.destinations
    assert post == replace(
        known,
        updated_at=AFTER_CHANGE,
        version=2,
        destinations=(
            replace(destination, state=merged_state(post_record(FAILED, updated_at=AFTER_CHANGE))),
        ),
    )


def test_a_destination_keeps_the_id_that_it_got_first() -> None:
    post = merge_records(results_record(replace(QUEUED, id=None)), post_record(PUBLISHED))
    assert [each.id for each in post.destinations] == [uuid5(POST, "1")]


# A post of which only results are known.


@pytest.mark.parametrize("scheduled_for", [DUE_AT, None])
@pytest.mark.parametrize("known", DESTINATION_RECORDS, ids=DESTINATION_RECORD_NAMES)
def test_its_own_answer_completes_a_post_that_only_had_results(
    known: DestinationRecord, scheduled_for: datetime | None
) -> None:
    before = merge_records(results_record(known))
    assert (has_only_results(before), before.content) == (True, "")

    post = merge_record(before, post_record(QUEUED, scheduled_for=scheduled_for), now=NOW)

    assert (post.content, post.created_at, post.updated_at) == (
        "Spring sale",
        CREATED_AT,
        CHANGED_AT,
    )
    assert has_only_results(post) is False
    (destination,) = post.destinations
    assert (destination.created_at, destination.state.status) == (CREATED_AT, known.status)
    assert destination.state.due_at == (scheduled_for or CREATED_AT)
    completed = merged_state(post_record(known, scheduled_for=scheduled_for))
    assert destination.state == replace(completed, settled_at=destination.state.settled_at)


def test_an_answer_from_after_the_results_may_leave_out_what_they_had() -> None:
    post = merge_records(
        results_record(QUEUED, destination_record(2), as_of=BEFORE_CHANGE),
        post_record(destination_record(2)),
    )
    assert destination_accounts(post) == [2]


def test_a_draft_without_content_is_not_taken_for_results() -> None:
    newer = post_record(QUEUED, content="", updated_at=AFTER_CHANGE, scheduled_for=None)
    older = post_record(QUEUED, content="", scheduled_for=DUE_AT)
    known = merge_records(newer)
    assert merge_record(known, older, now=NOW) is known


# What is known better here.


def test_an_unknown_outcome_stays_unknown_when_the_same_comes_again() -> None:
    known = merge_records(post_record(FAILED))
    unknown = replace(
        known.destinations[0].state, outcome=Outcome.UNKNOWN, verifiable_at=NOW, error="Went away."
    )
    known = replace(known, destinations=(replace(known.destinations[0], state=unknown),))

    same = post_record(replace(FAILED, error="Went away."))
    assert merge_record(known, same, now=NOW) is known
    newer = merge_record(
        known, replace(same, details=post_details(updated_at=AFTER_CHANGE)), now=NOW
    )
    assert destination_states(newer) == [unknown]
    elsewhere = merge_record(known, results_record(PUBLISHED), now=NOW)
    assert [each.outcome for each in destination_states(elsewhere)] == [Outcome.PUBLISHED]


def test_a_due_time_that_was_set_here_is_not_taken_for_an_assumed_one() -> None:
    post = merge_records(post_record(QUEUED, scheduled_for=None))
    (destination,) = post.destinations
    later = replace(
        destination,
        created_at=DUE_AT,
        state=replace(destination.state, due_at=DUE_AT, round_started_at=DUE_AT),
    )
    here = replace(post, imported_at=None, destinations=(later,))
    assert merge_record(here, results_record(QUEUED), now=NOW) is here


HERE = [
    factories.draft(),
    factories.queued(DUE_AT),
    factories.waiting_for_retry(due_at=DUE_AT),
    factories.claimed(DUE_AT),
    factories.started(DUE_AT),
    factories.published(due_at=DUE_AT),
    factories.failed(due_at=DUE_AT),
    factories.unknown(due_at=DUE_AT),
    factories.being_verified(),
]


@pytest.mark.parametrize("known", HERE)
@pytest.mark.parametrize("record", DESTINATION_RECORDS, ids=DESTINATION_RECORD_NAMES)
@pytest.mark.parametrize("status", [None, DRAFT, PUBLISHING])
@pytest.mark.parametrize("updated_at", [BEFORE_CHANGE, CHANGED_AT, AFTER_CHANGE])
def test_whatever_is_known_here_and_told_there_becomes_a_possible_state(
    known: DestinationState,
    record: DestinationRecord,
    status: PostStatus | None,
    updated_at: datetime,
) -> None:
    """And once it was told, is told without news."""
    post = merge_records(post_record(QUEUED))
    here = replace(
        post,
        imported_at=None,
        is_draft=known.due_at is None,
        destinations=(replace(post.destinations[0], state=known),),
    )
    again = post_record(record, status=status, updated_at=updated_at, scheduled_for=DUE_AT + HOUR)

    changed = merge_record(here, again, now=NOW)

    assert changed.status is not None
    assert merge_record(changed, again, now=NOW + HOUR) is changed
