"""Errors as the REST API prints them, and the way from a GraphQL answer back to them."""

import pytest

from app.domain.errors import (
    InternalError,
    InvalidInput,
    NotFound,
    PostResultsError,
    RateLimitExceeded,
    concrete_errors,
)
from app.graphql.engine.errors import error_entry
from app.rest.errors import error_object, first_error


@pytest.mark.parametrize("error", list(concrete_errors()), ids=lambda error: error.code)
def test_every_error_comes_back_from_a_graphql_answer(error: type[PostResultsError]) -> None:
    sent = error("Something is wrong.", argument="limit", retry_after=7)
    received = first_error(
        [error_entry(each, "0000cafe") for each in (sent, InternalError("Another."))]
    )
    assert type(received) is error
    assert vars(received) == vars(sent)


@pytest.mark.parametrize(
    ("field", "message", "told_field", "told"),
    [
        (
            "input.accountIds[0]",
            "accountIds[0] must be a whole number.",
            "account_ids[0]",
            "account_ids[0] must be a whole number.",
        ),
        (
            "input.scheduledFor",
            "Pass either scheduledFor or publishNow, not both.",
            "scheduled_for",
            "Pass either scheduled_for or publish_now, not both.",
        ),
        (
            "input.platformContent.mediaIds.content",
            "platformContent.mediaIds.content must be a string.",
            "platform_content.mediaIds.content",
            "platform_content.mediaIds.content must be a string.",
        ),
        (
            "input.idempotencyKey",
            "It was used.",
            "Idempotency-Key",
            "Idempotency-Key: It was used.",
        ),
        (
            "input.expectedVersion",
            "It is at version 2.",
            "expected_version",
            "expected_version: It is at version 2.",
        ),
        ("input.filter.platform", "platform is long.", "platform", "platform is long."),
        ("content", "The content is long.", "content", "The content is long."),
    ],
)
def test_an_error_of_a_mutation_names_what_the_request_has(
    field: str, message: str, told_field: str, told: str
) -> None:
    entry = error_entry(InvalidInput(message, argument=field), "0000cafe")
    shown = error_object(first_error([entry]))
    assert shown["message"] == told
    assert shown["details"] == {
        "validation_errors": [
            {"field": told_field, "message": told.removeprefix(f"{told_field}: ")}
        ]
    }


def test_a_message_that_names_only_a_part_of_its_parameter_gets_its_name() -> None:
    error = InvalidInput("account_ids must be numbers.", argument="account_ids[3]")
    assert error_object(error)["message"] == "account_ids[3]: account_ids must be numbers."


def test_an_error_without_a_parameter_has_no_details() -> None:
    assert error_object(NotFound("The post was not found.")) == {
        "message": "The post was not found.",
        "code": "not_found",
        "retryable": False,
        "details": None,
    }


def test_a_retryable_error_says_so() -> None:
    assert error_object(RateLimitExceeded("Too many requests.", retry_after=3)) == {
        "message": "Too many requests.",
        "code": "rate_limit_exceeded",
        "retryable": True,
        "details": None,
    }


def test_a_message_that_names_its_parameter_is_left_alone() -> None:
    assert error_object(InvalidInput("to must not be earlier than from.", argument="to")) == {
        "message": "to must not be earlier than from.",
        "code": "validation_error",
        "retryable": False,
        "details": {
            "validation_errors": [{"field": "to", "message": "to must not be earlier than from."}]
        },
    }


def test_a_message_that_does_not_name_its_parameter_gets_its_name() -> None:
    assert error_object(InvalidInput("Tomorrow is too late.", argument="to")) == {
        "message": "to: Tomorrow is too late.",
        "code": "validation_error",
        "retryable": False,
        "details": {"validation_errors": [{"field": "to", "message": "Tomorrow is too late."}]},
    }
