"""Parsers of the values of settings: text of an environment variable to a value."""

import ipaddress
import re
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from urllib.parse import parse_qsl, urlencode, urlsplit

from app.domain.outbound_rules import IPNetwork
from app.domain.rate_limits import RateLimit, parse_rate_limits

POSTGRESQL_SCHEME = "postgresql+asyncpg://"

_MIN_SECRET_KEY_LENGTH = 16


class InvalidValue(Exception):
    """Error that states the form of a value; the variable's name is added to the message."""


def parse_database_url(text: str) -> str:
    """Normalize to the asynchronous drivers: sqlite+aiosqlite:///… or postgresql+asyncpg://…"""
    scheme, separator, rest = text.partition("://")
    if separator and scheme in ("sqlite", "sqlite+aiosqlite"):
        return _parse_sqlite_url(rest)
    if separator and scheme in ("postgresql", "postgres", "postgresql+asyncpg"):
        return _parse_postgresql_url(rest)
    raise InvalidValue("must start with sqlite:/// or postgresql://")


def _parse_sqlite_url(rest: str) -> str:
    if rest in ("", "/") or not rest.startswith("/") or ":memory:" in rest or "?" in rest:
        raise InvalidValue(
            "must name an SQLite file and nothing else, such as sqlite:///post-results.db;"
            " an in-memory database is not supported"
        )
    return f"sqlite+aiosqlite://{rest}"


def _parse_postgresql_url(rest: str) -> str:
    try:
        parts = urlsplit(POSTGRESQL_SCHEME + rest)
        is_complete = parts.path.strip("/") != "" and parts.port != 0
    except ValueError:
        is_complete = False
    if not is_complete or "#" in rest:
        raise InvalidValue(
            "must be like postgresql://user:password@host:5432/database,"
            " with percent-encoding for the special characters of a password"
        )
    # Hosting providers use libpq's name sslmode; asyncpg's name for the same values is ssl.
    query = [
        ("ssl" if name == "sslmode" else name, value) for name, value in parse_qsl(parts.query)
    ]
    for name, value in query:
        if name not in ("host", "ssl"):
            raise InvalidValue(f"must not have the option {name}; it may have host and sslmode")
        if name == "ssl" and value not in _SSL_MODES:
            raise InvalidValue(f"must have as sslmode one of {', '.join(_SSL_MODES)}")
    options = f"?{urlencode(query)}" if query else ""
    return f"{POSTGRESQL_SCHEME}{parts.netloc}{parts.path}{options}"


_SSL_MODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")


def parse_rate_limit_setting(text: str) -> tuple[RateLimit, ...]:
    try:
        return () if text == "off" else parse_rate_limits(text)
    except ValueError:
        raise InvalidValue("must be 'off' or limits above 0 such as 60/minute;1000/hour") from None


def integer_parser(low: int, high: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        if not re.fullmatch(r"\d{1,12}", text, re.ASCII) or not low <= int(text) <= high:
            raise InvalidValue(f"must be a whole number from {low} to {high}")
        return int(text)

    return parse


def optional_integer_parser(low: int, high: int) -> Callable[[str], int | None]:
    def parse(text: str) -> int | None:
        try:
            return None if text == "off" else integer_parser(low, high)(text)
        except InvalidValue as problem:
            raise InvalidValue(f"{problem}, or 'off'") from None

    return parse


def seconds_parser(low: float, high: float) -> Callable[[str], timedelta]:
    def parse(text: str) -> timedelta:
        if (
            not re.fullmatch(r"\d{1,9}(\.\d{1,3})?", text, re.ASCII)
            or not low <= float(text) <= high
        ):
            raise InvalidValue(f"must be a number of seconds from {low:.10g} to {high:.10g}")
        return timedelta(seconds=float(text))

    return parse


def choice_parser(*choices: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if text not in choices:
            raise InvalidValue(f"must be one of {', '.join(choices)}")
        return text

    return parse


def parse_boolean(text: str) -> bool:
    return choice_parser("yes", "no")(text) == "yes"


def split_commas(text: str) -> tuple[str, ...]:
    return tuple(item.strip() for item in text.split(",") if item.strip())


def parse_paths(text: str) -> tuple[Path, ...]:
    paths = tuple(Path(path) for path in split_commas(text))
    if text and not paths:  # "," must not mean "no restriction"
        raise InvalidValue("must name a file")
    return paths


def parse_path(text: str) -> Path:
    if "\0" in text:
        raise InvalidValue("must name a file")
    return Path(text)


def parse_origins(text: str) -> tuple[str, ...]:
    for origin in split_commas(text):
        if origin != "*" and not re.fullmatch(r"https?://[^/?#\s*]+", origin):
            raise InvalidValue("must be origins such as https://app.example.com, or *")
    return split_commas(text)


_PUBLIC_URL = re.compile(
    r"https?://([a-z0-9.-]+|\[[0-9a-f:.]+\])(:[1-9][0-9]{0,4})?(/[^?#\s]*)?",
    re.IGNORECASE | re.ASCII,
)
"""URL whose origin can be that of a browser: host names in ASCII, and no port that starts with a zero."""


def parse_public_url(text: str) -> str:
    if not _PUBLIC_URL.fullmatch(text):
        raise InvalidValue("must be a URL such as https://results.example.com")
    return text


def is_header_name(text: str) -> bool:
    """Return whether a text is the name of a header, of letters, digits and hyphens."""
    return bool(re.fullmatch(r"[A-Za-z0-9-]{1,100}", text, re.ASCII))


def parse_header_name(text: str) -> str:
    if not is_header_name(text):
        raise InvalidValue("must be the name of a header such as X-Forwarded-User")
    return text


def parse_networks(text: str) -> tuple[str, ...]:
    try:
        for address in split_commas(text):
            ipaddress.ip_network(address)
    except ValueError:
        raise InvalidValue("must be IP addresses or networks such as 10.0.0.0/8") from None
    return split_commas(text)


def parse_allowed_networks(text: str) -> tuple[IPNetwork, ...]:
    return tuple(map(ipaddress.ip_network, parse_networks(text)))


def parse_root_path(text: str) -> str:
    if text and not re.fullmatch(r"(/[A-Za-z0-9._~-]+)+", text):
        raise InvalidValue("must start with / and not end with it, such as /post-results")
    return text


def parse_host(text: str) -> str:
    if not text or re.search(r"[\s/]", text):
        raise InvalidValue("must be a host name or an IP address")
    return text


def parse_key_prefix(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,20}", text, re.ASCII):
        raise InvalidValue("must be 1 to 20 letters, digits, _ or -")
    return text


def parse_secret_key(text: str) -> str | None:
    if len(text) < _MIN_SECRET_KEY_LENGTH:
        raise InvalidValue(f"must be at least {_MIN_SECRET_KEY_LENGTH} characters long")
    return text


def parse_secrets_keys(text: str) -> tuple[str, ...]:
    if not all(_SECRETS_KEY.fullmatch(key) for key in split_commas(text)):
        raise InvalidValue(
            "must be keys that `post-results secrets new-key` created, separated by commas"
        )
    return split_commas(text)


_BASE64_KEY = r"[A-Za-z0-9_-]{42}[AEIMQUYcgkosw048]"
"""32 bytes in base64url, without padding."""
_SECRETS_KEY = re.compile(f"{_BASE64_KEY}=", re.ASCII)

PRIVATE_KEY_PREFIX = "private_"
_PRIVATE_KEY = re.compile(PRIVATE_KEY_PREFIX + _BASE64_KEY, re.ASCII)


def parse_credentials_keys(text: str) -> tuple[str, ...]:
    if not all(_PRIVATE_KEY.fullmatch(key) for key in split_commas(text)):
        raise InvalidValue(
            f"must be X25519 private keys, which begin with {PRIVATE_KEY_PREFIX}, separated by commas"
        )
    return split_commas(text)


def parse_waits(text: str) -> tuple[timedelta, ...]:
    waits = text.split()
    if not all(re.fullmatch(r"\d{1,6}(\.\d{1,3})?", wait, re.ASCII) for wait in waits):
        raise InvalidValue("must be numbers of seconds, separated by spaces")
    return tuple(timedelta(seconds=float(wait)) for wait in waits)
