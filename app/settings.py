"""Settings: one frozen record, read once from the environment, and the table that documents it.

A malformed value raises SettingsError. No other module reads the environment, except for
PROMETHEUS_MULTIPROC_DIR, the directory that server processes share for metrics.
"""

import ipaddress
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import Field, dataclass, field, fields
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

from app.domain.api_keys import is_well_formed
from app.domain.leases import MAX_CLAIMS, MAX_LEASE, MIN_LEASE
from app.domain.outbound_rules import IPNetwork, OutboundRules
from app.domain.rate_limits import RateLimit, parse_rate_limits
from app.domain.webhooks.deliveries import DEFAULT_RETRY_SCHEDULE

DEMO_KEY_SECRET = "de300000000000000000000000000de3"
"""Secret part of the demo workspace's key unless DEMO_API_KEY is set; publicly known."""

SECRETS_KEY_FILE = "SECRETS_KEY_FILE"
"""Variable that names a file with the keys of SECRETS_KEY."""

_MIN_SECRET_KEY_LENGTH = 16


class SettingsError(Exception):
    """Error of an invalid setting, which prevents the start; the message is a sentence with the variable."""


class _InvalidValue(Exception):
    """Error that states the form of a value; the variable's name is added to the message."""


def _parse_database_url(text: str) -> str:
    """Normalize to the asynchronous drivers: sqlite+aiosqlite:///… or postgresql+asyncpg://…"""
    scheme, separator, rest = text.partition("://")
    if separator and scheme in ("sqlite", "sqlite+aiosqlite"):
        return _parse_sqlite_url(rest)
    if separator and scheme in ("postgresql", "postgres", "postgresql+asyncpg"):
        return _parse_postgresql_url(rest)
    raise _InvalidValue("must start with sqlite:/// or postgresql://")


def _parse_sqlite_url(rest: str) -> str:
    if rest in ("", "/") or not rest.startswith("/") or ":memory:" in rest or "?" in rest:
        raise _InvalidValue(
            "must name an SQLite file and nothing else, such as sqlite:///post-results.db;"
            " an in-memory database is not supported"
        )
    return f"sqlite+aiosqlite://{rest}"


def _parse_postgresql_url(rest: str) -> str:
    try:
        parts = urlsplit(_POSTGRESQL_SCHEME + rest)
        is_complete = parts.path.strip("/") != "" and parts.port != 0
    except ValueError:
        is_complete = False
    if not is_complete or "#" in rest:
        raise _InvalidValue(
            "must be like postgresql://user:password@host:5432/database,"
            " with percent-encoding for the special characters of a password"
        )
    # Hosting providers use libpq's name sslmode; asyncpg's name for the same values is ssl.
    query = [
        ("ssl" if name == "sslmode" else name, value) for name, value in parse_qsl(parts.query)
    ]
    for name, value in query:
        if name not in ("host", "ssl"):
            raise _InvalidValue(f"must not have the option {name}; it may have host and sslmode")
        if name == "ssl" and value not in _SSL_MODES:
            raise _InvalidValue(f"must have as sslmode one of {', '.join(_SSL_MODES)}")
    options = f"?{urlencode(query)}" if query else ""
    return f"{_POSTGRESQL_SCHEME}{parts.netloc}{parts.path}{options}"


_POSTGRESQL_SCHEME = "postgresql+asyncpg://"
_SSL_MODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")


def _parse_rate_limit_setting(text: str) -> tuple[RateLimit, ...]:
    try:
        return () if text == "off" else parse_rate_limits(text)
    except ValueError:
        raise _InvalidValue("must be 'off' or limits above 0 such as 60/minute;1000/hour") from None


def _integer_parser(low: int, high: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        if not re.fullmatch(r"\d{1,12}", text, re.ASCII) or not low <= int(text) <= high:
            raise _InvalidValue(f"must be a whole number from {low} to {high}")
        return int(text)

    return parse


def _optional_integer_parser(low: int, high: int) -> Callable[[str], int | None]:
    def parse(text: str) -> int | None:
        try:
            return None if text == "off" else _integer_parser(low, high)(text)
        except _InvalidValue as problem:
            raise _InvalidValue(f"{problem}, or 'off'") from None

    return parse


def _seconds_parser(low: float, high: float) -> Callable[[str], timedelta]:
    def parse(text: str) -> timedelta:
        if (
            not re.fullmatch(r"\d{1,9}(\.\d{1,3})?", text, re.ASCII)
            or not low <= float(text) <= high
        ):
            raise _InvalidValue(f"must be a number of seconds from {low:.10g} to {high:.10g}")
        return timedelta(seconds=float(text))

    return parse


def _choice_parser(*choices: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if text not in choices:
            raise _InvalidValue(f"must be one of {', '.join(choices)}")
        return text

    return parse


def _parse_boolean(text: str) -> bool:
    return _choice_parser("yes", "no")(text) == "yes"


def _split_commas(text: str) -> tuple[str, ...]:
    return tuple(item.strip() for item in text.split(",") if item.strip())


def _parse_paths(text: str) -> tuple[Path, ...]:
    paths = tuple(Path(path) for path in _split_commas(text))
    if text and not paths:  # "," must not mean "no restriction"
        raise _InvalidValue("must name a file")
    return paths


def _parse_path(text: str) -> Path:
    if "\0" in text:
        raise _InvalidValue("must name a file")
    return Path(text)


def _parse_origins(text: str) -> tuple[str, ...]:
    for origin in _split_commas(text):
        if origin != "*" and not re.fullmatch(r"https?://[^/?#\s*]+", origin):
            raise _InvalidValue("must be origins such as https://app.example.com, or *")
    return _split_commas(text)


_PUBLIC_URL = re.compile(
    r"https?://([a-z0-9.-]+|\[[0-9a-f:.]+\])(:[1-9][0-9]{0,4})?(/[^?#\s]*)?",
    re.IGNORECASE | re.ASCII,
)
"""URL whose origin can be that of a browser: host names in ASCII, and no port that starts with a zero."""


def _parse_public_url(text: str) -> str:
    if not _PUBLIC_URL.fullmatch(text):
        raise _InvalidValue("must be a URL such as https://results.example.com")
    return text


def is_header_name(text: str) -> bool:
    """Return whether a text is the name of a header, of letters, digits and hyphens."""
    return bool(re.fullmatch(r"[A-Za-z0-9-]{1,100}", text, re.ASCII))


def _parse_header_name(text: str) -> str:
    if not is_header_name(text):
        raise _InvalidValue("must be the name of a header such as X-Forwarded-User")
    return text


def _parse_networks(text: str) -> tuple[str, ...]:
    try:
        for address in _split_commas(text):
            ipaddress.ip_network(address)
    except ValueError:
        raise _InvalidValue("must be IP addresses or networks such as 10.0.0.0/8") from None
    return _split_commas(text)


def _parse_allowed_networks(text: str) -> tuple[IPNetwork, ...]:
    return tuple(map(ipaddress.ip_network, _parse_networks(text)))


def _parse_root_path(text: str) -> str:
    if text and not re.fullmatch(r"(/[A-Za-z0-9._~-]+)+", text):
        raise _InvalidValue("must start with / and not end with it, such as /post-results")
    return text


def _parse_host(text: str) -> str:
    if not text or re.search(r"[\s/]", text):
        raise _InvalidValue("must be a host name or an IP address")
    return text


def _parse_key_prefix(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,20}", text, re.ASCII):
        raise _InvalidValue("must be 1 to 20 letters, digits, _ or -")
    return text


def _parse_secret_key(text: str) -> str | None:
    if len(text) < _MIN_SECRET_KEY_LENGTH:
        raise _InvalidValue(f"must be at least {_MIN_SECRET_KEY_LENGTH} characters long")
    return text


def _parse_secrets_keys(text: str) -> tuple[str, ...]:
    if not all(_SECRETS_KEY.fullmatch(key) for key in _split_commas(text)):
        raise _InvalidValue(
            "must be keys that `post-results secrets new-key` created, separated by commas"
        )
    return _split_commas(text)


_SECRETS_KEY = re.compile(r"[A-Za-z0-9_-]{42}[AEIMQUYcgkosw048]=", re.ASCII)
"""32 bytes in base64url."""


def _parse_waits(text: str) -> tuple[timedelta, ...]:
    waits = text.split()
    if not all(re.fullmatch(r"\d{1,6}(\.\d{1,3})?", wait, re.ASCII) for wait in waits):
        raise _InvalidValue("must be numbers of seconds, separated by spaces")
    return tuple(timedelta(seconds=float(wait)) for wait in waits)


def _setting(
    default: str | None, parse: Callable[[str], Any], doc: str, *, is_secret: bool = False
) -> Any:
    """Declare a setting, whose variable is the name of the field in upper case.

    `default` is the text as in the environment. The value of a secret appears neither in the repr of
    Settings nor in errors.
    """
    return field(
        default=None if default is None else parse(default),
        repr=not is_secret,
        metadata={"default": default, "parse": parse, "doc": doc},
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class GraphQLLimits:
    """Limits of one GraphQL request; a request that exceeds one is refused with LIMIT_EXCEEDED.

    Their variables begin with GRAPHQL_MAX_. The lowest possible values still allow the documents of the
    REST API.
    """

    depth: int = _setting("15", _integer_parser(5, 1000), "Maximum levels of nested fields.")
    introspection_depth: int = _setting(
        "20",
        _integer_parser(1, 1000),
        "Maximum levels of nested fields below `__schema` and `__type`.",
    )
    tokens: int = _setting("2000", _integer_parser(200, 1_000_000), "Maximum tokens of a document.")
    fields: int = _setting(
        "500",
        _integer_parser(50, 1_000_000),
        "Maximum fields, counted after fragments are expanded.",
    )
    aliases: int = _setting(
        "30",
        _integer_parser(30, 1_000_000),
        "Maximum aliases, counted after fragments are expanded.",
    )
    root_fields: int = _setting(
        "20", _integer_parser(1, 1_000_000), "Maximum root fields of the operation."
    )
    directives: int = _setting(
        "50",
        _integer_parser(0, 1_000_000),
        "Maximum directives, counted after fragments are expanded.",
    )
    operations: int = _setting(
        "5", _integer_parser(1, 1_000_000), "Maximum operations in a document."
    )
    nodes: int = _setting(
        "2000",
        _integer_parser(100, 1_000_000),
        "Maximum nodes that the connections of one request can return: page size × number of parents.",
    )
    list_entries: int = _setting(
        "10000",
        _integer_parser(1, 10_000_000),
        "Maximum entries of lists without a page size (destinations, attempts, accounts) in a response.",
    )
    ids: int = _setting(
        "100",
        _integer_parser(100, 10_000),
        "Maximum ids, or other values, in a list argument. A mutation can always have 500.",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """All settings. Durations are timedeltas, lists are tuples."""

    database_url: str = _setting(
        "sqlite:///post-results.db",
        _parse_database_url,
        "`sqlite:///file.db` (relative to the working directory; `sqlite:////` is absolute) or"
        " `postgresql://user:password@host/database`.",
        is_secret=True,
    )
    database_pooler: str = _setting(
        "none",
        _choice_parser("none", "session", "transaction"),
        "Mode of the [pooler](operating.md#poolers) of `DATABASE_URL`.",
    )
    database_direct_url: str | None = _setting(
        None,
        _parse_database_url,
        "URL of the same database without the pooler, for notifications, migrations and tools. Not set:"
        " `DATABASE_URL`.",
        is_secret=True,
    )
    host: str = _setting("127.0.0.1", _parse_host, "Address to listen on.")
    port: int = _setting("8000", _integer_parser(0, 65535), "Port to listen on.")
    workers: int = _setting(
        "1", _integer_parser(1, 256), "Server processes. Use PostgreSQL for more than one."
    )
    with_worker: bool = _setting(
        "no",
        _parse_boolean,
        "`yes` is the same as `serve --with-worker`: each server process also publishes.",
    )
    worker_concurrency: int = _setting(
        "8",
        _integer_parser(1, MAX_CLAIMS),
        "Posts that a worker publishes or verifies concurrently.",
    )
    worker_lease: timedelta = _setting(
        "60",
        _seconds_parser(MIN_LEASE.total_seconds(), MAX_LEASE.total_seconds()),
        "Duration of a lease in seconds. A worker renews its leases; after it has died, other workers take"
        " over when they expire.",
    )
    sandbox_file: Path | None = _setting(
        None,
        _parse_path,
        "File in which the sandbox stores its publications. Not set: the memory of each process.",
    )
    demo: bool = _setting(
        "no",
        _parse_boolean,
        "`yes` is the same as `serve --demo`: load the demo data once and show the demo key to every"
        " visitor.",
    )
    demo_api_key: str | None = _setting(
        None,
        str,
        "API key of the demo workspace. Not set: a well-known key, printed at startup.",
        is_secret=True,
    )
    api_key_prefix: str = _setting("pe_live_", _parse_key_prefix, "Prefix of every API key.")
    secret_key: str | None = _setting(
        None,
        _parse_secret_key,
        "Key that signs cursors and leases. Not set: generated at the first start and stored in the database."
        " Changing it invalidates issued cursors and leases. Reports of running attempts are then rejected,"
        " so let publishers finish first.",
        is_secret=True,
    )
    secrets_key: tuple[str, ...] = _setting(
        "",
        _parse_secrets_keys,
        "Keys that encrypt the signing secrets of [webhooks](webhooks.md), separated by commas, each made by"
        " `post-results secrets new-key`. The first encrypts, all decrypt. `SECRETS_KEY_FILE` names a file"
        " with them instead. Not set: no webhook can be created.",
        is_secret=True,
    )
    webhooks: bool = _setting(
        "yes", _parse_boolean, "`no`: this process does not deliver webhooks; others still do."
    )
    webhook_retry_schedule: tuple[timedelta, ...] = _setting(
        " ".join(f"{wait.total_seconds():g}" for wait in DEFAULT_RETRY_SCHEDULE),
        _parse_waits,
        "Seconds to wait after each failed attempt to deliver a webhook, separated by spaces. After the last"
        " attempt, the delivery is given up.",
    )
    webhook_retention: timedelta = _setting(
        "2592000",
        _seconds_parser(1, 999_999_999),
        "Seconds for which deliveries of webhooks are stored, at most a tenth longer.",
    )
    rate_limit: tuple[RateLimit, ...] = _setting(
        "60/minute;1000/hour",
        _parse_rate_limit_setting,
        "Requests per API key and process; `off` disables every rate limit.",
    )
    failed_auth_rate_limit: tuple[RateLimit, ...] = _setting(
        "20/minute",
        _parse_rate_limit_setting,
        "Failed authentications per client address and process.",
    )
    board_rate_limit: tuple[RateLimit, ...] = _setting(
        "600/minute",
        _parse_rate_limit_setting,
        "Requests per session of the board and process, instead of the other limits on requests.",
    )
    create_rate_limit: tuple[RateLimit, ...] = _setting(
        "60/minute",
        _parse_rate_limit_setting,
        "Posts created per API key and process; each post of a bulk request counts.",
    )
    publish_rate_limit: tuple[RateLimit, ...] = _setting(
        "6000/minute",
        _parse_rate_limit_setting,
        "Requests that only claim and report, per API key and process. No other limit counts them.",
    )
    subscribe_rate_limit: tuple[RateLimit, ...] = _setting(
        "6000/minute",
        _parse_rate_limit_setting,
        "New subscriptions per API key and process. The first use of a document counts against `RATE_LIMIT`"
        " instead.",
    )
    cors_origins: tuple[str, ...] = _setting(
        "", _parse_origins, "Origins whose pages may call the API, separated by commas."
    )
    trusted_proxies: tuple[str, ...] = _setting(
        "",
        _parse_networks,
        "Addresses of proxies whose headers X-Forwarded-For, X-Forwarded-Proto and X-Forwarded-Host are"
        " trusted, separated by commas.",
    )
    root_path: str = _setting("", _parse_root_path, "Path under which a proxy serves this server.")
    public_url: str | None = _setting(
        None,
        _parse_public_url,
        "URL at which browsers reach this server, such as `https://results.example.com`. Not set: taken from"
        " each request. See [The board](operating.md#the-board).",
    )
    board: bool = _setting(
        "yes", _parse_boolean, "`no` disables the board and its [sign-in](operating.md#the-board)."
    )
    board_proxy_user: str | None = _setting(
        None,
        _parse_header_name,
        "Header in which `TRUSTED_PROXIES` name the person whom they have signed in. Not set: people sign in"
        " with a key. See [Single sign-on](sso.md).",
    )
    board_proxy_users: Path | None = _setting(
        None,
        _parse_path,
        "TOML file with the workspace and the scopes of each user or group of `BOARD_PROXY_USER`.",
    )
    request_timeout: timedelta = _setting(
        "30", _seconds_parser(0.1, 3600), "Seconds until a request is aborted with 503."
    )
    shutdown_delay: timedelta = _setting(
        "0",
        _seconds_parser(0, 3600),
        "Seconds that a server continues to accept requests after SIGTERM, before SHUTDOWN_TIMEOUT begins."
        " /readyz answers 503 meanwhile, and each response closes its connection. SIGINT has no delay.",
    )
    shutdown_timeout: timedelta = _setting(
        "10",
        _seconds_parser(0, 3600),
        "Seconds that running requests have to complete at shutdown. The attempts of a worker then have the"
        " same time.",
    )
    max_body_bytes: int = _setting(
        "1048576", _integer_parser(1, 2**31 - 1), "Maximum bytes of a request body."
    )
    fast_path: bool = _setting(
        "yes",
        _parse_boolean,
        "`no` parses and validates each document every time, and executes it with graphql-core only; the"
        " responses are the same.",
    )
    persisted_queries_bytes: int = _setting(
        "4194304",
        _integer_parser(0, 2**31 - 1),
        "Bytes of memory for automatic persisted queries, per process; 0 disables them.",
    )
    trusted_documents: tuple[Path, ...] = _setting(
        "",
        _parse_paths,
        "Files with the only GraphQL documents that are executed, besides those of the board, separated by"
        " commas. Not set: every document is executed.",
    )
    outbound_allow_http: bool = _setting(
        "no",
        _parse_boolean,
        "`yes` also allows requests to other servers, such as webhooks, over http. https is always allowed.",
    )
    outbound_allowed_networks: tuple[IPNetwork, ...] = _setting(
        "",
        _parse_allowed_networks,
        "Networks to which requests to other servers may connect although they are not public, such as"
        " `10.0.0.0/8`, separated by commas. Not set: only public addresses.",
    )
    retry_policy_file: Path | None = _setting(
        None, _parse_path, "TOML file with custom retry policies. Not set: the defaults."
    )
    max_connections: int = _setting(
        "15000",
        _integer_parser(1, 1_000_000),
        "Maximum open connections per process, with WebSockets; further ones are answered with 503. Lower if"
        " the process may not open enough files.",
    )
    max_connections_per_address: int | None = _setting(
        "off",
        _optional_integer_parser(1, 1_000_000),
        "Maximum open connections per client address and process, or `off`. Connections of `TRUSTED_PROXIES`"
        " do not count.",
    )
    max_sockets: int = _setting(
        "10000",
        _integer_parser(1, 1_000_000),
        "Maximum authenticated WebSockets per process. A quarter of this number may be open in addition,"
        " until they authenticate.",
    )
    max_subscriptions: int = _setting(
        "10000",
        _integer_parser(1, 1_000_000),
        "Maximum open subscriptions per process. Long polls count too.",
    )
    max_subscriptions_per_key: int = _setting(
        "2000",
        _integer_parser(1, 1_000_000),
        "Maximum open subscriptions, and maximum open WebSockets, per API key and process.",
    )
    max_subscriptions_per_socket: int = _setting(
        "10", _integer_parser(1, 1_000), "Maximum concurrent operations on one WebSocket."
    )
    max_exports: int = _setting(
        "2",
        _integer_parser(1, 1_000),
        "Maximum running exports per process; further ones are answered with 429. An API key can have one.",
    )
    export_timeout: timedelta = _setting(
        "900",
        _seconds_parser(1, 86_400),
        "Seconds until an export is aborted, which also happens if no byte is sent for 30 seconds.",
    )
    changes_retention: timedelta = _setting(
        "2592000",
        _seconds_parser(1, 999_999_999),
        "Seconds for which changes are stored, at most a tenth longer. A client with an older cursor must"
        " read its data again.",
    )
    database_pool_size: int = _setting(
        "5",
        _integer_parser(1, 1000),
        "Read connections per process. With PostgreSQL, each process also opens up to the same number for"
        " writes, two for batches of reads, two for its own reads, one for notifications, and one for each"
        " running export.",
    )
    database_timeout: timedelta = _setting(
        "10", _seconds_parser(5, 3600), "Seconds to wait for a connection, a lock or a statement."
    )
    log_level: str = _setting(
        "info",
        _choice_parser("debug", "info", "warning", "error"),
        "Minimum level of log messages.",
    )
    log_format: str = _setting(
        "json",
        _choice_parser("json", "console"),
        "`json`: one JSON object per line. `console`: readable text.",
    )
    graphql: GraphQLLimits = field(default_factory=GraphQLLimits)

    def demo_key(self) -> str:
        """Return the API key of the demo workspace."""
        return self.demo_api_key or self.api_key_prefix + DEMO_KEY_SECRET

    def outbound_rules(self) -> OutboundRules:
        """Return the rules of requests to other servers."""
        return OutboundRules(self.outbound_allow_http, self.outbound_allowed_networks)


def read_settings(environment: Mapping[str, str]) -> Settings:
    """Read all settings; an empty variable counts as not set."""
    values: dict[type, dict[str, Any]] = {Settings: {}, GraphQLLimits: {}}
    for record, variable, item in declared_settings():
        if text := _read_variable(environment, variable):
            try:
                values[record][item.name] = _parse_value(item.metadata["parse"], text)
            except _InvalidValue as problem:
                value = f"; it is {text!r}" if item.repr else ""
                raise SettingsError(f"{variable} {problem}{value}.") from None
    settings = Settings(graphql=GraphQLLimits(**values[GraphQLLimits]), **values[Settings])
    if settings.demo_api_key and not is_well_formed(settings.demo_api_key, settings.api_key_prefix):
        raise SettingsError(
            f"DEMO_API_KEY must be {settings.api_key_prefix} followed by 32 lower-case hex digits."
        )
    _check_pooler_settings(settings)
    _check_proxy_settings(settings)
    return settings


def _read_variable(environment: Mapping[str, str], variable: str) -> str:
    """Return the text of a variable; that of SECRETS_KEY may be in the file of SECRETS_KEY_FILE."""
    text = environment.get(variable, "").strip()
    if variable != "SECRETS_KEY" or not (file := environment.get(SECRETS_KEY_FILE, "").strip()):
        return text
    if text:
        raise SettingsError(
            f"SECRETS_KEY and {SECRETS_KEY_FILE} exclude each other: set one of them."
        )
    try:
        return Path(file).read_text().strip()
    except (OSError, ValueError) as error:
        raise SettingsError(f"{SECRETS_KEY_FILE} cannot be read: {error}.") from None


def _check_pooler_settings(settings: Settings) -> None:
    url, direct_url = settings.database_url, settings.database_direct_url
    if direct_url is None:
        if settings.database_pooler != "none":
            raise SettingsError(
                f"DATABASE_POOLER={settings.database_pooler} needs DATABASE_DIRECT_URL, the URL of the same"
                " database without the pooler, for notifications and migrations."
            )
    elif not all(each.startswith(_POSTGRESQL_SCHEME) for each in (url, direct_url)):
        raise SettingsError(
            "DATABASE_URL and DATABASE_DIRECT_URL must both start with postgresql://."
        )


def _check_proxy_settings(settings: Settings) -> None:
    if settings.board_proxy_user is None:
        if settings.board_proxy_users is not None:
            raise SettingsError(
                "BOARD_PROXY_USERS needs BOARD_PROXY_USER, the header in which the proxy names the user."
            )
        return
    if settings.board_proxy_users is None:
        raise SettingsError(
            "BOARD_PROXY_USER needs BOARD_PROXY_USERS, a TOML file with the workspace and the scopes of"
            " each user or group."
        )
    if not settings.trusted_proxies:
        raise SettingsError(
            "BOARD_PROXY_USER needs TRUSTED_PROXIES, the addresses from which its header is believed."
        )
    if not settings.board:
        raise SettingsError("BOARD_PROXY_USER needs the board; remove it, or BOARD=no.")


def settings_table() -> str:
    """Format the settings as the Markdown table of `app/docs/settings.md`."""
    rows = ["| variable | default | meaning |", "|---|---|---|"]
    for _, variable, item in declared_settings():
        default = f"`{item.metadata['default']}`" if item.metadata["default"] else "—"
        rows.append(f"| `{variable}` | {default} | {item.metadata['doc']} |")
    return "\n".join(rows)


def declared_settings() -> Iterator[tuple[type, str, Field[Any]]]:
    """Yield the record, the variable and the field of each setting."""
    for record, prefix in ((Settings, ""), (GraphQLLimits, "GRAPHQL_MAX_")):
        for item in fields(record):
            if item.metadata:
                yield record, f"{prefix}{item.name}".upper(), item


def _parse_value(parse: Callable[[str], Any], text: str) -> Any:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise _InvalidValue("must be text in UTF-8") from None
    return parse(text)
