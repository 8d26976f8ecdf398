"""Retry policies of an operator: overrides of the defaults, and the path of an invalid member."""

import tomllib
from dataclasses import replace
from datetime import timedelta
from itertools import product

import pytest

from app.domain.destinations import ErrorCategory
from app.domain.retry_policy import DEFAULT_POLICIES, NO_RETRY, NOT_SENT, RetryPolicies, RetryPolicy
from app.services.retry_policies import parse_policies
from tests.domain.errors import input_error

C = ErrorCategory


def load_policies(text: str) -> RetryPolicies:
    return parse_policies(tomllib.loads(text))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[categories]",
        "[platforms.x]",
        "[categories.auth]",
        "[not_sent]",
        "[platforms.x.not_sent]",
    ],
)
def test_empty_tables_leave_defaults(text: str) -> None:
    policies = load_policies(text)
    for category, not_sent in product(ErrorCategory, (False, True)):
        default = DEFAULT_POLICIES.policy_for("x", category, not_sent=not_sent)
        assert policies.policy_for("x", category, not_sent=not_sent) == default


def test_tables_override_defaults_key_by_key() -> None:
    policies = load_policies(
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
    rate_limited = DEFAULT_POLICIES.policy_for("x", C.RATE_LIMITED, not_sent=False)
    expected = {
        ("x", C.TRANSIENT): transient,
        ("instagram", C.TRANSIENT): replace(
            transient,
            cap=timedelta(hours=2),
            max_age=timedelta(days=2),
            heeds_retry_after=True,
            min_wait=timedelta(seconds=2),
            max_wait=timedelta(seconds=4),
        ),
        ("Instagram", C.TRANSIENT): transient,
        ("instagram", C.PERMANENT): replace(NO_RETRY, max_attempts=2),
        ("x", C.PERMANENT): NO_RETRY,
        ("instagram", C.UNCLASSIFIED): RetryPolicy(),
        ("my.own", C.RATE_LIMITED): replace(rate_limited, counts_attempts=True, factor=1.5),
        ("instagram", C.RATE_LIMITED): rate_limited,
    }
    assert {key: policies.policy_for(*key, not_sent=False) for key in expected} == expected


def test_not_sent_has_a_policy_of_its_own_that_platforms_override() -> None:
    policies = load_policies(
        """
        [categories.transient]
        base_seconds = 10

        [not_sent]
        max_age_seconds = 3600

        [platforms.mastodon.not_sent]
        cap_seconds = 300
        """
    )
    not_sent = replace(DEFAULT_POLICIES.by_kind[NOT_SENT], max_age=timedelta(hours=1))
    own = replace(not_sent, cap=timedelta(minutes=5))
    for category in (C.TRANSIENT, C.UNCLASSIFIED):
        assert policies.policy_for("x", category, not_sent=True) == not_sent
        assert policies.policy_for("mastodon", category, not_sent=True) == own
    transient = policies.policy_for("mastodon", C.TRANSIENT, not_sent=False)
    assert transient == RetryPolicy(base=timedelta(seconds=10))


CATEGORIES = "transient, rate_limited, auth, content_rejected, permanent, unclassified"
KEYS = (
    "base_seconds, factor, cap_seconds, max_attempts, counts_attempts, max_age_seconds,"
    " heeds_retry_after, min_wait_seconds, max_wait_seconds"
)
SECONDS = "must be a whole number from 1 to 31536000"
WHOLE_NUMBER = "must be a whole number"
FACTOR = "must be a number from 1 to 100"
BOOLEAN = "must be true or false"


@pytest.mark.parametrize(
    ("text", "argument", "problem"),
    [
        ("retries = 5", "retries", "is unknown; there is categories, not_sent, platforms"),
        ("categories = 5", "categories", "must be a table"),
        ("[[platforms]]", "platforms", "must be a table"),
        ("[platforms]\nx = true", "platforms.x", "must be a table"),
        ("[categories.other]", "categories.other", f"is unknown; there is {CATEGORIES}"),
        ("[categories.not_sent]", "categories.not_sent", f"is unknown; there is {CATEGORIES}"),
        ("[platforms.x.y]", "platforms.x.y", f"is unknown; there is {CATEGORIES}, not_sent"),
        ("not_sent = 5", "not_sent", "must be a table"),
        ("[not_sent]\nbase = 5", "not_sent.base", f"is unknown; there is {KEYS}"),
        ("[platforms.x]\nauth = []", "platforms.x.auth", "must be a table"),
        (
            "[platforms.x.auth]\nbase = 5",
            "platforms.x.auth.base",
            f"is unknown; there is {KEYS}",
        ),
        (
            "[categories.auth]\nbase_seconds = 60\ncap_seconds = 59",
            "categories.auth.cap_seconds",
            "is 59, which must not be less than base_seconds: 60",
        ),
        (
            "[categories.auth]\ncap_seconds = 90\n[platforms.x.auth]\nbase_seconds = 91",
            "platforms.x.auth.cap_seconds",
            "is 90, which must not be less than base_seconds: 91",
        ),
        (
            "[categories.auth]\nmin_wait_seconds = 9\nmax_wait_seconds = 8",
            "categories.auth.max_wait_seconds",
            "is 8, which must not be less than min_wait_seconds: 9",
        ),
        *(
            (f"[categories.auth]\n{key} = {value}", f"categories.auth.{key}", problem)
            for key, values, problem in (
                ("base_seconds", ("-1", "0", "31536001"), SECONDS),
                ("base_seconds", ("30.0", "true", '"30"', "2026-04-15"), WHOLE_NUMBER),
                ("factor", ("0.99", "-2", "nan", "inf", "100.5", "true", '"2"'), FACTOR),
                ("factor", ("1" + "0" * 400,), FACTOR),
                ("max_attempts", ("0",), "must be a whole number from 1 to 100"),
                ("counts_attempts", ("1",), BOOLEAN),
                ("heeds_retry_after", ('"yes"',), BOOLEAN),
            )
            for value in values
        ),
    ],
)
def test_error_names_path_of_invalid_member(text: str, argument: str, problem: str) -> None:
    assert input_error(load_policies, text) == (argument, f"{argument} {problem}.")
