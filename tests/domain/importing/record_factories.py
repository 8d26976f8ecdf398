"""Factories of import records of one post, and shortcuts for merging them."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, cast
from uuid import UUID

from app.domain.destinations import DestinationState, DestinationStatus
from app.domain.ids import AccountId, DestinationId, PostId
from app.domain.importing.merging import merge_record
from app.domain.importing.records import DestinationRecord, PostDetails, PostRecord
from app.domain.posts import Post, PostStatus
from tests import factories
from tests.factories import NOW

HOUR = timedelta(hours=1)
POST = PostId(UUID("f47ac10b-58cc-4372-a567-0e02b2c3d479"))
CREATED_AT, DUE_AT, CHANGED_AT, ANSWERED_AT = (
    NOW - 48 * HOUR,
    NOW - 30 * HOUR,
    NOW - 20 * HOUR,
    NOW - 10 * HOUR,
)
BEFORE_CHANGE, AFTER_CHANGE = CHANGED_AT - HOUR, CHANGED_AT + HOUR

DRAFT, SCHEDULED, PUBLISHING = PostStatus.DRAFT, PostStatus.SCHEDULED, PostStatus.PUBLISHING
URL = "https://x.com/acme/status/1"


def destination_record(
    account_id: int = 1, status: str = "queued", **fields: Any
) -> DestinationRecord:
    defaults: dict[str, Any] = {
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
        account_id=AccountId(account_id),
        status=DestinationStatus(status),
        **{**defaults, **fields},
    )


QUEUED = destination_record()
RUNNING = destination_record(status="publishing", attempts=1)
WAITING = destination_record(attempts=1, error="Timed out", next_retry_at=NOW)
FAILED = destination_record(status="failed", attempts=2, error="Refused")
RETRIED = destination_record(attempts=2)
PUBLISHED = destination_record(
    status="published",
    attempts=3,
    published_at=DUE_AT + HOUR,
    platform_post_id="1",
    platform_post_url=URL,
)
DESTINATION_RECORDS = [QUEUED, RUNNING, WAITING, FAILED, RETRIED, PUBLISHED]
DESTINATION_RECORD_NAMES = ["queued", "running", "waiting", "failed", "retried", "published"]


def post_record(
    *destinations: DestinationRecord,
    status: PostStatus | None = None,
    as_of: datetime | None = ANSWERED_AT,
    **fields: Any,
) -> PostRecord:
    """A record of a response with the post itself; None as `created_at` or `updated_at` omits the key."""
    details = {
        "content": "Spring sale",
        "scheduled_for": DUE_AT,
        "timezone": None,
        "media_ids": [],
        "media": [],
        "platform_content": {},
        "created_at": CREATED_AT,
        "updated_at": CHANGED_AT,
        **fields,
    }
    for name in ("created_at", "updated_at"):
        if details[name] is None:
            del details[name]
    return PostRecord(
        id=POST,
        status=status,
        details=cast("PostDetails", details),
        destinations=destinations,
        as_of=as_of,
    )


def results_record(
    *destinations: DestinationRecord,
    status: PostStatus | None = None,
    as_of: datetime | None = ANSWERED_AT,
) -> PostRecord:
    return PostRecord(id=POST, status=status, details={}, destinations=destinations, as_of=as_of)


def merge_records(*records: PostRecord, now: datetime = NOW) -> Post:
    post: Post | None = None
    for record in records:
        post = merge_record(post, record, now=now)
    assert post is not None
    return post


def states_of_post(post: Post) -> list[DestinationState]:
    return [destination.state for destination in post.destinations]


def merged_state(*records: PostRecord) -> DestinationState:
    (state,) = states_of_post(merge_records(*records))
    return state


def destination_accounts(post: Post) -> list[int]:
    return [destination.account_id for destination in post.destinations]


def local_post(state: DestinationState, *, imported_at: datetime | None = None) -> Post:
    post = merge_records(post_record(QUEUED))
    destinations = tuple(replace(destination, state=state) for destination in post.destinations)
    return replace(post, imported_at=imported_at, destinations=destinations)


LOCAL_STATES = [
    factories.queued(DUE_AT),
    factories.waiting_for_retry(due_at=DUE_AT),
    factories.claimed(DUE_AT),
    factories.started(DUE_AT),
    factories.published(due_at=DUE_AT),
    factories.failed(due_at=DUE_AT),
    factories.unknown(due_at=DUE_AT),
]
