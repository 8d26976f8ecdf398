"""One post in every final state and for every way into it, each named by what it says."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta

from app.demo import courses
from app.demo.accounts import (
    FACEBOOK,
    INSTAGRAM,
    LINKEDIN,
    PINTEREST,
    THREADS,
    TIKTOK_REFUSED,
    TIKTOK_REFUSED_FOR,
    YOUTUBE_EXPIRING,
    X,
)
from app.demo.courses import LOST, Try, failed_try
from app.demo.failures import (
    DAILY_QUOTA,
    DUPLICATE,
    NO_PROMOTION,
    PERMISSION_MISSING,
    PROCESSING,
    THREADS_TOO_LONG,
    UNAVAILABLE,
    UNRECOGNISED,
)
from app.demo.posts import DemoPost
from app.demo.scene import Scene
from app.demo.tries import draw_publication, failed_tries, then_published
from app.demo.unfinished import LEASE
from app.domain.attempts import AttemptKind
from app.domain.ids import AccountId


def finished_posts(scene: Scene) -> Iterator[DemoPost]:
    yield from _published(scene)
    yield from _partially_failed(scene)
    yield from _failed_once_for_every_category(scene)
    yield from _settled_after_doubt(scene)
    yield from _taken_back(scene)


def _published(scene: Scene) -> Iterator[DemoPost]:
    due_at = scene.now - timedelta(hours=50)
    everywhere = (INSTAGRAM, FACEBOOK, X, THREADS, LINKEDIN)
    yield DemoPost(
        content="Demo: published on every account",
        courses={account_id: scene.published(account_id, due_at) for account_id in everywhere},
        created_at=due_at - timedelta(days=1),
        scheduled_for=due_at,
    )
    due_at = scene.now - timedelta(hours=49)
    yield DemoPost(
        content="Demo: published after two automatic retries",
        courses={INSTAGRAM: scene.published(INSTAGRAM, due_at, PROCESSING, PROCESSING)},
        created_at=due_at,
        submitted_now=True,
    )
    due_at = scene.now - timedelta(hours=48)
    retried_at = due_at + timedelta(hours=6)
    tries = failed_tries(scene.rng, due_at, [UNAVAILABLE] * 5)
    yield DemoPost(
        content="Demo: published after somebody retried it",
        courses={FACEBOOK: _published_when_retried(scene, FACEBOOK, due_at, tries, retried_at)},
        created_at=due_at - timedelta(hours=3),
        scheduled_for=due_at,
    )


def _partially_failed(scene: Scene) -> Iterator[DemoPost]:
    due_at = scene.now - timedelta(hours=47)
    yield DemoPost(
        content="Demo: partially failed, published on two accounts and refused by the third",
        courses={
            INSTAGRAM: scene.published(INSTAGRAM, due_at),
            FACEBOOK: scene.published(FACEBOOK, due_at),
            X: scene.failed(due_at, DUPLICATE),
        },
        created_at=due_at - timedelta(hours=2),
        scheduled_for=due_at,
    )


def _failed_once_for_every_category(scene: Scene) -> Iterator[DemoPost]:
    for why, account_id, ago, failures in (
        ("a fault that did not pass", X, timedelta(hours=46), [UNAVAILABLE] * 5),
        ("rate limited for three days", YOUTUBE_EXPIRING, timedelta(days=4), [DAILY_QUOTA] * 4),
        ("access refused", TIKTOK_REFUSED, TIKTOK_REFUSED_FOR, [PERMISSION_MISSING]),
        ("content rejected", THREADS, timedelta(hours=45), [THREADS_TOO_LONG]),
        ("refused for good", PINTEREST, timedelta(hours=44), [NO_PROMOTION]),
        ("an answer that nobody understood", LINKEDIN, timedelta(hours=43), [UNRECOGNISED] * 5),
    ):
        due_at = scene.now - ago
        yield DemoPost(
            content=f"Demo: failed, {why}",
            courses={account_id: scene.failed(due_at, *failures)},
            created_at=due_at,
            submitted_now=True,
        )


def _settled_after_doubt(scene: Scene) -> Iterator[DemoPost]:
    due_at = scene.now - timedelta(hours=42)
    yield DemoPost(
        content="Demo: outcome unknown, the publisher went away after it started",
        courses={INSTAGRAM: courses.failed(due_at, [_lost(due_at)])},
        created_at=due_at,
        submitted_now=True,
    )
    due_at = scene.now - timedelta(hours=41)
    tries = [_lost(due_at), _late(scene, X, due_at)]
    yield DemoPost(
        content="Demo: published, as a late report told",
        courses={X: courses.published(due_at, tries)},
        created_at=due_at,
        submitted_now=True,
    )
    due_at = scene.now - timedelta(hours=40)
    retried_at = due_at + LEASE + timedelta(minutes=1)
    twice = _published_when_retried(scene, FACEBOOK, due_at, [_lost(due_at)], retried_at)
    late = _late(scene, FACEBOOK, due_at)
    yield DemoPost(
        content="Demo: published twice, a late report came after the retry",
        courses={FACEBOOK: courses.published(due_at, [*twice.tries, late], retried_at=retried_at)},
        created_at=due_at,
        submitted_now=True,
    )


def _taken_back(scene: Scene) -> Iterator[DemoPost]:
    due_at = scene.now - timedelta(hours=30)
    yield DemoPost(
        content="Demo: cancelled before it went out",
        courses={THREADS: courses.cancelled(due_at, cancelled_at=due_at - timedelta(hours=1))},
        created_at=due_at - timedelta(days=1),
        scheduled_for=due_at,
        version=2,
    )
    due_at = scene.now + timedelta(days=2)
    deleted_at = scene.now - timedelta(hours=17)
    yield DemoPost(
        content="Demo: deleted while it waited",
        courses={FACEBOOK: courses.withdrawn(due_at, withdrawn_at=deleted_at)},
        created_at=deleted_at - timedelta(hours=1),
        scheduled_for=due_at,
        version=2,
        deleted_at=deleted_at,
    )


def _published_when_retried(
    scene: Scene,
    account_id: AccountId,
    due_at: datetime,
    tries: list[Try],
    retried_at: datetime,
) -> courses.Course:
    account = scene.accounts[account_id]
    tries = then_published(scene.rng, due_at, tries, account, not_before=retried_at)
    return courses.published(due_at, tries, retried_at=retried_at)


def _lost(due_at: datetime) -> Try:
    """Started, and given up when its lease ended without a report."""
    started_at = due_at + timedelta(seconds=2)
    return replace(failed_try(1, started_at + LEASE, LOST), started_at=started_at)


def _late(scene: Scene, account_id: AccountId, due_at: datetime) -> Try:
    """The report of the first start, after its lease had ended."""
    account = scene.accounts[account_id]
    return Try(
        kind=AttemptKind.LATE,
        fence=1,
        worker="publisher-1",
        started_at=due_at + timedelta(seconds=2),
        finished_at=due_at + timedelta(minutes=11),
        publication=draw_publication(scene.rng, account, due_at + timedelta(seconds=4)),
    )
