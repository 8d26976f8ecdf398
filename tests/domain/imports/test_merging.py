"""What one record makes of one post: a table over what is known and what is told."""

from dataclasses import replace
from datetime import datetime
from typing import Any
from uuid import UUID, uuid5

import pytest

from app.domain.destinations import DestinationState, DestinationStatus, ErrorCategory, Outcome
from app.domain.ids import AccountId, DestinationId
from app.domain.imports.merging import is_only_results, merge
from app.domain.imports.records import DestinationRecord, PostDetails, PostRecord
from app.domain.imports.states import NO_REASON
from app.domain.posts import Post, PostStatus
from tests import factories
from tests.domain.imports.records import (
    AFTER,
    ANSWERED,
    BEFORE,
    CHANGED,
    COURSE,
    CREATED,
    DRAFT,
    DUE,
    FAILED,
    HOUR,
    NAMES,
    POST,
    PUBLISHED,
    PUBLISHING,
    QUEUED,
    RETRIED,
    RUNNING,
    SCHEDULED,
    URL,
    WAITING,
    accounts,
    details,
    merged,
    of_post,
    of_results,
    state,
    states,
    told,
)
from tests.factories import NOW

# A post that is not known yet.


def test_a_new_post_is_stored_as_it_is_told() -> None:
    record = of_post(
        PUBLISHED,
        replace(QUEUED, account_id=AccountId(2), id=None, scheduled_for=DUE + HOUR),
        status=PUBLISHING,
        timezone="Europe/Berlin",
        media_ids=["a"],
        media=[{"url": URL}],
        platform_content={"x": {"content": "Sale"}},
    )

    post = merged(record)

    assert post == Post(
        id=POST,
        content="Spring sale",
        is_draft=False,
        submitted_now=False,
        scheduled_for=DUE,
        timezone="Europe/Berlin",
        media_ids=["a"],
        media=[{"url": URL}],
        platform_content={"x": {"content": "Sale"}},
        reference=None,
        version=1,
        deleted_at=None,
        imported_at=NOW,
        created_at=CREATED,
        updated_at=CHANGED,
        destinations=post.destinations,
    )
    assert post.status is PUBLISHING
    assert [(each.id, each.account_id, each.position) for each in post.destinations] == [
        (UUID(int=1), 1, 0),
        (uuid5(POST, "2"), 2, 1),
    ]
    assert {(each.created_at, each.updated_at) for each in post.destinations} == {
        (CREATED, CHANGED)
    }
    assert states(post) == [
        DestinationState(
            status=DestinationStatus.PUBLISHED,
            outcome=Outcome.PUBLISHED,
            due_at=DUE,
            claimable_at=None,
            round_started_at=DUE,
            attempts=3,
            published_at=DUE + HOUR,
            platform_post_id="1",
            platform_post_url=URL,
            settled_at=DUE + HOUR,
            due_day=DUE.date(),
            lateness_ms=3_600_000,
        ),
        DestinationState(
            status=DestinationStatus.QUEUED,
            due_at=DUE + HOUR,
            claimable_at=None,
            round_started_at=DUE + HOUR,
        ),
    ]


def test_a_failure_is_unclassified_and_settled_when_its_post_changed() -> None:
    assert state(of_post(FAILED)) == DestinationState(
        status=DestinationStatus.FAILED,
        outcome=Outcome.FAILED,
        due_at=DUE,
        claimable_at=None,
        round_started_at=DUE,
        attempts=2,
        error="Refused",
        error_category=ErrorCategory.UNCLASSIFIED,
        error_code="UNCLASSIFIED",
        settled_at=CHANGED,
        due_day=DUE.date(),
    )


@pytest.mark.parametrize(
    ("record", "created_at", "due_at", "learned_at"),
    [
        (of_post(FAILED, scheduled_for=None), CREATED, CREATED, CHANGED),
        (of_post(FAILED, updated_at=None), CREATED, DUE, ANSWERED),
        (of_post(FAILED, created_at=None, updated_at=None, scheduled_for=None), *[ANSWERED] * 3),
        (of_post(FAILED, created_at=None, scheduled_for=None, as_of=None), NOW, NOW, CHANGED),
        (of_results(FAILED), ANSWERED, ANSWERED, ANSWERED),
        (of_results(FAILED, as_of=None), NOW, NOW, NOW),
    ],
)
def test_times_that_are_not_told_are_those_of_the_answer(
    record: PostRecord, created_at: datetime, due_at: datetime, learned_at: datetime
) -> None:
    post = merged(record)
    (destination,) = post.destinations
    assert (post.created_at, post.updated_at) == (created_at, learned_at)
    assert (destination.state.due_at, destination.state.settled_at) == (due_at, learned_at)


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ({"status": "failed"}, {"error": NO_REASON}),
        ({"status": "queued", "next_retry_at": NOW}, {"error": NO_REASON, "next_retry_at": NOW}),
        ({"status": "queued", "error": "Timed out"}, {"error": "Timed out", "next_retry_at": None}),
        ({"status": "publishing", "next_retry_at": NOW}, {"error": None, "next_retry_at": None}),
        ({"status": "publishing", "error": "Timed out"}, {"error": "Timed out"}),
        ({"status": "published"}, {"published_at": CHANGED, "lateness_ms": 36_000_000}),
        ({"status": "published", "published_at": CREATED}, {"lateness_ms": -64_800_000}),
        ({"status": "published", "error": "a", "next_retry_at": NOW}, {"error": None}),
        ({"status": "failed", "published_at": NOW}, {"published_at": None}),
        ({"status": "queued", "platform_post_url": URL}, {"platform_post_url": None}),
    ],
)
def test_whatever_is_told_becomes_a_possible_state(
    said: dict[str, Any], expected: dict[str, object]
) -> None:
    found = state(of_post(told(**said)))
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
    record = of_post(*destinations, status=status)
    post = merged(record)
    assert (post.is_draft, post.submitted_now, post.status) == (is_draft, submitted_now, answered)
    assert [each.due_at for each in states(post)] == [None if is_draft else DUE] * len(destinations)
    assert merge(post, record, now=NOW + HOUR) is post


@pytest.mark.parametrize("status", [None, DRAFT, PostStatus.PUBLISHED])
@pytest.mark.parametrize("updated_at", [BEFORE, CHANGED, AFTER])
@pytest.mark.parametrize("tried", [RUNNING, WAITING, FAILED, PUBLISHED])
def test_a_draft_of_which_something_was_tried_is_none(
    status: PostStatus | None, updated_at: datetime, tried: DestinationRecord
) -> None:
    draft = of_post(QUEUED, told(2), status=DRAFT, scheduled_for=None)

    post = merged(draft, of_post(tried, told(2), status=status, updated_at=updated_at))

    assert (post.is_draft, post.status is DRAFT) == (False, False)
    assert None not in [each.due_at for each in states(post)]
    assert states(post)[0].status is tried.status


@pytest.mark.parametrize("tried", [RUNNING, WAITING, FAILED, PUBLISHED])
def test_results_of_a_draft_that_was_tried_make_its_other_destinations_due(
    tried: DestinationRecord,
) -> None:
    post = merged(of_post(QUEUED, told(2), status=DRAFT, scheduled_for=None), of_results(tried))
    assert post.is_draft is False
    assert [each.due_at for each in states(post)] == [CREATED, CREATED]


def test_a_draft_is_scheduled_and_taken_back() -> None:
    draft = of_post(QUEUED, status=DRAFT, scheduled_for=None, updated_at=BEFORE)
    scheduled = of_post(QUEUED, status=SCHEDULED)
    back = of_post(QUEUED, status=DRAFT, scheduled_for=None, updated_at=AFTER)

    posts = [merged(draft), merged(draft, scheduled), merged(draft, scheduled, back)]

    assert [each.status for each in posts] == [DRAFT, SCHEDULED, DRAFT]
    assert [states(each)[0].due_at for each in posts] == [None, DUE, None]
    assert [each.version for each in posts] == [1, 2, 3]
    out_of_order = merged(draft, back, scheduled)
    assert (out_of_order.status, states(out_of_order)) == (DRAFT, states(posts[2]))


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


@pytest.mark.parametrize("after", range(6), ids=NAMES)
@pytest.mark.parametrize("before", range(6), ids=NAMES)
@pytest.mark.parametrize(
    ("age", "updated_at"), [("newer", AFTER), ("newer", None), ("same", CHANGED), ("older", BEFORE)]
)
def test_a_state_follows_another_by_the_age_of_the_record(
    age: str, updated_at: datetime | None, before: int, after: int
) -> None:
    known = merged(of_post(COURSE[before], status=PUBLISHING))
    record = of_post(COURSE[after], status=PUBLISHING, updated_at=updated_at)

    post = merge(known, record, now=NOW + HOUR)

    alone = states(merged(record))
    assert states(post) == (alone if TAKEN[age][before][after] else states(known))
    if age != "newer" and not TAKEN[age][before][after]:
        assert post is known


@pytest.mark.parametrize("after", range(6), ids=NAMES)
@pytest.mark.parametrize("before", range(6), ids=NAMES)
@pytest.mark.parametrize(
    ("age", "as_of"),
    [("same", None), ("same", CHANGED), ("newer", AFTER), ("older", BEFORE)],
)
def test_results_are_as_old_as_their_answer(
    age: str, as_of: datetime | None, before: int, after: int
) -> None:
    known = merged(of_post(COURSE[before], status=PUBLISHING))

    post = merge(known, of_results(COURSE[after], as_of=as_of), now=NOW + HOUR)

    wanted = COURSE[after if TAKEN[age][before][after] else before].status
    assert [each.status for each in states(post)] == [wanted]
    if TAKEN[age][before][after]:
        assert (post.content, post.updated_at) == (known.content, CHANGED)
        assert (post.version, post.imported_at) == (2, NOW + HOUR)
        assert post.destinations[0].updated_at == max(CHANGED, as_of or NOW + HOUR)
    else:
        assert post is known


def test_a_newer_answer_does_not_take_back_what_results_told_of_a_later_time() -> None:
    listed = of_post(QUEUED, updated_at=BEFORE)
    results = of_results(PUBLISHED)
    edited = of_post(QUEUED, content="Edited", updated_at=CHANGED)

    post = merged(listed, results, edited)

    assert (post.content, post.updated_at) == ("Edited", CHANGED)
    assert states(post) == states(merged(of_post(PUBLISHED)))


def test_what_is_not_told_again_stays_as_it_is_known() -> None:
    bare = told(status="published", attempts=3)
    assert state(of_post(PUBLISHED), of_post(bare, updated_at=AFTER)) == state(of_post(PUBLISHED))
    bare = told(status="failed", attempts=2)
    assert state(of_post(FAILED), of_post(bare, updated_at=AFTER)) == state(of_post(FAILED))
    bare = told(attempts=1, next_retry_at=NOW + HOUR)
    assert state(of_post(WAITING), of_post(bare, updated_at=AFTER)) == replace(
        state(of_post(WAITING)), next_retry_at=NOW + HOUR
    )


def test_more_is_learned_of_a_publication() -> None:
    first = told(status="published", attempts=3)
    assert state(of_post(first), of_results(PUBLISHED)) == state(of_post(PUBLISHED))
    other = replace(PUBLISHED, platform_post_url="https://x.com/other")
    assert state(of_post(PUBLISHED), of_post(other)).platform_post_url == "https://x.com/other"
    assert state(of_post(PUBLISHED), of_post(other, updated_at=BEFORE)).platform_post_url == URL


def test_more_attempts_of_a_publication_do_not_cost_where_it_is() -> None:
    counted = told(status="published", attempts=4)
    assert state(of_post(PUBLISHED), of_results(counted)) == replace(
        state(of_post(PUBLISHED)), attempts=4
    )


# The post itself.


@pytest.mark.parametrize(
    ("updated_at", "content", "known_to_be_changed_at"),
    [
        (AFTER, "Edited", AFTER),
        (CHANGED, "Edited", CHANGED),
        (None, "Edited", ANSWERED),
        (BEFORE, "Spring sale", CHANGED),
    ],
)
def test_the_post_follows_the_newest_record(
    updated_at: datetime | None, content: str, known_to_be_changed_at: datetime
) -> None:
    post = merged(
        of_post(QUEUED),
        of_post(QUEUED, content="Edited", scheduled_for=DUE + HOUR, updated_at=updated_at),
    )
    assert (post.content, post.updated_at) == (content, known_to_be_changed_at)
    due_at = DUE if content == "Spring sale" else DUE + HOUR
    assert (post.scheduled_for, states(post)[0].due_at) == (due_at, due_at)
    assert post.created_at == CREATED


@pytest.mark.parametrize(
    "record",
    [
        of_post(PUBLISHED),
        of_post(PUBLISHED, created_at=None),
        of_post(PUBLISHED, updated_at=None, as_of=None),
        of_post(PUBLISHED, content="Before", updated_at=BEFORE),
        of_results(PUBLISHED),
        of_results(QUEUED),
        of_results(),
        of_results(replace(PUBLISHED, id=DestinationId(UUID(int=99)), platform="y")),
    ],
)
def test_a_record_without_news_changes_nothing(record: PostRecord) -> None:
    known = merged(of_post(PUBLISHED))
    assert merge(known, record, now=NOW + HOUR) is known


def test_the_shown_time_zone_does_not_tell_utc_from_none() -> None:
    known = replace(merged(of_post(QUEUED)), timezone="UTC")
    assert merge(known, of_post(QUEUED), now=NOW) is known
    assert merge(known, of_post(QUEUED, timezone="Asia/Tokyo"), now=NOW).timezone == "Asia/Tokyo"
    known = replace(known, timezone="Asia/Tokyo")
    assert merge(known, of_post(QUEUED), now=NOW).timezone is None


@pytest.mark.parametrize(
    "known", [of_post(QUEUED, updated_at=BEFORE), of_results(QUEUED, as_of=BEFORE)]
)
def test_a_post_that_is_older_than_results_takes_nothing_back(known: PostRecord) -> None:
    results = of_results(replace(FAILED, attempts=1), as_of=AFTER)
    older = of_post(RUNNING, status=PUBLISHING)

    one, other = merged(known, results, older), merged(known, older, results)

    assert states(one) == states(other)
    assert (one.status, other.status) == (PostStatus.FAILED, PostStatus.FAILED)
    assert merge(merge(one, older, now=NOW), results, now=NOW) is one


@pytest.mark.parametrize(
    "records",
    [
        [
            of_post(QUEUED, status=DRAFT, scheduled_for=None),
            of_results(QUEUED, status=PUBLISHING, as_of=AFTER),
        ],
        [
            of_results(QUEUED, status=DRAFT, as_of=BEFORE),
            of_results(QUEUED, status=SCHEDULED, as_of=AFTER),
        ],
    ],
    ids=["of a draft", "of results alone"],
)
def test_results_that_tell_another_status_tell_it_once(records: list[PostRecord]) -> None:
    known = merged(*records)
    assert known.status is records[1].status
    for record in records:
        assert merge(known, record, now=NOW) is known


def test_an_assumed_due_time_follows_an_answer_that_leaves_the_account_out() -> None:
    records = [
        of_post(PUBLISHED, scheduled_for=None),
        of_post(scheduled_for=DUE, updated_at=AFTER),
    ]
    known = merged(*records)
    assert [each.due_at for each in states(known)] == [DUE]
    for record in records:
        assert merge(known, record, now=NOW) is known


# Destinations that come and go.


@pytest.mark.parametrize(
    ("told_now", "updated_at", "expected"),
    [
        ([QUEUED, told(3)], AFTER, [1, 3]),
        ([told(3), QUEUED], AFTER, [3, 1]),
        ([told(2)], AFTER, [2]),
        ([], AFTER, []),
        ([told(3), QUEUED], CHANGED, [3, 1, 2]),
        ([told(3), QUEUED], None, [3, 1, 2]),
        ([told(3), QUEUED], BEFORE, [1, 2]),
        ([told(3, "failed"), QUEUED], BEFORE, [1, 2, 3]),
    ],
)
def test_destinations_come_and_go_with_newer_records(
    told_now: list[DestinationRecord], updated_at: datetime | None, expected: list[int]
) -> None:
    post = merged(of_post(QUEUED, told(2)), of_post(*told_now, updated_at=updated_at))
    assert accounts(post) == expected
    assert [each.position for each in post.destinations] == [*range(len(expected))]


@pytest.mark.parametrize("tried", [RUNNING, WAITING, FAILED, RETRIED, PUBLISHED])
def test_a_destination_that_was_tried_is_never_left_out(tried: DestinationRecord) -> None:
    known = merged(of_post(tried, told(2)))

    post = merge(known, of_post(told(3), updated_at=AFTER), now=NOW)

    assert accounts(post) == [3, 1]
    assert states(post)[1] == states(known)[0]


def test_results_leave_out_nothing_and_keep_the_order() -> None:
    post = merged(of_post(told(2), QUEUED), of_results(told(3, "failed"), PUBLISHED))
    assert accounts(post) == [2, 1, 3]


@pytest.mark.parametrize("as_of", [None, BEFORE, AFTER])
def test_which_accounts_wait_is_told_by_the_post_and_not_by_its_results(
    as_of: datetime | None,
) -> None:
    carries, results = of_post(PUBLISHED), of_results(told(2), PUBLISHED, as_of=as_of)

    one, other = merged(carries, results), merged(results, carries)

    assert accounts(one) == accounts(other) == [1]
    assert (one.status, other.status) == (PostStatus.PUBLISHED, PostStatus.PUBLISHED)
    for post in (one, other):
        assert merge(merge(post, results, now=NOW), carries, now=NOW) is post


def test_a_detail_that_is_not_told_stays() -> None:
    known = merged(of_post(QUEUED, timezone="Asia/Tokyo", media_ids=["a"]))
    record = replace(of_results(FAILED), details=PostDetails(updated_at=AFTER))

    post = merge(known, record, now=NOW)

    (destination,) = post.destinations
    assert post == replace(
        known,
        updated_at=AFTER,
        version=2,
        destinations=(replace(destination, state=state(of_post(FAILED, updated_at=AFTER))),),
    )


def test_a_destination_keeps_the_id_that_it_got_first() -> None:
    post = merged(of_results(replace(QUEUED, id=None)), of_post(PUBLISHED))
    assert [each.id for each in post.destinations] == [uuid5(POST, "1")]


# A post of which only results are known.


@pytest.mark.parametrize("scheduled_for", [DUE, None])
@pytest.mark.parametrize("known", COURSE, ids=NAMES)
def test_its_own_answer_completes_a_post_that_only_had_results(
    known: DestinationRecord, scheduled_for: datetime | None
) -> None:
    before = merged(of_results(known))
    assert (is_only_results(before), before.content) == (True, "")

    post = merge(before, of_post(QUEUED, scheduled_for=scheduled_for), now=NOW)

    assert (post.content, post.created_at, post.updated_at) == ("Spring sale", CREATED, CHANGED)
    assert is_only_results(post) is False
    (destination,) = post.destinations
    assert (destination.created_at, destination.state.status) == (CREATED, known.status)
    assert destination.state.due_at == (scheduled_for or CREATED)
    completed = state(of_post(known, scheduled_for=scheduled_for))
    assert destination.state == replace(completed, settled_at=destination.state.settled_at)


def test_an_answer_from_after_the_results_may_leave_out_what_they_had() -> None:
    post = merged(of_results(QUEUED, told(2), as_of=BEFORE), of_post(told(2)))
    assert accounts(post) == [2]


def test_a_draft_without_content_is_not_taken_for_results() -> None:
    newer = of_post(QUEUED, content="", updated_at=AFTER, scheduled_for=None)
    older = of_post(QUEUED, content="", scheduled_for=DUE)
    known = merged(newer)
    assert merge(known, older, now=NOW) is known


# What is known better here.


def test_an_unknown_outcome_stays_unknown_when_the_same_comes_again() -> None:
    known = merged(of_post(FAILED))
    unknown = replace(
        known.destinations[0].state, outcome=Outcome.UNKNOWN, verifiable_at=NOW, error="Went away."
    )
    known = replace(known, destinations=(replace(known.destinations[0], state=unknown),))

    same = of_post(replace(FAILED, error="Went away."))
    assert merge(known, same, now=NOW) is known
    newer = merge(known, replace(same, details=details(updated_at=AFTER)), now=NOW)
    assert states(newer) == [unknown]
    elsewhere = merge(known, of_results(PUBLISHED), now=NOW)
    assert [each.outcome for each in states(elsewhere)] == [Outcome.PUBLISHED]


def test_a_due_time_that_was_set_here_is_not_taken_for_an_assumed_one() -> None:
    post = merged(of_post(QUEUED, scheduled_for=None))
    (destination,) = post.destinations
    later = replace(
        destination,
        created_at=DUE,
        state=replace(destination.state, due_at=DUE, round_started_at=DUE),
    )
    here = replace(post, imported_at=None, destinations=(later,))
    assert merge(here, of_results(QUEUED), now=NOW) is here


HERE = [
    factories.draft(),
    factories.queued(DUE),
    factories.waiting_for_retry(due_at=DUE),
    factories.claimed(DUE),
    factories.started(DUE),
    factories.published(due_at=DUE),
    factories.failed(due_at=DUE),
    factories.unknown(due_at=DUE),
    factories.being_verified(),
]


@pytest.mark.parametrize("known", HERE)
@pytest.mark.parametrize("record", COURSE, ids=NAMES)
@pytest.mark.parametrize("status", [None, DRAFT, PUBLISHING])
@pytest.mark.parametrize("updated_at", [BEFORE, CHANGED, AFTER])
def test_whatever_is_known_here_and_told_there_becomes_a_possible_state(
    known: DestinationState,
    record: DestinationRecord,
    status: PostStatus | None,
    updated_at: datetime,
) -> None:
    """And once it was told, is told without news."""
    post = merged(of_post(QUEUED))
    here = replace(
        post,
        imported_at=None,
        is_draft=known.due_at is None,
        destinations=(replace(post.destinations[0], state=known),),
    )
    again = of_post(record, status=status, updated_at=updated_at, scheduled_for=DUE + HOUR)

    changed = merge(here, again, now=NOW)

    assert changed.status is not None
    assert merge(changed, again, now=NOW + HOUR) is changed
