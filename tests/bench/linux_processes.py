"""CPU time, memory and cores of process trees, read from /proc."""

import os
import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
_PPID_FIELD, _FIRST_CPU_FIELD, _LAST_CPU_FIELD = 1, 11, 14
"""Positions in `stat` after the name: parent, and CPU times of a process and its ended children."""


def process_exists(pid: int) -> bool:
    """Return whether a process exists, or has ended but its parent has not read its exit status yet."""
    return Path(f"/proc/{pid}").exists()


def process_tree(pid: int) -> list[int]:
    """The process and all its descendants."""
    children: dict[int, list[int]] = {}
    for child in _all_pids():
        with suppress(OSError):
            children.setdefault(parent_pid(child), []).append(child)
    tree = [pid]
    for parent in tree:  # the list grows during the iteration
        tree += children.get(parent, [])
    return tree


def parent_pid(pid: int) -> int:
    return int(_stat_fields(pid)[_PPID_FIELD])


def process_name(pid: int) -> str:
    """Name of a process; empty if there is no such process."""
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""


def cpu_seconds(pid: int) -> float:
    """CPU time of the process tree, including ended descendants."""
    ticks = 0
    for process in process_tree(pid):
        with suppress(OSError):
            ticks += sum(map(int, _stat_fields(process)[_FIRST_CPU_FIELD : _LAST_CPU_FIELD + 1]))
    return ticks / _TICKS_PER_SECOND


class Memory(NamedTuple):
    """Memory of a process tree in MiB."""

    peak: float
    """Sum of the peaks of resident memory, which includes mapped files and shared libraries."""
    private: float
    """Anonymous resident memory now; the kernel records no peak of it."""


def memory(pid: int) -> Memory:
    statuses = []
    for process in process_tree(pid):
        with suppress(OSError):
            statuses.append(Path(f"/proc/{process}/status").read_text())
    peak, private = (
        sum(
            int(number) for status in statuses for number in re.findall(rf"{name}:\s+(\d+)", status)
        )
        for name in ("VmHWM", "RssAnon")
    )
    return Memory(peak / 1024, private / 1024)


def reset_peak_memory(pid: int) -> None:
    """Set the peak of the resident memory of a process to its current value; see `clear_refs` in proc(5)."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")


def pin(pid: int, cpu: int) -> None:
    """Pin the process tree and its later children to a core."""
    for process in process_tree(pid):
        with suppress(OSError):
            os.sched_setaffinity(process, {cpu})


def _all_pids() -> Iterator[int]:
    return (int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit())


def _stat_fields(pid: int) -> list[str]:
    # The name is in parentheses and may contain spaces and parentheses.
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
