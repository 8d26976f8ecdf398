"""Reading the log of attempts. Nothing changes here."""

from collections.abc import Sequence

from sqlalchemy import select

from app.db.engine import AnyRow, Reader
from app.db.models import Attempt
from app.domain.ids import DestinationId


async def attempts_by_destination_id(
    reader: Reader, destination_ids: Sequence[DestinationId]
) -> Sequence[AnyRow]:
    """The attempts of the destinations, each one's in the order they started."""
    return await reader.rows(
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
        .where(Attempt.destination_id.in_(destination_ids))
        .order_by(Attempt.destination_id, Attempt.started_at, Attempt.id)
    )
