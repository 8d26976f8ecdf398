"""Demo posts whose text names what they show: the documented example, every state, every kind of content."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

from app.demo.accounts import (
    FACEBOOK,
    INSTAGRAM,
    LINKEDIN,
    LINKEDIN_ACCESS_LOST_AT,
    LINKEDIN_EXPIRED,
    PINTEREST,
    THREADS,
    TIKTOK_ACCESS_LOST_AGE,
    TIKTOK_REFUSED,
    YOUTUBE_EXPIRING,
    X,
)
from app.demo.contents import (
    DAILY_QUOTA,
    DUPLICATE,
    NO_PROMOTION,
    PERMISSION_MISSING,
    PROCESSING,
    THREADS_TOO_LONG,
    TIMEOUT,
    UNAVAILABLE,
    UNRECOGNISED,
    draw_medium,
    failure,
    text_of_length,
)
from app.demo.simulation import (
    LEASE,
    WAIT,
    PostHistory,
    PublisherScript,
    SimulatedDestination,
    Simulator,
    at,
    attempt,
    fail,
    publish,
)
from app.domain.attempts import Publication
from app.domain.destinations import ErrorCategory
from app.domain.ids import AccountId, PostId
from app.domain.post_commands import Schedule, cancel_post, delete_post, schedule_post

EXAMPLE_POST_ID = PostId(UUID("f47ac10b-58cc-4372-a567-0e02b2c3d479"))
"""Post of the example in the documentation of the REST API."""

_EXAMPLE_DUE_AT = datetime(2026, 4, 15, 14, 30, tzinfo=UTC)

_LINKEDIN_UNAVAILABLE = failure(
    ErrorCategory.TRANSIENT, "PLATFORM_UNAVAILABLE", "LinkedIn is temporarily unavailable.", 503
)
_LINKEDIN_TOKEN_EXPIRED = failure(
    ErrorCategory.AUTH,
    "TOKEN_EXPIRED",
    "Token expired. Please reconnect your LinkedIn account.",
    401,
)

SECOND, MINUTE, HOUR, DAY = (timedelta(seconds=seconds) for seconds in (1, 60, 3600, 86_400))

_SCENARIOS: Sequence[
    tuple[str, timedelta, timedelta | None, Mapping[AccountId, PublisherScript]]
] = (
    # Not final. Created about a day ago, so that none is among the newest failed posts if it fails later.
    ("scheduled for next week", 27 * HOUR, -7 * DAY, {INSTAGRAM: WAIT, THREADS: WAIT}),
    ("due, and not claimed by a publisher yet", 25 * HOUR, 20 * SECOND, {FACEBOOK: WAIT, X: WAIT}),
    ("overdue, because no publisher claimed it", 24 * HOUR, 40 * MINUTE, {PINTEREST: WAIT}),
    (
        "claimed by a publisher that has not started yet",
        23 * HOUR,
        5 * SECOND,
        {LINKEDIN: [at(1, SimulatedDestination.claim)]},
    ),
    (
        "claimed by a publisher that stopped before it started an attempt",
        22 * HOUR,
        20 * MINUTE,
        {THREADS: [at(1, SimulatedDestination.claim)]},
    ),
    (
        "being published right now",
        21 * HOUR,
        8 * SECOND,
        {INSTAGRAM: [at(5, SimulatedDestination.start)]},
    ),
    (
        "published on one account, in its second attempt on another",
        20 * HOUR,
        2 * MINUTE,
        {X: publish(), THREADS: [attempt(63, TIMEOUT, 93), at(117, SimulatedDestination.start)]},
    ),
    (
        "waiting for an automatic retry",
        19 * HOUR,
        222 * SECOND,
        {LINKEDIN: [attempt(seconds, UNAVAILABLE, seconds + 2) for seconds in (3, 33, 93, 213)]},
    ),
    (
        "waiting until the platform's rate limit resets",
        18 * HOUR,
        3 * HOUR,
        {YOUTUBE_EXPIRING: [attempt(10, DAILY_QUOTA, 12)]},
    ),
    # Final.
    (
        "published on every account",
        74 * HOUR,
        50 * HOUR,
        {account_id: publish() for account_id in (INSTAGRAM, FACEBOOK, X, THREADS, LINKEDIN)},
    ),
    (
        "published after two automatic retries",
        49 * HOUR,
        None,
        {INSTAGRAM: publish(PROCESSING, PROCESSING)},
    ),
    (
        "published after a retry by hand",
        51 * HOUR,
        48 * HOUR,
        {FACEBOOK: [*fail(UNAVAILABLE), at(6 * 3600, SimulatedDestination.retry), *publish()]},
    ),
    (
        "partially failed, published on two accounts and rejected by the third",
        49 * HOUR,
        47 * HOUR,
        {INSTAGRAM: publish(), FACEBOOK: publish(), X: fail(DUPLICATE)},
    ),
    ("failed, a fault that did not pass", 46 * HOUR, None, {X: fail(UNAVAILABLE)}),
    ("failed, rate limited for three days", 4 * DAY, None, {YOUTUBE_EXPIRING: fail(DAILY_QUOTA)}),
    (
        "failed, access rejected",
        TIKTOK_ACCESS_LOST_AGE,
        None,
        {TIKTOK_REFUSED: fail(PERMISSION_MISSING)},
    ),
    ("failed, content rejected", 45 * HOUR, None, {THREADS: fail(THREADS_TOO_LONG)}),
    ("failed, permanent error", 44 * HOUR, None, {PINTEREST: fail(NO_PROMOTION)}),
    ("failed, an unrecognised answer", 43 * HOUR, None, {LINKEDIN: fail(UNRECOGNISED)}),
    (
        "outcome unknown, the publisher stopped after it started an attempt",
        42 * HOUR,
        None,
        {INSTAGRAM: [at(2, SimulatedDestination.lose_lease)]},
    ),
    (
        "published, according to a late report",
        41 * HOUR,
        None,
        {X: [at(2, SimulatedDestination.lose_lease), at(660, SimulatedDestination.report_late)]},
    ),
    (
        "published twice, a late report came after the retry",
        40 * HOUR,
        None,
        {
            FACEBOOK: [
                at(2, SimulatedDestination.lose_lease),
                at(LEASE.total_seconds() + 60, SimulatedDestination.retry),
                *publish(),
                at(660, SimulatedDestination.report_late),
            ]
        },
    ),
)
"""Text, age, time since the due time (None: published immediately), and the script per account."""


def scenarios(simulator: Simulator) -> Iterator[PostHistory]:
    """Create all demo posts that are named by their text; the documented example is the first."""
    yield _documented_example(simulator)
    yield from _drafts(simulator)
    for name, age, due_age, scripts in _SCENARIOS:
        yield simulator.post(
            f"Demo: {name}",
            scripts,
            created_at=simulator.now - age,
            scheduled_for=None if due_age is None else simulator.now - due_age,
        )
    yield _cancelled_post(simulator)
    yield _deleted_post(simulator)
    yield from _posts_of_every_content(simulator)


def _documented_example(simulator: Simulator) -> PostHistory:
    """Create the example of the REST documentation, with its ids, dates and results."""
    instagram = Publication(
        published_at=_EXAMPLE_DUE_AT + 5 * SECOND,
        platform_post_id="17895432678901234",
        platform_post_url="https://www.instagram.com/p/ABC123/",
    )
    x = Publication(
        published_at=_EXAMPLE_DUE_AT + 3 * SECOND,
        platform_post_id="1780123456789012345",
        platform_post_url="https://x.com/mybrand/status/1780123456789012345",
    )
    lost_after = (LINKEDIN_ACCESS_LOST_AT - _EXAMPLE_DUE_AT).total_seconds()
    return simulator.post(
        "Demo: the documented example, published on two accounts and failed on the third",
        {
            INSTAGRAM: [attempt(1.25, instagram, 5.18)],
            X: [attempt(1.31, x, 3.09)],
            LINKEDIN_EXPIRED: [
                attempt(1.4, _LINKEDIN_UNAVAILABLE, 3.4),
                attempt(26.9, _LINKEDIN_UNAVAILABLE, 28.9),
                attempt(lost_after - 2, _LINKEDIN_TOKEN_EXPIRED, lost_after),
            ],
        },
        created_at=_EXAMPLE_DUE_AT - timedelta(hours=29, minutes=25),
        scheduled_for=_EXAMPLE_DUE_AT,
        timezone="UTC",
        ids=(
            EXAMPLE_POST_ID,
            UUID("d1e2f3a4-b5c6-7890-abcd-ef1234567890"),
            UUID("e2f3a4b5-c6d7-8901-abcd-ef1234567890"),
            UUID("f3a4b5c6-d7e8-9012-abcd-ef1234567890"),
        ),
    )


def _drafts(simulator: Simulator) -> Iterator[PostHistory]:
    now = simulator.now
    yield simulator.post(
        "Demo: a draft without accounts", {}, created_at=now - 29 * HOUR, is_draft=True
    )
    yield simulator.post(
        "Demo: a draft for two accounts",
        {FACEBOOK: WAIT, LINKEDIN: WAIT},
        created_at=now - 28 * HOUR,
        is_draft=True,
    )
    draft = simulator.post(
        "Demo: to be published immediately, due a moment ago and waiting for a publisher",
        {X: WAIT},
        created_at=now - 26 * HOUR,
        is_draft=True,
    )
    submitted = schedule_post(
        draft.post,
        {},
        Schedule(scheduled_for=None, publish_now=True),
        account_ids=None,
        expected_version=None,
        new_id=simulator.new_id,
        now=now - 2 * SECOND,
    )
    yield replace(draft, post=submitted)


def _cancelled_post(simulator: Simulator) -> PostHistory:
    due_at = simulator.now - 30 * HOUR
    rejected = simulator.post(
        "Demo: cancelled on one account, after the other had rejected it",
        {X: fail(DUPLICATE), THREADS: WAIT},
        created_at=due_at - DAY,
        scheduled_for=due_at,
    )
    cancelled = cancel_post(rejected.post, expected_version=None, now=due_at + 4 * MINUTE)
    return replace(rejected, post=cancelled)


def _deleted_post(simulator: Simulator) -> PostHistory:
    scheduled = simulator.post(
        "Demo: deleted before its due time",
        {FACEBOOK: WAIT},
        created_at=simulator.now - 18 * HOUR,
        scheduled_for=simulator.now + 2 * DAY,
    )
    deleted = delete_post(scheduled.post, expected_version=None, now=simulator.now - 17 * HOUR)
    return replace(scheduled, post=deleted)


def _posts_of_every_content(simulator: Simulator) -> Iterator[PostHistory]:
    """Create published posts with texts per platform, media, long texts, many scripts, and a reference."""

    def published(
        content: str,
        hours_ago: float,
        *account_ids: AccountId,
        media: tuple[dict[str, str], ...] = (),
        texts: dict[str, str] | None = None,
        reference: str | None = None,
    ) -> PostHistory:
        return simulator.post(
            content,
            {account_id: publish() for account_id in account_ids},
            created_at=simulator.now - hours_ago * HOUR,
            media=media,
            platform_content={
                platform: {
                    "content": text,
                    "contentType": _CONTENT_TYPES.get(platform, "text"),
                    "settings": {},
                }
                for platform, text in (texts or {}).items()
            },
            reference=reference,
        )

    yield published(
        "Demo: one common text, and a separate text for two platforms",
        70,
        FACEBOOK,
        X,
        LINKEDIN,
        texts={
            "x": "Demo: the short text for X",
            "linkedin": "Demo: the thorough text for LinkedIn, with a question?",
        },
    )
    yield published(
        "",
        69,
        THREADS,
        PINTEREST,
        texts={
            "threads": "Demo: no common text, this one is for Threads",
            "pinterest": "Demo: no common text, this one is for Pinterest",
        },
    )
    pictures = tuple(dict(draw_medium(simulator.rng, "image")) for _ in range(3))
    video = dict(draw_medium(simulator.rng, "video"))
    yield published("Demo: three pictures", 68, INSTAGRAM, PINTEREST, media=pictures)
    yield published(
        "Demo: a picture and a video", 67, INSTAGRAM, FACEBOOK, media=(pictures[0], video)
    )
    yield published(
        _longest_text("LinkedIn", 3000),
        66,
        LINKEDIN,
        X,
        THREADS,
        INSTAGRAM,
        texts={
            "x": _longest_text("X", 280),
            "threads": _longest_text("Threads", 500),
            "instagram": _longest_text("Instagram", 2200),
        },
    )
    for hours_ago, content in (
        (65, "Demo: 日本語の投稿です。今週の新作をご紹介します 🌸"),
        (64, "Demo: منشور بالعربية، من اليمين إلى اليسار"),
        (63, "Demo: Ο ΣΊΣΥΦΟΣ και η Straße im Café, ещё и по-русски"),
        (62, "Demo: हिन्दी में एक पोस्ट 👩🏽‍💻👨‍👩‍👧‍👦"),
    ):
        yield published(content, hours_ago, FACEBOOK, X)
    yield published(
        "Demo: found by a client's own reference", 61, X, reference="spring-campaign/0042"
    )


_CONTENT_TYPES = {"pinterest": "pin", "instagram": "feed", "threads": "post"}


def _longest_text(platform: str, length: int) -> str:
    return text_of_length(length, f"Demo: a text as long as {platform} allows. ")
