"""Seals: what one has closed, it opens, and nothing else does or is opened. Not what is in them."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.signing import Signer

SIGNER = Signer(b"secret", "purpose:")


@given(st.binary(max_size=100))
def test_what_was_closed_is_opened_whatever_it_is(payload: bytes) -> None:
    assert SIGNER.unsign(SIGNER.sign(payload)) == payload
    assert Signer(b"secret", "purpose:").sign(payload) == SIGNER.sign(payload)


@pytest.mark.parametrize("other", [Signer(b"secret", "other:"), Signer(b"Secret", "purpose:")])
@given(payload=st.binary(max_size=30))
def test_another_purpose_or_secret_opens_nothing(other: Signer, payload: bytes) -> None:
    assert other.unsign(SIGNER.sign(payload)) is None
    assert SIGNER.unsign(other.sign(payload)) is None


@given(st.binary(max_size=30), st.integers(0, 7), st.data())
def test_a_text_with_any_bit_changed_is_not_opened(
    payload: bytes, bit: int, data: st.DataObject
) -> None:
    text = SIGNER.sign(payload)
    raw = bytearray(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
    place = data.draw(st.integers(0, len(raw) - 1))
    raw[place] ^= 1 << bit
    assert SIGNER.unsign(base64.urlsafe_b64encode(raw).decode().rstrip("=")) is None


@given(st.text() | st.binary().map(lambda raw: base64.urlsafe_b64encode(raw).decode()))
def test_no_other_text_is_opened(text: str) -> None:
    assert SIGNER.unsign(text) is None
