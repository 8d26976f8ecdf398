"""Headers of a request, of which several may have one name, and its client."""

from app.http.request_scope import Client, combined_header, headers_dict, read_client
from tests.http.asgi import http_scope

SCOPE = http_scope(
    headers=[(b"accept", b"text/html"), (b"x", "é".encode("latin-1")), (b"accept", b"*/*;q=0.1")]
)


def test_first_of_repeated_headers_counts() -> None:
    assert headers_dict(SCOPE) == {b"accept": b"text/html", b"x": b"\xe9"}


def test_header_lines_are_combined() -> None:
    assert combined_header(SCOPE, b"accept") == "text/html,*/*;q=0.1"
    assert combined_header(SCOPE, b"x") == "é"
    assert combined_header(SCOPE, b"cookie") == ""


def test_client_has_its_bearer_token_and_address() -> None:
    scope = http_scope(headers=[(b"authorization", b"Bearer key")])
    scope["client"] = ("203.0.113.7", 5000)
    assert read_client(scope) == Client("key", "203.0.113.7")


def test_client_of_a_unix_socket_without_a_key_has_neither() -> None:
    assert read_client(http_scope()) == Client(None, None)
