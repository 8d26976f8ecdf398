"""Groups of failures with one cause: same platform, category and code, and same message but for details.

Details are numbers, ids, URLs and quoted texts, which differ between failures with one cause.
"""

import hashlib
import re

from app.domain.destinations import DestinationState, DestinationStatus, ErrorCategory

NORMALIZER_VERSION = 1
"""Version of `normalize_message`. If its results change, a migration must compute all stored groups again."""

_MAX_LENGTH = 300
"""Characters of a normalized message that are compared."""

_MIN_ID_LENGTH = 8
"""Characters from which a word with a digit is an id, such as part of a UUID."""

_HASH_CHARACTERS = 32

# Bounded and possessive repetitions, so that no text takes more than linear time.
_DETAIL = re.compile(
    r"""
    (?P<url> \b [A-Za-z][A-Za-z0-9+.-]{0,20} :// [^\s"'<>]++ )
  | (?P<text> "[^"\n]{0,200}" | “[^“”\n]{0,200}” | «[^«»\n]{0,200}» | `[^`\n]{0,200}`
            | (?<!\w) '[^'\n]{0,200}' (?!\w) )
  | (?P<word> [\w-]++ )
    """,
    re.VERBOSE,
)
_DIGITS = re.compile(r"\d+")
_SPACE = re.compile(r"\s+")


def failure_group(platform: str, state: DestinationState) -> str | None:
    """Return the group of a destination that failed or whose outcome is unknown; None for any other."""
    if state.status is not DestinationStatus.FAILED:
        return None
    assert state.error_category is not None  # noqa: S101 - invariants of a failed state
    assert state.error_code is not None  # noqa: S101
    assert state.error is not None  # noqa: S101
    return group_of(platform, state.error_category, state.error_code, state.error)


def group_of(platform: str, category: ErrorCategory, code: str, message: str) -> str:
    """Return the group of a failure: version of the normalizer, and a hash of what its failures share.

    `ids.parse_failure_group_key` accepts this format.
    """
    parts = "\0".join((platform, category.value, code, normalize_message(message)))
    digest = hashlib.sha256(parts.encode()).hexdigest()
    return f"{NORMALIZER_VERSION}-{digest[:_HASH_CHARACTERS]}"


def normalize_message(message: str) -> str:
    """Replace the details of an error message by the names of their kinds, such as `<number>`.

    Takes linear time for any text. The result has at most 300 characters.
    """
    return _SPACE.sub(" ", _DETAIL.sub(_replace_detail, message)).strip()[:_MAX_LENGTH]


def _replace_detail(match: re.Match[str]) -> str:
    if match.lastgroup != "word":
        return f"<{match.lastgroup}>"
    word = match[0]
    if not _DIGITS.search(word):
        return word
    is_id = len(word) >= _MIN_ID_LENGTH and not word.isdecimal()
    return "<id>" if is_id else _DIGITS.sub("<number>", word)
