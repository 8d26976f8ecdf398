"""The catalog of errors: one list over the codes of requests and of publishing. The rows are the domain's."""

from collections.abc import Iterator

import strawberry
from strawberry import field

from app.domain.destinations import ErrorCategory
from app.domain.diagnosis import ADVICE, ErrorSource, NextAction
from app.domain.errors import ErrorCode, concrete_errors
from app.graphql.schema.enums import CatalogPart


@strawberry.type(description="A code that a client can meet, and what to do about it.")
class ErrorCatalogEntry:
    code: str = field(description="The code, as it is printed in an answer.")
    source: ErrorSource = field(description="Who can end it.")
    retryable: bool = field(description="Whether the same thing, tried again, can succeed.")
    fix: str = field(description="A sentence for a person: what to do.")
    error_code: ErrorCode | None = field(
        description="Set for errors of a request to this API, found in `errors[].extensions.code`."
    )
    http_status: int | None = field(description="Its HTTP status.")
    category: ErrorCategory | None = field(
        description="Set for errors of publishing, found in `Destination.errorCode`."
    )
    next_action: NextAction | None = field(description="The next step for an error of publishing.")


def catalog_entries(part: CatalogPart | None) -> list[ErrorCatalogEntry]:
    """All entries, or those of one part."""
    entries: list[ErrorCatalogEntry] = []
    if part is not CatalogPart.PUBLISHING:
        entries.extend(_request_errors())
    if part is not CatalogPart.REQUEST:
        entries.extend(_publishing_errors())
    return entries


def _request_errors() -> Iterator[ErrorCatalogEntry]:
    for error in concrete_errors():
        yield ErrorCatalogEntry(
            code=error.code.name,
            source=ErrorSource.SYSTEM if error.http_status >= 500 else ErrorSource.USER,
            retryable=error.retryable(),
            fix=error.fix,
            error_code=error.code,
            http_status=error.http_status,
            category=None,
            next_action=None,
        )


def _publishing_errors() -> Iterator[ErrorCatalogEntry]:
    for advice in ADVICE:
        yield ErrorCatalogEntry(
            code=advice.code,
            source=advice.source,
            retryable=advice.retryable,
            fix=advice.fix,
            error_code=None,
            http_status=None,
            category=advice.category,
            next_action=advice.next_action,
        )
