"""Failures of a database: which of them are temporary, and what an operator can do about them."""

import errno
import sqlite3

import asyncpg
from sqlalchemy.exc import DBAPIError

from app.db.core.postgresql_driver import RETRYABLE_STATES
from app.domain.errors import ServiceUnavailable

_RETRY_AFTER_SECONDS = 2

_UNAVAILABLE_STATES = (
    "08",  # connection lost
    "28",  # authorization failed
    "3D",  # no such database
    "53",  # out of connections, memory or disk space
    "55000",  # not accepting connections
    "55P03",  # lock timeout
    "57014",  # statement timeout
    "57P",  # server shut down
    "58",  # error of the operating system
    "XX001",  # damaged table
    "XX002",  # damaged index
    *RETRYABLE_STATES,
)
"""Classes and codes of https://www.postgresql.org/docs/current/errcodes-appendix.html."""

_SQLITE_UNAVAILABLE_ERRORS = (
    "SQLITE_BUSY",
    "SQLITE_LOCKED",
    "SQLITE_CANTOPEN",
    "SQLITE_CORRUPT",
    "SQLITE_NOTADB",
    "SQLITE_IOERR",
    "SQLITE_FULL",
    "SQLITE_INTERRUPT",
)
"""Names of https://www.sqlite.org/rescode.html, or their beginnings."""

_DAMAGE = ("SQLITE_CORRUPT", "SQLITE_NOTADB", "XX001", "XX002")

_STORAGE_ADVICE = {
    ("SQLITE_FULL", "53100", "ENOSPC", "EDQUOT"): "Free some space on its disk.",
    ("SQLITE_READONLY", "EROFS", "EACCES", "EPERM"): (
        "Let this process write the database file and its folder."
    ),
    ("25006",): "Connect to the primary server.",
    _DAMAGE: (
        "The database is damaged, or belongs to another program. Stop the server, run post-results"
        " check, and restore a backup."
    ),
    ("SQLITE_IOERR", "58", "EIO"): "Check its disk.",
    ("SQLITE_CANTOPEN", "EMFILE", "ENFILE"): (
        "Check that the file exists, that this process may open it, and the limit of open files."
    ),
}
"""What an operator can do, by the beginnings of error names and codes."""


class _UnavailableTranslator:
    """Context manager that raises ServiceUnavailable for errors of a busy or unreachable database.

    It has no state, so one instance serves all callers. All other errors pass through.
    """

    def __enter__(self) -> None:
        pass

    def __exit__(self, _kind: object, error: BaseException | None, _traceback: object) -> None:
        if isinstance(error, Exception) and is_unavailable(error):
            raise unavailable_error() from error


translate_unavailable = _UnavailableTranslator()


def unavailable_error() -> ServiceUnavailable:
    return ServiceUnavailable(
        "The database is not available. Try again in a moment.",
        retry_after=_RETRY_AFTER_SECONDS,
    )


def is_unavailable(error: Exception) -> bool:
    """Classify errors of SQLAlchemy, of the drivers, and of the operating system."""
    match error:
        case OSError() | asyncpg.InternalClientError():
            return True
        case DBAPIError():
            return error.connection_invalidated or _has_unavailable_code(error.orig)
        case asyncpg.InterfaceError():
            return not isinstance(error, asyncpg.DataError)
        case sqlite3.Error() | asyncpg.PostgresError():
            return _has_unavailable_code(error)
    return False


def is_storage_failure(error: BaseException) -> bool:
    """Return whether the disk or the file of the database is the cause, which lasts until it is repaired.

    A read-only error counts for writes. In a read it would be a bug, so `is_unavailable` excludes it.
    """
    return _storage_advice(error) is not None


def is_damage(error: BaseException) -> bool:
    """Return whether stored data are damaged; only a restart with another file or server ends that."""
    return _code(_cause(error)).startswith(_DAMAGE)


def describe_failure(error: BaseException) -> str:
    """Return the cause of a failure for an operator, with advice if it is the disk or the file."""
    cause, advice = _cause(error), _storage_advice(error)
    if advice is None:
        return str(cause)
    # Without the path of a file, because probes show the description to everyone.
    reason = cause.strerror if isinstance(cause, OSError) else str(cause)
    return f"{reason}. {advice}"


def _storage_advice(error: BaseException) -> str | None:
    code = _code(_cause(error))
    return next(
        (advice for codes, advice in _STORAGE_ADVICE.items() if code and code.startswith(codes)),
        None,
    )


def _cause(error: BaseException) -> BaseException:
    """Return the driver's error if SQLAlchemy has wrapped it."""
    return getattr(error, "orig", None) or error


def _has_unavailable_code(error: BaseException | None) -> bool:
    return _code(error).startswith((*_UNAVAILABLE_STATES, *_SQLITE_UNAVAILABLE_ERRORS))


def _code(error: BaseException | None) -> str:
    """Return SQLite's error name, the SQLSTATE, or the name of the operating system's error."""
    if isinstance(error, OSError):
        return errno.errorcode.get(error.errno or 0, "")
    return str(getattr(error, "sqlite_errorname", None) or getattr(error, "sqlstate", None) or "")
