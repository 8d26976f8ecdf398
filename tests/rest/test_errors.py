"""Errors of the REST API, and their conversion from GraphQL errors."""

import pytest

from app.domain.errors import (
    InternalError,
    InvalidInput,
    MethodNotAllowed,
    NotFound,
    PostResultsError,
    RateLimitExceeded,
    concrete_errors,
)
from app.graphql.engine.errors import error_entry
from app.rest.errors import error_object, first_error

EXECUTION_ERRORS = [error for error in concrete_errors() if error is not MethodNotAllowed]
"""Errors that the execution of a document may return."""


@pytest.mark.parametrize("error", EXECUTION_ERRORS, ids=lambda error: error.code)
def test_error_survives_conversion_to_graphql_and_back(error: type[PostResultsError]) -> None:
    sent = error("Something is wrong.", argument="limit", retry_after=7)
    received = first_error(
        [error_entry(item, "0000cafe") for item in (sent, InternalError("Another."))]
    )
    assert type(received) is error
    assert vars(received) == vars(sent)


@pytest.mark.parametrize(
    ("field", "message", "rest_field", "rest_message"),
    [
        (
            "input.accountIds[0]",
            "accountIds[0] is bad.",
            "account_ids[0]",
            "account_ids[0] is bad.",
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
        ("input.idempotencyKey", "It is used.", "Idempotency-Key", "Idempotency-Key: It is used."),
        ("input.expectedVersion", "It is 2.", "expected_version", "expected_version: It is 2."),
        ("input.filter.platform", "platform is long.", "platform", "platform is long."),
        ("content", "The content is long.", "content", "The content is long."),
    ],
)
def test_mutation_error_uses_rest_names(
    field: str, message: str, rest_field: str, rest_message: str
) -> None:
    entry = error_entry(InvalidInput(message, argument=field), "0000cafe")
    error = error_object(first_error([entry]))
    assert error["message"] == rest_message
    assert error["details"] == {
        "validation_errors": [
            {"field": rest_field, "message": rest_message.removeprefix(f"{rest_field}: ")}
        ]
    }


@pytest.mark.parametrize(
    ("argument", "message", "formatted"),
    [
        ("account_ids[3]", "account_ids is bad.", "account_ids[3]: account_ids is bad."),
        ("to", "to must not be earlier than from.", "to must not be earlier than from."),
        ("to", "Tomorrow is too late.", "to: Tomorrow is too late."),
    ],
)
def test_message_is_prefixed_by_parameter_unless_it_names_it(
    argument: str, message: str, formatted: str
) -> None:
    assert error_object(InvalidInput(message, argument=argument)) == {
        "message": formatted,
        "code": "validation_error",
        "retryable": False,
        "details": {"validation_errors": [{"field": argument, "message": message}]},
    }


@pytest.mark.parametrize(
    ("error", "code", "retryable"),
    [
        (NotFound("The message."), "not_found", False),
        (RateLimitExceeded("The message.", retry_after=3), "rate_limit_exceeded", True),
    ],
)
def test_error_without_parameter_has_no_details(
    error: PostResultsError, code: str, retryable: bool
) -> None:
    assert error_object(error) == {
        "message": "The message.",
        "code": code,
        "retryable": retryable,
        "details": None,
    }
