"""Limit of the files, with connections, that a process may open."""

import sys
from contextlib import suppress

if sys.platform != "win32":
    import resource


def raise_file_limit() -> None:
    """Raise the soft limit of open files to the hard limit, because many connections exceed the default."""
    if sys.platform != "win32":
        _, hard_limit = resource.getrlimit(resource.RLIMIT_NOFILE)
        with suppress(ValueError, OSError):  # some systems refuse an unlimited value
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard_limit, hard_limit))


def open_file_limit() -> int | None:
    """Return the number of files that this process may open; None without a limit."""
    if sys.platform == "win32":
        return None
    soft_limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return None if soft_limit == resource.RLIM_INFINITY else soft_limit
