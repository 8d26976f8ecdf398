"""Validation of text and URLs, and forms of text for comparison and search."""

import re
import unicodedata
from collections.abc import Collection, Sequence
from difflib import get_close_matches
from urllib.parse import quote, unquote, urlsplit

from app.domain.errors import InvalidInput

MAX_SEARCH_LENGTH = 200
"""Code points of a search or an exact-match filter value."""

MAX_NAME_LENGTH = 500
"""Code points of a name, such as an account name or a media id."""

MAX_URL_LENGTH = 2000
"""Code points of a URL."""

_URL = re.compile(r"(?i:https?)://[^\s\0-\x1f\x7f/?#]+([/?#][^\s\0-\x1f\x7f]*)?")
_ILLEGAL_URL_CHARACTER = re.compile(r'[ "<>\\^`{|}]')
_SCHEME_AND_AUTHORITY = re.compile(r"(?i:https?)://[^/?#]*")


def validate_text(text: str, argument: str, *, max_length: int) -> str:
    """Return text that every database stores; `max_length` counts code points.

    Raises InvalidInput for NUL and lone surrogates, which one database would store and the other reject.
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


def validate_name(text: str, argument: str, *, max_length: int) -> str:
    """Return an identifying text; raises InvalidInput unless it is a valid text, printable and not blank."""
    validate_text(text, argument, max_length=max_length)
    if not text.strip() or not text.isprintable():
        raise InvalidInput(f"{argument} must be printable and not empty.", argument=argument)
    return text


def validate_url(text: str, argument: str) -> str:
    """Return a URL; raises InvalidInput unless it is http or https, with a host and without spaces."""
    validate_text(text, argument, max_length=MAX_URL_LENGTH)
    if not _URL.fullmatch(text) or not _has_host(text):
        raise InvalidInput(
            f"{argument} must be a URL that starts with http:// or https://.", argument=argument
        )
    return text


def percent_encode_url(text: str) -> str:
    """Percent-encode the illegal characters of a URL from its path on, and strip spaces around it."""
    text = text.strip(" ")
    origin = _SCHEME_AND_AUTHORITY.match(text)
    if origin is None:
        return text
    rest = _ILLEGAL_URL_CHARACTER.sub(
        lambda match: f"%{ord(match.group()):02X}", text[origin.end() :]
    )
    return origin.group() + rest


def normalize_url(url: str) -> str:
    """Return the normal form of a URL of http or https, by sections 6.2.2 and 6.2.3 of RFC 3986.

    Scheme and host are in lower case, and an internationalized host is in its ASCII form. The default port,
    dot segments, an empty query and an empty fragment are removed. An empty path is `/`, and only characters
    that need it are percent-encoded. Other queries and fragments stay, because some sites name a post in
    them.
    """
    match = _URL_PARTS.fullmatch(url)
    if match is None:
        raise ValueError(f"not a URL with a scheme and a host: {url}")
    scheme, user_info, host, port, path, query, fragment = match.groups(default="")
    scheme = scheme.lower()
    if port in (":", _DEFAULT_PORTS.get(scheme)):
        port = ""
    user_info, path, query, fragment = map(_normalize_escapes, (user_info, path, query, fragment))
    rest = (query and f"?{query}") + (fragment and f"#{fragment}")
    return f"{scheme}://{user_info}{_normalize_host(host)}{port}{_remove_dot_segments(path)}{rest}"


def closest_name(name: str, names: Collection[str]) -> str | None:
    """Return that of the names which the name most resembles in any case; None if none is similar."""
    by_folded = {each.casefold(): each for each in names}
    closest = get_close_matches(name[:MAX_NAME_LENGTH].casefold(), by_folded, n=1)
    return by_folded[closest[0]] if closest else None


def comparable_text(text: str) -> str:
    """Return a text as platforms store it: stripped, and with one character for each line break.

    Posts on one account that differ in nothing else cannot be distinguished by their text.
    """
    return text.replace("\r\n", "\n").strip()


def fold_for_search(*texts: str) -> str:
    """Join texts into one in which a case-insensitive Unicode search is a substring test.

    The separator is removed from the texts, so that no match spans two of them.
    """
    joined = _TEXT_SEPARATOR.join(text.replace(_TEXT_SEPARATOR, " ") for text in texts)
    # Decompose first: folding turns some combining marks into letters, which cannot be reordered.
    return unicodedata.normalize("NFC", unicodedata.normalize("NFD", joined).casefold())


def fold_each_for_search(texts: Sequence[str]) -> list[str]:
    """Return each text as `fold_for_search` does. Takes a fraction of the time of a call for each."""
    return fold_for_search(*texts).split(_TEXT_SEPARATOR) if texts else []


def _normalize_host(host: str) -> str:
    """Return a host in lower case and ASCII; one that IDNA does not allow is only percent-encoded."""
    try:
        encoded = unquote(host, errors="strict").encode("idna").decode("ascii")
    except UnicodeError:
        return _normalize_escapes(host).lower()
    return quote(encoded.lower(), safe=_HOST_DELIMITERS)


def _normalize_escapes(text: str) -> str:
    """Percent-encode what is not ASCII, decode unreserved characters, and use upper case for the others."""
    encoded = _NOT_ASCII.sub(lambda match: quote(match.group()), text)
    return _ESCAPE.sub(_normalize_escape, encoded)


def _normalize_escape(match: re.Match[str]) -> str:
    character = chr(int(match.group(1), 16))
    return character if _UNRESERVED.fullmatch(character) else match.group().upper()


def _remove_dot_segments(path: str) -> str:
    """Return the path without `.` and `..`, as section 5.2.4 of RFC 3986 defines it; it begins with `/`."""
    segments: list[str] = []
    names = path.split("/")[1:]
    for name in names:
        if name == "..":
            del segments[-1:]
        elif name != ".":
            segments.append(name)
    if names and names[-1] in (".", ".."):
        segments.append("")
    return "/" + "/".join(segments)


def _has_host(url: str) -> bool:
    """Return whether the host and port of a URL are unambiguous for all browsers."""
    try:
        parts = urlsplit(url)
        _ = parts.port  # raises ValueError for an invalid port
    except ValueError:
        return False
    return bool(parts.hostname) and not _ILLEGAL_URL_CHARACTER.search(parts.netloc)


_URL_PARTS = re.compile(
    r"(?P<scheme>[^:/?#]+)://(?P<user_info>[^/?#]*@)?(?P<host>[^/?#]*?)(?P<port>:[0-9]*)?"
    r"(?P<path>/[^?#]*)?(?:\?(?P<query>[^#]*))?(?:#(?P<fragment>.*))?",
    re.DOTALL,
)
_HOST_DELIMITERS = "[]:!$&'()*+,;="
"""Delimiters of RFC 3986 that a host may contain."""
_DEFAULT_PORTS = {"http": ":80", "https": ":443"}
_ESCAPE = re.compile(r"%([0-9A-Fa-f]{2})")
_UNRESERVED = re.compile(r"[A-Za-z0-9._~-]")
_NOT_ASCII = re.compile(r"[^\x00-\x7f]+")

_TEXT_SEPARATOR = "\x1f"
"""ASCII's unit separator, which folding neither changes nor combines with its neighbours."""
