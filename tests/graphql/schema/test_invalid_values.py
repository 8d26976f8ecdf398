"""Invalid literals and variables: errors name the path of the value."""

import re
from typing import Any

import pytest

from tests.clients import Tenant
from tests.domain.errors import ACCOUNT_ID_MESSAGE, TIME_MESSAGE, UUID_MESSAGE

USE_A_STATUS = "Use one of DRAFT, SCHEDULED, PUBLISHING, PUBLISHED, PARTIALLY_FAILED, FAILED."


def expected_error(message: str) -> tuple[str, str, str]:
    """Derive code and field from a message that starts with the path of the value."""
    match = re.match(r"(?:Argument '(\w+)' has invalid value at )?([\w.]+)", message)
    assert match is not None
    code = "INVALID_ID" if ACCOUNT_ID_MESSAGE in message else "VALIDATION_ERROR"
    return code, f"{match[1] or ''}{match[2]}", message


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("filter: 5", "filter: Expected value of type 'PostFilter' to be an object, found: 5."),
        (
            "filter: {statuses: DRAFT}",
            "filter: Expected value of type 'PostFilter' not to include unknown field 'statuses'."
            " Did you mean 'status'? Found: { statuses: DRAFT }.",
        ),
        (
            "filter: {status: [DONE]}",
            f"filter.status[0]: Value 'DONE' does not exist in 'PostStatus' enum. {USE_A_STATUS}",
        ),
        (
            'filter: {status: "DRAFT"}',
            "filter.status: Enum 'PostStatus' cannot represent non-enum value: \"DRAFT\"."
            f" {USE_A_STATUS}",
        ),
        (
            "filter: {status: [null]}",
            "filter.status[0]: Expected value of non-null type 'PostStatus!' not to be null.",
        ),
        (
            "filter: {createdAfter: 5}",
            "filter.createdAfter: A DateTime must be a string, such as 2026-04-15T14:30:05.000Z.",
        ),
        ('filter: {createdAfter: "yesterday"}', f"filter.createdAfter: {TIME_MESSAGE}"),
        ("filter: {accountId: [2147483648]}", f"filter.accountId[0]: {ACCOUNT_ID_MESSAGE}"),
        ("filter: {search: 5}", "filter.search: String cannot represent a non string value: 5"),
        ("first: 2147483648", "first must be from 1 to 100."),
    ],
)
async def test_invalid_literal_is_rejected_with_its_path(
    acme: Tenant, arguments: str, message: str
) -> None:
    error = await acme.client.expect_error(f"{{ posts({arguments}) {{ nodes {{ id }} }} }}")
    assert error == expected_error(message)


@pytest.mark.parametrize(
    ("document", "path"),
    [
        ('{ post(postId: "1") { id } }', "postId"),
        ('{ destinations(filter: {postId: ["x"]}) { nodes { id } } }', "filter.postId[0]"),
        ('query ($id: UUID = "x") { post(postId: $id) { id } }', "$id"),
    ],
)
async def test_malformed_uuid_is_invalid_id(acme: Tenant, document: str, path: str) -> None:
    assert await acme.client.expect_error(document) == (
        "INVALID_ID",
        path.removesuffix("[0]"),
        f"{path}: {UUID_MESSAGE}",
    )


@pytest.mark.parametrize(
    ("filters", "message"),
    [
        (
            {"y": [None, False, "None"]},
            "filter: Expected value of type 'PostFilter' not to include unknown field 'y',"
            " found: {'y': [null, false, 'None']}.",
        ),
        (
            {"status": ["DRAFT", "DONE"]},
            f"filter.status[1]: Value 'DONE' does not exist in 'PostStatus' enum. {USE_A_STATUS}",
        ),
        (
            {"status": [5]},
            "filter.status[0]: Enum 'PostStatus' cannot represent non-string value: 5."
            f" {USE_A_STATUS}",
        ),
        (
            {"accountId": [None]},
            "filter.accountId[0]: Expected value of non-null type 'Int!' not to be null.",
        ),
        ({"accountId": 2**31}, f"filter.accountId: {ACCOUNT_ID_MESSAGE}"),
    ],
)
async def test_invalid_filter_in_variable_is_rejected_with_its_path(
    acme: Tenant, filters: dict[str, object], message: str
) -> None:
    error = await acme.client.expect_error(
        "query ($filter: PostFilter) { posts(filter: $filter) { nodes { id } } }", filter=filters
    )
    assert error == expected_error(message)


@pytest.mark.parametrize(
    ("type_", "argument", "value", "message"),
    [
        ("Int", "first: $value", -(2**31) - 1, "first must be from 1 to 100."),
        ("Int", "first: $value", True, "first must be from 1 to 100."),
        (
            "Int!",
            "first: $value",
            None,
            "first: Expected value of non-null type 'Int!' not to be null.",
        ),
        (
            "Int = 1",
            "filter: {accountId: [$value]}",
            None,
            "Argument 'filter' has invalid value at .accountId[0]: Expected variable '$value' provided"
            " to non-null type 'Int!' not to be null.",
        ),
    ],
)
async def test_invalid_variable_is_rejected_with_its_path(
    acme: Tenant, type_: str, argument: str, value: object, message: str
) -> None:
    document = f"query ($value: {type_}) {{ posts({argument}) {{ nodes {{ id }} }} }}"
    assert await acme.client.expect_error(document, value=value) == expected_error(message)


async def test_malformed_uuid_in_variable_is_invalid_id(acme: Tenant) -> None:
    error = await acme.client.expect_error(
        "query ($ids: [UUID!]) { destinations(filter: {postId: $ids}) { nodes { id } } }",
        ids=["f47ac10b-58cc-4372-a567-0e02b2c3d479", "x"],
    )
    assert error == ("INVALID_ID", "filter.postId", f"filter.postId[1]: {UUID_MESSAGE}")


async def test_every_invalid_variable_is_reported(acme: Tenant) -> None:
    answer = await acme.client.execute(
        "query ($a: Int!, $filter: PostFilter)"
        " { account(accountId: $a) { id } posts(filter: $filter) { nodes { id } } }",
        filter={"status": "DONE", "search": 5},
    )
    assert "data" not in answer
    assert [error["extensions"] for error in answer["errors"]] == [
        {"code": "VALIDATION_ERROR", "field": field}
        for field in ("accountId", "filter.status", "filter.search")
    ]


@pytest.mark.parametrize(
    ("document", "variables", "field", "length"),
    [
        ("query ($i: [ID!]!) { nodes(ids: $i) { id } }", {"i": [False] * 101}, "ids", 101),
        (
            "query ($f: PostFilter) { posts(filter: $f) { totalCount } }",
            {"f": {f"unknown{number}": 1 for number in range(102)}},
            "filter",
            102,
        ),
    ],
)
async def test_too_many_values_are_rejected_before_validation(
    acme: Tenant, document: str, variables: dict[str, Any], field: str, length: int
) -> None:
    assert await acme.client.expect_error(document, **variables) == (
        "LIMIT_EXCEEDED",
        field,
        f"{field} has {length} values; at most 100 are allowed.",
    )


async def test_first_five_errors_of_literal_are_reported(acme: Tenant) -> None:
    members = " ".join(f"unknown{number}: 1" for number in range(90))

    answer = await acme.client.execute(f"{{ posts(filter: {{{members}}}) {{ totalCount }} }}")

    assert [error["extensions"] for error in answer["errors"]] == [
        {"code": "VALIDATION_ERROR", "field": "filter"}
    ] * 5


async def test_unknown_input_field_is_answered_with_a_similar_one(acme: Tenant) -> None:
    problem = (
        "filter: Expected value of type 'DestinationFilter' not to include unknown field 'statuss'."
        " Did you mean 'status'? Found: "
    )
    literal = await acme.client.expect_error(
        "{ destinations(filter: {statuss: [FAILED]}) { nodes { id } } }"
    )
    variable = await acme.client.expect_error(
        "query ($filter: DestinationFilter) { destinations(filter: $filter) { nodes { id } } }",
        filter={"statuss": ["FAILED"]},
    )

    assert literal == ("VALIDATION_ERROR", "filter", f"{problem}{{ statuss: [FAILED] }}.")
    assert variable == ("VALIDATION_ERROR", "filter", f"{problem}{{'statuss': ['FAILED']}}.")
