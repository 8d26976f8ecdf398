"""The post of the documented example, with the documented ids, dates and results."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

from app.demo import courses
from app.demo.accounts import INSTAGRAM, LINKEDIN_ACCESS_LOST_AT, LINKEDIN_EXPIRED, X
from app.demo.courses import Failure, Publication, Try, failed_try
from app.demo.posts import DemoPost
from app.domain.destinations import ErrorCategory
from app.domain.ids import DestinationId, PostId

_DUE_AT = datetime(2026, 4, 15, 14, 30, tzinfo=UTC)

_UNAVAILABLE = Failure(
    category=ErrorCategory.TRANSIENT,
    code="PLATFORM_UNAVAILABLE",
    message="LinkedIn is temporarily unavailable.",
    http_status=503,
)
_EXPIRED = Failure(
    category=ErrorCategory.AUTH,
    code="TOKEN_EXPIRED",
    message="Token expired. Please reconnect your LinkedIn account.",
    http_status=401,
)


def documented_example() -> DemoPost:
    """Published on two accounts and failed on the third; so it is partially failed."""
    return DemoPost(
        id=PostId(UUID("f47ac10b-58cc-4372-a567-0e02b2c3d479")),
        destination_ids=(
            DestinationId(UUID("d1e2f3a4-b5c6-7890-abcd-ef1234567890")),
            DestinationId(UUID("e2f3a4b5-c6d7-8901-abcd-ef1234567890")),
            DestinationId(UUID("f3a4b5c6-d7e8-9012-abcd-ef1234567890")),
        ),
        content="Demo: the documented example, published on two accounts and failed on the third",
        courses={
            INSTAGRAM: courses.published(_DUE_AT, [_instagram()]),
            X: courses.published(_DUE_AT, [_x()]),
            LINKEDIN_EXPIRED: courses.failed(_DUE_AT, _linkedin()),
        },
        created_at=_DUE_AT - timedelta(hours=29, minutes=25),
        scheduled_for=_DUE_AT,
        timezone="UTC",
    )


def _instagram() -> Try:
    return Try(
        fence=1,
        worker="publisher-1",
        started_at=_DUE_AT + timedelta(milliseconds=1_250),
        finished_at=_DUE_AT + timedelta(milliseconds=5_180),
        publication=Publication(
            published_at=_DUE_AT + timedelta(seconds=5),
            platform_post_id="17895432678901234",
            platform_post_url="https://www.instagram.com/p/ABC123/",
        ),
    )


def _x() -> Try:
    return Try(
        fence=1,
        worker="publisher-2",
        started_at=_DUE_AT + timedelta(milliseconds=1_310),
        finished_at=_DUE_AT + timedelta(milliseconds=3_090),
        publication=Publication(
            published_at=_DUE_AT + timedelta(seconds=3),
            platform_post_id="1780123456789012345",
            platform_post_url="https://x.com/mybrand/status/1780123456789012345",
        ),
    )


def _linkedin() -> list[Try]:
    return [
        failed_try(1, _DUE_AT + timedelta(milliseconds=3_400), _UNAVAILABLE),
        failed_try(2, _DUE_AT + timedelta(milliseconds=28_900), _UNAVAILABLE),
        failed_try(3, LINKEDIN_ACCESS_LOST_AT, _EXPIRED),
    ]
