"""One post in every state that is not final, each named by what it says.

They were created yesterday, so that one which fails later is not among the newest failed posts.
"""

from collections.abc import Iterator
from datetime import datetime, timedelta

from app.demo import courses
from app.demo.accounts import FACEBOOK, INSTAGRAM, LINKEDIN, PINTEREST, THREADS, YOUTUBE_EXPIRING, X
from app.demo.courses import Course, Try, failed_try
from app.demo.failures import DAILY_QUOTA, TIMEOUT, UNAVAILABLE
from app.demo.posts import DemoPost
from app.demo.scene import Scene
from app.demo.tries import draw_uuid

LEASE = timedelta(minutes=5)


def unfinished_posts(scene: Scene) -> Iterator[DemoPost]:
    yield from _drafts(scene)
    yield from _waiting(scene)
    yield from _claimed_by_a_publisher(scene)
    yield from _started_by_a_publisher(scene)
    yield from _waiting_for_a_retry(scene)


def _drafts(scene: Scene) -> Iterator[DemoPost]:
    yield DemoPost(
        content="Demo: a draft without accounts",
        courses={},
        created_at=scene.now - timedelta(hours=29),
        is_draft=True,
    )
    yield DemoPost(
        content="Demo: a draft for two accounts",
        courses={FACEBOOK: courses.not_submitted(), LINKEDIN: courses.not_submitted()},
        created_at=scene.now - timedelta(hours=28),
        is_draft=True,
    )


def _waiting(scene: Scene) -> Iterator[DemoPost]:
    next_week = scene.now + timedelta(days=7)
    yield DemoPost(
        content="Demo: scheduled for next week",
        courses={INSTAGRAM: courses.waiting(next_week), THREADS: courses.waiting(next_week)},
        created_at=scene.now - timedelta(hours=27),
        scheduled_for=next_week,
        timezone="Europe/Berlin",
    )
    submitted_at = scene.now - timedelta(seconds=2)
    yield DemoPost(
        content="Demo: to go out at once, due a moment ago and waiting for a publisher",
        courses={X: courses.waiting(submitted_at, submitted_at=submitted_at)},
        created_at=scene.now - timedelta(hours=26),
        submitted_now=True,
        version=2,
    )
    due_at = scene.now - timedelta(seconds=20)
    yield DemoPost(
        content="Demo: due, and not claimed by a publisher yet",
        courses={FACEBOOK: courses.waiting(due_at), X: courses.waiting(due_at)},
        created_at=scene.now - timedelta(hours=25),
        scheduled_for=due_at,
    )
    due_at = scene.now - timedelta(minutes=40)
    yield DemoPost(
        content="Demo: overdue, because no publisher took it up",
        courses={PINTEREST: courses.waiting(due_at)},
        created_at=scene.now - timedelta(hours=24),
        scheduled_for=due_at,
    )


def _claimed_by_a_publisher(scene: Scene) -> Iterator[DemoPost]:
    due_at = scene.now - timedelta(seconds=5)
    yield DemoPost(
        content="Demo: claimed by a publisher that has not started yet",
        courses={LINKEDIN: _claimed(scene, due_at)},
        created_at=scene.now - timedelta(hours=23),
        scheduled_for=due_at,
    )
    due_at = scene.now - timedelta(minutes=20)
    yield DemoPost(
        content="Demo: claimed by a publisher that went away before it started",
        courses={THREADS: _claimed(scene, due_at)},
        created_at=scene.now - timedelta(hours=22),
        scheduled_for=due_at,
    )


def _started_by_a_publisher(scene: Scene) -> Iterator[DemoPost]:
    due_at = scene.now - timedelta(seconds=8)
    yield DemoPost(
        content="Demo: being published right now",
        courses={INSTAGRAM: _started(scene, due_at)},
        created_at=scene.now - timedelta(hours=21),
        scheduled_for=due_at,
    )
    due_at = scene.now - timedelta(minutes=2)
    timed_out = failed_try(1, scene.now - timedelta(seconds=25), TIMEOUT)
    yield DemoPost(
        content="Demo: published on one account, in its second attempt on another",
        courses={X: scene.published(X, due_at), THREADS: _started(scene, due_at, timed_out)},
        created_at=scene.now - timedelta(hours=20),
        scheduled_for=due_at,
    )


def _waiting_for_a_retry(scene: Scene) -> Iterator[DemoPost]:
    due_at = scene.now - timedelta(minutes=5)
    failures = [
        failed_try(1, due_at + timedelta(seconds=5), UNAVAILABLE),
        failed_try(2, due_at + timedelta(seconds=31), UNAVAILABLE),
        failed_try(3, due_at + timedelta(seconds=84), UNAVAILABLE),
        failed_try(4, scene.now - timedelta(seconds=100), UNAVAILABLE),
    ]
    yield DemoPost(
        content="Demo: waiting for an automatic retry",
        courses={
            LINKEDIN: courses.retrying(
                due_at, failures, next_retry_at=scene.now + timedelta(seconds=135)
            )
        },
        created_at=scene.now - timedelta(hours=19),
        scheduled_for=due_at,
    )
    due_at = scene.now - timedelta(hours=3)
    limited_at = due_at + timedelta(seconds=12)
    yield DemoPost(
        content="Demo: waiting until the platform's rate limit resets",
        courses={
            YOUTUBE_EXPIRING: courses.retrying(
                due_at,
                [failed_try(1, limited_at, DAILY_QUOTA)],
                next_retry_at=limited_at + timedelta(days=1),
            )
        },
        created_at=scene.now - timedelta(hours=18),
        scheduled_for=due_at,
    )


def _claimed(scene: Scene, due_at: datetime) -> Course:
    claimed_at = due_at + timedelta(seconds=1)
    return courses.claimed(
        due_at,
        claimed_at=claimed_at,
        token=draw_uuid(scene.rng),
        lease_expires_at=claimed_at + LEASE,
    )


def _started(scene: Scene, due_at: datetime, *finished: Try) -> Course:
    started_at = scene.now - timedelta(seconds=3)
    running = Try(
        fence=len(finished) + 1, worker="publisher-1", started_at=started_at, finished_at=None
    )
    return courses.publishing(
        due_at,
        [*finished, running],
        token=draw_uuid(scene.rng),
        lease_expires_at=started_at + LEASE,
    )
