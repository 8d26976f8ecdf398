"""Signed texts: verified by the signer that created them, and by no other."""

import base64
from string import ascii_letters, digits

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.signing import Signer

SIGNER = Signer(b"secret", "purpose:")
ALPHABET = ascii_letters + digits + "-_"


@given(st.binary(max_size=100))
def test_signed_payload_is_verified_and_fits_into_url(payload: bytes) -> None:
    text = SIGNER.sign(payload)
    assert SIGNER.unsign(text) == payload
    assert Signer(b"secret", "purpose:").sign(payload) == text
    assert set(text) <= set(ALPHABET)


@pytest.mark.parametrize("other", [Signer(b"secret", "other:"), Signer(b"Secret", "purpose:")])
@given(payload=st.binary(max_size=30))
def test_text_of_another_purpose_or_secret_is_rejected(other: Signer, payload: bytes) -> None:
    assert other.unsign(SIGNER.sign(payload)) is None
    assert SIGNER.unsign(other.sign(payload)) is None


@pytest.mark.parametrize("payload", [b"abc", b"abcd", b"abcde"])
def test_text_with_changed_character_is_rejected(payload: bytes) -> None:
    text = SIGNER.sign(payload)
    for index, character in enumerate(text):
        for other in ALPHABET + "=+/ \n.é":
            changed = text[:index] + other + text[index + 1 :]
            assert (SIGNER.unsign(changed) is None) == (other != character), changed


@given(st.binary(max_size=30), st.characters(), st.data())
def test_text_with_added_or_removed_character_is_rejected(
    payload: bytes, character: str, data: st.DataObject
) -> None:
    text = SIGNER.sign(payload)
    index = data.draw(st.integers(0, len(text) - 1))
    assert SIGNER.unsign(text[:index] + character + text[index:]) is None
    assert SIGNER.unsign(text + character) is None
    assert SIGNER.unsign(text[:index] + text[index + 1 :]) is None


@given(st.binary(max_size=30))
def test_other_encoding_of_same_bytes_is_rejected(payload: bytes) -> None:
    text = SIGNER.sign(payload)
    padding = "=" * (-len(text) % 4)
    raw = base64.urlsafe_b64decode(text + padding)
    encodings = {
        text + padding,
        text + "====",
        base64.b64encode(raw).decode(),
        base64.b64encode(raw).decode().rstrip("="),
        base64.encodebytes(raw).decode(),
        raw.hex(),
        f" {text}",
        f"{text}\n",
    }
    for encoding in encodings - {text}:
        assert SIGNER.unsign(encoding) is None, encoding


@given(st.text() | st.binary().map(lambda raw: base64.urlsafe_b64encode(raw).decode()))
def test_any_other_text_is_rejected(text: str) -> None:
    assert SIGNER.unsign(text) is None
