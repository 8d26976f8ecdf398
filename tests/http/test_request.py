"""Headers of a request, of which several may have one name, its client, and its parameters."""

import pytest

from app.domain.errors import InvalidInput, NotFound, RateLimitExceeded
from app.http.request import ApiRequest
from tests.http.asgi import http_scope, make_request

SCOPE = http_scope(
    headers=[(b"accept", b"text/html"), (b"x", "é".encode("latin-1")), (b"accept", b"*/*;q=0.1")]
)


def test_first_of_repeated_headers_counts() -> None:
    request = make_request(SCOPE)
    assert request.headers == {b"accept": b"text/html", b"x": b"\xe9"}
    assert request.header(b"accept") == "text/html"
    assert request.header(b"x") == "é"
    assert request.header(b"cookie") is None


def test_header_lines_are_combined() -> None:
    request = make_request(SCOPE)
    assert request.combined_header(b"accept") == "text/html,*/*;q=0.1"
    assert request.combined_header(b"x") == "é"
    assert request.combined_header(b"cookie") == ""


def test_only_line_of_a_header_is_its_combination() -> None:
    request = make_request(http_scope(headers=[(b"accept", b"text/html"), (b"x", b"1")]))
    assert request.combined_header(b"accept") == "text/html"
    assert request.combined_header(b"cookie") == ""


def test_client_has_its_bearer_token_and_address() -> None:
    scope = http_scope(headers=[(b"authorization", b"Bearer key")])
    request = make_request({**scope, "client": ("203.0.113.7", 5000)})
    assert (request.token, request.client_address) == ("key", "203.0.113.7")


@pytest.mark.parametrize("client", [{}, {"client": None}])
def test_client_of_a_unix_socket_without_a_key_has_neither(client: dict[str, None]) -> None:
    request = make_request({**http_scope(), **client})
    assert (request.token, request.client_address) == (None, None)


def test_root_path_is_empty_without_a_prefix() -> None:
    assert make_request(http_scope()).root_path == ""
    assert make_request({**http_scope(), "root_path": "/results"}).root_path == "/results"


def test_query_string_is_parsed() -> None:
    assert make_request(query_string="a=1&b=%C3%A9+&a=2").query().multi_items() == [
        ("a", "1"),
        ("b", "é "),
        ("a", "2"),
    ]
    assert make_request().query().multi_items() == []


@pytest.mark.parametrize("query", ["a=%ff", "a=%ED%A0%80", "%C3=1"])
def test_query_string_must_be_utf_8(query: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        make_request(query_string=query).query()
    assert caught.value.message == "The query string must be UTF-8, percent-encoded."


def test_errors_are_recorded_in_order() -> None:
    request = ApiRequest("0000cafe", None, None)
    request.record_error(NotFound("Not found."))
    request.record_error(RateLimitExceeded("Too many.", retry_after=1))
    assert request.error_codes == ("not_found", "rate_limit_exceeded")


def test_request_of_events_has_the_id_and_type_and_no_errors() -> None:
    request = ApiRequest("0000cafe", "key", "203.0.113.7")
    request.operation_type = "subscription"
    request.record_error(NotFound("Not found."))

    event = request.for_events()

    assert (event.request_id, event.token, event.client_address) == (
        "0000cafe",
        "key",
        "203.0.113.7",
    )
    assert (event.operation_type, event.error_codes) == ("subscription", ())


def test_detached_request_is_not_interrupted() -> None:
    request = make_request()
    request.detach()

    assert not request.interrupt()
    assert not request.is_interrupted
