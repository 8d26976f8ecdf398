"""`GET /destinations.csv` and `.ndjson`: all destinations that match a filter, as a stream.

Errors have the usual envelope until the first rows are read. After that, an error breaks the connection: a
client cannot take an incomplete export for a complete one.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from types import MappingProxyType
from typing import Any, TypeAlias

import structlog
from starlette.datastructures import QueryParams
from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from app.domain.api_keys import Scope as KeyScope
from app.domain.destinations import DestinationStatus, ErrorCategory, Outcome
from app.domain.diagnosis import ErrorSource, NextAction
from app.domain.errors import ServiceUnavailable
from app.domain.failure_groups import validate_failure_group
from app.domain.ids import WorkspaceId, parse_account_id, parse_uuid
from app.graphql.schema.inputs import DestinationFilterInput
from app.graphql.schema.permissions import HasScope
from app.graphql.service import GraphQLService
from app.http.concurrency import ConcurrencyLimiter
from app.http.headers import parse_accept
from app.http.request import HttpRequest
from app.http.responses import RawHeader
from app.http.routing import Route
from app.rest.endpoints import PREFIXES, authenticate_and_charge
from app.rest.parameters import (
    parse_member,
    parse_search_text,
    read_boolean,
    read_count,
    read_list,
    read_search_text,
    read_time,
)

_MEDIA_TYPES = {
    "csv": b"text/csv; charset=utf-8; header=present",
    "ndjson": b"application/x-ndjson",
}
"""Media types by format, which is the suffix of the path."""

_RETRY_AFTER_SECONDS = 5

_READ_SCOPE = HasScope(KeyScope.READ)

FILTERS: Mapping[str, Callable[[QueryParams, str], Any]] = MappingProxyType(
    {
        "destination_id": partial(read_list, parse=parse_uuid),
        "status": partial(read_list, parse=partial(parse_member, DestinationStatus)),
        "platform": partial(read_list, parse=parse_search_text),
        "account_id": partial(read_list, parse=parse_account_id),
        "post_id": partial(read_list, parse=parse_uuid),
        "error_category": partial(read_list, parse=partial(parse_member, ErrorCategory)),
        "error_code": partial(read_list, parse=parse_search_text),
        "outcome": partial(read_list, parse=partial(parse_member, Outcome)),
        "failure_group": partial(read_list, parse=validate_failure_group),
        "source": partial(read_list, parse=partial(parse_member, ErrorSource)),
        "next_action": partial(read_list, parse=partial(parse_member, NextAction)),
        "failed_after": read_time,
        "failed_before": read_time,
        "max_attempts": read_count,
        "scheduled_after": read_time,
        "scheduled_before": read_time,
        "published_after": read_time,
        "published_before": read_time,
        "next_retry_after": read_time,
        "next_retry_before": read_time,
        "updated_after": read_time,
        "updated_before": read_time,
        "overdue": read_boolean,
        "late_by_seconds": read_count,
        "retrying": read_boolean,
        "duplicated": read_boolean,
        "search": read_search_text,
        "reference": read_search_text,
    }
)
"""Readers of the query parameters; their names are the fields of DestinationFilterInput."""

logger = structlog.stdlib.get_logger(__name__)


Chunks: TypeAlias = AsyncGenerator[tuple[bytes, int], None]
"""Bytes of an export, each with the number of rows that were read for them."""

OpenExport: TypeAlias = Callable[[WorkspaceId, DestinationFilterInput, str, bool], Chunks]
"""Function that exports the destinations of a workspace in a format, compressed by gzip if True."""


def read_filter(query: QueryParams) -> DestinationFilterInput:
    """Read the filter of the query parameters; raises InvalidInput or InvalidId, naming the parameter."""
    return DestinationFilterInput(**{name: read(query, name) for name, read in FILTERS.items()})


def export_routes(
    service: GraphQLService,
    open_export: OpenExport,
    limiter: ConcurrencyLimiter,
    timeout: timedelta,
) -> list[Route]:
    """Create the routes of all formats under each prefix; an export breaks off after `timeout`."""
    return [
        Route(
            f"{prefix}/destinations.{export_format}",
            {"GET": ExportHandler(export_format, service, open_export, limiter, timeout)},
        )
        for prefix in PREFIXES
        for export_format in _MEDIA_TYPES
    ]


@dataclass(frozen=True, slots=True)
class ExportHandler:
    """Handler of the requests of one format."""

    export_format: str
    service: GraphQLService
    open_export: OpenExport
    limiter: ConcurrencyLimiter
    timeout: timedelta

    async def __call__(self, request: HttpRequest) -> "ExportResponse":
        context = await authenticate_and_charge(self.service, request)
        if not _READ_SCOPE.allows(context.viewer):
            _READ_SCOPE.on_unauthorized()
        destinations = read_filter(request.query())
        use_gzip = parse_accept(request.combined_header(b"accept-encoding")).get("gzip", 0) > 0
        chunks = self.open_export(
            context.viewer.workspace_id, destinations, self.export_format, use_gzip
        )
        return ExportResponse(self, request, chunks, use_gzip=use_gzip)

    def headers(self, *, use_gzip: bool) -> list[RawHeader]:
        file_name = f"destinations.{self.export_format}".encode()
        return [
            (b"content-type", _MEDIA_TYPES[self.export_format]),
            (b"content-disposition", b'attachment; filename="%b"' % file_name),
            (b"cache-control", b"no-store"),
            (b"vary", b"Accept-Encoding"),
            *([(b"content-encoding", b"gzip")] if use_gzip else []),
        ]


class ExportResponse(Response):
    """Response with the chunks of an export; the next one is read when the last one was sent."""

    def __init__(
        self,
        handler: ExportHandler,
        request: HttpRequest,
        chunks: Chunks,
        *,
        use_gzip: bool,
    ) -> None:
        self._service = handler.service
        self._limiter = handler.limiter
        self._timeout = handler.timeout.total_seconds()
        self._start = {
            "type": "http.response.start",
            "status": 200,
            "headers": handler.headers(use_gzip=use_gzip),
        }
        self._request = request
        self._chunks = chunks
        self.background = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002
        request = self._request
        if request.method == "HEAD":
            await send(self._start)
            await send(_body_message(b"", more_body=False))
            return
        request.has_timeout = request.is_latency_measured = False
        with self._limiter.acquire(request.api_key_id):
            try:
                await self._stream(send)
            except TimeoutError:
                error = ServiceUnavailable(
                    "The export took too long. Try again, or select fewer destinations.",
                    retry_after=_RETRY_AFTER_SECONDS,
                )
                if request.status is None:
                    raise error from None
                request.record_error(error)
                logger.warning("export timed out", request_id=request.request_id)

    async def _stream(self, send: Send) -> None:
        """Send all chunks, or break the connection.

        Raises TimeoutError after the timeout, and if nothing was read or sent for `send_timeout`, and
        InvalidApiKey once the key was revoked.
        """
        loop, request, timeouts = asyncio.get_running_loop(), self._request, self._service.timeouts
        stall_timeout = timeouts.send_timeout.total_seconds()
        key_interval = timeouts.key_recheck_interval.total_seconds()
        key_checked_at = loop.time()
        async with (
            asyncio.timeout(self._timeout),
            aclosing(self._chunks) as chunks,
            asyncio.timeout(stall_timeout) as progress,
        ):
            try:
                async for data, _ in chunks:
                    progress.reschedule(loop.time() + stall_timeout)
                    if request.status is None:
                        await send(self._start)
                    await send(_body_message(data, more_body=True))
                    progress.reschedule(loop.time() + stall_timeout)
                    if loop.time() >= key_checked_at + key_interval:
                        await self._service.authenticator.authenticate(
                            request.token, self._service.app_state.clock()
                        )
                        key_checked_at = loop.time()
                await send(_body_message(b"", more_body=False))
            except BaseException:
                request.break_off()
                raise


def _body_message(body: bytes, *, more_body: bool) -> Message:
    return {"type": "http.response.body", "body": body, "more_body": more_body}
