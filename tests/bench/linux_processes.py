"""What Linux knows of processes: their CPU time, their memory, where they run. Starts and ends none."""

import os
import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
_PPID_FIELD, _FIRST_CPU_FIELD, _LAST_CPU_FIELD = 1, 11, 14
"""Places in `stat` after the name: the parent, and the times of a process and its ended children."""


def process_tree(pid: int) -> list[int]:
    """The process and everything that descends from it."""
    children: dict[int, list[int]] = {}
    for each in _all_pids():
        with suppress(OSError):
            children.setdefault(int(_stat_fields(each)[_PPID_FIELD]), []).append(each)
    found = [pid]
    for each in found:  # grows on the way
        found += children.get(each, [])
    return found


def parent_pid(pid: int) -> int:
    return int(_stat_fields(pid)[_PPID_FIELD])


def process_name(pid: int) -> str:
    """Empty where there is no such process."""
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""


def cpu_seconds(pid: int) -> float:
    """Of the process and its family, also of those that have ended."""
    ticks = 0
    for each in process_tree(pid):
        with suppress(OSError):
            ticks += sum(map(int, _stat_fields(each)[_FIRST_CPU_FIELD : _LAST_CPU_FIELD + 1]))
    return ticks / _TICKS_PER_SECOND


def peak_memory_mb(pid: int) -> float:
    """Resident, of the process and its family, each at its own peak."""
    kibibytes = 0
    for each in process_tree(pid):
        with suppress(OSError):
            status = Path(f"/proc/{each}/status").read_text()
            if found := re.search(r"VmHWM:\s+(\d+)", status):
                kibibytes += int(found[1])
    return kibibytes / 1024


def pin(pid: int, cpu: int) -> None:
    """The process and its family, with what they start from now on."""
    for each in process_tree(pid):
        with suppress(OSError):
            os.sched_setaffinity(each, {cpu})


def _all_pids() -> Iterator[int]:
    return (int(each.name) for each in Path("/proc").iterdir() if each.name.isdigit())


def _stat_fields(pid: int) -> list[str]:
    # The name stands in parentheses and may have spaces and parentheses in it.
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
