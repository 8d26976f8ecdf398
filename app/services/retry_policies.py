"""Reads the operator's file of retry policies, TOML tables that override the defaults key by key.

[categories.transient]              for every platform
[not_sent]                          failures after which the post was certainly not sent
[platforms.instagram.transient]     overrides it for one platform
[platforms.instagram.not_sent]
"""

import tomllib
from collections.abc import Callable, Mapping
from dataclasses import fields, replace
from datetime import timedelta
from functools import partial
from pathlib import Path

from app.domain.destinations import ErrorCategory
from app.domain.errors import InvalidInput
from app.domain.retry_policy import DEFAULT_POLICIES, NOT_SENT, RetryPolicies, RetryPolicy
from app.domain.validation.object_reader import ObjectReader
from app.settings import SettingsError

_MAX_SECONDS = 365 * 24 * 60 * 60
_MAX_FACTOR = 100
_MAX_ATTEMPTS = 100

_DURATIONS = ("base", "cap", "max_age", "min_wait", "max_wait")
_KEYS = tuple(
    f"{field.name}_seconds" if field.name in _DURATIONS else field.name
    for field in fields(RetryPolicy)
)
_CATEGORIES = tuple(category.value for category in ErrorCategory)


def load_retry_policies(file: Path | None) -> RetryPolicies:
    """Return the retry policies of a TOML file, merged over the defaults.

    Raises SettingsError, with a one-sentence message, if the file cannot be read or is invalid.
    """
    if file is None:
        return DEFAULT_POLICIES
    try:
        return parse_policies(tomllib.loads(file.read_text(encoding="utf-8")))
    except OSError as error:
        problem = f"cannot be read: {error.strerror}."
    except (ValueError, RecursionError) as error:  # of the encoding, the syntax, or a number
        problem = f"is not TOML: {error}."
    except InvalidInput as error:
        problem = f"is invalid: {error.message}"
    raise SettingsError(f"RETRY_POLICY_FILE: {file} {problem}")


def parse_policies(document: Mapping[str, object]) -> RetryPolicies:
    """Return the defaults with the overrides; raises InvalidInput with the first invalid member."""
    root = ObjectReader(document)
    root.forbid_unknown(("categories", NOT_SENT, "platforms"))
    categories = root.nested_object("categories")
    categories.forbid_unknown(_CATEGORIES)
    by_kind = {
        kind: _parse_policy((root if kind == NOT_SENT else categories).nested_object(kind), default)
        for kind, default in DEFAULT_POLICIES.by_kind.items()
    }
    platforms = root.nested_object("platforms")
    return RetryPolicies(
        by_kind,
        {
            name: _parse_platform(platforms.nested_object(name), by_kind)
            for name in platforms.members
        },
    )


def _parse_platform(
    tables: ObjectReader, defaults: Mapping[str, RetryPolicy]
) -> dict[str, RetryPolicy]:
    tables.forbid_unknown((*_CATEGORIES, NOT_SENT))
    return {
        kind: _parse_policy(tables.nested_object(kind), default)
        for kind, default in defaults.items()
    }


def _parse_policy(table: ObjectReader, default: RetryPolicy) -> RetryPolicy:
    table.forbid_unknown(_KEYS)
    durations = {
        name: _parse_seconds(table, f"{name}_seconds", getattr(default, name))
        for name in _DURATIONS
    }
    for low, high in (("base", "cap"), ("min_wait", "max_wait")):
        if durations[high] < durations[low]:
            raise table.error(
                f"{high}_seconds",
                f"is {durations[high].total_seconds():.0f}, which must not be less than"
                f" {low}_seconds: {durations[low].total_seconds():.0f}",
            )
    overrides = {
        "factor": table.number("factor", 1, _MAX_FACTOR),
        "max_attempts": table.whole_number("max_attempts", 1, _MAX_ATTEMPTS),
        "counts_attempts": table.boolean("counts_attempts"),
        "heeds_retry_after": table.boolean("heeds_retry_after"),
    }
    override: Callable[..., RetryPolicy] = partial(replace, default)
    return override(**durations, **{k: v for k, v in overrides.items() if v is not None})


def _parse_seconds(table: ObjectReader, name: str, default: timedelta) -> timedelta:
    value = table.whole_number(name, 1, _MAX_SECONDS)
    return default if value is None else timedelta(seconds=value)
