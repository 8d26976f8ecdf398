"""Retry policies as an operator writes them: what a table changes, and the sentence that refuses one."""

import tomllib
from dataclasses import replace
from datetime import timedelta

import pytest

from app.domain.destinations import ErrorCategory
from app.domain.errors import InvalidInput
from app.domain.retry_policy import DEFAULT_POLICIES, NO_RETRY, RetryPolicies, RetryPolicy
from app.domain.retry_policy_tables import parse_policies


def load_policies(text: str) -> RetryPolicies:
    return parse_policies(tomllib.loads(text))


def parse_error(text: str) -> tuple[str | None, str]:
    with pytest.raises(InvalidInput) as caught:
        load_policies(text)
    return caught.value.argument, caught.value.message


@pytest.mark.parametrize("text", ["", "[categories]", "[platforms.x]", "[categories.auth]"])
def test_what_says_nothing_leaves_the_defaults(text: str) -> None:
    found = load_policies(text)
    for category in ErrorCategory:
        assert found.policy_for("x", category) == DEFAULT_POLICIES.policy_for("x", category)


def test_tables_change_the_defaults_key_by_key() -> None:
    found = load_policies(
        """
        [categories.transient]
        base_seconds = 10
        factor = 3
        cap_seconds = 600
        max_attempts = 8

        [platforms.instagram.transient]
        cap_seconds = 7200
        max_age_seconds = 172800
        heeds_retry_after = true
        min_wait_seconds = 2
        max_wait_seconds = 4

        [platforms.instagram.permanent]
        max_attempts = 2

        [platforms."my.own".rate_limited]
        counts_attempts = true
        factor = 1.5
        """
    )
    transient = RetryPolicy(
        base=timedelta(seconds=10), factor=3, cap=timedelta(seconds=600), max_attempts=8
    )
    on_instagram = replace(
        transient,
        cap=timedelta(hours=2),
        max_age=timedelta(days=2),
        heeds_retry_after=True,
        min_wait=timedelta(seconds=2),
        max_wait=timedelta(seconds=4),
    )
    limited = DEFAULT_POLICIES.policy_for("x", ErrorCategory.RATE_LIMITED)
    assert found.policy_for("x", ErrorCategory.TRANSIENT) == transient
    assert found.policy_for("instagram", ErrorCategory.TRANSIENT) == on_instagram
    assert found.policy_for("Instagram", ErrorCategory.TRANSIENT) == transient
    assert found.policy_for("instagram", ErrorCategory.PERMANENT) == replace(
        NO_RETRY, max_attempts=2
    )
    assert found.policy_for("x", ErrorCategory.PERMANENT) == NO_RETRY
    assert found.policy_for("instagram", ErrorCategory.UNCLASSIFIED) == RetryPolicy()
    assert found.policy_for("my.own", ErrorCategory.RATE_LIMITED) == replace(
        limited, counts_attempts=True, factor=1.5
    )
    assert found.policy_for("instagram", ErrorCategory.RATE_LIMITED) == limited


KEYS = (
    "base_seconds, factor, cap_seconds, max_attempts, counts_attempts, max_age_seconds,"
    " heeds_retry_after, min_wait_seconds, max_wait_seconds"
)
SECONDS = "must be a whole number from 1 to 31536000"


@pytest.mark.parametrize(
    ("text", "argument", "problem"),
    [
        ("retries = 5", "retries", "is unknown; there is categories, platforms"),
        ("categories = 5", "categories", "must be a table"),
        ("[[platforms]]", "platforms", "must be a table"),
        ("[platforms]\nx = true", "platforms.x", "must be a table"),
        (
            "[categories.transiant]",
            "categories.transiant",
            "is unknown; there is transient, rate_limited, auth, content_rejected, permanent,"
            " unclassified",
        ),
        ("[platforms.x]\nauth = []", "platforms.x.auth", "must be a table"),
        (
            "[platforms.x.transient]\nbase = 5",
            "platforms.x.transient.base",
            f"is unknown; there is {KEYS}",
        ),
        *(
            (
                f"[categories.transient]\nbase_seconds = {value}",
                "categories.transient.base_seconds",
                problem,
            )
            for value, problem in (
                ("-1", SECONDS),
                ("0", SECONDS),
                ("31536001", SECONDS),
                ("30.0", "must be a whole number"),
                ("true", "must be a whole number"),
                ('"30"', "must be a whole number"),
                ("2026-04-15", "must be a whole number"),
            )
        ),
        *(
            (
                f"[categories.transient]\nfactor = {value}",
                "categories.transient.factor",
                "must be a number from 1 to 100",
            )
            for value in ("0.99", "-2", "nan", "inf", "100.5", "true", '"2"', "1" + "0" * 400)
        ),
        (
            "[categories.auth]\nmax_attempts = 0",
            "categories.auth.max_attempts",
            "must be a whole number from 1 to 100",
        ),
        (
            "[categories.auth]\ncounts_attempts = 1",
            "categories.auth.counts_attempts",
            "must be true or false",
        ),
        (
            '[categories.auth]\nheeds_retry_after = "yes"',
            "categories.auth.heeds_retry_after",
            "must be true or false",
        ),
        (
            "[categories.transient]\nbase_seconds = 60\ncap_seconds = 59",
            "categories.transient.cap_seconds",
            "is 59, which must not be less than base_seconds: 60",
        ),
        (
            "[categories.transient]\ncap_seconds = 90\n[platforms.x.transient]\nbase_seconds = 91",
            "platforms.x.transient.cap_seconds",
            "is 90, which must not be less than base_seconds: 91",
        ),
        (
            "[categories.rate_limited]\nmin_wait_seconds = 9\nmax_wait_seconds = 8",
            "categories.rate_limited.max_wait_seconds",
            "is 8, which must not be less than min_wait_seconds: 9",
        ),
    ],
)
def test_what_cannot_be_taken_is_named_by_its_path(text: str, argument: str, problem: str) -> None:
    assert parse_error(text) == (argument, f"{argument} {problem}.")
