"""`GET /destinations.csv` and `.ndjson`: all destinations that match a filter, as a stream.

Errors have the usual envelope until the first rows are read. After that, an error breaks the connection: a
client cannot take an incomplete export for a complete one.
"""

import asyncio
from collections.abc import (
    AsyncGenerator,
    Awaitable,
    Callable,
    Iterator,
    Mapping,
    Sequence,
)
from contextlib import aclosing
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from types import MappingProxyType
from typing import Any, Protocol, TypeAlias

import structlog
from starlette.datastructures import QueryParams
from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from app.domain.api_keys import Scope as KeyScope
from app.domain.attempts import publication_url
from app.domain.destinations import DestinationStatus, ErrorCategory, Outcome
from app.domain.diagnosis import ErrorSource, NextAction
from app.domain.errors import InvalidInput, RateLimitExceeded, ServiceUnavailable
from app.domain.ids import (
    WorkspaceId,
    parse_account_id,
    parse_failure_group_key,
    parse_uuid,
)
from app.graphql.schema.inputs import DestinationFilterInput
from app.graphql.schema.permissions import HasScope
from app.graphql.service import GraphQLService
from app.http.headers import parse_accept
from app.http.read_rate import ReadRate
from app.http.request import HttpRequest
from app.http.routing import Route
from app.http.session_cookies import ReadSession
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
from app.runtime.fair_slots import FairSlots

_MEDIA_TYPES = {
    "csv": b"text/csv; charset=utf-8; header=present",
    "ndjson": b"application/x-ndjson",
}
"""Media types by format, which is the suffix of the path."""

_END: Message = {"type": "http.response.body", "body": b"", "more_body": False}

_RETRY_AFTER_SECONDS = 5

_PART_BYTES = 64 * 1024
"""Size of what is sent at a time, so that a client that reads slowly is seen to read."""

_READ_SCOPE = HasScope(KeyScope.READ)

FILTERS: Mapping[str, Callable[[QueryParams, str], Any]] = MappingProxyType(
    {
        "destination_id": partial(read_list, parse=parse_uuid),
        "status": partial(read_list, parse=partial(parse_member, DestinationStatus)),
        "platform": partial(read_list, parse=parse_search_text),
        "account_id": partial(read_list, parse=parse_account_id),
        "post_id": partial(read_list, parse=parse_uuid),
        "platform_post_url": partial(read_list, parse=publication_url),
        "error_category": partial(read_list, parse=partial(parse_member, ErrorCategory)),
        "error_code": partial(read_list, parse=parse_search_text),
        "outcome": partial(read_list, parse=partial(parse_member, Outcome)),
        "failure_group": partial(read_list, parse=parse_failure_group_key),
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
        "settled_after": read_time,
        "settled_before": read_time,
        "updated_after": read_time,
        "updated_before": read_time,
        "overdue": read_boolean,
        "late_by_seconds": read_count,
        "retrying": read_boolean,
        "duplicated": read_boolean,
        "invalid_content": read_boolean,
        "media_warning": read_boolean,
        "cancelled": read_boolean,
        "draft": read_boolean,
        "imported": read_boolean,
        "awaits_outcome": read_boolean,
        "search": read_search_text,
        "reference": read_search_text,
    }
)
"""Readers of the query parameters; their names are the fields of DestinationFilterInput."""

logger = structlog.stdlib.get_logger(__name__)


Chunks: TypeAlias = AsyncGenerator[tuple[bytes, int], None]
"""Bytes of an export, each with the number of rows that were read for them."""


class OpenExport(Protocol):
    """Function that exports the destinations of a workspace."""

    def __call__(
        self,
        workspace_id: WorkspaceId,
        destinations: DestinationFilterInput,
        export_format: str,
        *,
        use_gzip: bool,
        adds_end: bool,
    ) -> Chunks: ...


def read_filter(query: QueryParams) -> DestinationFilterInput:
    """Read the filter of the query parameters; raises InvalidInput or InvalidId, naming the parameter."""
    return DestinationFilterInput(**{name: read(query, name) for name, read in FILTERS.items()})


def export_routes(
    service: GraphQLService,
    open_export: OpenExport,
    read_session: ReadSession,
    slots: FairSlots,
    timeout: timedelta,
) -> list[Route]:
    """Create the routes of all formats under each prefix; an export is aborted after `timeout`.

    `read_session` returns the session that may authenticate a GET. The callers of the slots are workspaces.
    """
    return [
        Route(
            f"{prefix}/destinations.{export_format}",
            {
                "GET": ExportHandler(
                    export_format, service, open_export, read_session, slots, timeout
                )
            },
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
    read_session: ReadSession
    slots: FairSlots
    timeout: timedelta

    async def __call__(self, request: HttpRequest) -> Response:
        request.token = request.token or self.read_session(request.scope, request.headers)
        context = await authenticate_and_charge(self.service, request)
        if not _READ_SCOPE.allows(context.viewer):
            _READ_SCOPE.on_unauthorized()
        query = request.query()
        destinations, adds_end = read_filter(query), read_boolean(query, "end") or False
        if adds_end and self.export_format != "ndjson":
            raise InvalidInput(
                "end can be true only for NDJSON, whose lines may differ: use destinations.ndjson.",
                argument="end",
            )
        use_gzip = parse_accept(request.combined_header(b"accept-encoding")).get("gzip", 0) > 0
        start = self._start_message(use_gzip=use_gzip)
        if request.method == "HEAD":
            return StreamedResponse(partial(_send_all, [start, _END]))
        workspace_id = context.viewer.workspace_id
        chunks = self.open_export(
            workspace_id, destinations, self.export_format, use_gzip=use_gzip, adds_end=adds_end
        )
        return StreamedResponse(partial(self._export, request, start, chunks))

    def _start_message(self, *, use_gzip: bool) -> Message:
        file_name = f"destinations.{self.export_format}".encode()
        headers = [
            (b"content-type", _MEDIA_TYPES[self.export_format]),
            (b"content-disposition", b'attachment; filename="%b"' % file_name),
            (b"cache-control", b"no-store"),
            (b"x-content-type-options", b"nosniff"),
            (b"vary", b"Accept-Encoding"),
            *([(b"content-encoding", b"gzip")] if use_gzip else []),
        ]
        return {"type": "http.response.start", "status": 200, "headers": headers}

    async def _export(
        self, request: HttpRequest, start: Message, chunks: Chunks, send: Send
    ) -> None:
        request.has_timeout = request.is_latency_measured = False
        await self._acquire_slot(request)
        try:
            await self._send_chunks(request, start, chunks, send)
        except TimeoutError:
            error = ServiceUnavailable(
                "The export took too long. Try again, or select fewer destinations.",
                retry_after=_RETRY_AFTER_SECONDS,
            )
            if request.status is None:
                raise error from None
            request.record_error(error)
            logger.warning("export timed out", request_id=request.request_id)
        finally:
            self.slots.release(request.workspace_id)

    async def _acquire_slot(self, request: HttpRequest) -> None:
        """Wait for a slot; raises RateLimitExceeded if there is none in time."""
        wait = self.service.timeouts.export_slot_timeout.total_seconds()
        try:
            deadline = asyncio.get_running_loop().time() + wait
            await self.slots.acquire(request.workspace_id, deadline)
        except TimeoutError:
            raise RateLimitExceeded(
                f"Other exports are running, and none of them has ended within {wait:g} s."
                f" Wait for those of this workspace, or try again in {_RETRY_AFTER_SECONDS} s.",
                retry_after=_RETRY_AFTER_SECONDS,
            ) from None

    async def _send_chunks(
        self, request: HttpRequest, start: Message, chunks: Chunks, send: Send
    ) -> None:
        """Send all chunks, reading each when the last one was sent, or break the connection.

        Raises TimeoutError after the timeout, if nothing was read from the database for `send_timeout` or
        by the client for `export_stall_timeout`, and if the client is slow while another workspace waits.
        Raises InvalidApiKey once the key was revoked.
        """
        loop, timeouts = asyncio.get_running_loop(), self.service.timeouts
        key_interval = timeouts.key_recheck_interval.total_seconds()
        key_checked_at = loop.time()
        rate = ReadRate(loop.time, timeouts.slow_client_period)
        async with (
            asyncio.timeout(self.timeout.total_seconds()),
            aclosing(chunks),
            asyncio.timeout(timeouts.send_timeout.total_seconds()) as progress,
            rate.limit_slow_client(partial(self.slots.has_waiting_others, request.workspace_id)),
        ):
            try:
                async for data, _ in chunks:
                    if request.status is None:
                        await send(start)
                    for part in _parts(data):
                        progress.reschedule(
                            loop.time() + timeouts.export_stall_timeout.total_seconds()
                        )
                        with rate.measure_wait(len(part)):
                            await send(
                                {"type": "http.response.body", "body": part, "more_body": True}
                            )
                    progress.reschedule(loop.time() + timeouts.send_timeout.total_seconds())
                    if loop.time() >= key_checked_at + key_interval:
                        now = self.service.app_state.clock()
                        await self.service.authenticator.authenticate(request.token, now)
                        key_checked_at = loop.time()
                await send(_END)
            except BaseException:
                request.abort()
                raise


def _parts(data: bytes) -> Iterator[bytes]:
    for start in range(0, len(data), _PART_BYTES):
        yield data[start : start + _PART_BYTES]


class StreamedResponse(Response):
    """Response whose messages a function sends."""

    def __init__(self, send_messages: Callable[[Send], Awaitable[None]]) -> None:
        self._send_messages = send_messages
        self.background = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002
        await self._send_messages(send)


async def _send_all(messages: Sequence[Message], send: Send) -> None:
    for message in messages:
        await send(message)
