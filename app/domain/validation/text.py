"""What text may come in, and how it is compared when somebody searches. Knows no field by name."""

import re
import unicodedata
from urllib.parse import urlsplit

from app.domain.errors import InvalidInput

MAX_SEARCH_LENGTH = 200
"""Code points of a search or an exact-match filter value."""

MAX_URL_LENGTH = 2000
_URL = re.compile(r"(?i:https?)://[^\s\0-\x1f\x7f/?#]+([/?#][^\s\0-\x1f\x7f]*)?")
_ILLEGAL_URL_CHARACTER = re.compile(r'[ "<>\\^`{|}]')
_SCHEME_AND_AUTHORITY = re.compile(r"(?i:https?)://[^/?#]*")


def check_text(text: str, argument: str, *, max_length: int) -> str:
    """Pass text through that every engine stores alike; `max_length` counts code points.

    NUL and lone surrogates are refused: one engine would store what the other rejects.
    """
    if len(text) > max_length:
        raise InvalidInput(
            f"{argument} is {len(text)} characters long; at most {max_length} are allowed.",
            argument=argument,
        )
    if "\0" in text:
        raise InvalidInput(f"{argument} must not contain a NUL character.", argument=argument)
    if any("\ud800" <= character <= "\udfff" for character in text):
        raise InvalidInput(f"{argument} must not contain a lone surrogate.", argument=argument)
    return text


def check_name(text: str, argument: str, *, max_length: int) -> str:
    """Pass a text through by which something is known: `check_text`, and printable and not empty."""
    check_text(text, argument, max_length=max_length)
    if not text.strip() or not text.isprintable():
        raise InvalidInput(f"{argument} must be printable and not empty.", argument=argument)
    return text


def check_url(text: str, argument: str) -> str:
    """Pass a URL through that a browser can open: http or https, with a host and without spaces."""
    check_text(text, argument, max_length=MAX_URL_LENGTH)
    if not _URL.fullmatch(text) or not _has_host(text):
        raise InvalidInput(
            f"{argument} must be a URL that starts with http:// or https://.", argument=argument
        )
    return text


def percent_encode_url(text: str) -> str:
    """The URL with what never stands in one percent-encoded, from its path on; the spaces around it go."""
    text = text.strip(" ")
    start = _SCHEME_AND_AUTHORITY.match(text)
    if start is None:
        return text
    rest = _ILLEGAL_URL_CHARACTER.sub(
        lambda match: f"%{ord(match.group()):02X}", text[start.end() :]
    )
    return start.group() + rest


def fold_for_search(*texts: str) -> str:
    """One string in which a case-insensitive search, beyond ASCII too, is a plain substring test.

    What parts the texts is in none of them, so that nothing is found across two.
    """
    return _TEXT_SEPARATOR.join(_fold(text).replace(_TEXT_SEPARATOR, " ") for text in texts)


def _has_host(url: str) -> bool:
    """Whether the host of a URL, and the port if it has one, can be read, by any browser as the same."""
    try:
        parts = urlsplit(url)
        _ = parts.port  # reading it is what finds a bad one
    except ValueError:
        return False
    return bool(parts.hostname) and not _ILLEGAL_URL_CHARACTER.search(parts.netloc)


_TEXT_SEPARATOR = "\x1f"
"""ASCII's unit separator."""


def _fold(text: str) -> str:
    # Decomposed first: folding takes some combining marks for letters and then cannot order them.
    return unicodedata.normalize("NFC", unicodedata.normalize("NFD", text).casefold())
