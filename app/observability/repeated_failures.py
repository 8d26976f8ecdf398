"""Limits the tracebacks in the log to one per cause and minute: an outage fails every request alike."""

import sys
from collections.abc import Callable
from datetime import timedelta
from types import TracebackType
from typing import NamedTuple, TypeAlias

import structlog
from cachetools import LRUCache
from structlog.typing import EventDict, WrappedLogger

_INTERVAL = timedelta(minutes=1)
_MAX_CAUSES = 256
"""Causes that are remembered; of more, the least recent ones are logged again."""

_Cause: TypeAlias = tuple[str, type[BaseException], str, int]
"""Log event, and type, file and line of the exception that began the failure."""


class _LoggedCause(NamedTuple):
    until: float
    """Monotonic time in seconds until which its repetitions are dropped."""
    dropped: int
    """Lines that were dropped since it was logged."""


class RepeatedFailures:
    """Processor of structlog that drops a line whose traceback was logged less than a minute before.

    The next line of the same cause has the number of the dropped ones, as `repeated`.
    """

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._logged: LRUCache[_Cause, _LoggedCause] = LRUCache(_MAX_CAUSES)
        self._dropped = 0

    def __call__(self, _logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        """Return the event; raises DropEvent for a repetition."""
        error = _exception(event.get("exc_info"))
        if error is None:
            return event
        cause, now = _cause(str(event["event"]), error), self._monotonic()
        logged = self._logged.get(cause)
        if logged is not None and now < logged.until:
            self._logged[cause] = logged._replace(dropped=logged.dropped + 1)
            self._dropped += 1
            raise structlog.DropEvent
        self._logged[cause] = _LoggedCause(now + _INTERVAL.total_seconds(), dropped=0)
        if logged is not None and logged.dropped:
            event["repeated"] = logged.dropped
        return event

    def take_dropped(self) -> int:
        """Return the number of lines that were dropped since the last call."""
        dropped, self._dropped = self._dropped, 0
        return dropped


def _exception(exc_info: object) -> BaseException | None:
    """Return the exception of structlog's `exc_info`: the exception, True, or a tuple."""
    if isinstance(exc_info, BaseException):
        return exc_info
    if isinstance(exc_info, tuple):
        error = exc_info[1]
        return error if isinstance(error, BaseException) else None
    return sys.exception() if exc_info else None


def _cause(event: str, error: BaseException) -> _Cause:
    seen = {error}
    while (origin := error.__cause__ or error.__context__) is not None and origin not in seen:
        error = origin
        seen.add(error)
    frame: TracebackType | None = error.__traceback__
    while frame is not None and frame.tb_next is not None:
        frame = frame.tb_next
    if frame is None:
        return event, type(error), "", 0
    return event, type(error), frame.tb_frame.f_code.co_filename, frame.tb_lineno
