"""Records of one post to test with, told in a line, and what they make of it. No tests."""

from datetime import datetime, timedelta
from typing import Any, cast
from uuid import UUID

from app.domain.destinations import DestinationState, DestinationStatus
from app.domain.ids import AccountId, DestinationId, PostId
from app.domain.imports.merging import merge
from app.domain.imports.records import DestinationRecord, PostDetails, PostRecord
from app.domain.posts import Post, PostStatus
from tests.factories import NOW

HOUR = timedelta(hours=1)
POST = PostId(UUID("f47ac10b-58cc-4372-a567-0e02b2c3d479"))
CREATED, DUE, CHANGED, ANSWERED = NOW - 48 * HOUR, NOW - 30 * HOUR, NOW - 20 * HOUR, NOW - 10 * HOUR
BEFORE, AFTER = CHANGED - HOUR, CHANGED + HOUR

DRAFT, SCHEDULED, PUBLISHING = PostStatus.DRAFT, PostStatus.SCHEDULED, PostStatus.PUBLISHING
URL = "https://x.com/acme/status/1"


def told(account_id: int = 1, status: str = "queued", **said: Any) -> DestinationRecord:
    facts: dict[str, Any] = {
        "id": DestinationId(UUID(int=account_id)),
        "account_name": None,
        "platform": "x",
        "scheduled_for": None,
        "published_at": None,
        "platform_post_id": None,
        "platform_post_url": None,
        "error": None,
        "attempts": 0,
        "next_retry_at": None,
    }
    return DestinationRecord(
        account_id=AccountId(account_id), status=DestinationStatus(status), **{**facts, **said}
    )


QUEUED = told()
RUNNING = told(status="publishing", attempts=1)
WAITING = told(attempts=1, error="Timed out", next_retry_at=NOW)
FAILED = told(status="failed", attempts=2, error="Refused")
RETRIED = told(attempts=2)
PUBLISHED = told(
    status="published",
    attempts=3,
    published_at=DUE + HOUR,
    platform_post_id="1",
    platform_post_url=URL,
)
COURSE = [QUEUED, RUNNING, WAITING, FAILED, RETRIED, PUBLISHED]
NAMES = ["queued", "running", "waiting", "failed", "retried", "published"]


def details(**said: Any) -> PostDetails:
    """With None for a time that is not told."""
    facts = {
        "content": "Spring sale",
        "scheduled_for": DUE,
        "timezone": None,
        "media_ids": [],
        "media": [],
        "platform_content": {},
        "created_at": CREATED,
        "updated_at": CHANGED,
    }
    told_times = {"created_at", "updated_at"}
    kept = {
        key: value for key, value in {**facts, **said}.items() if value or key not in told_times
    }
    return cast("PostDetails", kept)


def of_post(
    *destinations: DestinationRecord,
    status: PostStatus | None = None,
    as_of: datetime | None = ANSWERED,
    **said: Any,
) -> PostRecord:
    return PostRecord(
        id=POST, status=status, details=details(**said), destinations=destinations, as_of=as_of
    )


def of_results(
    *destinations: DestinationRecord,
    status: PostStatus | None = None,
    as_of: datetime | None = ANSWERED,
) -> PostRecord:
    return PostRecord(id=POST, status=status, details={}, destinations=destinations, as_of=as_of)


def merged(*records: PostRecord, now: datetime = NOW) -> Post:
    post: Post | None = None
    for record in records:
        post = merge(post, record, now=now)
    assert post is not None
    return post


def states(post: Post) -> list[DestinationState]:
    return [each.state for each in post.destinations]


def state(*records: PostRecord) -> DestinationState:
    (found,) = states(merged(*records))
    return found


def accounts(post: Post) -> list[int]:
    return [each.account_id for each in post.destinations]
