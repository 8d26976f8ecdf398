"""Attempt log and publish evidence of destinations."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from uuid import UUID

from sqlalchemy import bindparam, func, select, true, tuple_, update

from app.db.core.conditions import any_of
from app.db.core.database import Reader
from app.db.core.paging import Page, PageRequest, page_of_rows
from app.db.core.projections import columns_except
from app.db.core.statements import AnyRow, Record, Statement, decoded_values
from app.db.core.types import ColumnValues, field_names, values_of
from app.db.core.write_session import WriteSession
from app.db.core.writes import insert_rows, update_rows, write_rows
from app.db.models import Attempt, Destination, PublishEvidence
from app.domain.attempts import Attempt as DomainAttempt
from app.domain.attempts import Evidence, Failure, Publication
from app.domain.destinations import Destination as DomainDestination
from app.domain.ids import DestinationId
from app.domain.validation.object_reader import MAX_INT32

_MILLISECOND = timedelta(milliseconds=1)
OLDEST_FIRST = (Attempt.started_at, Attempt.number.nulls_last(), Attempt.id)
"""Attempts with the same start by number; late reports, which have no number, come last."""

_ATTEMPT_FIELDS = field_names(DomainAttempt, "failure")
_FAILURE_FIELDS = field_names(Failure, "retry_after")
_EVIDENCE_FIELDS = field_names(Evidence, "publication")
_PUBLICATION_FIELDS = field_names(Publication)


async def attempts_by_destination_id(
    reader: Reader, destination_ids: Sequence[DestinationId]
) -> Sequence[AnyRow]:
    """Return the attempts of the destinations, those of each one in the order of `OLDEST_FIRST`."""
    return await reader.rows(_ATTEMPTS_BY_DESTINATION, destination_ids=destination_ids)


_READ_COLUMNS = columns_except(Attempt, "fence", "attempt_key", "raw", "account_id", "platform")
_ATTEMPTS_BY_DESTINATION = Statement(
    select(*_READ_COLUMNS)
    .where(any_of(Attempt.destination_id, "destination_ids"))
    .order_by(Attempt.destination_id, *OLDEST_FIRST)
)


async def attempts_page(
    reader: Reader, destination_id: DestinationId, request: PageRequest
) -> Page:
    """Return a page of one destination's attempts in the order of `OLDEST_FIRST`, from `after` on, if any."""
    parameters = {"destination_id": destination_id, "limit": request.size + 1}
    if (after := request.after) is None:
        rows = await reader.rows(_ATTEMPTS_PAGE, **parameters)
    else:
        bounds = {"after_value": after.value, "after_id": UUID(after.key)}
        rows = await reader.rows(_ATTEMPTS_PAGE_AFTER, **parameters, **bounds)
    return page_of_rows(rows, request)


async def first_attempts_pages(
    reader: Reader, destination_ids: Sequence[DestinationId], request: PageRequest
) -> dict[DestinationId, Page]:
    """Return the first page of each destination, as `attempts_page` does, by one statement.

    For several destinations, it reads their whole logs, to number the rows.
    """
    if len(destination_ids) == 1:
        return {key: await attempts_page(reader, key, request) for key in destination_ids}
    rows_by_id: dict[DestinationId, list[AnyRow]] = {key: [] for key in destination_ids}
    for row in await reader.rows(
        _FIRST_ATTEMPTS, destination_ids=destination_ids, limit=request.size + 1
    ):
        rows_by_id[row.destination_id].append(row)
    return {key: page_of_rows(rows, request) for key, rows in rows_by_id.items()}


# The index on (workspace_id, destination_id, started_at, id) serves the pages: only attempts with the same
# start are sorted by number.
_ATTEMPTS_PAGE_QUERY = (
    select(*_READ_COLUMNS)
    .where(Attempt.destination_id == bindparam("destination_id"))
    .order_by(*OLDEST_FIRST)
    .limit(bindparam("limit"))
)
_ATTEMPTS_PAGE = Statement(_ATTEMPTS_PAGE_QUERY)

_AFTER_VALUE = bindparam("after_value", type_=Attempt.started_at.type)
_AFTER_ID = bindparam("after_id", type_=Attempt.id.type)
_NUMBER_OR_LAST = func.coalesce(Attempt.number, MAX_INT32)
_AFTER_NUMBER = (
    select(_NUMBER_OR_LAST).where(Attempt.id == _AFTER_ID).correlate(None).scalar_subquery()
)
_ATTEMPTS_PAGE_AFTER = Statement(
    _ATTEMPTS_PAGE_QUERY.where(
        Attempt.started_at >= _AFTER_VALUE,  # for the index
        tuple_(Attempt.started_at, _NUMBER_OR_LAST, Attempt.id)
        > tuple_(_AFTER_VALUE, _AFTER_NUMBER, _AFTER_ID),
    )
)

_RANKED = (
    select(
        *_READ_COLUMNS,
        func.row_number()
        .over(partition_by=Attempt.destination_id, order_by=OLDEST_FIRST)
        .label("position"),
    )
    .where(any_of(Attempt.destination_id, "destination_ids"))
    .subquery()
)
_FIRST_ATTEMPTS = Statement(
    select(*(_RANKED.c[column.key] for column in _READ_COLUMNS))
    .where(_RANKED.c.position <= bindparam("limit"))
    .order_by(_RANKED.c.destination_id, _RANKED.c.position)
)


async def raw_by_attempt_id(reader: Reader, ids: Sequence[UUID]) -> Sequence[AnyRow]:
    """Return id and platform response of the attempts, in no particular order. Served by the primary key."""
    return await reader.rows(_RAW_BY_ID, ids=ids)


_RAW_BY_ID = Statement(select(Attempt.id, Attempt.raw).where(any_of(Attempt.id, "ids")))


async def load_attempts(reader: Reader, destination_id: DestinationId) -> list[DomainAttempt]:
    """Load the log of a destination whose post is locked, in the order of `OLDEST_FIRST`."""
    rows = await reader.rows(_ATTEMPT_LOG, destination_id=destination_id)
    return [attempt_from_row(row) for row in rows]


ATTEMPT_COLUMNS = columns_except(Attempt, "destination_id", "account_id", "platform")
_ATTEMPT_LOG = Statement(
    select(*ATTEMPT_COLUMNS)
    .where(Attempt.destination_id == bindparam("destination_id"))
    .order_by(*OLDEST_FIRST)
)


async def load_evidence(reader: Reader, destination_id: DestinationId) -> list[Evidence]:
    """Load the publish evidence of a destination whose post is locked."""
    rows = await reader.rows(_EVIDENCE, destination_id=destination_id)
    return [
        Evidence(
            **decoded_values(row, _EVIDENCE_FIELDS),
            publication=Publication(**decoded_values(row, _PUBLICATION_FIELDS)),
        )
        for row in rows
    ]


_EVIDENCE = Statement(
    select(*columns_except(PublishEvidence, "destination_id")).where(
        PublishEvidence.destination_id == bindparam("destination_id")
    )
)


async def write_attempts(
    session: WriteSession,
    destination: DomainDestination,
    attempts: Sequence[DomainAttempt],
    *,
    previous: Sequence[DomainAttempt],
) -> None:
    """Insert new attempts, and update those in `previous` that have finished since."""
    rows = [_attempt_row(destination, attempt) for attempt in attempts]
    stored_ids = {attempt.id for attempt in previous}
    await write_rows(session, Attempt, rows, stored_ids=stored_ids)


async def insert_evidence(
    session: WriteSession,
    destination_id: DestinationId,
    evidence: Evidence,
) -> None:
    """Insert a report of a publication, and mark the destination if it is a duplicate."""
    await _insert_evidence(session, {destination_id: [evidence]})


async def update_evidence(
    session: WriteSession, destination_id: DestinationId, evidence: Evidence
) -> None:
    """Update a stored report of a publication."""
    await update_rows(session, PublishEvidence, [_evidence_row(destination_id, evidence)])


async def insert_histories(
    session: WriteSession,
    destinations: Iterable[DomainDestination],
    attempts: Mapping[DestinationId, Sequence[DomainAttempt]],
    evidence: Mapping[DestinationId, Sequence[Evidence]],
) -> None:
    """Insert the complete attempts and evidence of new destinations, one statement per table."""
    attempt_rows = [
        _attempt_row(destination, attempt)
        for destination in destinations
        for attempt in attempts.get(destination.id, ())
    ]
    await insert_rows(session, Attempt, attempt_rows)
    await _insert_evidence(session, evidence)


async def _insert_evidence(
    session: WriteSession,
    evidence: Mapping[DestinationId, Sequence[Evidence]],
) -> None:
    rows = [
        _evidence_row(destination_id, report)
        for destination_id, reports in evidence.items()
        for report in reports
    ]
    await insert_rows(session, PublishEvidence, rows)
    duplicated_ids = [
        destination_id
        for destination_id, reports in evidence.items()
        if not all(report.counted for report in reports)
    ]
    if duplicated_ids:
        await session.rows(_MARK_DUPLICATED, ids=duplicated_ids)


_MARK_DUPLICATED = (
    update(Destination).where(any_of(Destination.id, "ids")).values(is_duplicated=true())
)


def attempt_from_row(row: Record, relation: str | None = None) -> DomainAttempt:
    """Return the attempt in the row, or in its related row."""
    failure = None
    values = decoded_values(row, (*_FAILURE_FIELDS, "retry_after_ms"), relation)
    if values["message"] is not None:
        milliseconds = values.pop("retry_after_ms")
        retry_after = None if milliseconds is None else milliseconds * _MILLISECOND
        failure = Failure(**values, retry_after=retry_after)
    return DomainAttempt(**decoded_values(row, _ATTEMPT_FIELDS, relation), failure=failure)


def _attempt_row(destination: DomainDestination, attempt: DomainAttempt) -> ColumnValues:
    failure: ColumnValues = dict.fromkeys((*_FAILURE_FIELDS, "retry_after_ms")) | {
        "not_sent": False
    }
    if attempt.failure is not None:
        retry_after = attempt.failure.retry_after
        failure = {
            **values_of(attempt.failure, _FAILURE_FIELDS),
            "retry_after_ms": None if retry_after is None else retry_after // _MILLISECOND,
        }
    return {
        "destination_id": destination.id,
        "account_id": destination.account_id,
        "platform": destination.platform,
        **values_of(attempt, _ATTEMPT_FIELDS),
        **failure,
    }


def _evidence_row(destination_id: DestinationId, evidence: Evidence) -> ColumnValues:
    return {
        "destination_id": destination_id,
        **values_of(evidence, _EVIDENCE_FIELDS),
        **values_of(evidence.publication, _PUBLICATION_FIELDS),
    }
