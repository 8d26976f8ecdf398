"""Retry policies as an operator writes them: tables over the defaults, key by key. Opens no file.

[categories.transient]              for every platform
[platforms.instagram.transient]     over that, for one
"""

from collections.abc import Mapping
from dataclasses import fields
from datetime import timedelta
from typing import TypeVar

from app.domain.destinations import ErrorCategory
from app.domain.fields import Fields
from app.domain.retry_policy import DEFAULT_POLICIES, RetryPolicies, RetryPolicy

T = TypeVar("T")

MAX_SECONDS = 365 * 24 * 60 * 60
MAX_FACTOR = 100
MAX_ATTEMPTS = 100

_DURATIONS = ("base", "cap", "max_age", "min_wait", "max_wait")
_KEYS = tuple(
    f"{each.name}_seconds" if each.name in _DURATIONS else each.name for each in fields(RetryPolicy)
)
_CATEGORIES = tuple(category.value for category in ErrorCategory)


def read_policies(document: Mapping[str, object]) -> RetryPolicies:
    """The defaults with what the tables change; InvalidInput that names the first wrong member."""
    top = Fields(document)
    top.refuse_others(("categories", "platforms"))
    of_categories = _categories(top.table("categories"), DEFAULT_POLICIES.of_categories)
    platforms = top.table("platforms")
    return RetryPolicies(
        of_categories,
        {name: _categories(platforms.table(name), of_categories) for name in platforms.members},
    )


def _categories(
    tables: Fields, defaults: Mapping[ErrorCategory, RetryPolicy]
) -> dict[ErrorCategory, RetryPolicy]:
    tables.refuse_others(_CATEGORIES)
    return {
        category: _policy(tables.table(category), default) for category, default in defaults.items()
    }


def _policy(table: Fields, default: RetryPolicy) -> RetryPolicy:
    table.refuse_others(_KEYS)
    base = _seconds(table, "base_seconds", default.base)
    min_wait = _seconds(table, "min_wait_seconds", default.min_wait)
    return RetryPolicy(
        base=base,
        factor=_or(table.number("factor", 1, MAX_FACTOR), default.factor),
        cap=_at_least(base, table, "base_seconds", "cap_seconds", default.cap),
        max_attempts=_or(table.whole_number("max_attempts", 1, MAX_ATTEMPTS), default.max_attempts),
        counts_attempts=_or(table.flag("counts_attempts"), default.counts_attempts),
        max_age=_seconds(table, "max_age_seconds", default.max_age),
        heeds_retry_after=_or(table.flag("heeds_retry_after"), default.heeds_retry_after),
        min_wait=min_wait,
        max_wait=_at_least(
            min_wait, table, "min_wait_seconds", "max_wait_seconds", default.max_wait
        ),
    )


def _at_least(
    least: timedelta, table: Fields, other: str, name: str, default: timedelta
) -> timedelta:
    value = _seconds(table, name, default)
    if value < least:
        raise table.refused(
            name,
            f"is {value.total_seconds():.0f}, which must not be less than {other}:"
            f" {least.total_seconds():.0f}",
        )
    return value


def _seconds(table: Fields, name: str, default: timedelta) -> timedelta:
    value = table.whole_number(name, 1, MAX_SECONDS)
    return default if value is None else timedelta(seconds=value)


def _or(value: T | None, default: T) -> T:
    return default if value is None else value
