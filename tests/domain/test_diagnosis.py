"""From an error to what to do about it."""

import re

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
)

BY_CODE = {advice.code: advice for advice in ADVICE}
FAILURES = [advice for advice in ADVICE if advice.code != OUTCOME_UNKNOWN]
WILL_RETRY = "Nothing to do: it is retried automatically at the time in nextRetryAt."
CHECK_PLATFORM = (
    "Check whether the post is on the platform, then record the result."
    " A blind retry could publish it twice."
)


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


def test_every_code_stands_in_the_table_once() -> None:
    assert len(BY_CODE) == len(ADVICE)


@pytest.mark.parametrize("category", ErrorCategory)
def test_every_category_has_a_row_of_its_name(category: ErrorCategory) -> None:
    assert BY_CODE[category.name].category is category


@pytest.mark.parametrize("advice", ADVICE, ids=lambda advice: advice.code)
def test_every_row_says_in_sentences_what_helps(advice: Advice) -> None:
    assert re.fullmatch(r"[A-Z]+(_[A-Z]+)*", advice.code)
    assert re.fullmatch(r"[A-Z][^\n]{20,}[^.]\.", advice.fix)
    assert advice.next_action is not NextAction.WAIT


@pytest.mark.parametrize("advice", ADVICE, ids=lambda advice: advice.code)
def test_a_button_to_retry_is_only_shown_where_a_retry_can_succeed(advice: Advice) -> None:
    if advice.next_action in (NextAction.RETRY, NextAction.RECONNECT_ACCOUNT):
        assert advice.retryable
    if advice.next_action is NextAction.EDIT_POST:
        assert not advice.retryable


@pytest.mark.parametrize("advice", FAILURES, ids=lambda advice: advice.code)
def test_a_known_code_gets_its_own_row(advice: Advice) -> None:
    assert diagnose(
        category=advice.category, code=advice.code, outcome=Outcome.FAILED, will_retry=False
    ) == expected_diagnosis(advice, category=advice.category, code=advice.code)


@given(
    st.sampled_from(ErrorCategory),
    st.text().filter(lambda code: code not in BY_CODE),
    st.sampled_from((Outcome.NONE, Outcome.FAILED)),
)
def test_an_unknown_code_is_kept_and_gets_its_categorys_advice(
    category: ErrorCategory, code: str, outcome: Outcome
) -> None:
    assert diagnose(
        category=category, code=code, outcome=outcome, will_retry=False
    ) == expected_diagnosis(BY_CODE[category.name], category=category, code=code)


@pytest.mark.parametrize("category", ErrorCategory)
@pytest.mark.parametrize("code", BY_CODE)
def test_a_known_code_in_another_category_gets_that_categorys_advice(
    category: ErrorCategory, code: str
) -> None:
    row = BY_CODE[code] if BY_CODE[code].category is category else BY_CODE[category.name]
    assert diagnose(
        category=category, code=code, outcome=Outcome.FAILED, will_retry=False
    ) == expected_diagnosis(row, category=category, code=code)


@pytest.mark.parametrize("advice", ADVICE, ids=lambda advice: advice.code)
def test_while_a_retry_is_on_its_way_there_is_nothing_to_do(advice: Advice) -> None:
    assert diagnose(
        category=advice.category, code=advice.code, outcome=Outcome.NONE, will_retry=True
    ) == Diagnosis(
        category=advice.category,
        code=advice.code,
        source=advice.source,
        retryable=advice.retryable,
        will_retry=True,
        fix=WILL_RETRY,
        next_action=NextAction.WAIT,
    )


@given(st.sampled_from(ErrorCategory), st.sampled_from([*BY_CODE, "OF_ITS_OWN"]))
def test_of_an_unknown_outcome_nothing_is_advised_but_to_look(
    category: ErrorCategory, code: str
) -> None:
    assert diagnose(
        category=category, code=code, outcome=Outcome.UNKNOWN, will_retry=False
    ) == Diagnosis(
        category=category,
        code=code,
        source=ErrorSource.SYSTEM,
        retryable=False,
        will_retry=False,
        fix=CHECK_PLATFORM,
        next_action=NextAction.CHECK_PLATFORM,
    )


def test_the_codes_this_service_gives_itself_are_in_the_table() -> None:
    assert BY_CODE[OUTCOME_UNKNOWN].next_action is NextAction.CHECK_PLATFORM
    assert BY_CODE[CANCELLED].category is ErrorCategory.PERMANENT
