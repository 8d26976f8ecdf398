"""Advice about publishing errors."""

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.destinations import ErrorCategory, Outcome
from app.domain.diagnosis import (
    ADVICE,
    CANCELLED,
    OUTCOME_UNKNOWN,
    Advice,
    Diagnosis,
    ErrorSource,
    NextAction,
    diagnose,
    diagnose_destination,
)
from tests.factories import NOW

ADVICE_BY_CODE = {advice.code: advice for advice in ADVICE}


def expected_diagnosis(advice: Advice, *, category: ErrorCategory, code: str) -> Diagnosis:
    return Diagnosis(
        category=category,
        code=code,
        source=advice.source,
        retryable=advice.retryable,
        will_retry=False,
        fix=advice.fix,
        next_action=advice.next_action,
    )


def test_every_code_has_one_row_and_every_category_a_fallback() -> None:
    assert len(ADVICE_BY_CODE) == len(ADVICE)
    assert {category: ADVICE_BY_CODE[category.name].category for category in ErrorCategory} == {
        category: category for category in ErrorCategory
    }
    assert ADVICE_BY_CODE[OUTCOME_UNKNOWN].next_action is NextAction.CHECK_PLATFORM
    assert ADVICE_BY_CODE[CANCELLED].category is ErrorCategory.PERMANENT


@pytest.mark.parametrize("advice", ADVICE, ids=lambda advice: advice.code)
def test_fix_is_a_sentence_and_retry_is_advised_only_if_it_can_succeed(advice: Advice) -> None:
    assert re.fullmatch(r"[A-Z]+(_[A-Z]+)*", advice.code)
    assert re.fullmatch(r"[A-Z][^\n]{20,}[^.]\.", advice.fix)
    assert advice.next_action is not NextAction.WAIT
    if advice.next_action in (NextAction.RETRY, NextAction.RECONNECT_ACCOUNT):
        assert advice.retryable
    if advice.next_action is NextAction.EDIT_POST:
        assert not advice.retryable


@pytest.mark.parametrize("category", ErrorCategory)
@pytest.mark.parametrize("code", ADVICE_BY_CODE)
def test_known_code_has_its_own_advice_only_in_its_category(
    category: ErrorCategory, code: str
) -> None:
    advice = ADVICE_BY_CODE[code]
    if advice.category is not category:
        advice = ADVICE_BY_CODE[category.name]
    assert diagnose(category=category, code=code, outcome=Outcome.FAILED) == expected_diagnosis(
        advice, category=category, code=code
    )


@given(
    st.sampled_from(ErrorCategory),
    st.text().filter(lambda code: code not in ADVICE_BY_CODE),
    st.sampled_from((Outcome.NONE, Outcome.FAILED)),
)
def test_other_code_has_advice_of_its_category(
    category: ErrorCategory, code: str, outcome: Outcome
) -> None:
    assert diagnose(category=category, code=code, outcome=outcome) == expected_diagnosis(
        ADVICE_BY_CODE[category.name], category=category, code=code
    )


def diagnose_advised(advice: Advice, **fields: Any) -> Diagnosis | None:
    """Diagnose a destination of this server with the error of the advice."""
    defaults: dict[str, Any] = {
        "category": advice.category,
        "code": advice.code,
        "outcome": Outcome.NONE,
        "next_retry_at": None,
        "awaits_outcome": True,
        "is_mirrored": False,
    }
    return diagnose_destination(**(defaults | fields))


@pytest.mark.parametrize(
    ("is_mirrored", "fix"),
    [
        (False, "Nothing to do: it is retried automatically."),
        (True, "Nothing to do: the mirrored service has planned a retry."),
    ],
)
@pytest.mark.parametrize("advice", ADVICE, ids=lambda advice: advice.code)
def test_scheduled_retry_needs_no_action(advice: Advice, is_mirrored: bool, fix: str) -> None:
    assert diagnose_advised(advice, next_retry_at=NOW, is_mirrored=is_mirrored) == Diagnosis(
        category=advice.category,
        code=advice.code,
        source=advice.source,
        retryable=advice.retryable,
        will_retry=True,
        fix=fix,
        next_action=NextAction.WAIT,
    )


@pytest.mark.parametrize("advice", ADVICE, ids=lambda advice: advice.code)
def test_destination_has_a_diagnosis_if_its_outcome_is_known_or_awaited(advice: Advice) -> None:
    known = expected_diagnosis(advice, category=advice.category, code=advice.code)
    unknown = diagnose(category=advice.category, code=advice.code, outcome=Outcome.UNKNOWN)

    assert diagnose_advised(advice) == known
    assert diagnose_advised(advice, is_mirrored=True) == known
    assert diagnose_advised(advice, outcome=Outcome.FAILED, awaits_outcome=False) == known
    assert diagnose_advised(advice, outcome=Outcome.UNKNOWN, awaits_outcome=False) == unknown
    assert diagnose_advised(advice, awaits_outcome=False) is None
    assert diagnose_advised(advice, awaits_outcome=False, next_retry_at=NOW) is None
    assert diagnose_advised(advice, category=None, code=None) is None


@given(st.sampled_from(ErrorCategory), st.sampled_from([*ADVICE_BY_CODE, "OTHER_CODE"]))
def test_unknown_outcome_is_always_checked_on_the_platform(
    category: ErrorCategory, code: str
) -> None:
    assert diagnose(category=category, code=code, outcome=Outcome.UNKNOWN) == Diagnosis(
        category=category,
        code=code,
        source=ErrorSource.SYSTEM,
        retryable=False,
        will_retry=False,
        fix="Check whether the post is on the platform, then record the result."
        " A retry without a check could publish it twice.",
        next_action=NextAction.CHECK_PLATFORM,
    )
