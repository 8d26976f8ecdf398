"""Reads the operator's file of retry policies, TOML tables that override the defaults key by key.

[categories.transient]              for every platform
[platforms.instagram.transient]     overrides it for one platform
"""

import tomllib
from collections.abc import Mapping
from dataclasses import fields
from datetime import timedelta
from pathlib import Path
from typing import TypeVar

from app.domain.destinations import ErrorCategory
from app.domain.errors import InvalidInput
from app.domain.retry_policy import DEFAULT_POLICIES, RetryPolicies, RetryPolicy
from app.domain.validation.object_reader import ObjectReader
from app.settings import SettingsError

T = TypeVar("T")

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
    root.forbid_unknown(("categories", "platforms"))
    by_category = _parse_categories(root.nested_object("categories"), DEFAULT_POLICIES.by_category)
    platforms = root.nested_object("platforms")
    return RetryPolicies(
        by_category,
        {
            name: _parse_categories(platforms.nested_object(name), by_category)
            for name in platforms.members
        },
    )


def _parse_categories(
    tables: ObjectReader, defaults: Mapping[ErrorCategory, RetryPolicy]
) -> dict[ErrorCategory, RetryPolicy]:
    tables.forbid_unknown(_CATEGORIES)
    return {
        category: _parse_policy(tables.nested_object(category), default)
        for category, default in defaults.items()
    }


def _parse_policy(table: ObjectReader, default: RetryPolicy) -> RetryPolicy:
    table.forbid_unknown(_KEYS)
    base = _parse_seconds(table, "base_seconds", default.base)
    min_wait = _parse_seconds(table, "min_wait_seconds", default.min_wait)
    return RetryPolicy(
        base=base,
        factor=_default_if_none(table.number("factor", 1, _MAX_FACTOR), default.factor),
        cap=_parse_seconds_at_least(base, table, "base_seconds", "cap_seconds", default.cap),
        max_attempts=_default_if_none(
            table.whole_number("max_attempts", 1, _MAX_ATTEMPTS), default.max_attempts
        ),
        counts_attempts=_default_if_none(table.boolean("counts_attempts"), default.counts_attempts),
        max_age=_parse_seconds(table, "max_age_seconds", default.max_age),
        heeds_retry_after=_default_if_none(
            table.boolean("heeds_retry_after"), default.heeds_retry_after
        ),
        min_wait=min_wait,
        max_wait=_parse_seconds_at_least(
            min_wait, table, "min_wait_seconds", "max_wait_seconds", default.max_wait
        ),
    )


def _parse_seconds_at_least(
    minimum: timedelta, table: ObjectReader, minimum_name: str, name: str, default: timedelta
) -> timedelta:
    value = _parse_seconds(table, name, default)
    if value < minimum:
        raise table.error(
            name,
            f"is {value.total_seconds():.0f}, which must not be less than {minimum_name}:"
            f" {minimum.total_seconds():.0f}",
        )
    return value


def _parse_seconds(table: ObjectReader, name: str, default: timedelta) -> timedelta:
    value = table.whole_number(name, 1, _MAX_SECONDS)
    return default if value is None else timedelta(seconds=value)


def _default_if_none(value: T | None, default: T) -> T:
    return default if value is None else value
