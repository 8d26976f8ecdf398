"""Thirty days of posts by a small team, the posts that it has scheduled next, and the last hour.

The newest failed posts are those of the last hour, with transient failures that have become final.
Posts that may still fail automatically were created hours before them.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from random import Random

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
from app.demo.contents import (
    BAD_GATEWAY,
    FINAL_FAILURES,
    RECOVERABLE_FAILURES,
    TIMEOUT,
    UNAVAILABLE,
    VIDEO_TOO_SHORT,
    draw_content,
    draw_medium,
)
from app.demo.simulation import (
    WAIT,
    PostHistory,
    PublisherScript,
    Simulator,
    draw_seconds,
    fail,
    publish,
)
from app.domain.attempts import Failure
from app.domain.destinations import PERMANENT_CATEGORIES, ErrorCategory
from app.domain.ids import AccountId

DAYS = 30
DAYS_AHEAD = 6

_NEWEST_AGE = timedelta(hours=3)
"""Age of the newest post of the past; its last retry is over by now."""

_RATE_LIMIT_AGE = timedelta(days=4)
"""Age from which a destination can have failed as rate limited: retries go on for 72 hours."""

_PERMANENT_FAILURE_AGE = timedelta(days=8)
"""Age of the newest permanent failure of an account that is always healthy."""

_FAILURE_RATE = 0.06
_RECOVERY_RATE = 0.09

_TIMEZONES = ("UTC", "Europe/Berlin", "Europe/Lisbon", "America/New_York", None)
_ACCOUNT_COUNTS = (1, 2, 3, 4, 5)
_ACCOUNT_COUNT_WEIGHTS = (30, 30, 22, 12, 6)


def history(simulator: Simulator) -> Iterator[PostHistory]:
    yield from _past_posts(simulator)
    yield from _rejected_videos(simulator)
    yield from _scheduled_posts(simulator)
    yield from _posts_of_the_last_hour(simulator)


def _past_posts(simulator: Simulator) -> Iterator[PostHistory]:
    now = simulator.now
    for days_ago in range(DAYS, -1, -1):
        for due_at in _draw_due_times(simulator.rng, now - timedelta(days=days_ago), (13, 19)):
            if timedelta(days=DAYS) >= now - due_at >= _NEWEST_AGE:
                yield _past_post(simulator, due_at)


def _rejected_videos(simulator: Simulator) -> Iterator[PostHistory]:
    """Create enough permanent failures within a week for a health warning of the account."""
    for days_ago in (5.6, 4.3, 2.7, 1.2):
        yield simulator.post(
            draw_content(simulator.rng),
            {TIKTOK_REJECTED: fail(VIDEO_TOO_SHORT), INSTAGRAM: publish()},
            created_at=simulator.now - timedelta(days=days_ago),
            media=(draw_medium(simulator.rng, "video"),),
        )


def _scheduled_posts(simulator: Simulator) -> Iterator[PostHistory]:
    now, rng = simulator.now, simulator.rng
    accounts_with_access = [
        account
        for account in simulator.accounts.values()
        if account.time_without_access(now) is None
    ]
    for days_ahead in range(DAYS_AHEAD + 1):
        for due_at in _draw_due_times(rng, now + timedelta(days=days_ahead), (3, 5)):
            if due_at > now + timedelta(minutes=30):
                accounts = _draw_accounts(rng, accounts_with_access)
                yield simulator.post(
                    draw_content(rng),
                    {account.account.id: WAIT for account in accounts},
                    created_at=now - draw_seconds(rng, 4 * 3600, 6 * 86400),
                    scheduled_for=due_at,
                    timezone=rng.choice(_TIMEZONES),
                    media=_draw_media(rng, accounts),
                )


def _posts_of_the_last_hour(simulator: Simulator) -> Iterator[PostHistory]:
    """Create posts of the last hour that are all final by now."""
    failures_by_account: Sequence[tuple[int, Mapping[AccountId, Failure | None]]] = (
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
    for minutes_ago, failures in failures_by_account:
        age = timedelta(minutes=minutes_ago) + draw_seconds(simulator.rng, 0, 59)
        yield simulator.post(
            draw_content(simulator.rng),
            {
                account_id: publish() if failure is None else fail(failure)
                for account_id, failure in failures.items()
            },
            created_at=simulator.now - age,
        )


def _past_post(simulator: Simulator, due_at: datetime) -> PostHistory:
    rng = simulator.rng
    is_scheduled = rng.random() >= 0.25
    if not is_scheduled:
        due_at += draw_seconds(rng, 0, 600)
    accounts = _draw_accounts(
        rng, [account for account in simulator.accounts.values() if _is_used(account, due_at)]
    )
    return simulator.post(
        draw_content(rng),
        {account.account.id: _draw_script(simulator, account, due_at) for account in accounts},
        created_at=_draw_created_at(rng, due_at) if is_scheduled else due_at,
        scheduled_for=due_at if is_scheduled else None,
        timezone=rng.choice(_TIMEZONES),
        media=_draw_media(rng, accounts),
    )


def _draw_due_times(rng: Random, day: datetime, workday_range: tuple[int, int]) -> list[datetime]:
    """Draw quarters of an hour within working time; a weekend day has a third of a workday's number."""
    count = rng.randint(*workday_range)
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
    """Return whether the team uses the account: until a day after it lost its access."""
    time_without_access = account.time_without_access(at)
    return time_without_access is None or time_without_access < timedelta(days=1)


def _draw_accounts(rng: Random, accounts: Sequence[DemoAccount]) -> list[DemoAccount]:
    (count,) = rng.choices(_ACCOUNT_COUNTS, _ACCOUNT_COUNT_WEIGHTS)
    return rng.sample(accounts, count)


def _draw_media(rng: Random, accounts: Sequence[DemoAccount]) -> tuple[Mapping[str, str], ...]:
    """Draw the media that the platforms of the post require."""
    platforms = {account.account.platform for account in accounts}
    if platforms & {"youtube", "tiktok"}:
        return (draw_medium(rng, "video"),)
    if platforms & {"instagram", "pinterest"} or rng.random() < 0.4:
        return tuple(draw_medium(rng, "image") for _ in range(rng.choice((1, 1, 1, 3))))
    return ()


def _draw_script(simulator: Simulator, account: DemoAccount, due_at: datetime) -> PublisherScript:
    rng = simulator.rng
    if account.time_without_access(due_at) is not None:
        return fail(account.access_failure)
    number = rng.random()
    if number < _FAILURE_RATE:
        return fail(*_draw_final_failures(rng, account, simulator.now - due_at))
    if number < _FAILURE_RATE + _RECOVERY_RATE:
        failure = rng.choice(RECOVERABLE_FAILURES[account.account.platform])
        return publish(
            *[failure] * rng.choice((1, 1, 1, 2) if failure.retry_after else (1, 1, 2, 3))
        )
    return publish()


def _draw_final_failures(rng: Random, account: DemoAccount, age: timedelta) -> list[Failure]:
    failure = rng.choice(
        [
            failure
            for failure in FINAL_FAILURES[account.account.platform]
            if _can_be_final(failure, account, age)
        ]
    )
    if failure.category not in PERMANENT_CATEGORIES:
        return [failure]
    return [*[UNAVAILABLE] * rng.choice((0, 0, 0, 1, 2)), failure]


def _can_be_final(failure: Failure, account: DemoAccount, age: timedelta) -> bool:
    if failure.category is ErrorCategory.RATE_LIMITED:
        return age > _RATE_LIMIT_AGE
    is_permanent = failure.category in PERMANENT_CATEGORIES
    return not (
        is_permanent and account.account.id in ALWAYS_HEALTHY and age < _PERMANENT_FAILURE_AGE
    )
