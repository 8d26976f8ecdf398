"""Logs an outage once and paces the retries until it ends."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from structlog.stdlib import BoundLogger

_INITIAL_BACKOFF, _MAX_BACKOFF = 0.1, 5.0
"""Bounds of the backoff in seconds."""


class Outage:
    """Consecutive failures of one task, which is retried until it succeeds.

    Only the first failure is logged, because a database may be unavailable for hours.
    """

    def __init__(self, logger: BoundLogger, failure_event: str, **log_fields: str) -> None:
        self.is_active = False
        self._logger = logger
        self._failure_event = failure_event
        self._log_fields = log_fields
        self._backoff = 0.0

    def record_failure(self) -> None:
        """Log the exception being handled if it begins the outage, and lengthen the backoff."""
        if not self.is_active:
            self._logger.warning(self._failure_event, **self._log_fields, exc_info=True)
        self._backoff = min(2 * self._backoff, _MAX_BACKOFF) if self.is_active else _INITIAL_BACKOFF
        self.is_active = True

    def end(self) -> None:
        self.is_active = False

    @contextmanager
    def suppress(self) -> Iterator[None]:
        """Record and suppress an exception of the block; without one, the outage ends."""
        try:
            yield
        except Exception:  # noqa: BLE001 - recorded, and the caller tries again
            self.record_failure()
        else:
            self.end()

    def backoff_seconds(self, random: Callable[[], float]) -> float:
        """Draw the delay before the next attempt, between half the backoff and all of it.

        The jitter keeps processes from retrying at the same time.
        """
        return self._backoff * (0.5 + random() / 2)
