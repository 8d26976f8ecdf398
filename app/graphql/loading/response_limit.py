"""Limit on the number of list entries and on the bytes of one response, checked while it is completed."""

from collections import Counter
from collections.abc import Callable, Collection, Mapping
from math import prod
from threading import get_ident
from typing import TypeVar

import orjson

from app.domain.errors import ResponseTooLarge

_MAX_SHORT_TEXT = 100
"""Characters of texts that are not counted: the estimate of an item includes them."""

T = TypeVar("T")
CollectionT = TypeVar("CollectionT", bound=Collection[object])


def drop_frames(error: Exception) -> None:
    """Drop the frames of an exception, which refer to completed values and to the tasks that have failed.

    They would be freed later in the event loop, some only by a full garbage collection: a task refers to its
    exception, and so to itself.
    """
    error.__traceback__ = error.__context__ = None


class ResponseLimit:
    """Limit on the entries of those lists of a response that have no page size, and on its bytes.

    A post leads to its destinations and each destination to its post, and one long text can be selected
    many times. A short document can therefore select more than fits in memory, and its size is known only
    from the rows. Bytes are those of long texts and JSON values, and an estimate of the items of lists.
    """

    def __init__(self, max_entries: int | None, max_bytes: int | None) -> None:
        """Set the limits; None is for REST, whose documents have no recursive lists and select texts once."""
        self._max_entries = max_entries
        self.max_bytes = max_bytes
        self._entries: Counter[int] = Counter()
        """Number of entries by thread: long lists are completed in several threads."""
        self._bytes: Counter[int] = Counter()
        self._message: str | None = None
        """Message of the error, set once a limit is exceeded."""
        self.allows_partial_data = False
        """True for a mutation: it is committed, so its data is returned without what exceeds the limit."""

    def for_next_event(self) -> "ResponseLimit":
        """Return a new count with the same limits, for the next response of a subscription."""
        return ResponseLimit(self._max_entries, self.max_bytes)

    @property
    def error(self) -> ResponseTooLarge | None:
        """A new exception for the limit that was exceeded first, if any."""
        return None if self._message is None else ResponseTooLarge(self._message)

    @property
    def is_refused(self) -> bool:
        """True once an error replaces the whole response."""
        return self._message is not None and not self.allows_partial_data

    def raise_if_refused(self) -> None:
        """Raise ResponseTooLarge if it replaces the whole response."""
        # Without a local variable for the exception, which its own traceback would refer to.
        if self._message is not None and not self.allows_partial_data:
            raise ResponseTooLarge(self._message)

    @property
    def entry_count(self) -> int:
        """Number of entries so far."""
        return sum(self._entries.values())

    @property
    def byte_count(self) -> int:
        """Estimated bytes so far."""
        return sum(self._bytes.values())

    def add(self, count: int) -> None:
        """Count entries; raises ResponseTooLarge if the response has more than allowed."""
        self._entries[get_ident()] += count
        if self._max_entries is not None and (total := self.entry_count) > self._max_entries:
            raise self._exceed(
                f"The lists in the response have at least {total} entries; at most"
                f" {self._max_entries} are allowed. Request smaller pages or fewer lists."
            )

    def check_product(self, counts: Mapping[str, int]) -> None:
        """Raise ResponseTooLarge if the product of the counts, by what is counted, is too high."""
        if self._max_entries is not None and prod(counts.values()) > self._max_entries:
            factors = " × ".join(f"{count} {name}" for name, count in counts.items())
            raise self._exceed(
                f"The response would have {factors}; at most {self._max_entries} entries are allowed. Use"
                f" fewer {' or '.join(counts)}."
            )

    def add_bytes(self, count: int) -> None:
        """Count bytes; raises ResponseTooLarge if the response has more than allowed."""
        self._bytes[get_ident()] += count
        if self.max_bytes is not None and (self.is_refused or self.byte_count > self.max_bytes):
            raise self.exceed_bytes()

    def exceed_bytes(self) -> ResponseTooLarge:
        """Return the error of a response that has more bytes than allowed."""
        return self._exceed(
            f"The response would have more than {self.max_bytes:,} bytes, which is the limit. Request"
            " smaller pages, or the long fields `content`, `media` and `raw` once."
        )

    def count_items(self, items: CollectionT, bytes_per_item: int) -> CollectionT:
        """Return the items of a list, after counting their bytes."""
        self.add_bytes(len(items) * bytes_per_item)
        return items

    def count_text(self, text: str | None) -> str | None:
        """Return a text, after counting its bytes if it is long."""
        if text is not None and len(text) > _MAX_SHORT_TEXT:
            self.add_bytes(len(text) if text.isascii() else len(text.encode()))
        return text

    def encode_json(self, value: object) -> orjson.Fragment:
        """Return a JSON value as part of the response, after counting its bytes.

        The decoded value takes up to 20 times the memory, so it is not retained until the end.
        """
        encoded = orjson.dumps(value)
        self.add_bytes(len(encoded))
        return orjson.Fragment(encoded)

    def rollback_on_error(self, complete: Callable[..., T], *arguments: object) -> T:
        """Call a function; if it fails, drop what it counted, because a fallback counts it again.

        There is no fallback once the response is refused.
        """
        thread = get_ident()
        entries, size = self._entries[thread], self._bytes[thread]
        try:
            return complete(*arguments)
        except Exception as error:
            if not self.is_refused:
                self._entries[thread], self._bytes[thread] = entries, size
            drop_frames(error)
            raise

    def _exceed(self, message: str) -> ResponseTooLarge:
        self._message = self._message or message
        return ResponseTooLarge(self._message)
