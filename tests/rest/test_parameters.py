"""From path and query string to variables, and every value that is refused on the way."""

from typing import Any
from urllib.parse import urlencode

import pytest
from graphql import GraphQLEnumType, GraphQLInputObjectType
from starlette.requests import Request

from app.domain.errors import InvalidId, InvalidInput
from app.graphql.engine.executable_schema import core_schema, create_schema
from app.rest import parameters
from app.settings import GraphQLLimits

NO_FILTER = dict.fromkeys(
    (
        "status",
        "platform",
        "accountId",
        "createdAfter",
        "createdBefore",
        "scheduledAfter",
        "scheduledBefore",
        "publishedAfter",
        "publishedBefore",
        "updatedAfter",
        "updatedBefore",
        "search",
        "reference",
    )
)
DEFAULTS: dict[str, Any] = {
    "filter": NO_FILTER,
    "orderBy": {"field": "CREATED_AT", "direction": "DESC"},
    "first": 20,
    "offset": 0,
}


def make_request(*pairs: tuple[str, str], **path: str) -> Request:
    query = urlencode(pairs).encode()
    return Request({"type": "http", "query_string": query, "path_params": path})


def parse_filter(*pairs: tuple[str, str]) -> dict[str, object]:
    """The filters that are set."""
    variables = parameters.post_list_variables(make_request(*pairs))
    assert isinstance(variables["filter"], dict)
    return {name: value for name, value in variables["filter"].items() if value is not None}


def parse_error(*pairs: tuple[str, str]) -> tuple[str | None, str]:
    with pytest.raises(InvalidInput) as caught:
        parameters.post_list_variables(make_request(*pairs))
    return caught.value.argument, caught.value.message


def test_without_parameters_a_list_is_the_first_twenty_newest() -> None:
    assert parameters.post_list_variables(make_request()) == DEFAULTS


def test_an_empty_value_is_as_good_as_none() -> None:
    names = (
        "status",
        "platform",
        "account_id",
        "created_after",
        "created_before",
        "scheduled_after",
        "scheduled_before",
        "published_after",
        "published_before",
        "updated_after",
        "updated_before",
        "search",
        "reference",
        "sort",
        "order",
        "limit",
        "offset",
    )
    assert parameters.post_list_variables(make_request(*((name, "") for name in names))) == DEFAULTS


def test_a_list_of_nothing_but_commas_is_as_good_as_none() -> None:
    assert parameters.post_list_variables(make_request(("status", " , ,"))) == DEFAULTS


def test_unknown_parameters_are_ignored() -> None:
    assert (
        parameters.post_list_variables(make_request(("campaign_id", "7"), ("Limit", "3")))
        == DEFAULTS
    )


def test_every_list_parameter_has_its_place() -> None:
    assert parameters.post_list_variables(
        make_request(
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


def test_the_old_words_for_statuses_mean_the_new_ones() -> None:
    assert parse_filter(("status", "done,queued")) == {"status": ["PUBLISHED", "SCHEDULED"]}


def test_a_repeated_list_is_joined() -> None:
    assert parse_filter(("status", "failed,draft"), ("status", "done"), ("status", "")) == {
        "status": ["FAILED", "DRAFT", "PUBLISHED"]
    }
    assert parse_filter(("account_id", "2280"), ("account_id", "2282")) == {
        "accountId": [2280, 2282]
    }


def test_of_any_other_repeated_parameter_the_last_counts() -> None:
    variables = parameters.post_list_variables(
        make_request(("limit", "5"), ("limit", "7"), ("limit", ""))
    )
    assert variables == DEFAULTS | {"first": 7}


@pytest.mark.parametrize("text", ["0", "101", "-1", "1.5", "abc", "+5", "5 ", "٣", "9" * 5000])
def test_a_limit_out_of_range_is_refused(text: str) -> None:
    argument, message = parse_error(("limit", text))
    assert argument == "limit"
    shown = repr(text if len(text) < 40 else "9" * 40 + "…")
    assert message == f"limit must be a whole number from 1 to 100; it is {shown}."


@pytest.mark.parametrize("text", ["-1", "10001", "1e3", "999999999999"])
def test_an_offset_out_of_range_is_refused(text: str) -> None:
    assert parse_error(("offset", text)) == (
        "offset",
        f"offset must be a whole number from 0 to 10,000; it is '{text}'.",
    )


@pytest.mark.parametrize(
    ("name", "value", "allowed"),
    [
        (
            "status",
            "lost",
            "draft, scheduled, publishing, published, partially_failed, failed, done, queued",
        ),
        ("sort", "name", "created_at, scheduled_for, published_at, updated_at"),
        ("order", "ASC", "desc, asc"),
    ],
)
def test_an_unknown_word_is_answered_with_the_known_ones(
    name: str, value: str, allowed: str
) -> None:
    assert parse_error((name, value)) == (
        name,
        f"{name} must be one of {allowed}; it is '{value}'.",
    )


def test_one_unknown_word_spoils_its_list() -> None:
    argument, message = parse_error(("status", "failed,FAILED"))
    assert argument == "status"
    assert message.endswith("; it is 'FAILED'.")


@pytest.mark.parametrize(
    "name",
    [
        "created_after",
        "created_before",
        "scheduled_after",
        "scheduled_before",
        "published_after",
        "published_before",
        "updated_after",
        "updated_before",
    ],
)
def test_a_malformed_time_is_refused_by_name(name: str) -> None:
    assert parse_error((name, "yesterday")) == (
        name,
        "The time must be an ISO 8601 date and time in the years 1900 to 9998, such as"
        " 2026-04-15T14:30:05.000Z; without an offset it is read as UTC.",
    )


@pytest.mark.parametrize("text", ["0", "2147483648", "-5", "abc", "1.0", "007"])
def test_an_account_id_that_cannot_be_one_is_an_invalid_id(text: str) -> None:
    with pytest.raises(InvalidId) as caught:
        parameters.post_list_variables(make_request(("account_id", f"2280,{text}")))
    assert caught.value.argument == "account_id"
    with pytest.raises(InvalidId) as caught:
        parameters.account_id_variable(make_request(account_id=text))
    assert caught.value.argument == "account_id"


def test_a_list_has_at_most_a_hundred_values() -> None:
    assert len(parse_filter(("platform", ",".join(["x"] * 100)))) == 1
    assert parse_error(("platform", ",".join(["x"] * 101))) == (
        "platform",
        "platform has 101 values; at most 100 are allowed.",
    )


def test_an_account_id_in_a_path_is_a_number() -> None:
    assert parameters.account_id_variable(make_request(account_id="2147483647")) == {
        "accountId": 2**31 - 1
    }


def test_a_post_id_in_a_path_may_be_in_either_case() -> None:
    assert parameters.post_id_variable(
        make_request(post_id="F47AC10B-58cc-4372-A567-0e02b2c3d479")
    ) == {"postId": "f47ac10b-58cc-4372-a567-0e02b2c3d479"}


@pytest.mark.parametrize(
    "text",
    [
        "1",
        "f47ac10b58cc4372a5670e02b2c3d479",
        "{f47ac10b-58cc-4372-a567-0e02b2c3d479}",
        "f47ac10b-58cc-4372-a567-0e02b2c3d479\n",
    ],
)
def test_a_post_id_in_any_other_spelling_is_an_invalid_id(text: str) -> None:
    with pytest.raises(InvalidId) as caught:
        parameters.post_id_variable(make_request(post_id=text))
    assert caught.value.argument == "post_id"


def test_without_parameters_a_report_is_over_the_month() -> None:
    assert parameters.analytics_variables(make_request()) == {
        "period": "MONTH",
        "from": None,
        "to": None,
    }


def test_a_report_may_be_over_any_period() -> None:
    assert parameters.analytics_variables(
        make_request(("period", "custom"), ("from", "2026-01-01"), ("to", "2026-02-01T00:00:00Z"))
    ) == {
        "period": "CUSTOM",
        "from": "2026-01-01T00:00:00.000Z",
        "to": "2026-02-01T00:00:00.000Z",
    }


def test_an_unknown_period_is_refused() -> None:
    with pytest.raises(InvalidInput) as caught:
        parameters.analytics_variables(make_request(("period", "year")))
    assert caught.value.argument == "period"
    assert caught.value.message == (
        "period must be one of today, week, month, all, custom; it is 'year'."
    )


@pytest.mark.parametrize(
    ("enum", "words"),
    [("PostOrderField", parameters.SORT_FIELDS), ("OrderDirection", parameters.SORT_DIRECTIONS)],
)
def test_the_words_are_those_of_the_schema(enum: str, words: tuple[str, ...]) -> None:
    found = core_schema(create_schema(GraphQLLimits())).get_type(enum)
    assert isinstance(found, GraphQLEnumType)
    assert {name.lower() for name in found.values} == set(words)


def test_the_filters_are_those_of_the_schema() -> None:
    found = core_schema(create_schema(GraphQLLimits())).get_type("PostFilter")
    assert isinstance(found, GraphQLInputObjectType)
    assert set(found.fields) == set(NO_FILTER)


@pytest.mark.parametrize("query", ["search=%ff", "search=%ED%A0%80", "unknown=%C3"])
def test_a_query_string_that_is_not_utf_8_is_refused(query: str) -> None:
    scope = {"type": "http", "query_string": query.encode(), "path_params": {}}

    with pytest.raises(InvalidInput) as refusal:
        parameters.post_list_variables(Request(scope))

    assert refusal.value.message == "The query string must be UTF-8, percent-encoded."
