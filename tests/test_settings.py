"""Settings: accepted values of each variable, and messages for others."""

from datetime import timedelta
from ipaddress import ip_network
from pathlib import Path

import pytest
from sqlalchemy import make_url

from app.db.core.database import Database
from app.domain.outbound_rules import OutboundRules
from app.settings import (
    DEMO_KEY_SECRET,
    Settings,
    SettingsError,
    declared_settings,
    read_settings,
    settings_table,
)

DEMO_KEY = "pe_live_" + "0123456789abcdef" * 2
SECRETS_KEY = "c2VjcmV0cyBrZXkgb2YgdGhlIHRlc3RzIG9ubHkhISE="
PRIVATE_KEY = f"private_{SECRETS_KEY[:-1]}"


def read_setting(variable: str, text: str) -> object:
    """Parsed value of one variable."""
    settings = read_settings({variable: text})
    (value,) = (
        getattr(settings if record is Settings else settings.graphql, item.name)
        for record, name, item in declared_settings()
        if name == variable
    )
    return value


def setting_error(variable: str, text: str) -> str:
    with pytest.raises(SettingsError) as caught:
        read_settings({variable: text})
    return str(caught.value)


def test_defaults_apply_without_variables() -> None:
    """`test_settings_table_equals_the_code` compares the other defaults with the documentation."""
    settings = read_settings({})
    assert settings == Settings()
    assert settings.demo_key() == "pe_live_" + DEMO_KEY_SECRET
    assert settings.sandbox_file is settings.retry_policy_file is None
    assert settings.demo_api_key is settings.secret_key is None
    assert settings.cors_origins == settings.trusted_proxies == ()
    assert settings.trusted_documents == ()
    assert settings.root_path == ""


def test_outbound_rules_have_the_values_of_their_settings() -> None:
    assert read_settings({}).outbound_rules() == OutboundRules()
    settings = read_settings({"OUTBOUND_ALLOW_HTTP": "yes", "OUTBOUND_ALLOWED_NETWORKS": "::1"})
    assert settings.outbound_rules() == OutboundRules(True, (ip_network("::1/128"),))


def test_empty_and_unknown_variables_are_ignored() -> None:
    empty = {variable: "  " for _, variable, _ in declared_settings()}
    assert read_settings(empty) == read_settings({"PATH": "/bin", "PORTS": "x"}) == Settings()


@pytest.mark.parametrize(
    ("url", "normalized"),
    [
        ("sqlite:///post-results.db", "sqlite+aiosqlite:///post-results.db"),
        ("sqlite+aiosqlite:///post-results.db", "sqlite+aiosqlite:///post-results.db"),
        ("sqlite:////var/lib/p.db", "sqlite+aiosqlite:////var/lib/p.db"),
        ("sqlite:///memory", "sqlite+aiosqlite:///memory"),
        ("sqlite:///with space.db", "sqlite+aiosqlite:///with space.db"),
        ("postgresql://u:p@host/db", "postgresql+asyncpg://u:p@host/db"),
        ("postgres://u:p@host:5433/db", "postgresql+asyncpg://u:p@host:5433/db"),
        ("postgresql+asyncpg://host/db", "postgresql+asyncpg://host/db"),
        ("postgresql://u:p%40%2F%23@host/db", "postgresql+asyncpg://u:p%40%2F%23@host/db"),
        ("postgresql://u@[::1]:5432/db", "postgresql+asyncpg://u@[::1]:5432/db"),
        ("postgresql:///db?host=/run/pg", "postgresql+asyncpg:///db?host=%2Frun%2Fpg"),
        ("postgresql://h/db?sslmode=require", "postgresql+asyncpg://h/db?ssl=require"),
        ("postgresql://h/db?ssl=verify-full", "postgresql+asyncpg://h/db?ssl=verify-full"),
    ],
)
def test_database_url_is_normalized(url: str, normalized: str) -> None:
    assert read_setting("DATABASE_URL", url) == normalized
    assert read_setting("DATABASE_URL", normalized) == normalized
    database = Database(normalized)
    assert database.is_sqlite == normalized.startswith("sqlite")
    assert make_url(normalized) == database.url


INVALID_FILE_MESSAGE = (
    "DATABASE_URL must name an SQLite file and nothing else, such as sqlite:///post-results.db;"
    " an in-memory database is not supported."
)
INCOMPLETE_URL_MESSAGE = (
    "DATABASE_URL must be like postgresql://user:password@host:5432/database, with"
    " percent-encoding for the special characters of a password."
)
MISSING_SCHEME_MESSAGE = "DATABASE_URL must start with sqlite:/// or postgresql://."


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("sqlite://", INVALID_FILE_MESSAGE),
        ("sqlite:///", INVALID_FILE_MESSAGE),
        ("sqlite:///:memory:", INVALID_FILE_MESSAGE),
        ("sqlite:///file::memory:?uri=true", INVALID_FILE_MESSAGE),
        ("sqlite:///file:x?mode=memory&uri=true", INVALID_FILE_MESSAGE),
        ("sqlite:///p.db?mode=ro", INVALID_FILE_MESSAGE),
        ("sqlite://p.db", INVALID_FILE_MESSAGE),
        ("sqlite://host/p.db", INVALID_FILE_MESSAGE),
        ("postgresql://host", INCOMPLETE_URL_MESSAGE),
        ("postgresql://host/", INCOMPLETE_URL_MESSAGE),
        ("postgresql://u:p@host:port/db", INCOMPLETE_URL_MESSAGE),
        ("postgresql://u:p@host:65536/db", INCOMPLETE_URL_MESSAGE),
        ("postgresql://u:p@host:0/db", INCOMPLETE_URL_MESSAGE),
        ("postgresql://u:p#p@host/db", INCOMPLETE_URL_MESSAGE),
        ("postgresql://u:p/p@host/db", INCOMPLETE_URL_MESSAGE),
        ("postgresql://[::1/db", INCOMPLETE_URL_MESSAGE),
        (
            "postgresql://h/db?channel_binding=require",
            "DATABASE_URL must not have the option channel_binding; it may have host and sslmode.",
        ),
        (
            "postgresql://h/db?sslmode=on",
            "DATABASE_URL must have as sslmode one of disable, allow, prefer, require, verify-ca,"
            " verify-full.",
        ),
        ("mysql://h/db", MISSING_SCHEME_MESSAGE),
        ("postgresql+psycopg://h/db", MISSING_SCHEME_MESSAGE),
        ("SQLITE:///p.db", MISSING_SCHEME_MESSAGE),
        ("post-results.db", MISSING_SCHEME_MESSAGE),
        ("sqlite:///\udcff.db", "DATABASE_URL must be text in UTF-8."),
    ],
)
def test_invalid_database_url_is_refused_without_value(url: str, message: str) -> None:
    assert setting_error("DATABASE_URL", url) == message


@pytest.mark.parametrize(
    ("variable", "text", "value"),
    [
        ("HOST", "0.0.0.0", "0.0.0.0"),
        ("HOST", "::1", "::1"),
        ("PORT", "0", 0),
        ("PORT", " 65535 ", 65535),
        ("WORKERS", "1", 1),
        ("WORKERS", "256", 256),
        ("WITH_WORKER", "yes", True),
        ("WORKER_CONCURRENCY", "1", 1),
        ("WORKER_CONCURRENCY", "100", 100),
        ("WORKER_LEASE", "1", timedelta(seconds=1)),
        ("WORKER_LEASE", "3600", timedelta(hours=1)),
        ("SANDBOX_FILE", "/tmp/ledger.jsonl", Path("/tmp/ledger.jsonl")),
        ("DEMO", "yes", True),
        ("DEMO", "no", False),
        ("DEMO_API_KEY", DEMO_KEY, DEMO_KEY),
        ("API_KEY_PREFIX", "acme-", "acme-"),
        ("SECRET_KEY", "sixteen letters!", "sixteen letters!"),
        ("SECRETS_KEY", "A" * 43 + "=", ("A" * 43 + "=",)),
        ("SECRETS_KEY", f"{SECRETS_KEY}, {'_-8' * 14}A=,", (SECRETS_KEY, "_-8" * 14 + "A=")),
        ("WEBHOOKS", "no", False),
        ("WEBHOOK_RETRY_SCHEDULE", "0", (timedelta(0),)),
        (
            "WEBHOOK_RETRY_SCHEDULE",
            " 0.1  2\t999999.999 ",
            (timedelta(seconds=0.1), timedelta(seconds=2), timedelta(seconds=999_999.999)),
        ),
        ("WEBHOOK_RETENTION", "1", timedelta(seconds=1)),
        ("WEBHOOK_RETENTION", "999999999", timedelta(seconds=999_999_999)),
        ("RATE_LIMIT", "off", ()),
        ("FAILED_AUTH_RATE_LIMIT", "off", ()),
        ("CORS_ORIGINS", "*", ("*",)),
        (
            "CORS_ORIGINS",
            "https://a.example, http://b:3000,",
            ("https://a.example", "http://b:3000"),
        ),
        ("TRUSTED_PROXIES", "127.0.0.1, ::1,10.0.0.0/8", ("127.0.0.1", "::1", "10.0.0.0/8")),
        ("ROOT_PATH", "/post-results/v2", "/post-results/v2"),
        ("PUBLIC_URL", "https://Results.example:8443/x", "https://Results.example:8443/x"),
        ("PUBLIC_URL", "http://[::1]:8000", "http://[::1]:8000"),
        ("BOARD", "no", False),
        ("BOARD_RATE_LIMIT", "off", ()),
        ("REQUEST_TIMEOUT", "0.1", timedelta(milliseconds=100)),
        ("REQUEST_TIMEOUT", "3600", timedelta(hours=1)),
        ("SHUTDOWN_TIMEOUT", "0", timedelta(0)),
        ("MAX_BODY_BYTES", "1", 1),
        ("MAX_BODY_BYTES", "2147483647", 2**31 - 1),
        ("PERSISTED_QUERIES_BYTES", "0", 0),
        ("TRUSTED_DOCUMENTS", "/etc/web app.json", (Path("/etc/web app.json"),)),
        ("TRUSTED_DOCUMENTS", "web.json, ios.json,", (Path("web.json"), Path("ios.json"))),
        ("OUTBOUND_ALLOW_HTTP", "yes", True),
        (
            "OUTBOUND_ALLOWED_NETWORKS",
            "10.0.0.0/8, ::1,",
            (ip_network("10.0.0.0/8"), ip_network("::1/128")),
        ),
        ("RETRY_POLICY_FILE", "/etc/retry policies.toml", Path("/etc/retry policies.toml")),
        ("MAX_CONNECTIONS", "1", 1),
        ("MAX_CONNECTIONS_PER_ADDRESS", "off", None),
        ("MAX_CONNECTIONS_PER_ADDRESS", "20", 20),
        ("DATABASE_POOL_SIZE", "1", 1),
        ("DATABASE_TIMEOUT", "5.001", timedelta(seconds=5, milliseconds=1)),
        ("LOG_LEVEL", "debug", "debug"),
        ("LOG_FORMAT", "console", "console"),
        ("GRAPHQL_MAX_DEPTH", "1000", 1000),
        ("GRAPHQL_MAX_INTROSPECTION_DEPTH", "1000", 1000),
        ("GRAPHQL_MAX_TOKENS", "1000000", 1_000_000),
        ("GRAPHQL_MAX_FIELDS", "1000000", 1_000_000),
        ("GRAPHQL_MAX_ALIASES", "1000000", 1_000_000),
        ("GRAPHQL_MAX_ROOT_FIELDS", "1", 1),
        ("GRAPHQL_MAX_DIRECTIVES", "0", 0),
        ("GRAPHQL_MAX_OPERATIONS", "1", 1),
        ("GRAPHQL_MAX_NODES", "1000000", 1_000_000),
        ("GRAPHQL_MAX_LIST_ENTRIES", "1", 1),
        ("GRAPHQL_MAX_IDS", "10000", 10_000),
    ],
)
def test_valid_value_is_parsed(variable: str, text: str, value: object) -> None:
    assert read_setting(variable, text) == value


MALFORMED_VALUES = {
    "HOST": ("must be a host name or an IP address", ["a b", "http://a"]),
    "PORT": ("must be a whole number from 0 to 65535", ["65536", "-1", "８０００", "8000.0"]),
    "WORKERS": ("must be a whole number from 1 to 256", ["0", "1" * 20]),
    "MAX_CONNECTIONS_PER_ADDRESS": (
        "must be a whole number from 1 to 1000000, or 'off'",
        ["0", "on", "OFF"],
    ),
    "API_KEY_PREFIX": ("must be 1 to 20 letters, digits, _ or -", ["a b", "é", "a" * 21]),
    "CORS_ORIGINS": (
        "must be origins such as https://app.example.com, or *",
        ["a.example", "https://a.example/", "https://*.example", "null"],
    ),
    "TRUSTED_PROXIES": (
        "must be IP addresses or networks such as 10.0.0.0/8",
        ["localhost", "10.0.0.1/8", "*"],
    ),
    "OUTBOUND_ALLOWED_NETWORKS": (
        "must be IP addresses or networks such as 10.0.0.0/8",
        ["intranet", "10.0.0.1/8", "*"],
    ),
    "ROOT_PATH": (
        "must start with / and not end with it, such as /post-results",
        ["/", "a", "/a/"],
    ),
    "PUBLIC_URL": (
        "must be a URL such as https://results.example.com",
        [
            "results.example.com",
            "ftp://a",
            "https://",
            "https://a b",
            "https://u:p@a",
            "http://a?b",
            "https://bücher.example",
            "https://a:",
            "https://:443",
            "https://a:0443",
            "https://a:123456",
        ],
    ),
    "BOARD": ("must be one of yes, no", ["off"]),
    "BOARD_PROXY_USER": (
        "must be the name of a header such as X-Forwarded-User",
        ["X User", "X-User:", "Ü", "x" * 101],
    ),
    "BOARD_PROXY_USERS": ("must name a file", ["a\0b"]),
    "REQUEST_TIMEOUT": (
        "must be a number of seconds from 0.1 to 3600",
        ["0.099", "3600.1", "nan", "1e2"],
    ),
    "SHUTDOWN_TIMEOUT": ("must be a number of seconds from 0 to 3600", ["-1"]),
    "DATABASE_TIMEOUT": ("must be a number of seconds from 5 to 3600", ["4.9"]),
    "DATABASE_POOLER": ("must be one of none, session, transaction", ["statement", "pgbouncer"]),
    "DATABASE_POOL_SIZE": ("must be a whole number from 1 to 1000", ["0"]),
    "MAX_BODY_BYTES": ("must be a whole number from 1 to 2147483647", ["0"]),
    "TRUSTED_DOCUMENTS": ("must name a file", [","]),
    "RETRY_POLICY_FILE": ("must name a file", ["a\0b"]),
    "PERSISTED_QUERIES_BYTES": ("must be a whole number from 0 to 2147483647", ["-1"]),
    "WEBHOOKS": ("must be one of yes, no", ["off"]),
    "WEBHOOK_RETRY_SCHEDULE": (
        "must be numbers of seconds, separated by spaces",
        ["5,300", "-1", "1e3", "1000000", "0.0001", "٣", "5 s"],
    ),
    "WEBHOOK_RETENTION": ("must be a number of seconds from 1 to 999999999", ["0", "1000000000"]),
    "LOG_LEVEL": ("must be one of debug, info, warning, error", ["DEBUG"]),
    "LOG_FORMAT": ("must be one of json, console", ["xml"]),
    "DEMO": ("must be one of yes, no", ["1"]),
    "WITH_WORKER": ("must be one of yes, no", ["on"]),
    "WORKER_CONCURRENCY": ("must be a whole number from 1 to 100", ["0", "101"]),
    "WORKER_LEASE": ("must be a number of seconds from 1 to 3600", ["0.9", "3601"]),
    "GRAPHQL_MAX_DEPTH": ("must be a whole number from 5 to 1000", ["4"]),
    "GRAPHQL_MAX_IDS": ("must be a whole number from 100 to 10000", ["10001"]),
    **dict.fromkeys(
        ("RATE_LIMIT", "FAILED_AUTH_RATE_LIMIT", "BOARD_RATE_LIMIT"),
        (
            "must be 'off' or limits above 0 such as 60/minute;1000/hour",
            ["OFF", "60", "60/", "60/fortnight", "0/minute", "60/0 minutes", "1/hour;x"],
        ),
    ),
}
"""Variable → the message, and malformed values."""


@pytest.mark.parametrize(
    ("variable", "text", "problem"),
    [
        ("LOG_FORMAT", "\udcff", "must be text in UTF-8"),
        *(
            (variable, text, problem)
            for variable, (problem, texts) in MALFORMED_VALUES.items()
            for text in texts
        ),
    ],
)
def test_malformed_value_is_refused(variable: str, text: str, problem: str) -> None:
    assert setting_error(variable, text) == f"{variable} {problem}; it is {text!r}."


def test_rate_limits_of_several_windows_are_parsed() -> None:
    settings = read_settings({"RATE_LIMIT": "5/second; 100 per 10 minutes, 1000/day"})
    assert [limit.description for limit in settings.rate_limit] == [
        "5 per second",
        "100 per 10 minutes",
        "1000 per day",
    ]


def test_refused_secret_is_not_in_message() -> None:
    assert (
        setting_error("SECRET_KEY", "sesame") == "SECRET_KEY must be at least 16 characters long."
    )
    assert setting_error("SECRET_KEY", "\udcff" * 16) == "SECRET_KEY must be text in UTF-8."
    assert setting_error("DEMO_API_KEY", "sesame") == (
        "DEMO_API_KEY must be pe_live_ followed by 32 lower-case hex digits."
    )
    assert "sesame" not in setting_error("DATABASE_URL", "postgresql://u:sesame@host")


@pytest.mark.parametrize(
    "text",
    [
        "sesame",
        SECRETS_KEY[:-1],
        f"{SECRETS_KEY}=",
        SECRETS_KEY.replace("E=", "F="),
        SECRETS_KEY.replace("c", "+"),
        f"{SECRETS_KEY} {SECRETS_KEY}",
    ],
)
def test_malformed_secrets_key_is_refused_without_value(text: str) -> None:
    message = (
        "SECRETS_KEY must be keys that `post-results secrets new-key` created, separated by commas."
    )
    assert setting_error("SECRETS_KEY", text) == message
    assert setting_error("SECRETS_KEY", f"{SECRETS_KEY},{text}") == message


def test_secrets_key_is_read_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_text(f"{SECRETS_KEY},\n")
    environment = {"SECRETS_KEY_FILE": f" {file} "}
    settings = read_settings(environment)
    assert (settings.secrets_key, settings.secrets_key_file) == ((SECRETS_KEY,), str(file))
    assert read_settings({**environment, "SECRETS_KEY": " "}).secrets_key == (SECRETS_KEY,)

    file.write_text("")
    assert read_settings(environment).secrets_key == ()
    assert read_settings({"SECRETS_KEY": SECRETS_KEY}).secrets_key_file is None


def test_secrets_key_file_that_cannot_be_used_is_refused(tmp_path: Path) -> None:
    missing, binary = tmp_path / "missing", tmp_path / "binary"
    binary.write_bytes(b"\xff")
    for file in (missing, binary, tmp_path):
        message = setting_error("SECRETS_KEY_FILE", str(file))
        assert message.startswith("SECRETS_KEY_FILE cannot be read: ")
    both = {"SECRETS_KEY": SECRETS_KEY, "SECRETS_KEY_FILE": str(missing)}
    with pytest.raises(SettingsError) as caught:
        read_settings(both)
    assert str(caught.value) == (
        "SECRETS_KEY and SECRETS_KEY_FILE exclude each other: set one of them."
    )


@pytest.mark.parametrize(
    "text", ["private_", PRIVATE_KEY[:-1], f"{PRIVATE_KEY}=", f"x{PRIVATE_KEY}", SECRETS_KEY]
)
def test_malformed_credentials_key_is_refused(text: str) -> None:
    assert setting_error("CREDENTIALS_KEY", f"{PRIVATE_KEY},{text}") == (
        "CREDENTIALS_KEY must be X25519 private keys, which begin with private_, separated by commas."
    )


def test_hpke_keys_are_read_and_their_variables_named(tmp_path: Path) -> None:
    (tmp_path / "key").write_text(f"{PRIVATE_KEY}\n")
    settings = read_settings(
        {"CREDENTIALS_KEY_FILE": str(tmp_path / "key"), "CREDENTIALS_SEAL": "public_"}
    )

    assert settings.credentials_key == (PRIVATE_KEY,)
    assert settings.hpke_key_variables == ("CREDENTIALS_KEY_FILE", "CREDENTIALS_SEAL")
    assert read_settings({"CREDENTIALS_KEY": " "}).hpke_key_variables == ()
    assert PRIVATE_KEY not in repr(settings)


def test_demo_key_must_have_key_prefix() -> None:
    environment = {"API_KEY_PREFIX": "acme_", "DEMO_API_KEY": "acme_" + "0" * 32}
    assert read_settings(environment).demo_key() == "acme_" + "0" * 32
    assert read_settings({"API_KEY_PREFIX": "acme_"}).demo_key() == "acme_" + DEMO_KEY_SECRET
    with pytest.raises(SettingsError) as caught:
        read_settings({"API_KEY_PREFIX": "acme_", "DEMO_API_KEY": DEMO_KEY})
    assert str(caught.value) == ("DEMO_API_KEY must be acme_ followed by 32 lower-case hex digits.")


@pytest.mark.parametrize("mode", ["session", "transaction"])
def test_pooler_needs_direct_url_of_postgresql(mode: str) -> None:
    pooled = {"DATABASE_URL": "postgresql://pooler/database", "DATABASE_POOLER": mode}
    settings = read_settings({**pooled, "DATABASE_DIRECT_URL": "postgresql://server/database"})
    assert settings.database_pooler == mode
    assert settings.database_url == "postgresql+asyncpg://pooler/database"
    assert settings.database_direct_url == "postgresql+asyncpg://server/database"

    with pytest.raises(SettingsError) as caught:
        read_settings(pooled)
    assert str(caught.value) == (
        f"DATABASE_POOLER={mode} needs DATABASE_DIRECT_URL, the URL of the same database without the"
        " pooler, for notifications and migrations."
    )
    for url, direct_url in (
        ("sqlite:///p.db", "postgresql://server/database"),
        ("postgresql://pooler/database", "sqlite:///p.db"),
    ):
        with pytest.raises(SettingsError) as caught:
            read_settings({**pooled, "DATABASE_URL": url, "DATABASE_DIRECT_URL": direct_url})
        assert str(caught.value) == (
            "DATABASE_URL and DATABASE_DIRECT_URL must both start with postgresql://."
        )


PROXY_SETTINGS = {
    "BOARD_PROXY_USER": "X-User",
    "BOARD_PROXY_USERS": "users.toml",
    "TRUSTED_PROXIES": "10.0.0.1",
}


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        (
            {"BOARD_PROXY_USERS": ""},
            "BOARD_PROXY_USER needs BOARD_PROXY_USERS, a TOML file with the workspace and the scopes of"
            " each user or group.",
        ),
        (
            {"BOARD_PROXY_USER": ""},
            "BOARD_PROXY_USERS needs BOARD_PROXY_USER, the header in which the proxy names the user.",
        ),
        (
            {"TRUSTED_PROXIES": ""},
            "BOARD_PROXY_USER needs TRUSTED_PROXIES, the addresses from which its header is believed.",
        ),
        ({"BOARD": "no"}, "BOARD_PROXY_USER needs the board; remove it, or BOARD=no."),
    ],
)
def test_sign_in_by_proxy_needs_its_other_settings(changes: dict[str, str], problem: str) -> None:
    assert read_settings(PROXY_SETTINGS).board_proxy_user == "X-User"
    with pytest.raises(SettingsError) as caught:
        read_settings(PROXY_SETTINGS | changes)
    assert str(caught.value) == problem


def test_repr_has_no_secrets() -> None:
    settings = read_settings(
        {
            "DATABASE_DIRECT_URL": "postgresql://user:sesame@server/database",
            "DATABASE_URL": "postgresql://user:sesame@host/database",
            "SECRET_KEY": "sesame" * 3,
            "DEMO_API_KEY": "pe_live_" + "5e5a3e" * 5 + "00",
            "SECRETS_KEY": SECRETS_KEY,
        }
    )
    assert SECRETS_KEY not in repr(settings)
    assert "sesame" not in repr(settings)
    assert "5e5a3e" not in repr(settings)
    assert "port=8000" in repr(settings)


def test_table_lists_every_setting_with_default() -> None:
    header, rule, *rows = settings_table().splitlines()
    assert header == "| variable | default | meaning |"
    assert rule == "|---|---|---|"
    documented = {}
    for row in rows:
        variable, default, meaning = row.removeprefix("| ").removesuffix(" |").split(" | ")
        documented[variable.strip("`")] = default.strip("`")
        assert meaning.endswith("."), variable
    assert documented == {
        variable: item.metadata["default"] or "—" for _, variable, item in declared_settings()
    }
