"""What the documents take in memory together that somebody follows by, and that there is an end to it."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from app.domain.errors import ServiceUnavailable
from app.graphql.engine.prepared import PreparedOperation

MAX_OPEN_DOCUMENT_BYTES = 128 << 20
"""Each takes at most some 300 bytes for a character; those who send the same text share it."""

_RETRY_AFTER_SECONDS = 60


class DocumentMemoryBudget:
    """Of this process."""

    def __init__(self, max_bytes: int = MAX_OPEN_DOCUMENT_BYTES) -> None:
        self._max_bytes = max_bytes
        self._subscriber_counts: Counter[PreparedOperation] = Counter()
        self._used_bytes = 0

    def check(self, operation: PreparedOperation) -> None:
        """ServiceUnavailable where there is no room for one more."""
        is_new = operation not in self._subscriber_counts
        if is_new and self._used_bytes + operation.estimated_bytes > self._max_bytes:
            raise ServiceUnavailable(
                "This server follows by as many different documents as it may. Ask by variables for what"
                " differs, or try again later.",
                retry_after=_RETRY_AFTER_SECONDS,
            )

    @contextmanager
    def reserve(self, operation: PreparedOperation) -> Iterator[None]:
        """Within it, somebody follows; as `check`."""
        self.check(operation)
        if operation not in self._subscriber_counts:
            self._used_bytes += operation.estimated_bytes
        self._subscriber_counts[operation] += 1
        try:
            yield
        finally:
            self._subscriber_counts[operation] -= 1
            if not self._subscriber_counts[operation]:
                del self._subscriber_counts[operation]
                self._used_bytes -= operation.estimated_bytes
