"""Thirty days of posts as a small team makes them, what it has scheduled next, and the last hour.

The newest failed posts are those of the last hour. They failed transiently and for good; whatever
may still fail by itself was created hours before them.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from random import Random

from app.demo import courses
from app.demo.accounts import (
    ALWAYS_HEALTHY,
    FACEBOOK,
    INSTAGRAM,
    LINKEDIN,
    PINTEREST,
    THREADS,
    TIKTOK_REJECTED,
    DemoAccount,
    X,
)
from app.demo.courses import Course, Failure
from app.demo.failures import BAD_GATEWAY, LASTING, PASSING, TIMEOUT, UNAVAILABLE, VIDEO_TOO_SHORT
from app.demo.phrases import draw_content
from app.demo.posts import DemoPost, Medium, medium
from app.demo.scene import Scene
from app.demo.tries import draw_seconds, draw_uuid
from app.domain.destinations import PERMANENT_CATEGORIES, ErrorCategory
from app.domain.ids import AccountId

DAYS = 30
DAYS_AHEAD = 6

_ENDS = timedelta(hours=3)
"""The history ends so long ago; by now the last retry of its last post is over."""

_LAST_TRIES = 5
"""After so many, a failure that might have passed is final."""

_QUOTA_TRIES = 4
"""One a day, until 72 hours are over."""

_FAILING = 0.06
_RECOVERING = 0.09

_TIMEZONES = ("UTC", "Europe/Berlin", "Europe/Lisbon", "America/New_York", None)
_ACCOUNTS_OF_A_POST = (1, 2, 3, 4, 5)
_HOW_OFTEN = (30, 30, 22, 12, 6)


def history(scene: Scene) -> Iterator[DemoPost]:
    yield from _past(scene)
    yield from _rejected_videos(scene)
    yield from _scheduled(scene)
    yield from _last_hour(scene)


def _past(scene: Scene) -> Iterator[DemoPost]:
    for days_ago in range(DAYS, -1, -1):
        for due_at in _due_times(scene.rng, scene.now - timedelta(days=days_ago), (13, 19)):
            if timedelta(days=DAYS) >= scene.now - due_at >= _ENDS:
                yield _past_post(scene, due_at)


def _rejected_videos(scene: Scene) -> Iterator[DemoPost]:
    """So many within a week that the account's health is in doubt."""
    for days_ago in (5.6, 4.3, 2.7, 1.2):
        due_at = scene.now - timedelta(days=days_ago)
        yield DemoPost(
            content=draw_content(scene.rng),
            courses={
                TIKTOK_REJECTED: scene.failed(due_at, VIDEO_TOO_SHORT),
                INSTAGRAM: scene.published(INSTAGRAM, due_at),
            },
            created_at=due_at,
            submitted_now=True,
            media=(medium(draw_uuid(scene.rng), "video"),),
        )


def _scheduled(scene: Scene) -> Iterator[DemoPost]:
    usable = [
        account for account in scene.accounts.values() if account.locked_out_for(scene.now) is None
    ]
    for days_ahead in range(DAYS_AHEAD + 1):
        for due_at in _due_times(scene.rng, scene.now + timedelta(days=days_ahead), (3, 5)):
            if due_at > scene.now + timedelta(minutes=30):
                accounts = _some(scene.rng, usable)
                yield DemoPost(
                    content=draw_content(scene.rng),
                    courses={account.id: courses.waiting(due_at) for account in accounts},
                    created_at=scene.now - draw_seconds(scene.rng, 4 * 3600, 6 * 86400),
                    scheduled_for=due_at,
                    timezone=scene.rng.choice(_TIMEZONES),
                    media=_draw_media(scene.rng, accounts),
                )


def _last_hour(scene: Scene) -> Iterator[DemoPost]:
    """Everything in it is finished."""
    plan: Sequence[tuple[int, Mapping[AccountId, Failure | None]]] = (
        (57, {INSTAGRAM: None, FACEBOOK: None}),
        (52, {INSTAGRAM: None, FACEBOOK: UNAVAILABLE}),
        (45, {LINKEDIN: TIMEOUT}),
        (41, {X: None}),
        (38, {X: None, THREADS: TIMEOUT, LINKEDIN: UNAVAILABLE}),
        (31, {PINTEREST: None, THREADS: None}),
        (27, {PINTEREST: BAD_GATEWAY}),
        (19, {X: UNAVAILABLE, INSTAGRAM: None, FACEBOOK: None}),
        (12, {FACEBOOK: None}),
        (6, {X: None, LINKEDIN: None, THREADS: None}),
    )
    for minutes_ago, results in plan:
        due_at = scene.now - timedelta(minutes=minutes_ago) - draw_seconds(scene.rng, 0, 59)
        yield DemoPost(
            content=draw_content(scene.rng),
            courses={
                account_id: scene.published(account_id, due_at)
                if failure is None
                else scene.failed(due_at, *[failure] * _LAST_TRIES)
                for account_id, failure in results.items()
            },
            created_at=due_at,
            submitted_now=True,
        )


def _past_post(scene: Scene, due_at: datetime) -> DemoPost:
    rng = scene.rng
    submitted_now = rng.random() < 0.25
    if submitted_now:
        due_at += draw_seconds(rng, 0, 600)
    accounts = _some(rng, [each for each in scene.accounts.values() if _is_used(each, due_at)])
    return DemoPost(
        content=draw_content(rng),
        courses={account.id: _course(scene, account, due_at) for account in accounts},
        created_at=due_at if submitted_now else _draw_created_at(rng, due_at),
        submitted_now=submitted_now,
        scheduled_for=None if submitted_now else due_at,
        timezone=rng.choice(_TIMEZONES),
        media=_draw_media(rng, accounts),
    )


def _due_times(rng: Random, day: datetime, on_a_workday: tuple[int, int]) -> list[datetime]:
    """Quarters of an hour in the working time of a day, a third as many at the weekend."""
    count = rng.randint(*on_a_workday)
    if day.weekday() >= 5:
        count = count // 3
    midnight = day.replace(hour=0, minute=0, second=0, microsecond=0)
    quarters = [round(rng.triangular(6.5, 19.5, 12) * 4) for _ in range(count)]
    return [midnight + timedelta(minutes=15 * quarter) for quarter in sorted(quarters)]


def _draw_created_at(rng: Random, due_at: datetime) -> datetime:
    days_before = rng.choice((0, 0, 1, 1, 2, 3, 5))
    if days_before == 0:
        return due_at - draw_seconds(rng, 20 * 60, 5 * 3600)
    return due_at - timedelta(days=days_before) + draw_seconds(rng, -3 * 3600, 3 * 3600)


def _is_used(account: DemoAccount, at: datetime) -> bool:
    """People go on for a day after an account lost its access."""
    locked_out = account.locked_out_for(at)
    return locked_out is None or locked_out < timedelta(days=1)


def _some(rng: Random, accounts: Sequence[DemoAccount]) -> list[DemoAccount]:
    (count,) = rng.choices(_ACCOUNTS_OF_A_POST, _HOW_OFTEN)
    return rng.sample(accounts, count)


def _draw_media(rng: Random, accounts: Sequence[DemoAccount]) -> tuple[Medium, ...]:
    """What the platforms of the post ask for."""
    platforms = {account.platform for account in accounts}
    if platforms & {"youtube", "tiktok"}:
        return (medium(draw_uuid(rng), "video"),)
    if platforms & {"instagram", "pinterest"} or rng.random() < 0.4:
        return tuple(medium(draw_uuid(rng), "image") for _ in range(rng.choice((1, 1, 1, 3))))
    return ()


def _course(scene: Scene, account: DemoAccount, due_at: datetime) -> Course:
    if account.locked_out_for(due_at) is not None:
        return scene.failed(due_at, account.refusal)
    luck = scene.rng.random()
    if luck < _FAILING:
        return scene.failed(due_at, *_draw_lasting(scene, account, due_at))
    if luck < _FAILING + _RECOVERING:
        return scene.published(account.id, due_at, *_draw_passing(scene.rng, account.platform))
    return scene.published(account.id, due_at)


def _draw_passing(rng: Random, platform: str) -> list[Failure]:
    failure = rng.choice(PASSING[platform])
    return [failure] * rng.choice((1, 1, 1, 2) if failure.retry_after else (1, 1, 2, 3))


def _draw_lasting(scene: Scene, account: DemoAccount, due_at: datetime) -> list[Failure]:
    age = scene.now - due_at
    failure = scene.rng.choice(
        [each for each in LASTING[account.platform] if _can_have_failed_of(each, account, age)]
    )
    if failure.category is ErrorCategory.RATE_LIMITED:
        return [failure] * _QUOTA_TRIES
    if failure.category not in PERMANENT_CATEGORIES:
        return [failure] * _LAST_TRIES
    return [*[UNAVAILABLE] * scene.rng.choice((0, 0, 0, 1, 2)), failure]


def _can_have_failed_of(failure: Failure, account: DemoAccount, age: timedelta) -> bool:
    if failure.category is ErrorCategory.RATE_LIMITED:
        return age > timedelta(days=_QUOTA_TRIES)
    permanent = failure.category in PERMANENT_CATEGORIES
    return not (permanent and account.id in ALWAYS_HEALTHY and age < timedelta(days=8))
