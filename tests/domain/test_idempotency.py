"""By what a repetition is known: keys that are taken and refused, and which requests are the same."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.errors import InvalidInput
from app.domain.idempotency import (
    IdempotencyKey,
    body_key,
    canonicalize,
    fingerprint,
    parse_client_key,
)
from tests.domain.post_commands import new_post_request


@pytest.mark.parametrize("text", ["k", "a b", "ключ-1", "x" * 255, " k "])
def test_a_given_key_is_kept_for_a_day_and_does_not_wait(text: str) -> None:
    assert parse_client_key(text, "idempotencyKey") == IdempotencyKey(
        f"given:{text}", timedelta(hours=24), waits_for_first=False
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "idempotencyKey must be printable and not empty."),
        ("  ", "idempotencyKey must be printable and not empty."),
        ("a\nb", "idempotencyKey must be printable and not empty."),
        ("a\x7f", "idempotencyKey must be printable and not empty."),
        ("\0", "idempotencyKey must not contain a NUL character."),
        ("\ud800", "idempotencyKey must not contain a lone surrogate."),
        ("x" * 256, "idempotencyKey is 256 characters long; at most 255 are allowed."),
    ],
)
def test_a_key_is_refused(text: str, message: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        parse_client_key(text, "idempotencyKey")

    assert (refused.value.message, refused.value.argument) == (message, "idempotencyKey")


def test_a_body_is_known_for_ten_seconds_by_its_bytes_and_its_caller() -> None:
    key = body_key("key-1", b'{"content": "Sale"}')

    assert (key.lifetime, key.waits_for_first) == (timedelta(seconds=10), True)
    assert key == body_key("key-1", b'{"content": "Sale"}')
    others = [
        body_key("key-2", b'{"content": "Sale"}'),
        body_key("key-1", b'{"content":  "Sale"}'),
        parse_client_key(key.text, "idempotencyKey"),
    ]
    assert key.text not in [each.text for each in others]


def test_two_requests_are_the_same_whatever_order_their_members_have() -> None:
    one = {"only": [1, 2], "post": "p", "content": {"x": {"a": 1, "b": None}}}
    other = {"content": {"x": {"b": None, "a": 1}}, "post": "p", "only": [1, 2]}

    assert fingerprint(one) == fingerprint(other)
    assert len(fingerprint(one)) == 32


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=2), inner),
    max_leaves=5,
)


def canonical_text(value: object) -> object:
    """What tells two values apart that Python takes for equal, and that are not the same JSON."""
    match value:
        case dict():
            return "{", sorted(
                (key, canonical_text(each)) for key, each in value.items()
            ).__repr__()
        case list():
            return "[", [canonical_text(each) for each in value]
        case _:
            return repr(value)


@given(JSON, JSON)
def test_other_requests_have_other_fingerprints(one: object, other: object) -> None:
    assert (fingerprint(one) == fingerprint(other)) == (
        canonical_text(one) == canonical_text(other)
    )


@dataclass
class ExampleRequest:
    only: list[int] | None
    content: dict[str, object]


@dataclass
class ExtendedRequest(ExampleRequest):
    later: datetime | None = None


def test_a_field_that_a_later_version_knows_changes_no_request_that_does_not_give_it() -> None:
    content: dict[str, object] = {"a": None}
    assert canonicalize(ExampleRequest(None, content)) == {"content": {"a": None}}
    assert canonicalize(ExtendedRequest(None, content)) == canonicalize(
        ExampleRequest(None, content)
    )
    given = canonicalize(ExtendedRequest([], content, datetime(2026, 5, 1, tzinfo=UTC)))
    assert given == {"only": [], "content": {"a": None}, "later": datetime(2026, 5, 1, tzinfo=UTC)}


def test_every_field_of_a_post_counts() -> None:
    changes: list[dict[str, object]] = [
        {},
        {"content": "Sale"},
        {"account_ids": [1, 2]},
        {"scheduled_for": datetime(2026, 5, 1, tzinfo=UTC)},
        {"scheduled_for": None},
        {"is_draft": True},
        {"timezone": None},
        {"media_ids": []},
        {"media": [{"id": str(UUID(int=1))}]},
        {"platform_content": {"x": {"n": 1}}},
        {"platform_content": {"x": {"n": True}}},
        {"reference": "r"},
    ]
    made = {fingerprint(canonicalize(new_post_request(**each))) for each in changes}
    assert len(made) == len(changes)
