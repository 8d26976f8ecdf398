"""Validation of URLs to which this service sends requests, such as those of webhooks.

This is a check of the text alone. The addresses of a name are checked by `app.outbound`, whenever it
connects.
"""

import re
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from typing import NoReturn

from app.domain.errors import InvalidInput
from app.domain.outbound_rules import IPAddress, OutboundRules

MAX_OUTBOUND_URL_LENGTH = 2048
"""Code points of a URL to which this service sends requests."""

_DEFAULT_PORTS = {"http": 80, "https": 443}
_LOCAL_DOMAINS = ("localhost", "local", "internal", "home.arpa")
"""Special-use domains whose names have no public address: RFC 6761, 6762, 8375, and ICANN's .internal."""

_URL_PARTS = re.compile(
    r"(?P<scheme>(?i:https?))://(?P<authority>[^/?#]*)(?P<target>[^#]*)(?P<fragment>#.*)?",
    re.ASCII | re.DOTALL,
)
"""Parts of a URL, RFC 3986, appendix B. The target is the path with the query."""

_AUTHORITY = re.compile(r"(?P<host>\[[^\[\]]*\]|[^:\[\]]*)(?P<colon>:(?P<port>[^:\[\]]*))?")
_FORBIDDEN_CHARACTER = re.compile(r"[\s\0-\x20\x7f-\x9f\\]")
_PORT = re.compile(r"[1-9][0-9]{0,4}")
_LABEL = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?")
_NUMERIC_LABEL = re.compile(r"[0-9]+|0x[0-9a-f]*")
"""Last label of a host that resolvers read as an IPv4 address, as in the URL standard of browsers."""

_MAX_HOST_LENGTH = 253


@dataclass(frozen=True, slots=True)
class OutboundUrl:
    """Parts of a valid URL. `host` is a name in lower case or an IP address, without brackets."""

    scheme: str
    host: str
    address: IPAddress | None
    """The host, if it is an IP address."""
    port: int
    target: str
    """Path and query, which begin with a slash."""

    @property
    def authority(self) -> str:
        """Host, and port unless it is the default, as in the Host header."""
        host = f"[{self.host}]" if isinstance(self.address, IPv6Address) else self.host
        return host if self.port == _DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"

    def __str__(self) -> str:
        return f"{self.scheme}://{self.authority}{self.target}"


def validate_outbound_url(text: str, argument: str, rules: OutboundRules) -> str:
    """Return the URL, with its host in lower case, without a default port, and with a path.

    Raises InvalidInput for a URL that `parse_outbound_url` rejects, for an IP address that the rules do not
    allow, and for a name without a public address. Names of a local network are accepted if the rules allow
    networks: those may be its own.
    """
    url = parse_outbound_url(text, argument, rules)
    is_refused = (
        not rules.allowed_networks and _is_local_name(url.host)
        if url.address is None
        else not rules.allows_address(url.address)
    )
    if is_refused:
        _refuse(
            argument,
            f"must have a public host; {url.host} is not public. Use a public host, or ask the operator of"
            " this server to allow its network in OUTBOUND_ALLOWED_NETWORKS",
        )
    return str(url)


def parse_outbound_url(text: str, argument: str, rules: OutboundRules) -> OutboundUrl:
    """Parse a URL with an allowed scheme; raises InvalidInput if any client could read it differently."""
    if len(text) > MAX_OUTBOUND_URL_LENGTH:
        _refuse(
            argument,
            f"has {len(text)} characters; at most {MAX_OUTBOUND_URL_LENGTH} are allowed",
        )
    if _FORBIDDEN_CHARACTER.search(text):
        _refuse(argument, "must not contain spaces, control characters or backslashes")
    parts = _URL_PARTS.fullmatch(text)
    if parts is None:
        _refuse(argument, "must be a URL that starts with https://")
    scheme = parts["scheme"].lower()
    if scheme == "http" and not rules.allow_http:
        _refuse(
            argument,
            "must start with https://. The operator of this server can allow http:// with"
            " OUTBOUND_ALLOW_HTTP=yes",
        )
    if parts["fragment"] is not None:
        _refuse(argument, "must not contain a fragment, which begins with #")
    if not parts["target"].isascii():
        _refuse(argument, "must have a path and query in ASCII; percent-encode other characters")
    if "@" in parts["authority"]:
        _refuse(argument, "must not contain a user name or password")
    authority = _AUTHORITY.fullmatch(parts["authority"])
    if authority is None:
        _refuse(argument, "must have one host and at most one port; IPv6 addresses need brackets")
    host, address = _parse_host(authority["host"], argument)
    port = _DEFAULT_PORTS[scheme]
    if authority["colon"] is not None:
        if not _PORT.fullmatch(authority["port"]) or int(authority["port"]) > 65535:
            _refuse(argument, "must have a port from 1 to 65535 after the colon, or no colon")
        port = int(authority["port"])
    target = parts["target"]
    return OutboundUrl(
        scheme, host, address, port, target if target.startswith("/") else f"/{target}"
    )


def _parse_host(host: str, argument: str) -> tuple[str, IPAddress | None]:
    if not host:
        _refuse(argument, "must have a host")
    if not host.isascii():
        _refuse(argument, "must have a host in ASCII; write its other characters in the form xn--…")
    if "%" in host:
        _refuse(argument, "must have a host without percent signs: neither encoding nor a zone id")
    host = host.lower()
    address: IPAddress
    try:
        if host.startswith("["):
            address = IPv6Address(host[1:-1])
            return str(address), address
        if _NUMERIC_LABEL.fullmatch(host.rpartition(".")[2]):
            address = IPv4Address(host)
            return host, address
    except ValueError:
        _refuse(
            argument,
            "must have an IP address in its usual form, such as 198.51.100.7 or [2001:db8::7]",
        )
    if host.endswith("."):
        _refuse(argument, "must have a host without a dot at its end")
    if len(host) > _MAX_HOST_LENGTH or not all(map(_LABEL.fullmatch, host.split("."))):
        _refuse(
            argument,
            f"must have a host of at most {_MAX_HOST_LENGTH} characters, whose labels have 1 to 63 letters,"
            " digits, hyphens and underscores, and no hyphen at their ends",
        )
    return host, None


def _is_local_name(host: str) -> bool:
    return "." not in host or any(host.endswith(f".{domain}") for domain in _LOCAL_DOMAINS)


def _refuse(argument: str, requirement: str) -> NoReturn:
    raise InvalidInput(f"{argument} {requirement}.", argument=argument)
