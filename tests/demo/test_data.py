"""The generated demo data, without a database, loaded at various times."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any
from uuid import UUID

import pytest

from app.demo.loading import demo_data
from app.demo.simulation import PostHistory
from app.domain.accounts import (
    ACTIVITY_WINDOW,
    PERMANENT_FAILURE_WARNING_THRESHOLD,
    Account,
    blocking_reason,
)
from app.domain.attempts import Attempt, AttemptKind, Evidence
from app.domain.destinations import (
    PERMANENT_CATEGORIES,
    Destination,
    DestinationState,
    DestinationStatus,
    ErrorCategory,
    Outcome,
    is_overdue,
)
from app.domain.diagnosis import ADVICE, CANCELLED
from app.domain.posts import Post, PostStatus, search_text
from app.domain.times import truncate_to_ms
from tests.factories import NOW

LOAD_TIMES = (
    NOW,
    datetime(2026, 4, 16, 0, 0, tzinfo=UTC),
    datetime(2026, 8, 3, 4, 5, 6, 789_999, tzinfo=UTC),
    datetime(2026, 11, 21, 23, 59, 59, tzinfo=UTC),
    datetime(2027, 2, 28, 12, 0, tzinfo=UTC),
    *(datetime(2026, 12, day, day, 30, tzinfo=UTC) for day in range(1, 15)),
)

C = ErrorCategory
EXAMPLE = UUID("f47ac10b-58cc-4372-a567-0e02b2c3d479")


class DemoData:
    """The accounts and posts that are generated at one time."""

    def __init__(self, now: datetime) -> None:
        accounts, self.histories = demo_data(now)
        self.now = truncate_to_ms(now)
        self.accounts: list[Account] = [account.account for account in accounts]
        self.posts: list[Post] = [history.post for history in self.histories]
        self.destinations: list[Destination] = [
            destination for post in self.posts for destination in post.destinations
        ]

        self.states = [destination.state for destination in self.destinations]

    def logs(self) -> Iterator[tuple[Destination, Sequence[Attempt], Sequence[Evidence]]]:
        """Every destination with its attempts and its evidence."""
        for history in self.histories:
            for destination in history.post.destinations:
                id = destination.id
                yield destination, history.attempts[id], history.evidence[id]

    def attempts(self) -> Iterator[Attempt]:
        for _, attempts, _ in self.logs():
            yield from attempts

    def history_of(self, opening: str) -> PostHistory:
        (history,) = (h for h in self.histories if h.post.content.startswith(opening))
        return history

    def destination_of(self, opening: str) -> Destination:
        (destination,) = self.history_of(opening).post.destinations
        return destination

    def state_of(self, opening: str) -> DestinationState:
        return self.destination_of(opening).state


@pytest.fixture(scope="module", params=LOAD_TIMES, ids=str)
def data(request: pytest.FixtureRequest) -> DemoData:
    return DemoData(request.param)


def test_a_month_has_a_few_hundred_posts_on_thirteen_accounts(data: DemoData) -> None:
    assert 380 <= len(data.posts) <= 520
    assert 850 <= len(data.destinations) <= 1250
    assert [account.id for account in data.accounts] == list(range(2280, 2293))
    platforms = {account.platform for account in data.accounts}
    assert " ".join(sorted(platforms)) == (
        "facebook instagram linkedin pinterest threads tiktok x youtube"
    )
    assert {len(post.destinations) for post in data.posts} == {0, 1, 2, 3, 4, 5}


def test_posts_are_due_from_thirty_days_before_the_load_to_a_week_after_it(data: DemoData) -> None:
    due = [post.scheduled_for or post.created_at for post in data.posts if post.id != EXAMPLE]
    assert min(due) >= data.now - timedelta(days=30)
    assert max(due) <= data.now + timedelta(days=7)
    assert {(data.now - due_at).days for due_at in due if due_at <= data.now} >= set(range(2, 29))


def test_most_posts_are_published_and_some_fail(data: DemoData) -> None:
    states = [state for state in data.states if state.status.is_final]
    failed = [state for state in states if state.status is DestinationStatus.FAILED]
    retried = [state for state in states if state.published_at and state.attempts > 1]
    assert 0.07 <= len(failed) / len(states) <= 0.13
    assert 0.05 <= len(retried) / len(states) <= 0.14
    assert 10 <= Counter(post.status for post in data.posts)[PostStatus.SCHEDULED] <= 40


def test_every_status_outcome_category_and_kind_of_a_correct_publisher_occurs(
    data: DemoData,
) -> None:
    failed = [state for state in data.states if state.status is DestinationStatus.FAILED]
    assert {post.status for post in data.posts} == set(PostStatus)
    assert {state.status for state in data.states} == set(DestinationStatus)
    assert {state.outcome for state in data.states} == set(Outcome)
    assert {attempt.outcome for attempt in data.attempts()} == set(Outcome)
    assert {attempt.kind for attempt in data.attempts()} == {AttemptKind.REGULAR, AttemptKind.LATE}
    assert {state.error_category for state in failed} == set(ErrorCategory)


def test_every_state_of_a_destination_has_a_post_that_names_it(data: DemoData) -> None:
    destinations: dict[PostStatus, dict[str, list[Any]]] = defaultdict(dict)
    for post in data.posts:
        if post.content.startswith("Demo: ") and post.status is not PostStatus.PUBLISHED:
            destinations[post.status][post.content.removeprefix("Demo: ")] = [
                (state.status, state.outcome, state.attempts, state.error_category)
                for state in (destination.state for destination in post.destinations)
            ]
    assert destinations == DESTINATIONS_BY_STATUS


def test_a_deleted_post_cannot_be_claimed(data: DemoData) -> None:
    (deleted,) = [post for post in data.posts if post.deleted_at is not None]
    assert [destination.state.claimable_at for destination in deleted.destinations] == [None]


def test_only_unclaimed_due_posts_are_overdue(data: DemoData) -> None:
    assert {
        post.content
        for post in data.posts
        for state in (destination.state for destination in post.destinations)
        if is_overdue(
            claimable_at=state.claimable_at,
            round_started_at=state.round_started_at,
            started_at=state.started_at,
            lease_expires_at=state.lease_expires_at,
            waited_until=None,
            account=None,
            now=data.now,
        )
    } == {
        "Demo: overdue, because no publisher claimed it",
        "Demo: claimed by a publisher that stopped before it started an attempt",
    }


def test_leased_and_waiting_destinations_have_their_next_time_in_the_future(data: DemoData) -> None:
    claimed = data.state_of("Demo: claimed by a publisher that has not started")
    assert claimed.started_at is None
    assert claimed.lease_expires_at is not None
    assert claimed.claimable_at == claimed.lease_expires_at > data.now
    started = data.state_of("Demo: being published right now")
    assert started.claimable_at is None
    assert started.started_at is not None
    assert started.lease_expires_at is not None
    assert started.started_at < data.now < started.lease_expires_at
    waiting = data.state_of("Demo: waiting for an automatic retry")
    assert waiting.next_retry_at is not None
    assert waiting.claimable_at == waiting.next_retry_at > data.now


def test_a_rate_limited_destination_waits_as_long_as_the_platform_asks(data: DemoData) -> None:
    limited = data.history_of("Demo: waiting until the platform's rate limit")
    (destination,) = limited.post.destinations
    (attempt,) = limited.attempts[destination.id]
    assert attempt.finished_at is not None
    reset_at = attempt.finished_at + timedelta(hours=24)
    assert destination.state.claimable_at == destination.state.next_retry_at == reset_at > data.now
    for _, attempts, _ in data.logs():
        for before, after in pairwise(attempts):
            if before.failure and before.failure.retry_after and before.finished_at:
                assert after.started_at >= before.finished_at + before.failure.retry_after


def test_retry_by_hand_starts_a_round_and_continues_the_count(data: DemoData) -> None:
    state = data.state_of("Demo: published after a retry by hand")
    assert (state.attempts, state.round_attempts) == (6, 1)
    assert state.due_at is not None
    assert state.round_started_at is not None
    assert state.published_at is not None
    assert state.due_at < state.round_started_at < state.published_at


def test_contents_show_everything_that_a_post_can_have(data: DemoData) -> None:
    longest: Any = data.history_of("Demo: a text as long as LinkedIn").post
    assert len(longest.content) == 3000
    assert {name: len(part["content"]) for name, part in longest.platform_content.items()} == {
        "x": 280,
        "threads": 500,
        "instagram": 2200,
    }
    assert data.history_of("Demo: found by").post.reference == "spring-campaign/0042"
    pictures: Any = data.history_of("Demo: three pictures").post
    assert [medium["media_type"] for medium in pictures.media] == ["image", "image", "image"]
    assert pictures.media_ids == [medium["id"] for medium in pictures.media]
    (without_common_text,) = [post for post in data.posts if post.content == ""]
    assert set(without_common_text.platform_content) == {"threads", "pinterest"}
    for script in ("日本語", "العربية", "हिन्दी"):
        assert sum(script in post.content for post in data.posts) == 1
    assert all(search_text(post.content, post.platform_content).strip() for post in data.posts)


def test_the_five_newest_failed_posts_stay_the_newest(data: DemoData) -> None:
    """They failed transiently, and posts that may fail later were created before them."""
    failed = (PostStatus.FAILED, PostStatus.PARTIALLY_FAILED)
    failed_posts = (post for post in data.posts if post.status in failed)
    newest = sorted(failed_posts, key=lambda post: post.created_at, reverse=True)[:5]
    assert {post.status for post in newest} == {*failed}
    for post in newest:
        assert {
            (destination.state.status, destination.state.outcome, destination.state.error_category)
            for destination in post.destinations
            if destination.state.status is not DestinationStatus.PUBLISHED
        } == {(DestinationStatus.FAILED, Outcome.FAILED, ErrorCategory.TRANSIENT)}
    newest_unfinished = max(
        post.created_at
        for post in data.posts
        if not post.destinations
        or any(not destination.state.status.is_final for destination in post.destinations)
    )
    assert newest_unfinished < newest[-1].created_at - timedelta(hours=1)


def test_posts_of_the_last_hour_are_on_accounts_that_can_post(data: DemoData) -> None:
    can_post = {
        account.id for account in data.accounts if blocking_reason(account.access, data.now) is None
    }
    since = data.now - timedelta(hours=1)
    recent = [destination for destination in data.destinations if destination.created_at > since]
    assert {destination.account_id for destination in recent} <= can_post


def test_first_two_accounts_have_endless_access_and_few_permanent_failures(data: DemoData) -> None:
    for account in data.accounts[:2]:
        assert account.is_active
        assert account.needs_reconnection_since is None
        assert account.token_expires_at is None
        permanent = [
            d.state
            for d in data.destinations
            if d.account_id == account.id
            and d.state.error_category in PERMANENT_CATEGORIES
            and d.state.error_code != CANCELLED
            and d.state.settled_at
            and d.state.settled_at >= data.now - ACTIVITY_WINDOW
        ]
        assert len(permanent) < PERMANENT_FAILURE_WARNING_THRESHOLD


def test_nothing_happens_after_the_load(data: DemoData) -> None:
    rows: list[Account | Post | Destination] = [*data.accounts, *data.posts, *data.destinations]
    for row in rows:
        assert row.created_at <= row.updated_at <= data.now
    for attempt in data.attempts():
        assert attempt.started_at < (attempt.finished_at or data.now) <= data.now


def test_every_error_code_is_in_the_error_table_under_its_category(data: DemoData) -> None:
    documented = {(advice.code, advice.category) for advice in ADVICE}
    failures = [attempt.failure for attempt in data.attempts() if attempt.failure]
    used = {(failure.code, failure.category) for failure in failures} | {
        (state.error_code, state.error_category)
        for state in data.states
        if state.error_code and state.error_category
    }
    assert used <= documented
    assert len(used) >= 12


QUEUED = (DestinationStatus.QUEUED, Outcome.NONE, 0, None)
CLAIMED = (DestinationStatus.PUBLISHING, Outcome.NONE, 0, None)
STARTED = (DestinationStatus.PUBLISHING, Outcome.NONE, 1, None)
STARTED_AGAIN = (DestinationStatus.PUBLISHING, Outcome.NONE, 2, C.TRANSIENT)
PUBLISHED = (DestinationStatus.PUBLISHED, Outcome.PUBLISHED, 1, None)


def _waiting(attempts: int, category: ErrorCategory) -> Any:
    return (DestinationStatus.QUEUED, Outcome.NONE, attempts, category)


def _failed(attempts: int, category: ErrorCategory, outcome: Outcome = Outcome.FAILED) -> Any:
    return (DestinationStatus.FAILED, outcome, attempts, category)


DESTINATIONS_BY_STATUS: dict[PostStatus, dict[str, list[Any]]] = {
    PostStatus.DRAFT: {
        "a draft without accounts": [],
        "a draft for two accounts": [QUEUED, QUEUED],
    },
    PostStatus.SCHEDULED: {
        "scheduled for next week": [QUEUED, QUEUED],
        "due, and not claimed by a publisher yet": [QUEUED, QUEUED],
        "overdue, because no publisher claimed it": [QUEUED],
        "deleted before its due time": [QUEUED],
    },
    PostStatus.PUBLISHING: {
        "to be published immediately, due a moment ago and waiting for a publisher": [QUEUED],
        "claimed by a publisher that has not started yet": [CLAIMED],
        "claimed by a publisher that stopped before it started an attempt": [CLAIMED],
        "being published right now": [STARTED],
        "published on one account, in its second attempt on another": [PUBLISHED, STARTED_AGAIN],
        "waiting for an automatic retry": [_waiting(4, C.TRANSIENT)],
        "waiting until the platform's rate limit resets": [_waiting(1, C.RATE_LIMITED)],
    },
    PostStatus.PARTIALLY_FAILED: {
        "the documented example, published on two accounts and failed on the third": [
            PUBLISHED,
            PUBLISHED,
            _failed(3, C.AUTH),
        ],
        "partially failed, published on two accounts and rejected by the third": [
            PUBLISHED,
            PUBLISHED,
            _failed(1, C.CONTENT_REJECTED),
        ],
    },
    PostStatus.FAILED: {
        "failed, a fault that did not pass": [_failed(5, C.TRANSIENT)],
        "failed, rate limited for three days": [_failed(3, C.RATE_LIMITED)],
        "failed, access rejected": [_failed(1, C.AUTH)],
        "failed, content rejected": [_failed(1, C.CONTENT_REJECTED)],
        "failed, permanent error": [_failed(1, C.PERMANENT)],
        "failed, an unrecognised answer": [_failed(5, C.UNCLASSIFIED)],
        "outcome unknown, the publisher stopped after it started an attempt": [
            _failed(1, C.UNCLASSIFIED, Outcome.UNKNOWN)
        ],
        "cancelled on one account, after the other had rejected it": [
            _failed(1, C.CONTENT_REJECTED),
            _failed(0, C.PERMANENT),
        ],
    },
}
"""Status, outcome, attempts and error category of the destinations, by post."""
