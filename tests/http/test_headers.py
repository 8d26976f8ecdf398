"""Parsing of headers with weights, parameters and tokens."""

import pytest

from app.http.headers import json_weight, parse_accept, parse_bearer, parse_parameters


@pytest.mark.parametrize(
    ("authorization", "token"),
    [
        ("Bearer key", "key"),
        ("bearer   key ", "key"),
        ("BEARER a b", "a b"),
        ("Bearer", ""),
        ("Basic key", None),
        ("key", None),
        ("", None),
    ],
)
def test_token_is_that_of_the_bearer_scheme(authorization: str, token: str | None) -> None:
    assert parse_bearer(authorization) == token


@pytest.mark.parametrize(
    ("header", "weights"),
    [
        ("", {"": 1}),
        ("text/html", {"text/html": 1}),
        ("Text/HTML;Q=0.5, */* ; q=0.1", {"text/html": 0.5, "*/*": 0.1}),
        ("br;q=0,gzip;level=9", {"br": 0, "gzip": 1}),
        ("br;q=much, gzip", {"gzip": 1}),
    ],
)
def test_accepted_values_have_their_weights(header: str, weights: dict[str, float]) -> None:
    assert parse_accept(header) == weights


@pytest.mark.parametrize(
    ("header", "weight"),
    [
        ("application/json;q=0.2, application/*;q=0.3, */*", 0.2),
        ("*/*;q=0.1, application/*;q=0.3", 0.3),
        ("text/html, */*;q=0.1", 0.1),
        ("text/html", 0),
        ("application/json;q=0, */*", 0),
    ],
)
def test_most_specific_range_is_the_weight_of_json(header: str, weight: float) -> None:
    assert json_weight(parse_accept(header)) == weight


def test_parameters_have_lower_case_names_and_no_quotes() -> None:
    assert parse_parameters('Text/HTML; Charset="UTF-8" ;level=1; x') == (
        "text/html",
        {"charset": "UTF-8", "level": "1", "x": ""},
    )
