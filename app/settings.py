"""Settings: one frozen record, read once from the environment, and the table that documents it.

A malformed value raises SettingsError. No other module reads the environment, except for
PROMETHEUS_MULTIPROC_DIR, the directory that server processes share for metrics.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import Field, dataclass, field, fields
from datetime import timedelta
from pathlib import Path
from typing import Any

from app.domain.api_keys import is_well_formed
from app.domain.leases import MAX_CLAIMS, MAX_LEASE, MIN_LEASE
from app.domain.outbound_rules import IPNetwork, OutboundRules
from app.domain.rate_limits import RateLimit
from app.domain.webhooks.deliveries import DEFAULT_RETRY_SCHEDULE
from app.setting_values import (
    POSTGRESQL_SCHEME,
    InvalidValue,
    choice_parser,
    integer_parser,
    optional_integer_parser,
    parse_allowed_networks,
    parse_boolean,
    parse_credentials_keys,
    parse_database_url,
    parse_header_name,
    parse_host,
    parse_key_prefix,
    parse_networks,
    parse_origins,
    parse_path,
    parse_paths,
    parse_public_url,
    parse_rate_limit_setting,
    parse_root_path,
    parse_secret_key,
    parse_secrets_keys,
    parse_waits,
    seconds_parser,
)

DEMO_KEY_SECRET = "de300000000000000000000000000de3"
"""Secret part of the demo workspace's key unless DEMO_API_KEY is set; publicly known."""

SECRETS_KEY_FILE = "SECRETS_KEY_FILE"
"""Variable that names a file with the keys of SECRETS_KEY."""

FILE_VARIABLES = {
    "SECRETS_KEY": SECRETS_KEY_FILE,
    "CREDENTIALS_KEY": "CREDENTIALS_KEY_FILE",
}
"""For each variable whose value may be in a file: the variable that names the file."""

HPKE_KEY_VARIABLES = (
    "CREDENTIALS_KEY",
    "CREDENTIALS_KEY_FILE",
    "CREDENTIALS_SEAL",
    "CREDENTIALS_SEAL_FILE",
)
"""Deprecated variables of the HPKE format, of which only the private keys are read."""


class SettingsError(Exception):
    """Error of an invalid setting, which prevents the start; the message is a sentence with the variable."""


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

    depth: int = _setting("15", integer_parser(5, 1000), "Maximum levels of nested fields.")
    introspection_depth: int = _setting(
        "20",
        integer_parser(1, 1000),
        "Maximum levels of nested fields below `__schema` and `__type`.",
    )
    tokens: int = _setting("2000", integer_parser(200, 1_000_000), "Maximum tokens of a document.")
    fields: int = _setting(
        "500",
        integer_parser(50, 1_000_000),
        "Maximum fields, counted after fragments are expanded.",
    )
    aliases: int = _setting(
        "30",
        integer_parser(30, 1_000_000),
        "Maximum aliases, counted after fragments are expanded.",
    )
    root_fields: int = _setting(
        "20", integer_parser(1, 1_000_000), "Maximum root fields of the operation."
    )
    directives: int = _setting(
        "50",
        integer_parser(0, 1_000_000),
        "Maximum directives, counted after fragments are expanded.",
    )
    operations: int = _setting(
        "5", integer_parser(1, 1_000_000), "Maximum operations in a document."
    )
    nodes: int = _setting(
        "2000",
        integer_parser(100, 1_000_000),
        "Maximum nodes that the connections of one request can return: page size × number of parents.",
    )
    list_entries: int = _setting(
        "10000",
        integer_parser(1, 10_000_000),
        "Maximum entries of lists without a page size (destinations, attempts, accounts) in a response.",
    )
    response_bytes: int = _setting(
        "64000000",
        integer_parser(1_000_000, 10_000_000_000),
        "Maximum bytes of a GraphQL response.",
    )
    ids: int = _setting(
        "100",
        integer_parser(100, 10_000),
        "Maximum ids, or other values, in a list argument. A mutation can always have 500.",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """All settings. Durations are timedeltas, lists are tuples."""

    database_url: str = _setting(
        "sqlite:///post-results.db",
        parse_database_url,
        "`sqlite:///file.db` (relative to the working directory; `sqlite:////` is absolute) or"
        " `postgresql://user:password@host/database`.",
        is_secret=True,
    )
    database_pooler: str = _setting(
        "none",
        choice_parser("none", "session", "transaction"),
        "Mode of the [pooler](operating.md#poolers) of `DATABASE_URL`.",
    )
    database_direct_url: str | None = _setting(
        None,
        parse_database_url,
        "URL of the same database without the pooler, for notifications, migrations and tools. Not set:"
        " `DATABASE_URL`.",
        is_secret=True,
    )
    host: str = _setting("127.0.0.1", parse_host, "Address to listen on.")
    port: int = _setting("8000", integer_parser(0, 65535), "Port to listen on.")
    workers: int = _setting(
        "1", integer_parser(1, 256), "Server processes. Use PostgreSQL for more than one."
    )
    with_worker: bool = _setting(
        "no",
        parse_boolean,
        "`yes` is the same as `serve --with-worker`: each server process also publishes.",
    )
    worker_concurrency: int = _setting(
        "8",
        integer_parser(1, MAX_CLAIMS),
        "Posts that a worker publishes or verifies concurrently.",
    )
    media_check_bytes_per_hour: int = _setting(
        "1000000000",
        integer_parser(0, 2**53),
        "Bytes that workers load per workspace and hour to [check media](platforms.md#checks-of-media) before"
        " posts are due; further checks wait for the next hour. `0` disables these checks.",
    )
    worker_lease: timedelta = _setting(
        "60",
        seconds_parser(MIN_LEASE.total_seconds(), MAX_LEASE.total_seconds()),
        "Duration of a lease in seconds. A worker renews its leases; after it has died, other workers take"
        " over when they expire.",
    )
    sandbox_file: Path | None = _setting(
        None,
        parse_path,
        "File in which the sandbox stores its publications. Not set: the memory of each process.",
    )
    demo: bool = _setting(
        "no",
        parse_boolean,
        "`yes` is the same as `serve --demo`: load the demo data once and show the demo key to every"
        " visitor.",
    )
    demo_api_key: str | None = _setting(
        None,
        str,
        "API key of the demo workspace. Not set: a well-known key, printed at startup.",
        is_secret=True,
    )
    api_key_prefix: str = _setting("pe_live_", parse_key_prefix, "Prefix of every API key.")
    secret_key: str | None = _setting(
        None,
        parse_secret_key,
        "Key that signs cursors and leases. Not set: generated at the first start and stored in the database."
        " Changing it invalidates issued cursors and leases. Reports of running attempts are then rejected,"
        " so let publishers finish first.",
        is_secret=True,
    )
    secrets_key: tuple[str, ...] = _setting(
        "",
        parse_secrets_keys,
        "Keys that encrypt the [credentials](credentials.md) of accounts, the signing secrets of"
        " [webhooks](webhooks.md), and authorizations of [Mastodon](platforms.md#mastodon), separated by"
        " commas, each made by `post-results secrets new-key`. The first encrypts, all decrypt."
        " [Rotation](credentials.md#rotation) says when a key can be removed."
        " `SECRETS_KEY_FILE` names a file with them instead. Not set: nothing of this can be stored or used.",
        is_secret=True,
    )
    credentials_key: tuple[str, ...] = _setting(
        "",
        parse_credentials_keys,
        "Deprecated. X25519 private keys that only decrypt [credentials](credentials.md) in the HPKE format,"
        " separated by commas, until `post-results secrets rotate` has encrypted everything with"
        " `SECRETS_KEY`. `CREDENTIALS_KEY_FILE` names a file with them instead.",
        is_secret=True,
    )
    credentials_dir: Path | None = _setting(
        None,
        parse_path,
        "Directory with the [files](credentials.md#files) to which credentials may refer, in a subdirectory"
        " for each workspace. Not set: workers read no files.",
    )
    webhooks: bool = _setting(
        "yes", parse_boolean, "`no`: this process does not deliver webhooks; others still do."
    )
    webhook_retry_schedule: tuple[timedelta, ...] = _setting(
        " ".join(f"{wait.total_seconds():g}" for wait in DEFAULT_RETRY_SCHEDULE),
        parse_waits,
        "Seconds to wait after each failed attempt to deliver a webhook, separated by spaces. After the last"
        " attempt, the delivery is given up.",
    )
    webhook_retention: timedelta = _setting(
        "2592000",
        seconds_parser(1, 999_999_999),
        "Seconds for which deliveries of webhooks are stored, at most a tenth longer.",
    )
    rate_limit: tuple[RateLimit, ...] = _setting(
        "60/minute;1000/hour",
        parse_rate_limit_setting,
        "Requests per API key and process; `off` disables every rate limit.",
    )
    failed_auth_rate_limit: tuple[RateLimit, ...] = _setting(
        "20/minute",
        parse_rate_limit_setting,
        "Failed authentications per client address and process.",
    )
    board_rate_limit: tuple[RateLimit, ...] = _setting(
        "600/minute",
        parse_rate_limit_setting,
        "Requests per session of the board and process, instead of the other limits on requests.",
    )
    create_rate_limit: tuple[RateLimit, ...] = _setting(
        "60/minute",
        parse_rate_limit_setting,
        "Posts created per API key and process; each post of a bulk request counts, and so does each"
        " verification of credentials.",
    )
    publish_rate_limit: tuple[RateLimit, ...] = _setting(
        "6000/minute",
        parse_rate_limit_setting,
        "Requests that only claim and report, per API key and process. No other limit counts them.",
    )
    subscribe_rate_limit: tuple[RateLimit, ...] = _setting(
        "6000/minute",
        parse_rate_limit_setting,
        "New subscriptions per API key and process. The first use of a document counts against `RATE_LIMIT`"
        " instead.",
    )
    cors_origins: tuple[str, ...] = _setting(
        "", parse_origins, "Origins whose pages may call the API, separated by commas."
    )
    trusted_proxies: tuple[str, ...] = _setting(
        "",
        parse_networks,
        "Addresses of proxies whose headers X-Forwarded-For, X-Forwarded-Proto and X-Forwarded-Host are"
        " trusted, separated by commas.",
    )
    root_path: str = _setting("", parse_root_path, "Path under which a proxy serves this server.")
    public_url: str | None = _setting(
        None,
        parse_public_url,
        "URL at which browsers reach this server, such as `https://results.example.com`. Not set: taken from"
        " each request. See [The board](operating.md#the-board).",
    )
    board: bool = _setting(
        "yes", parse_boolean, "`no` disables the board and its [sign-in](operating.md#the-board)."
    )
    board_proxy_user: str | None = _setting(
        None,
        parse_header_name,
        "Header in which `TRUSTED_PROXIES` name the person whom they have signed in. Not set: people sign in"
        " with a key. See [Single sign-on](sso.md).",
    )
    board_proxy_users: Path | None = _setting(
        None,
        parse_path,
        "TOML file with the workspace and the scopes of each user or group of `BOARD_PROXY_USER`.",
    )
    headers_timeout: timedelta = _setting(
        "10",
        seconds_parser(0.1, 3600),
        "Seconds from the first byte of a request to the end of its headers, and from a new connection to the"
        " first byte; then the connection is closed.",
    )
    request_timeout: timedelta = _setting(
        "30", seconds_parser(0.1, 3600), "Seconds until a request is aborted with 503."
    )
    shutdown_delay: timedelta = _setting(
        "0",
        seconds_parser(0, 3600),
        "Seconds that a server continues to accept requests after SIGTERM, before SHUTDOWN_TIMEOUT begins."
        " /readyz answers 503 meanwhile, and each response closes its connection. SIGINT has no delay.",
    )
    shutdown_timeout: timedelta = _setting(
        "10",
        seconds_parser(0, 3600),
        "Seconds that running requests have to complete at shutdown. The attempts of a worker then have the"
        " same time.",
    )
    max_body_bytes: int = _setting(
        "1048576", integer_parser(1, 2**31 - 1), "Maximum bytes of a request body."
    )
    fast_path: bool = _setting(
        "yes",
        parse_boolean,
        "`no` parses and validates each document every time, and executes it with graphql-core only; the"
        " responses are the same.",
    )
    persisted_queries_bytes: int = _setting(
        "4194304",
        integer_parser(0, 2**31 - 1),
        "Bytes of memory for automatic persisted queries, per process; 0 disables them.",
    )
    trusted_documents: tuple[Path, ...] = _setting(
        "",
        parse_paths,
        "Files with the only GraphQL documents that are executed, besides those of the board, separated by"
        " commas. Not set: every document is executed.",
    )
    outbound_allow_http: bool = _setting(
        "no",
        parse_boolean,
        "`yes` also allows requests to other servers, such as webhooks, over http. https is always allowed.",
    )
    outbound_allowed_networks: tuple[IPNetwork, ...] = _setting(
        "",
        parse_allowed_networks,
        "Networks to which requests to other servers may connect although they are not public, such as"
        " `10.0.0.0/8`, separated by commas. Not set: only public addresses.",
    )
    retry_policy_file: Path | None = _setting(
        None, parse_path, "TOML file with custom retry policies. Not set: the defaults."
    )
    max_connections: int = _setting(
        "15000",
        integer_parser(1, 1_000_000),
        "Maximum open connections per process, with WebSockets. For further ones, incomplete and idle ones"
        " are closed; if there are none, they are answered with 503. Lower if the process may not open enough"
        " files. See [Load](operating.md#load).",
    )
    max_connections_per_address: int | None = _setting(
        "off",
        optional_integer_parser(1, 1_000_000),
        "Maximum open connections per client address and process, or `off`. Connections of `TRUSTED_PROXIES`"
        " do not count.",
    )
    max_sockets: int = _setting(
        "10000",
        integer_parser(1, 1_000_000),
        "Maximum authenticated WebSockets per process. A quarter of this number may be open in addition,"
        " until they authenticate; at this limit, a new one replaces the oldest.",
    )
    max_subscriptions: int = _setting(
        "10000",
        integer_parser(1, 1_000_000),
        "Maximum open subscriptions per process. Long polls count too.",
    )
    max_subscriptions_per_key: int = _setting(
        "2000",
        integer_parser(1, 1_000_000),
        "Maximum open subscriptions, and maximum open WebSockets, per API key and process.",
    )
    max_subscriptions_per_socket: int = _setting(
        "10", integer_parser(1, 1_000), "Maximum concurrent operations on one WebSocket."
    )
    max_exports: int = _setting(
        "2",
        integer_parser(1, 1_000),
        "Maximum running exports per process. A workspace can have half of them, but at least one. Further"
        " ones wait for up to 30 seconds, and are then answered with 429.",
    )
    export_timeout: timedelta = _setting(
        "900",
        seconds_parser(1, 86_400),
        "Seconds until an export is aborted, which also happens if its client reads nothing for two minutes.",
    )
    changes_retention: timedelta = _setting(
        "2592000",
        seconds_parser(1, 999_999_999),
        "Seconds for which changes are stored, at most a tenth longer. A client with an older cursor must"
        " read its data again.",
    )
    database_pool_size: int = _setting(
        "5",
        integer_parser(1, 1000),
        "Read connections per process. An API key uses at most half of them at a time. With PostgreSQL, each"
        " process also opens up to the same number for writes, two for batches of reads, two for its own"
        " reads, one for notifications, and one for each running export.",
    )
    database_timeout: timedelta = _setting(
        "10", seconds_parser(5, 3600), "Seconds to wait for a connection, a lock or a statement."
    )
    log_level: str = _setting(
        "info",
        choice_parser("debug", "info", "warning", "error"),
        "Minimum level of log messages.",
    )
    log_format: str = _setting(
        "json",
        choice_parser("json", "console"),
        "`json`: one JSON object per line. `console`: readable text.",
    )
    graphql: GraphQLLimits = field(default_factory=GraphQLLimits)
    secrets_key_file: str | None = None
    """File from which `secrets_key` was read; None if it is set itself, or not at all."""
    hpke_key_variables: tuple[str, ...] = ()
    """Those of HPKE_KEY_VARIABLES that are set."""

    def demo_key(self) -> str:
        """Return the API key of the demo workspace."""
        return self.demo_api_key or self.api_key_prefix + DEMO_KEY_SECRET

    def outbound_rules(self) -> OutboundRules:
        """Return the rules of requests to other servers."""
        return OutboundRules(self.outbound_allow_http, self.outbound_allowed_networks)


def read_settings(environment: Mapping[str, str]) -> Settings:
    """Read all settings; an empty variable counts as not set."""
    secrets_key_file = environment.get(SECRETS_KEY_FILE, "").strip() or None
    values: dict[type, dict[str, Any]] = {
        Settings: {
            "secrets_key_file": secrets_key_file,
            "hpke_key_variables": tuple(
                variable for variable in HPKE_KEY_VARIABLES if environment.get(variable, "").strip()
            ),
        },
        GraphQLLimits: {},
    }
    for record, variable, item in declared_settings():
        if text := _read_variable(environment, variable):
            try:
                values[record][item.name] = _parse_value(item.metadata["parse"], text)
            except InvalidValue as problem:
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
    """Return the text of a variable, which may be in the file of another variable."""
    text = environment.get(variable, "").strip()
    file_variable = FILE_VARIABLES.get(variable)
    if file_variable is None or not (file := environment.get(file_variable, "").strip()):
        return text
    if text:
        raise SettingsError(f"{variable} and {file_variable} exclude each other: set one of them.")
    try:
        return Path(file).read_text().strip()
    except (OSError, ValueError) as error:
        raise SettingsError(f"{file_variable} cannot be read: {error}.") from None


def _check_pooler_settings(settings: Settings) -> None:
    url, direct_url = settings.database_url, settings.database_direct_url
    if direct_url is None:
        if settings.database_pooler != "none":
            raise SettingsError(
                f"DATABASE_POOLER={settings.database_pooler} needs DATABASE_DIRECT_URL, the URL of the same"
                " database without the pooler, for notifications and migrations."
            )
    elif not all(each.startswith(POSTGRESQL_SCHEME) for each in (url, direct_url)):
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
        raise InvalidValue("must be text in UTF-8") from None
    return parse(text)
