"""Draws of what publishers do: when they call, how long it takes, what a platform answers.

All randomness comes from the generator that is passed, so the same seed gives the same answers.
"""

import string
from collections.abc import Sequence
from datetime import datetime, timedelta
from random import Random
from uuid import UUID

from app.demo.accounts import DemoAccount
from app.demo.courses import Failure, Publication, Try

_BASE_BACKOFF = timedelta(seconds=30)
_LONGEST_BACKOFF = timedelta(hours=1)
_SLOW_PLATFORMS = ("youtube", "tiktok")
_LETTERS = string.ascii_letters + string.digits
_BASE_64 = string.ascii_uppercase + string.ascii_lowercase + string.digits + "-_"

_LINKS = {
    "instagram": "https://www.instagram.com/p/{code}/",
    "facebook": "https://www.facebook.com/{page}/posts/{post}",
    "x": "https://x.com/{handle}/status/{post}",
    "linkedin": "https://www.linkedin.com/feed/update/{post}/",
    "youtube": "https://www.youtube.com/watch?v={post}",
    "tiktok": "https://www.tiktok.com/@{handle}/video/{post}",
    "threads": "https://www.threads.com/@{handle}/post/{post}",
    "pinterest": "https://www.pinterest.com/pin/{post}/",
}


def draw_uuid(rng: Random) -> UUID:
    return UUID(int=rng.getrandbits(128), version=4)


def draw_seconds(rng: Random, shortest: float, longest: float) -> timedelta:
    return timedelta(milliseconds=round(rng.uniform(shortest, longest) * 1000))


def failed_tries(rng: Random, due_at: datetime, failures: Sequence[Failure]) -> list[Try]:
    """Calls that met these failures one after the other, with the waits of automatic retries."""
    tries: list[Try] = []
    for failure in failures:
        started_at = _next_start(rng, due_at, tries)
        tries.append(
            Try(
                fence=len(tries) + 1,
                worker=_draw_worker(rng),
                started_at=started_at,
                finished_at=started_at + draw_seconds(rng, 0.3, 5),
                failure=failure,
            )
        )
    return tries


def then_published(
    rng: Random,
    due_at: datetime,
    tries: Sequence[Try],
    account: DemoAccount,
    *,
    not_before: datetime | None = None,
) -> list[Try]:
    """The tries, and one more that published; not before somebody asked for it."""
    if not_before is None:
        started_at = _next_start(rng, due_at, tries)
    else:
        started_at = not_before + draw_seconds(rng, 0.4, 3)
    slow = account.platform in _SLOW_PLATFORMS
    published_at = started_at + (draw_seconds(rng, 6, 40) if slow else draw_seconds(rng, 0.4, 4))
    published = Try(
        fence=max((each.fence for each in tries), default=0) + 1,
        worker=_draw_worker(rng),
        started_at=started_at,
        finished_at=published_at + draw_seconds(rng, 0.02, 0.3),
        publication=draw_publication(rng, account, published_at),
    )
    return [*tries, published]


def draw_publication(rng: Random, account: DemoAccount, published_at: datetime) -> Publication:
    """An id and a link as the platform makes them; they lead to no real post."""
    post_id = _draw_post_id(rng, account.platform)
    return Publication(
        published_at=published_at,
        platform_post_id=post_id,
        platform_post_url=_LINKS[account.platform].format(
            handle=account.platform_username,
            page=account.platform_user_id,
            post=post_id,
            code=_shortcode(post_id) if account.platform == "instagram" else "",
        ),
    )


def _next_start(rng: Random, due_at: datetime, tries: Sequence[Try]) -> datetime:
    if not tries:
        busy = rng.random() < 0.06
        return due_at + (draw_seconds(rng, 8, 75) if busy else draw_seconds(rng, 0.4, 6))
    last = tries[-1]
    backoff = min(_BASE_BACKOFF * 2 ** (len(tries) - 1), _LONGEST_BACKOFF)
    wait = draw_seconds(rng, 1, backoff.total_seconds())
    if last.failure is not None and last.failure.retry_after is not None:
        wait = max(wait, last.failure.retry_after)
    return (last.finished_at or last.started_at) + wait + draw_seconds(rng, 0.1, 1.5)


def _draw_worker(rng: Random) -> str:
    return f"publisher-{rng.randint(1, 3)}"


def _draw_post_id(rng: Random, platform: str) -> str:
    match platform:
        case "youtube" | "threads":
            return _draw_from(rng, _LETTERS, 11)
        case "linkedin":
            return f"urn:li:share:7{_draw_from(rng, string.digits, 18)}"
        case "facebook":
            return f"1{_draw_from(rng, string.digits, 14)}"
        case _:
            return f"17{_draw_from(rng, string.digits, 17)}"


def _draw_from(rng: Random, characters: str, length: int) -> str:
    return "".join(rng.choices(characters, k=length))


def _shortcode(number: str) -> str:
    """Instagram's links carry the number in base 64."""
    rest, code = int(number), ""
    while rest:
        rest, digit = divmod(rest, 64)
        code = _BASE_64[digit] + code
    return code
