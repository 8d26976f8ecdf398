"""Weak entity tags and If-None-Match (RFC 9110, 8.8.3 and 13.1.2)."""

import hashlib
import re

_TAG_BYTES = 16
_OPAQUE_TAG = re.compile(r'(?:W/)?("[\x21\x23-\x7e\x80-\xff]*")')


def weak_etag(data: bytes) -> str:
    """Compute the tag of a response's content: equal for equal bytes."""
    return f'W/"{hashlib.sha256(data).hexdigest()[: 2 * _TAG_BYTES]}"'


def etag_matches(if_none_match: str | None, etag: str) -> bool:
    """Return True if an If-None-Match header (several lines joined by commas) names this tag.

    Tags are compared weakly: only the quoted part counts. `*` matches every tag.
    """
    if if_none_match is None:
        return False
    if if_none_match.strip() == "*":
        return True
    return etag.removeprefix("W/") in _OPAQUE_TAG.findall(if_none_match)
