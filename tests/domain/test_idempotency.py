"""Idempotency keys, and the fingerprints by which requests are equal."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.idempotency import (
    IdempotencyKey,
    body_key,
    canonicalize,
    fingerprint,
    parse_client_key,
)
from tests.domain.errors import NOT_PRINTABLE, NUL, SURROGATE, input_error
from tests.domain.post_commands import new_post_request

MAY = datetime(2026, 5, 1, tzinfo=UTC)


@pytest.mark.parametrize("text", ["k", "a b", "ключ-1", "x" * 255, " k "])
def test_client_key_lasts_a_day_and_does_not_wait(text: str) -> None:
    assert parse_client_key(text, "idempotencyKey") == IdempotencyKey(
        f"given:{text}", timedelta(hours=24), is_client_chosen=True
    )


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        *((text, NOT_PRINTABLE) for text in ("", "  ", "a\nb", "a\x7f")),
        ("\0", NUL),
        ("\ud800", SURROGATE),
        ("x" * 256, "is 256 characters long; at most 255 are allowed."),
    ],
)
def test_invalid_client_key_is_rejected(text: str, problem: str) -> None:
    argument = "idempotencyKey"
    assert input_error(parse_client_key, text, argument) == (argument, f"{argument} {problem}")


def test_body_key_lasts_ten_seconds_and_depends_on_caller_and_bytes() -> None:
    key = body_key("key-1", b'{"content": "Sale"}')

    assert (key.lifetime, key.is_client_chosen) == (timedelta(seconds=10), False)
    assert key == body_key("key-1", b'{"content": "Sale"}')
    others = [
        body_key("key-2", b'{"content": "Sale"}'),
        body_key("key-1", b'{"content":  "Sale"}'),
        parse_client_key(key.text, "idempotencyKey"),
    ]
    assert key.text not in [other.text for other in others]


def test_fingerprint_does_not_depend_on_order_of_members() -> None:
    one = {"only": [1, 2], "post": "p", "content": {"x": {"a": 1, "b": None}}}
    other = {"content": {"x": {"b": None, "a": 1}}, "post": "p", "only": [1, 2]}
    assert fingerprint(one) == fingerprint(other)
    assert len(fingerprint(one)) == 32


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=2), inner),
    max_leaves=5,
)


def canonical_text(value: object) -> str:
    """A text that is equal only for equal JSON, unlike Python's true and 1."""
    match value:
        case dict():
            return repr(sorted((key, canonical_text(member)) for key, member in value.items()))
        case list():
            return f"list {[canonical_text(entry) for entry in value]}"
        case _:
            return repr(value)


@given(JSON, JSON)
def test_different_requests_have_different_fingerprints(one: object, other: object) -> None:
    is_equal = canonical_text(one) == canonical_text(other)
    assert (fingerprint(one) == fingerprint(other)) == is_equal


@dataclass
class ExampleRequest:
    only: list[int] | None
    content: dict[str, object]


@dataclass
class ExtendedRequest(ExampleRequest):
    later: datetime | None = None


def test_null_field_of_a_later_version_does_not_change_canonical_request() -> None:
    content: dict[str, object] = {"a": None}
    assert canonicalize(ExampleRequest(None, content)) == {"content": {"a": None}}
    assert canonicalize(ExtendedRequest(None, content)) == {"content": {"a": None}}
    assert canonicalize(ExtendedRequest([], content, MAY)) == {
        "only": [],
        "content": {"a": None},
        "later": MAY,
    }


def test_every_field_of_new_post_changes_fingerprint() -> None:
    changes: list[dict[str, object]] = [
        {},
        {"content": "Sale"},
        {"account_ids": [1, 2]},
        {"scheduled_for": MAY},
        {"scheduled_for": None},
        {"is_draft": True},
        {"timezone": None},
        {"media_ids": []},
        {"media": [{"id": str(UUID(int=1))}]},
        {"platform_content": {"x": {"n": 1}}},
        {"platform_content": {"x": {"n": True}}},
        {"reference": "r"},
    ]
    fingerprints = {fingerprint(canonicalize(new_post_request(**fields))) for fields in changes}
    assert len(fingerprints) == len(changes)
