"""The commands `post-results import` and `post-results export`, which read and write files."""

import os
import signal
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import aclosing, contextmanager, suppress
from dataclasses import fields
from datetime import datetime
from itertools import chain
from pathlib import Path
from stat import S_ISREG
from typing import IO, Any, BinaryIO, cast

import click
from starlette.datastructures import QueryParams

from app.asgi import now_utc
from app.cli_database import CommandError, get_workspace, run_on_current_schema
from app.db.core.database import Database, Reader
from app.db.repositories.destination_filters import DestinationCriteria
from app.db.repositories.destinations import count_destinations
from app.domain.errors import ServiceUnavailable
from app.graphql.schema.inputs import DestinationFilterInput
from app.rest.exports import FILTERS, read_filter
from app.services.atomic_files import open_atomic_file
from app.services.exports import ExportFormat, export_destinations

_STANDARD_OUTPUT = Path("-")

_ERASE_LINE = "\r\x1b[K"


class _InputFile(click.File):
    """Binary file; `-` is standard input, which may be closed."""

    def __init__(self) -> None:
        super().__init__("rb")

    def convert(
        self,
        value: str | os.PathLike[str] | IO[Any],
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> IO[Any]:
        if value == "-" and sys.stdin is None:
            self.fail("standard input is closed.", param, ctx)
        return super().convert(value, param, ctx)


@click.command("import")
@click.argument("file", type=_InputFile())
@click.option("--workspace", required=True, metavar="NAME", help="The workspace's name.")
@click.option("--dry-run", is_flag=True, help="Print what would be imported, and write nothing.")
def import_command(file: BinaryIO, workspace: str, dry_run: bool) -> None:
    """Import posts and their results into a workspace from FILE; `-` is standard input.

    FILE has responses of the REST API, with or without their envelope: lists of posts, posts, or results
    of posts. It is one JSON document, or has one response per line. Imported posts are never published
    by this server, and importing a file again changes nothing.
    """
    # Other commands need none of these, and a server starts sooner without importing them.
    from app.domain.importing.merging import ImportResult  # noqa: PLC0415
    from app.domain.importing.records import (  # noqa: PLC0415
        RejectedRecord,
        iter_json_texts,
        parse_records,
    )
    from app.services.imports import dry_run_import, import_records  # noqa: PLC0415

    counts = Counter[str](dict.fromkeys((*ImportResult, "refused"), 0))
    remark = "; nothing was written" if dry_run else ""

    async def work(database: Database) -> None:
        target = await get_workspace(database, workspace)
        records = chain.from_iterable(map(parse_records, iter_json_texts(file.readline)))
        import_or_check = dry_run_import if dry_run else import_records
        size = _progress_total(file)
        with click.progressbar(length=size or 0, hidden=size is None, file=sys.stderr) as bar:
            async for result in import_or_check(database, target, records, now=now_utc()):
                if isinstance(result, RejectedRecord):
                    counts["refused"] += 1
                    erase = "" if size is None else _ERASE_LINE
                    click.echo(f"{erase}refused {result.label}: {result.reason}", err=True)
                else:
                    counts[result] += 1
                if size is not None:
                    bar.update(file.tell() - bar.pos)

    try:
        with _raise_on_sigint():
            run_on_current_schema(work)
    except BaseException as error:
        if counts.total():
            click.echo(f"Interrupted after {_summary(counts)}{remark}.", err=True)
        if isinstance(error, OSError):
            raise CommandError(f"{file.name} cannot be read: {error.strerror}.") from error
        raise
    click.echo(f"{_summary(counts)}{remark}")
    if counts["refused"]:
        sys.exit(1)


def _summary(counts: Counter[str]) -> str:
    return ", ".join(f"{count} {word}" for word, count in counts.items())


@contextmanager
def _raise_on_sigint() -> Iterator[None]:
    """Let Ctrl-C interrupt a blocking read from a pipe, for which asyncio's handler would wait."""

    def interrupt(_signal: int, _frame: object) -> None:
        raise KeyboardInterrupt

    previous = signal.signal(signal.SIGINT, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, previous)


def _progress_total(file: BinaryIO) -> int | None:
    """Return the size in bytes of a regular file if stderr is a terminal; else there is no progress bar."""
    status = os.fstat(file.fileno())
    return status.st_size if S_ISREG(status.st_mode) and sys.stderr.isatty() else None


def _filter_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add an option for each filter of destinations."""
    descriptions = {
        field.name: cast("Any", field).description for field in fields(DestinationFilterInput)
    }
    for name in reversed([*FILTERS]):
        option = click.option(
            f"--{name.replace('_', '-')}", name, metavar="VALUE", help=descriptions[name]
        )
        command = option(command)
    return command


@click.command("export")
@click.option("--workspace", required=True, metavar="NAME", help="The workspace's name.")
@click.option(
    "--format", "export_format", required=True, type=click.Choice([*map(str, ExportFormat)])
)
@click.option(
    "--output",
    required=True,
    metavar="FILE",
    type=click.Path(path_type=Path, allow_dash=True),
    help="File that is replaced when the export is complete; `-` is standard output.",
)
@click.option("--gzip", "use_gzip", is_flag=True, help="Compress the output.")
@_filter_options
def export_command(
    workspace: str, export_format: str, output: Path, use_gzip: bool, **filters: str | None
) -> None:
    """Write the destinations that match all filters to a file, newest first.

    The filters are those of the REST API: times are UTC, and a list has commas between its values.
    """
    parameters = {name: text for name, text in filters.items() if text is not None}
    criteria = read_filter(QueryParams(parameters)).to_criteria()

    async def work(database: Database) -> int:
        target = await get_workspace(database, workspace)
        now, rows = now_utc(), 0
        total = await _count_for_progress(database.reader(target.id), criteria, now)
        chunks = export_destinations(
            database,
            target.id,
            criteria,
            export_format=ExportFormat(export_format),
            use_gzip=use_gzip,
            adds_end=False,
            now=now,
        )
        with (
            _open_output(output) as file,
            click.progressbar(length=total or 0, hidden=total is None, file=sys.stderr) as bar,
        ):
            async with aclosing(chunks):
                async for data, row_count in chunks:
                    file.write(data)
                    bar.update(row_count)
                    rows += row_count
        return rows

    try:
        rows = run_on_current_schema(work)
    except OSError as error:
        name = "Standard output" if output == _STANDARD_OUTPUT else output
        raise CommandError(f"{name} cannot be written: {error.strerror}.") from error
    if output != _STANDARD_OUTPUT:
        click.echo(f"{output} has {rows} rows.")


async def _count_for_progress(
    reader: Reader, criteria: DestinationCriteria, now: datetime
) -> int | None:
    """Count the rows of an export if stderr is a terminal; else there is no progress bar."""
    if sys.stderr is None or not sys.stderr.isatty():
        return None
    with suppress(ServiceUnavailable):  # the count takes too long, unlike the export
        return await count_destinations(reader, criteria, now)
    return None


@contextmanager
def _open_output(file: Path) -> Iterator[BinaryIO]:
    if file != _STANDARD_OUTPUT:
        with open_atomic_file(file) as opened:
            yield opened
        return
    if sys.stdout is None:
        raise CommandError("Standard output is closed.")
    yield sys.stdout.buffer
    sys.stdout.buffer.flush()
