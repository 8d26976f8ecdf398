"""The rows that are stored of the demo accounts and posts; everything derived is derived here."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import fields
from datetime import datetime, timedelta
from random import Random
from uuid import UUID

from app.db.core.types import ColumnValues
from app.db.repositories.demo import DemoRows
from app.demo.accounts import DemoAccount
from app.demo.courses import Course, Failure, Publication, Try
from app.demo.posts import DemoPost
from app.demo.tries import draw_uuid
from app.domain.attempts import AttemptKind
from app.domain.destinations import DestinationState
from app.domain.ids import DestinationId, WorkspaceId
from app.domain.posts import post_published_at, post_status, search_text


def demo_rows(
    rng: Random,
    workspace_id: WorkspaceId,
    accounts: Sequence[DemoAccount],
    posts: Iterable[DemoPost],
) -> DemoRows:
    """All rows of the demo workspace; ids that nobody gave are drawn in the order of the posts."""
    rows = DemoRows(accounts=[_account(workspace_id, account) for account in accounts])
    platforms = {account.id: account.platform for account in accounts}
    for post in posts:
        post_id = post.id or draw_uuid(rng)
        ids = post.destination_ids or tuple(DestinationId(draw_uuid(rng)) for _ in post.courses)
        rows.posts.append(_post(workspace_id, post_id, post))
        for position, (account_id, course) in enumerate(post.courses.items()):
            destination = {
                "workspace_id": workspace_id,
                "id": ids[position],
                "post_id": post_id,
                "account_id": account_id,
                "platform": platforms[account_id],
                "position": position,
            }
            rows.destinations.append(destination | _what_happened(course, post.created_at))
            rows.attempts.extend(_attempts(rng, workspace_id, ids[position], course))
            rows.evidence.extend(_evidence(workspace_id, ids[position], course))
    return rows


def _account(workspace_id: WorkspaceId, account: DemoAccount) -> ColumnValues:
    return {
        "workspace_id": workspace_id,
        "id": account.id,
        "platform": account.platform,
        "account_name": account.account_name,
        "display_name": account.display_name,
        "platform_user_id": account.platform_user_id,
        "platform_username": account.platform_username,
        "avatar_url": account.avatar_url,
        "is_active": account.is_active,
        "needs_reconnection_since": account.needs_reconnection_since,
        "token_expires_at": account.token_expires_at,
        "token_refreshed_at": account.token_refreshed_at,
        "connected_at": account.connected_at,
        "created_at": account.created_at,
        "updated_at": account.updated_at,
    }


def _post(workspace_id: WorkspaceId, post_id: UUID, post: DemoPost) -> ColumnValues:
    states = [course.state for course in post.courses.values()]
    return {
        "workspace_id": workspace_id,
        "id": post_id,
        "content": post.content,
        "is_draft": post.is_draft,
        "submitted_now": post.submitted_now,
        "scheduled_for": post.scheduled_for,
        "timezone": post.timezone,
        "media_ids": [medium["id"] for medium in post.media],
        "media": [dict(medium) for medium in post.media],
        "platform_content": dict(post.platform_content),
        "reference": post.reference,
        "status": post_status(
            is_draft=post.is_draft, submitted_now=post.submitted_now, destinations=states
        ),
        "published_at": post_published_at(states),
        "version": post.version,
        "search_text": search_text(post.content, post.platform_content),
        "deleted_at": post.deleted_at,
        "imported_at": None,
        "created_at": post.created_at,
        "updated_at": post.updated_at,
    }


def _what_happened(course: Course, created_at: datetime) -> ColumnValues:
    return {
        **_columns(course.state),
        "created_at": created_at,
        "updated_at": course.changed_at or created_at,
    }


def _columns(described: DestinationState | Publication) -> ColumnValues:
    # asdict copies all values deeply, which takes longer than all else of a row.
    return {each.name: getattr(described, each.name) for each in fields(described)}


def _attempts(
    rng: Random, workspace_id: WorkspaceId, destination_id: UUID, course: Course
) -> Iterator[ColumnValues]:
    number = 0
    for each in course.tries:
        regular = each.kind is AttemptKind.REGULAR
        number += regular
        yield {
            "workspace_id": workspace_id,
            "id": draw_uuid(rng),
            "destination_id": destination_id,
            "kind": each.kind,
            "number": number if regular else None,
            "fence": each.fence,
            "attempt_key": None,
            "outcome": each.outcome,
            **_failure(each.failure),
            "http_status": _http_status(each),
            "raw": None,
            "worker": each.worker,
            "started_at": each.started_at,
            "finished_at": each.finished_at,
        }


def _failure(failure: Failure | None) -> ColumnValues:
    if failure is None:
        return {"category": None, "code": None, "message": None, "retry_after_ms": None}
    wait = failure.retry_after
    return {
        "category": failure.category,
        "code": failure.code,
        "message": failure.message,
        "retry_after_ms": None if wait is None else wait // timedelta(milliseconds=1),
    }


def _http_status(attempt: Try) -> int | None:
    if attempt.failure is not None:
        return attempt.failure.http_status
    return None if attempt.publication is None else 200


def _evidence(
    workspace_id: WorkspaceId, destination_id: UUID, course: Course
) -> Iterator[ColumnValues]:
    """Of several reports that a destination is published, the first one counts."""
    counted = True
    for each in course.tries:
        if each.publication is not None:
            yield {
                "workspace_id": workspace_id,
                "destination_id": destination_id,
                "fence": each.fence,
                "counted": counted,
                "reported_at": each.finished_at,
                **_columns(each.publication),
            }
            counted = False
