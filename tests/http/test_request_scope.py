"""Headers of a request, of which several may have one name."""

from app.http.request_scope import combined_header, headers_dict
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
