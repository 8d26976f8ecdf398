"""Prints how the service gets through faults, on both engines: `python -m tests.faults`.

The columns are the time until everything works again, the longest wait for a response, stored data that are
lost or doubled, and requests that the client had to repeat.
"""

import asyncio
import signal
import sys
import tempfile
import traceback
from pathlib import Path

import click

from tests.faults.causes import FAULTS
from tests.faults.service import FaultBench, FaultResult, NotRun
from tests.subscriptions.latency import ENGINES
from tests.subscriptions.subscriber_pool import raise_fd_limit

_COLUMNS = "{:29} {:>17} {:>14} {:>5} {:>8} {:>9}"


async def run_fault(name: str, engine: str, folder: Path, *, is_quick: bool) -> FaultResult:
    """Cause a fault and return the measurements; raises NotRun if that is impossible here."""
    bench = FaultBench(engine, folder, is_quick=is_quick)
    await FAULTS[name][1](bench)
    return bench.result


def print_fault(name: str, engine: str, *, is_quick: bool) -> bool:
    """Print a row of the table; return False if the result is not clean."""
    title = FAULTS[name][0]
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        try:
            result = asyncio.run(run_fault(name, engine, Path(folder), is_quick=is_quick))
        except NotRun as reason:
            click.echo(f"{title:29} not run: {reason}")
            return True
        except Exception:  # noqa: BLE001 - the other faults are independent
            traceback.print_exc()
            click.echo(f"{title:29} FAILED: the error is above")
            return False
    click.echo(
        _COLUMNS.format(
            title,
            f"{result.recovery:.1f} s, {result.last}",
            f"{result.longest:.1f} s",
            result.lost,
            result.doubled,
            result.failed,
        )
        + "".join(f"\n  {problem}" for problem in (*result.notes, *result.problems))
        + ("" if result.is_clean else "\n  FAILED")
    )
    return result.is_clean


@click.command()
@click.option("--engine", type=click.Choice(ENGINES), help="Run on one engine only.")
@click.option("--only", type=click.Choice(list(FAULTS)), multiple=True, help="Run these faults.")
@click.option("--quick", is_flag=True, help="Shorter faults, fewer connections and requests.")
def main(engine: str | None, only: tuple[str, ...], *, quick: bool) -> None:
    """Print a table; exit with 1 if data are lost or doubled, or a recovery or response takes too long."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    raise_fd_limit(4000)
    is_clean = []
    for each in ENGINES if engine is None else (engine,):
        click.echo(
            _COLUMNS.format(each, "recovered in", "longest answer", "lost", "doubled", "repeated")
        )
        is_clean += [print_fault(name, each, is_quick=quick) for name in only or FAULTS]
    sys.exit(not all(is_clean))


if __name__ == "__main__":
    main()
