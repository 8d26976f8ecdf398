"""The log of attempts and the evidence of publications: read, and written as the domain decides."""

from collections.abc import Mapping, Sequence
from datetime import timedelta

from sqlalchemy import insert, select, update

from app.db.core.database import Reader, WriteSession
from app.db.core.statements import AnyRow, Statement, any_of
from app.db.core.types import ColumnValues
from app.db.models import Attempt, PublishEvidence
from app.domain import attempts as domain
from app.domain.attempts import Evidence, Failure, Publication
from app.domain.ids import DestinationId, WorkspaceId

_MILLISECOND = timedelta(milliseconds=1)
_OLDEST_FIRST = (Attempt.started_at, Attempt.number.nulls_last(), Attempt.id)
"""Of those that started together by number, then the late ones, which have none."""


async def attempts_by_destination_id(
    reader: Reader, destination_ids: Sequence[DestinationId]
) -> Sequence[AnyRow]:
    """The attempts of the destinations, each one's in the order of `_OLDEST_FIRST`."""
    return await reader.rows(_ATTEMPTS_BY_DESTINATION, destination_ids=destination_ids)


_ATTEMPTS_BY_DESTINATION = Statement(
    select(
        Attempt.id,
        Attempt.destination_id,
        Attempt.kind,
        Attempt.number,
        Attempt.outcome,
        Attempt.category,
        Attempt.code,
        Attempt.message,
        Attempt.http_status,
        Attempt.retry_after_ms,
        Attempt.worker,
        Attempt.started_at,
        Attempt.finished_at,
    )
    .where(any_of(Attempt.destination_id, "destination_ids"))
    .order_by(Attempt.destination_id, *_OLDEST_FIRST)
)


async def load_attempts(reader: Reader, destination_id: DestinationId) -> list[domain.Attempt]:
    """The whole log of a destination whose post is locked, in the order of `_OLDEST_FIRST`."""
    rows = await reader.rows(
        select(
            Attempt.id,
            Attempt.kind,
            Attempt.number,
            Attempt.fence,
            Attempt.attempt_key,
            Attempt.outcome,
            Attempt.category,
            Attempt.code,
            Attempt.message,
            Attempt.http_status,
            Attempt.retry_after_ms,
            Attempt.raw,
            Attempt.worker,
            Attempt.started_at,
            Attempt.finished_at,
        )
        .where(Attempt.destination_id == destination_id)
        .order_by(*_OLDEST_FIRST)
    )
    return [_attempt_from_row(row) for row in rows]


async def load_evidence(reader: Reader, destination_id: DestinationId) -> list[Evidence]:
    rows = await reader.rows(
        select(
            PublishEvidence.fence,
            PublishEvidence.counted,
            PublishEvidence.platform_post_id,
            PublishEvidence.platform_post_url,
            PublishEvidence.published_at,
            PublishEvidence.reported_at,
        ).where(PublishEvidence.destination_id == destination_id)
    )
    return [
        Evidence(
            fence=row.fence,
            counted=row.counted,
            publication=Publication(
                platform_post_id=row.platform_post_id,
                platform_post_url=row.platform_post_url,
                published_at=row.published_at,
            ),
            reported_at=row.reported_at,
        )
        for row in rows
    ]


async def write_attempts(
    session: WriteSession,
    workspace_id: WorkspaceId,
    destination_id: DestinationId,
    attempts: Sequence[domain.Attempt],
    *,
    previous: Sequence[domain.Attempt],
) -> None:
    """New ones, and those of `before` that have ended since."""
    known = {each.id for each in previous}
    rows = {each.id: _attempt_row(workspace_id, destination_id, each) for each in attempts}
    if new := [row for key, row in rows.items() if key not in known]:
        await session.execute(insert(Attempt), new)
    if ended := [row for key, row in rows.items() if key in known]:
        await session.execute(update(Attempt), ended)


async def insert_evidence(
    session: WriteSession,
    workspace_id: WorkspaceId,
    destination_id: DestinationId,
    evidence: Evidence,
) -> None:
    await session.execute(
        insert(PublishEvidence), [_evidence_row(workspace_id, destination_id, evidence)]
    )


async def insert_histories(
    session: WriteSession,
    workspace_id: WorkspaceId,
    attempts: Mapping[DestinationId, Sequence[domain.Attempt]],
    evidence: Mapping[DestinationId, Sequence[Evidence]],
) -> None:
    """Insert the complete attempts and evidence of new destinations, one statement per table."""
    options = {"render_nulls": True}  # without it, rows with different nulls need a statement each
    attempt_rows = [
        _attempt_row(workspace_id, destination_id, attempt)
        for destination_id, destination_attempts in attempts.items()
        for attempt in destination_attempts
    ]
    evidence_rows = [
        _evidence_row(workspace_id, destination_id, report)
        for destination_id, reports in evidence.items()
        for report in reports
    ]
    if attempt_rows:
        await session.execute(insert(Attempt), attempt_rows, execution_options=options)
    if evidence_rows:
        await session.execute(insert(PublishEvidence), evidence_rows, execution_options=options)


def _attempt_from_row(row: AnyRow) -> domain.Attempt:
    failure = None
    if row.message is not None:
        failure = Failure(
            category=row.category,
            code=row.code,
            message=row.message,
            http_status=row.http_status,
            retry_after=(None if row.retry_after_ms is None else row.retry_after_ms * _MILLISECOND),
            raw=row.raw,
        )
    return domain.Attempt(
        id=row.id,
        kind=row.kind,
        number=row.number,
        fence=row.fence,
        attempt_key=row.attempt_key,
        worker=row.worker,
        started_at=row.started_at,
        outcome=row.outcome,
        failure=failure,
        finished_at=row.finished_at,
    )


def _attempt_row(
    workspace_id: WorkspaceId, destination_id: DestinationId, attempt: domain.Attempt
) -> ColumnValues:
    failure = attempt.failure
    waits = None if failure is None else failure.retry_after
    return {
        "workspace_id": workspace_id,
        "id": attempt.id,
        "destination_id": destination_id,
        "kind": attempt.kind,
        "number": attempt.number,
        "fence": attempt.fence,
        "attempt_key": attempt.attempt_key,
        "outcome": attempt.outcome,
        "category": failure and failure.category,
        "code": failure and failure.code,
        "message": failure and failure.message,
        "http_status": failure and failure.http_status,
        "retry_after_ms": None if waits is None else waits // _MILLISECOND,
        "raw": failure and failure.raw,
        "worker": attempt.worker,
        "started_at": attempt.started_at,
        "finished_at": attempt.finished_at,
    }


def _evidence_row(
    workspace_id: WorkspaceId, destination_id: DestinationId, evidence: Evidence
) -> ColumnValues:
    return {
        "workspace_id": workspace_id,
        "destination_id": destination_id,
        "fence": evidence.fence,
        "counted": evidence.counted,
        "platform_post_id": evidence.publication.platform_post_id,
        "platform_post_url": evidence.publication.platform_post_url,
        "published_at": evidence.publication.published_at,
        "reported_at": evidence.reported_at,
    }
