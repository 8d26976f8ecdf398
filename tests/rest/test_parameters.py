"""Parameters of path and query string: their GraphQL variables, and every refused value."""

from itertools import product
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

import pytest
from graphql import GraphQLEnumType, GraphQLInputObjectType

from app.domain.errors import InvalidId, InvalidInput
from app.graphql.engine.executable_schema import create_schema
from app.http.request import HttpRequest
from app.rest.parameters import parse_post_id
from app.rest.posts import SORT_DIRECTIONS, SORT_FIELDS, _list_variables
from app.settings import GraphQLLimits
from tests.domain.errors import TIME_MESSAGE
from tests.http.asgi import make_request

TIMES = list(product(("created", "scheduled", "published", "updated"), ("after", "before")))
TIME_PARAMETERS = [f"{event}_{side}" for event, side in TIMES]
NO_FILTER = dict.fromkeys(
    (
        *("status", "platform", "accountId", "search", "reference"),
        *(f"{event}{side.title()}" for event, side in TIMES),
    )
)
DEFAULTS: dict[str, Any] = {
    "filter": NO_FILTER,
    "orderBy": {"field": "CREATED_AT", "direction": "DESC"},
    "first": 20,
    "offset": 0,
}


def make_list_request(*pairs: tuple[str, str], **path: str) -> HttpRequest:
    return make_request(query_string=urlencode(pairs), path_parameters=path)


def parse_filter(*pairs: tuple[str, str]) -> dict[str, object]:
    """The filters that are not null."""
    variables = _list_variables(make_list_request(*pairs))
    assert isinstance(variables["filter"], dict)
    return {name: value for name, value in variables["filter"].items() if value is not None}


def parse_error(*pairs: tuple[str, str]) -> tuple[str | None, str]:
    with pytest.raises(InvalidInput) as caught:
        _list_variables(make_list_request(*pairs))
    return caught.value.argument, caught.value.message


def test_default_list_is_newest_20() -> None:
    assert _list_variables(make_list_request()) == DEFAULTS


def test_empty_values_count_as_absent() -> None:
    names = [
        *("status", "platform", "account_id", "search", "reference"),
        *("sort", "order", "limit", "offset", *TIME_PARAMETERS),
    ]
    assert _list_variables(make_list_request(*((name, "") for name in names))) == DEFAULTS
    assert _list_variables(make_list_request(("status", " , ,"))) == DEFAULTS


def test_unknown_parameters_are_ignored() -> None:
    assert _list_variables(make_list_request(("campaign_id", "7"), ("Limit", "3"))) == DEFAULTS


def test_every_list_parameter_sets_its_variable() -> None:
    assert _list_variables(
        make_list_request(
            ("status", "failed,draft"),
            ("platform", "x, instagram"),
            ("account_id", "2280"),
            ("created_after", "2026-01-01T00:00:00Z"),
            ("created_before", "2026-01-02T00:00:00+02:00"),
            ("scheduled_after", "2026-01-03"),
            ("scheduled_before", "2026-01-04T12:30"),
            ("published_after", "2026-01-05T00:00:00.1239Z"),
            ("published_before", "2026-01-06T00:00:00Z"),
            ("updated_after", "2026-01-07T00:00:00Z"),
            ("updated_before", "2026-01-08T00:00:00Z"),
            ("search", " 50%, off "),
            ("reference", "spring,sale"),
            ("sort", "scheduled_for"),
            ("order", "asc"),
            ("limit", "100"),
            ("offset", "10000"),
        )
    ) == {
        "filter": {
            "status": ["FAILED", "DRAFT"],
            "platform": ["x", "instagram"],
            "accountId": [2280],
            "createdAfter": "2026-01-01T00:00:00.000Z",
            "createdBefore": "2026-01-01T22:00:00.000Z",
            "scheduledAfter": "2026-01-03T00:00:00.000Z",
            "scheduledBefore": "2026-01-04T12:30:00.000Z",
            "publishedAfter": "2026-01-05T00:00:00.123Z",
            "publishedBefore": "2026-01-06T00:00:00.000Z",
            "updatedAfter": "2026-01-07T00:00:00.000Z",
            "updatedBefore": "2026-01-08T00:00:00.000Z",
            "search": " 50%, off ",
            "reference": "spring,sale",
        },
        "orderBy": {"field": "SCHEDULED_FOR", "direction": "ASC"},
        "first": 100,
        "offset": 10_000,
    }


def test_legacy_status_names_are_mapped() -> None:
    assert parse_filter(("status", "done,queued")) == {"status": ["PUBLISHED", "SCHEDULED"]}


def test_repeated_list_parameters_are_joined() -> None:
    assert parse_filter(("status", "failed,draft"), ("status", "done"), ("status", "")) == {
        "status": ["FAILED", "DRAFT", "PUBLISHED"]
    }
    assert parse_filter(("account_id", "2280"), ("account_id", "2282")) == {
        "accountId": [2280, 2282]
    }


def test_last_of_repeated_parameters_counts() -> None:
    variables = _list_variables(make_list_request(("limit", "5"), ("limit", "7"), ("limit", "")))
    assert variables == DEFAULTS | {"first": 7}


@pytest.mark.parametrize(
    ("name", "text", "problem"),
    [
        *(
            ("limit", text, "be a whole number from 1 to 100")
            for text in ("0", "101", "-1", "1.5", "abc", "+5", "5 ", "٣")
        ),
        *(
            ("offset", text, "be a whole number from 0 to 10,000")
            for text in ("-1", "10001", "1e3", "999999999999")
        ),
        (
            "status",
            "lost",
            "be one of draft, scheduled, publishing, published, partially_failed, failed, done, queued",
        ),
        ("sort", "name", "be one of created_at, scheduled_for, published_at, updated_at"),
        ("order", "ASC", "be one of desc, asc"),
    ],
)
def test_value_out_of_range_is_refused_with_allowed_values(
    name: str, text: str, problem: str
) -> None:
    assert parse_error((name, text)) == (name, f"{name} must {problem}; it is '{text}'.")


def test_quoted_value_is_shortened() -> None:
    _, message = parse_error(("limit", "9" * 5000))
    assert message.endswith(f"; it is '{'9' * 40}…'.")


def test_one_unknown_value_invalidates_list() -> None:
    argument, message = parse_error(("status", "failed,FAILED"))
    assert argument == "status"
    assert message.endswith("; it is 'FAILED'.")


@pytest.mark.parametrize("name", TIME_PARAMETERS)
def test_malformed_time_is_refused_by_name(name: str) -> None:
    assert parse_error((name, "yesterday")) == (name, TIME_MESSAGE)


def test_malformed_account_id_is_refused() -> None:
    with pytest.raises(InvalidId) as caught:
        _list_variables(make_list_request(("account_id", "2280,007")))
    assert caught.value.argument == "account_id"


def test_list_has_at_most_100_values() -> None:
    assert len(parse_filter(("platform", ",".join(["x"] * 100)))) == 1
    assert parse_error(("platform", ",".join(["x"] * 101))) == (
        "platform",
        "platform has 101 values; at most 100 are allowed.",
    )


def test_post_id_may_be_upper_case() -> None:
    assert parse_post_id(make_list_request(post_id="F47AC10B-58cc-4372-A567-0e02b2c3d479")) == UUID(
        "f47ac10b-58cc-4372-a567-0e02b2c3d479"
    )


@pytest.mark.parametrize(
    ("enum", "words"), [("PostOrderField", SORT_FIELDS), ("OrderDirection", SORT_DIRECTIONS)]
)
def test_sort_values_match_schema(enum: str, words: tuple[str, ...]) -> None:
    enum_type = create_schema(GraphQLLimits()).graphql_schema.get_type(enum)
    assert isinstance(enum_type, GraphQLEnumType)
    assert {name.lower() for name in enum_type.values} == set(words)


def test_filters_match_schema() -> None:
    input_type = create_schema(GraphQLLimits()).graphql_schema.get_type("PostFilter")
    assert isinstance(input_type, GraphQLInputObjectType)
    assert set(input_type.fields) - {"postId"} == set(NO_FILTER)


@pytest.mark.parametrize("query", ["search=%ff", "search=%ED%A0%80", "unknown=%C3"])
def test_query_string_must_be_utf_8(query: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        _list_variables(make_request(query_string=query))

    assert caught.value.message == "The query string must be UTF-8, percent-encoded."
