"""The demo data as it is made, without a database, at instants of every kind."""

from collections import Counter
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import pytest

from app.demo.loading import demo_data
from app.demo.unfinished import LEASE
from app.domain.accounts import ACTIVITY_WINDOW, PERMANENT_FAILURE_WARNING_THRESHOLD
from app.domain.attempts import AttemptKind
from app.domain.destinations import (
    PERMANENT_CATEGORIES,
    DestinationState,
    DestinationStatus,
    ErrorCategory,
    Outcome,
    is_overdue,
)
from app.domain.diagnosis import ADVICE, CANCELLED
from app.domain.posts import PostStatus, post_published_at, post_status
from app.domain.times import truncate_to_ms
from tests.factories import NOW

INSTANTS = (
    NOW,
    datetime(2026, 4, 16, 0, 0, tzinfo=UTC),
    datetime(2026, 8, 3, 4, 5, 6, 789_999, tzinfo=UTC),
    datetime(2026, 11, 21, 23, 59, 59, tzinfo=UTC),
    datetime(2027, 2, 28, 12, 0, tzinfo=UTC),
    *(datetime(2026, 12, day, day, 30, tzinfo=UTC) for day in range(1, 15)),
)

EXAMPLE = UUID("f47ac10b-58cc-4372-a567-0e02b2c3d479")
FAILED = (PostStatus.FAILED, PostStatus.PARTIALLY_FAILED)


class Made:
    """All that is made at one instant; rows have their columns as attributes."""

    def __init__(self, now: datetime) -> None:
        rows = demo_data(now)
        self.now = truncate_to_ms(now)
        self.accounts: list[Any] = [SimpleNamespace(**row) for row in rows.accounts]
        self.posts: list[Any] = [SimpleNamespace(**row) for row in rows.posts]
        self.destinations: list[Any] = [SimpleNamespace(**row) for row in rows.destinations]
        self.attempts: list[Any] = [SimpleNamespace(**row) for row in rows.attempts]
        self.evidence: list[Any] = [SimpleNamespace(**row) for row in rows.evidence]

    def on(self, post: Any) -> list[Any]:
        return [row for row in self.destinations if row.post_id == post.id]

    def log(self, destination: Any) -> list[Any]:
        return [row for row in self.attempts if row.destination_id == destination.id]

    def saying(self, content: str) -> Any:
        (post,) = [row for row in self.posts if row.content.startswith(content)]
        return post


@pytest.fixture(scope="module", params=INSTANTS, ids=str)
def made(request: pytest.FixtureRequest) -> Made:
    return Made(request.param)


def test_a_month_is_a_few_hundred_posts_on_a_dozen_accounts(made: Made) -> None:
    assert 380 <= len(made.posts) <= 520
    assert 850 <= len(made.destinations) <= 1250
    assert [account.id for account in made.accounts] == list(range(2280, 2293))
    assert {account.platform for account in made.accounts} == {
        "facebook",
        "instagram",
        "linkedin",
        "pinterest",
        "threads",
        "tiktok",
        "x",
        "youtube",
    }
    assert {len(made.on(post)) for post in made.posts} == {0, 1, 2, 3, 4, 5}


def test_the_posts_lie_in_the_thirty_days_before_the_load_and_the_week_after(made: Made) -> None:
    due = [row.scheduled_for or row.created_at for row in made.posts if row.id != EXAMPLE]
    assert min(due) >= made.now - timedelta(days=30)
    assert max(due) <= made.now + timedelta(days=7)
    assert {(made.now - each).days for each in due if each <= made.now} >= set(range(2, 29))


def test_most_posts_are_published_and_some_fail(made: Made) -> None:
    finished = Counter(row.status for row in made.destinations if row.status.is_final)
    assert 0.07 <= finished[DestinationStatus.FAILED] / finished.total() <= 0.13
    retried = [
        row
        for row in made.destinations
        if row.status is DestinationStatus.PUBLISHED and row.attempts > 1
    ]
    assert 0.05 <= len(retried) / finished.total() <= 0.14
    future = [row for row in made.posts if row.status is PostStatus.SCHEDULED]
    assert 10 <= len(future) <= 40


def test_no_post_says_nothing(made: Made) -> None:
    assert all(row.search_text.strip() for row in made.posts)


def test_every_state_occurs(made: Made) -> None:
    assert {row.status for row in made.posts} == set(PostStatus)
    assert {row.status for row in made.destinations} == set(DestinationStatus)
    assert {row.outcome for row in made.destinations} == set(Outcome)
    assert {row.outcome for row in made.attempts} == set(Outcome)
    assert {row.kind for row in made.attempts} == set(AttemptKind)
    final_categories = {
        row.error_category for row in made.destinations if row.status is DestinationStatus.FAILED
    }
    assert final_categories == set(ErrorCategory)


def test_every_state_that_the_life_of_a_destination_knows_has_its_post(made: Made) -> None:
    assert {
        post.content.removeprefix("Demo: "): (
            post.status,
            [(row.status, row.outcome, row.attempts, row.error_category) for row in made.on(post)],
        )
        for post in made.posts
        if post.content.startswith("Demo: ") and post.status is not PostStatus.PUBLISHED
    } == _EXPECTED


def test_a_deleted_post_can_be_claimed_by_nobody(made: Made) -> None:
    (deleted,) = [row for row in made.posts if row.deleted_at is not None]
    assert [row.claimable_at for row in made.on(deleted)] == [None]


def test_waiting_leased_and_overdue_are_told_apart(made: Made) -> None:
    overdue = {
        post.content
        for post in made.posts
        for row in made.on(post)
        if is_overdue(
            claimable_at=row.claimable_at,
            round_started_at=row.round_started_at,
            started_at=row.started_at,
            lease_expires_at=row.lease_expires_at,
            now=made.now,
        )
    }
    assert overdue == {
        "Demo: overdue, because no publisher took it up",
        "Demo: claimed by a publisher that went away before it started",
    }
    (claimed,) = made.on(made.saying("Demo: claimed by a publisher that has not started"))
    assert claimed.started_at is None
    assert claimed.claimable_at == claimed.lease_expires_at > made.now
    (started,) = made.on(made.saying("Demo: being published right now"))
    assert started.claimable_at is None
    assert started.started_at < made.now < started.lease_expires_at
    (waiting,) = made.on(made.saying("Demo: waiting for an automatic retry"))
    assert waiting.claimable_at == waiting.next_retry_at > made.now
    (limited,) = made.on(made.saying("Demo: waiting until the platform's rate limit"))
    (attempt,) = made.log(limited)
    reset = attempt.finished_at + timedelta(milliseconds=attempt.retry_after_ms)
    assert limited.claimable_at == limited.next_retry_at == reset > made.now


def test_a_retry_by_somebody_starts_a_round_and_keeps_the_count(made: Made) -> None:
    (row,) = made.on(made.saying("Demo: published after somebody retried it"))
    assert (row.attempts, row.round_attempts) == (6, 1)
    assert row.due_at < row.round_started_at < row.published_at


def test_rate_limited_attempts_do_not_count_towards_the_limit_of_a_round(made: Made) -> None:
    (limited,) = made.on(made.saying("Demo: waiting until the platform's rate limit"))
    assert (limited.attempts, limited.round_attempts) == (1, 0)
    (given_up,) = made.on(made.saying("Demo: failed, rate limited for three days"))
    assert (given_up.attempts, given_up.round_attempts) == (4, 0)
    assert max(row.round_attempts for row in made.destinations) == 5
    for row in made.destinations:
        counted = [
            each
            for each in made.log(row)
            if each.kind is AttemptKind.REGULAR
            and each.started_at >= row.round_started_at
            and each.category is not ErrorCategory.RATE_LIMITED
        ]
        assert row.round_attempts == len(counted)


def test_the_contents_show_what_a_post_can_carry(made: Made) -> None:
    long = made.saying("Demo: a text as long as LinkedIn")
    assert len(long.content) == 3000
    assert {name: len(part["content"]) for name, part in long.platform_content.items()} == {
        "x": 280,
        "threads": 500,
        "instagram": 2200,
    }
    assert made.saying("Demo: found again by").reference == "spring-campaign/0042"
    pictures = made.saying("Demo: three pictures")
    assert [each["media_type"] for each in pictures.media] == ["image", "image", "image"]
    assert pictures.media_ids == [each["id"] for each in pictures.media]
    (own_texts,) = [row for row in made.posts if row.content == ""]
    assert set(own_texts.platform_content) == {"threads", "pinterest"}
    for script in ("日本語", "العربية", "हिन्दी"):
        (found,) = [row for row in made.posts if script in row.content]
        assert script in found.search_text


def test_the_five_newest_failures_are_passing_faults_that_nothing_can_overtake(
    made: Made,
) -> None:
    """Also by what fails later: whatever is not final yet was created before them."""
    newest = sorted(
        (row for row in made.posts if row.status in FAILED and row.deleted_at is None),
        key=lambda row: row.created_at,
        reverse=True,
    )[:5]
    assert {row.status for row in newest} == set(FAILED)
    for post in newest:
        failed = [row for row in made.on(post) if row.status is not DestinationStatus.PUBLISHED]
        assert {(row.status, row.outcome, row.error_category) for row in failed} == {
            (DestinationStatus.FAILED, Outcome.FAILED, ErrorCategory.TRANSIENT)
        }
    unfinished = [
        post
        for post in made.posts
        if not made.on(post) or any(not row.status.is_final for row in made.on(post))
    ]
    newest_unfinished = max(row.created_at for row in unfinished)
    assert newest_unfinished < newest[-1].created_at - timedelta(hours=1)


def test_the_accounts_of_the_five_newest_failures_can_post_again(made: Made) -> None:
    usable = {
        row.id
        for row in made.accounts
        if row.is_active
        and row.needs_reconnection_since is None
        and (row.token_expires_at is None or row.token_expires_at > made.now)
    }
    since = made.now - timedelta(hours=1)
    recent = [row for row in made.destinations if row.created_at > since]
    assert {row.account_id for row in recent} <= usable


def test_the_first_two_accounts_are_never_in_doubt(made: Made) -> None:
    for account in made.accounts[:2]:
        assert account.is_active
        assert account.needs_reconnection_since is None
        assert account.token_expires_at is None
        permanent = [
            row
            for row in made.destinations
            if row.account_id == account.id
            and row.error_category in PERMANENT_CATEGORIES
            and row.error_code != CANCELLED
            and row.settled_at >= made.now - ACTIVITY_WINDOW
        ]
        assert len(permanent) < PERMANENT_FAILURE_WARNING_THRESHOLD


def test_every_state_is_possible_and_folds_to_its_post(made: Made) -> None:
    fields = DestinationState.__dataclass_fields__
    for post in made.posts:
        rows = made.on(post)
        states = [DestinationState(**{name: vars(row)[name] for name in fields}) for row in rows]
        assert post.status is post_status(
            is_draft=post.is_draft, submitted_now=post.submitted_now, destinations=states
        )
        assert post.published_at == post_published_at(states)
        assert [row.position for row in rows] == list(range(len(rows)))
        platform_of = {account.id: account.platform for account in made.accounts}
        assert [row.platform for row in rows] == [platform_of[row.account_id] for row in rows]


def test_the_log_tells_what_the_destination_says(made: Made) -> None:
    logs: dict[UUID, list[Any]] = {row.id: [] for row in made.destinations}
    for attempt in made.attempts:
        logs[attempt.destination_id].append(attempt)
    for row in made.destinations:
        regular = [each for each in logs[row.id] if each.kind is AttemptKind.REGULAR]
        assert [each.number for each in regular] == list(range(1, row.attempts + 1))
        assert [each.fence for each in regular] == list(range(1, row.attempts + 1))
        if row.error is not None and regular:
            last = regular[-1]
            assert (last.message, last.category, last.code) == (
                row.error,
                row.error_category,
                row.error_code,
            )
        assert all(row.due_at <= each.started_at for each in regular)
        assert all(before.finished_at <= after.started_at for before, after in pairwise(regular))


def test_an_outcome_is_settled_when_it_was_reported_lost_or_cancelled(made: Made) -> None:
    reported = {row.destination_id: row.reported_at for row in made.evidence if row.counted}
    for row in made.destinations:
        if row.outcome is Outcome.NONE:
            assert row.settled_at is None
        elif row.outcome is Outcome.PUBLISHED:
            assert row.settled_at == reported[row.id]
        elif row.error_code == CANCELLED:
            assert row.settled_at == row.updated_at
        else:
            assert row.settled_at == made.log(row)[-1].finished_at
    (lost,) = made.on(made.saying("Demo: outcome unknown"))
    (attempt,) = made.log(lost)
    assert lost.settled_at == lost.verifiable_at == attempt.started_at + LEASE
    (twice,) = made.on(made.saying("Demo: published twice"))
    assert twice.settled_at < twice.updated_at


def test_every_publication_has_one_evidence_that_counts(made: Made) -> None:
    counted = {row.destination_id: row for row in made.evidence if row.counted}
    assert len(counted) == sum(row.counted for row in made.evidence)
    published = [row for row in made.destinations if row.status is DestinationStatus.PUBLISHED]
    assert set(counted) == {row.id for row in published}
    for row in published:
        evidence = counted[row.id]
        assert (evidence.published_at, evidence.platform_post_id, evidence.platform_post_url) == (
            row.published_at,
            row.platform_post_id,
            row.platform_post_url,
        )
        assert row.published_at < evidence.reported_at <= row.updated_at
    (duplicate,) = [row for row in made.evidence if not row.counted]
    (twice,) = made.on(made.saying("Demo: published twice"))
    assert duplicate.destination_id == twice.id


def test_nothing_has_happened_after_the_load(made: Made) -> None:
    for row in (*made.accounts, *made.posts, *made.destinations):
        assert row.created_at <= row.updated_at <= made.now
    for row in made.attempts:
        assert row.started_at < (row.finished_at or made.now) <= made.now


def test_a_rate_limit_is_waited_out(made: Made) -> None:
    for row in made.destinations:
        for before, after in pairwise(made.log(row)) if row.attempts > 1 else ():
            if before.retry_after_ms is not None:
                wait = timedelta(milliseconds=before.retry_after_ms)
                assert after.started_at >= before.finished_at + wait


def test_every_code_is_in_the_error_table_under_its_category(made: Made) -> None:
    known = {(advice.code, advice.category) for advice in ADVICE}
    used = {(row.code, row.category) for row in made.attempts if row.code is not None}
    used |= {(row.error_code, row.error_category) for row in made.destinations if row.error_code}
    assert used <= known
    assert len(used) >= 12


def test_all_times_are_whole_milliseconds(made: Made) -> None:
    for row in (*made.accounts, *made.posts, *made.destinations, *made.attempts, *made.evidence):
        for value in vars(row).values():
            if isinstance(value, datetime):
                assert value == truncate_to_ms(value)


Q, P, F = DestinationStatus.QUEUED, DestinationStatus.PUBLISHING, DestinationStatus.FAILED
NONE = Outcome.NONE
PUBLISHED = (DestinationStatus.PUBLISHED, Outcome.PUBLISHED, 1, None)
WAITING = (Q, NONE, 0, None)


def _failed(attempts: int, category: ErrorCategory) -> Any:
    return (F, Outcome.FAILED, attempts, category)


_EXPECTED: dict[str, Any] = {
    "the documented example, published on two accounts and failed on the third": (
        PostStatus.PARTIALLY_FAILED,
        [PUBLISHED, PUBLISHED, _failed(3, ErrorCategory.AUTH)],
    ),
    "a draft without accounts": (PostStatus.DRAFT, []),
    "a draft for two accounts": (PostStatus.DRAFT, [WAITING, WAITING]),
    "scheduled for next week": (PostStatus.SCHEDULED, [WAITING, WAITING]),
    "to go out at once, due a moment ago and waiting for a publisher": (
        PostStatus.PUBLISHING,
        [WAITING],
    ),
    "due, and not claimed by a publisher yet": (PostStatus.SCHEDULED, [WAITING, WAITING]),
    "overdue, because no publisher took it up": (PostStatus.SCHEDULED, [WAITING]),
    "claimed by a publisher that has not started yet": (
        PostStatus.PUBLISHING,
        [(P, NONE, 0, None)],
    ),
    "claimed by a publisher that went away before it started": (
        PostStatus.PUBLISHING,
        [(P, NONE, 0, None)],
    ),
    "being published right now": (PostStatus.PUBLISHING, [(P, NONE, 1, None)]),
    "published on one account, in its second attempt on another": (
        PostStatus.PUBLISHING,
        [PUBLISHED, (P, NONE, 2, None)],
    ),
    "waiting for an automatic retry": (
        PostStatus.PUBLISHING,
        [(Q, NONE, 4, ErrorCategory.TRANSIENT)],
    ),
    "waiting until the platform's rate limit resets": (
        PostStatus.PUBLISHING,
        [(Q, NONE, 1, ErrorCategory.RATE_LIMITED)],
    ),
    "partially failed, published on two accounts and refused by the third": (
        PostStatus.PARTIALLY_FAILED,
        [PUBLISHED, PUBLISHED, _failed(1, ErrorCategory.CONTENT_REJECTED)],
    ),
    "failed, a fault that did not pass": (
        PostStatus.FAILED,
        [_failed(5, ErrorCategory.TRANSIENT)],
    ),
    "failed, rate limited for three days": (
        PostStatus.FAILED,
        [_failed(4, ErrorCategory.RATE_LIMITED)],
    ),
    "failed, access refused": (PostStatus.FAILED, [_failed(1, ErrorCategory.AUTH)]),
    "failed, content rejected": (PostStatus.FAILED, [_failed(1, ErrorCategory.CONTENT_REJECTED)]),
    "failed, refused for good": (PostStatus.FAILED, [_failed(1, ErrorCategory.PERMANENT)]),
    "failed, an answer that nobody understood": (
        PostStatus.FAILED,
        [_failed(5, ErrorCategory.UNCLASSIFIED)],
    ),
    "outcome unknown, the publisher went away after it started": (
        PostStatus.FAILED,
        [(F, Outcome.UNKNOWN, 1, ErrorCategory.UNCLASSIFIED)],
    ),
    "cancelled before it went out": (PostStatus.FAILED, [_failed(0, ErrorCategory.PERMANENT)]),
    "deleted while it waited": (PostStatus.SCHEDULED, [WAITING]),
}
