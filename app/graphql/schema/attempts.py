"""GraphQL type Attempt, and pages of the attempt log of a destination."""

from datetime import datetime, timedelta
from uuid import UUID

import strawberry
from strawberry import field

from app.db.core.statements import AnyRow
from app.db.repositories.attempts import attempts_page
from app.domain.api_keys import Scope
from app.domain.attempts import AttemptKind
from app.domain.destinations import ErrorCategory, Outcome
from app.domain.ids import DestinationId
from app.graphql.schema.connections import CursorPage, PageInfo, parse_page_arguments
from app.graphql.schema.context import Context, Info
from app.graphql.schema.inputs import to_record
from app.graphql.schema.permissions import requires


@strawberry.type(description="One call to a platform, as reported by the publisher.")
class Attempt:
    attempt_id: UUID = field(description="UUID of the attempt, unique in the workspace.")
    number: int | None = field(
        description="Attempt number in the destination, from 1; null if the attempt is not counted."
    )
    kind: AttemptKind = field(
        description="REGULAR, LATE for a report after its lease was lost, or UNSTARTED for a publication"
        " reported without `startAttempt`."
    )
    outcome: Outcome = field(description="Outcome of the attempt; NONE while it is running.")
    category: ErrorCategory | None = field(description="Category of the error, if any.")
    code: str | None = field(description="Error code of the publisher, if any.")
    message: str | None = field(description="Human-readable error message, if any.")
    http_status: int | None = field(description="HTTP status of the platform's response, if any.")
    retry_after_seconds: float | None = field(
        description="Seconds that the platform asked to wait; null if it did not ask."
    )
    not_sent: bool = field(
        description="True if the attempt failed before the post was sent, so that only its age ends the"
        " retries."
    )
    worker: str | None = field(description="Name that the publisher gave its worker.")
    started_at: datetime = field(description="UTC time of the start, before the platform call.")
    finished_at: datetime | None = field(
        description="UTC time when the outcome was reported; null while the attempt is running."
    )
    duration_ms: int | None = field(
        description="Milliseconds from the start to the report; null while the attempt is running."
    )

    @strawberry.field(
        description="Response of the platform as text, without secrets; null if the publisher sent none."
        " Needs the scope RAW.",
        extensions=requires(Scope.RAW),
    )
    async def raw(self, info: Info) -> str | None:
        row = await info.context.loaders.raw_by_attempt_id.load(self.attempt_id)
        return None if row is None else row.raw

    @classmethod
    def from_row(cls, row: AnyRow) -> "Attempt":
        seconds = None if row.retry_after_ms is None else row.retry_after_ms / 1000
        duration = None if row.finished_at is None else row.finished_at - row.started_at
        return to_record(
            row,
            cls,
            attempt_id=row.id,
            retry_after_seconds=seconds,
            duration_ms=None if duration is None else duration // timedelta(milliseconds=1),
        )


@strawberry.type(description="Attempt in a list.")
class AttemptEdge:
    cursor: str = field(description="Cursor of the attempt; pass it as `after`.")
    node: Attempt = field(description="The attempt.")


@strawberry.type(description="Page of the attempts of a destination.")
class AttemptConnection:
    page: strawberry.Private[CursorPage]
    nodes: list[Attempt] = field(description="Attempts of the page.")

    @strawberry.field(description="Position of the page in the list.")
    def page_info(self) -> PageInfo:
        return self.page.info()

    @strawberry.field(description="Attempts of the page with their cursors.")
    def edges(self) -> list[AttemptEdge]:
        return self.page.edges(AttemptEdge, self.nodes)


async def read_attempts(
    context: Context, destination_id: DestinationId, first: int | None, after: str | None
) -> AttemptConnection:
    """Return a page; a loader batches the first pages of several destinations, and counts their entries.

    Raises BadCursor for a cursor of another destination.
    """
    codec = context.cursor_codec(f"attempts:{destination_id}")
    request = parse_page_arguments(codec, first=first, after=after, last=None, before=None)
    if request.after is None:
        loader = context.loaders.first_attempts_page_by_destination_id_and_size
        page = await loader.load((destination_id, request.size))
    else:
        page = await attempts_page(context.reader, destination_id, request)
        context.response_limit.add(len(page.rows))
    return AttemptConnection(
        nodes=[Attempt.from_row(row) for row in page.rows],
        page=CursorPage(page, codec, "started_at"),
    )
