"""Exports destinations as CSV or NDJSON: streams of bytes from one snapshot, with bounded memory."""

import re
import zlib
from collections.abc import AsyncGenerator, Sequence
from datetime import datetime
from enum import StrEnum
from functools import lru_cache
from typing import NamedTuple, TypeAlias

import orjson

from app.db.core.database import Database
from app.db.core.row_streams import ColumnBatch
from app.db.repositories.destination_filters import DestinationCriteria
from app.db.repositories.exports import open_destination_stream
from app.domain.accounts import display_label
from app.domain.ids import WorkspaceId

_BATCH_SIZE = 500
"""Rows in memory, about 100 KB; their conversion takes a few milliseconds."""

_GZIP_LEVEL, _GZIP_FORMAT = 1, 31
"""Fastest level: the next ones take twice the time for a tenth less."""

_FORMULA_STARTS = frozenset("=+-@\t\r\n＝＋－＠")
"""Characters at the beginning of a cell after which a spreadsheet may run the text as a formula."""

_NEEDS_QUOTES = re.compile('[",\r\n]').search

Cell: TypeAlias = str | int | float | None

COLUMNS = (
    *("account_id", "account_name", "platform", "status", "published_at", "platform_post_id"),
    *("platform_post_url", "error", "attempts", "next_retry_at"),
    *("id", "social_account_id", "last_error"),
    *("post_id", "reference", "scheduled_for", "outcome", "error_category", "error_code"),
    "lateness_seconds",
)
"""Exported columns: first the keys of a result of the REST API, in their order."""

_SOURCES = {"social_account_id": "account_id", "last_error": "error", "scheduled_for": "due_at"}
"""Columns that are read from a column of another name."""

_PLAIN_COLUMNS = frozenset(
    {
        *("account_id", "status", "published_at", "attempts", "next_retry_at", "id"),
        *("social_account_id", "post_id", "scheduled_for", "outcome", "error_category"),
        "lateness_seconds",
    }
)
"""Columns whose values this service makes, so that they need no quotes in CSV."""


class ExportFormat(StrEnum):
    CSV = "csv"
    NDJSON = "ndjson"


class ExportChunk(NamedTuple):
    """Next bytes of an export, possibly none, and the number of rows that were read for them."""

    data: bytes
    row_count: int


async def export_destinations(
    database: Database,
    workspace_id: WorkspaceId,
    criteria: DestinationCriteria,
    *,
    export_format: ExportFormat,
    use_gzip: bool,
    adds_end: bool,
    now: datetime,
) -> AsyncGenerator[ExportChunk, None]:
    """Yield the matching destinations, newest first; `now` decides what is overdue.

    With `adds_end`, the last line of NDJSON is an object with the number of rows. The next rows are read when
    the next chunk is requested. Raises ServiceUnavailable if the database is not available; what was yielded
    before is incomplete then. An export without rows has one chunk.
    """
    encoder = _Encoder(export_format, use_gzip=use_gzip, adds_end=adds_end)
    async with open_destination_stream(database, workspace_id, criteria, now) as stream:
        while (chunk := await stream.read(_BATCH_SIZE, encoder.encode)) is not None:
            yield chunk
    yield encoder.finish()


class _Encoder:
    """Encoder of the rows of one export."""

    def __init__(self, export_format: ExportFormat, *, use_gzip: bool, adds_end: bool) -> None:
        is_csv = export_format is ExportFormat.CSV
        self._encode_rows = _encode_csv if is_csv else _encode_ndjson
        self._header = f"{','.join(COLUMNS)}\r\n".encode() if is_csv else b""
        """Header line until it is part of a chunk."""
        self._compressor = zlib.compressobj(_GZIP_LEVEL, wbits=_GZIP_FORMAT) if use_gzip else None
        self._adds_end = adds_end
        self._row_count = 0

    def encode(self, batch: ColumnBatch) -> ExportChunk:
        columns = _exported_columns(batch)
        self._row_count += len(columns[0])
        data = self._take_header() + self._encode_rows(columns)
        return ExportChunk(
            data if self._compressor is None else self._compressor.compress(data), len(columns[0])
        )

    def finish(self) -> ExportChunk:
        """Return the last chunk."""
        data = self._take_header()
        if self._adds_end:
            end = {"end": True, "count": self._row_count}
            data += orjson.dumps(end, option=orjson.OPT_APPEND_NEWLINE)
        if self._compressor is not None:
            data = self._compressor.compress(data) + self._compressor.flush()
        return ExportChunk(data, 0)

    def _take_header(self) -> bytes:
        header, self._header = self._header, b""
        return header


def _exported_columns(batch: ColumnBatch) -> list[Sequence[Cell]]:
    labels = map(
        _account_label,
        batch["account_name"],
        batch["display_name"],
        batch["platform_username"],
        batch["account_id"],
        batch["platform"],
    )
    seconds = [None if value is None else value / 1000 for value in batch["lateness_ms"]]
    columns = {**batch, "account_name": [*labels], "lateness_seconds": seconds}
    return [columns[_SOURCES.get(name, name)] for name in COLUMNS]


_account_label = lru_cache(1024)(display_label)


def _encode_csv(columns: Sequence[Sequence[Cell]]) -> bytes:
    """Format as RFC 4180; a null becomes an empty cell. The module csv takes twice the time."""
    texts = [
        ["" if cell is None else str(cell) for cell in column]
        if name in _PLAIN_COLUMNS
        else [_csv_text(str(cell)) if cell else "" for cell in column]
        for name, column in zip(COLUMNS, columns, strict=True)
    ]
    return "".join([f"{','.join(row)}\r\n" for row in zip(*texts, strict=True)]).encode()


def _csv_text(text: str) -> str:
    """Quote a text if necessary, after an apostrophe if a spreadsheet would run it as a formula."""
    if text[0] in _FORMULA_STARTS:
        text = f"'{text}"
    return '"' + text.replace('"', '""') + '"' if _NEEDS_QUOTES(text) else text


def _encode_ndjson(columns: list[Sequence[Cell]]) -> bytes:
    return b"".join(
        [
            orjson.dumps(dict(zip(COLUMNS, row, strict=True)), option=orjson.OPT_APPEND_NEWLINE)
            for row in zip(*columns, strict=True)
        ]
    )
