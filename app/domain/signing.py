"""Signed opaque texts for cursors and leases, which only this installation can create."""

import base64
import binascii
import hashlib
import hmac

_SIGNATURE_BYTES = 12


class Signer:
    """Signer and verifier of texts of one purpose, by HMAC. Texts of other purposes are invalid."""

    def __init__(self, secret: bytes, purpose: str) -> None:
        self._secret = secret
        self._purpose = purpose.encode()

    def sign(self, payload: bytes) -> str:
        return _encode_base64url(self._signature(payload) + payload)

    def unsign(self, text: str) -> bytes | None:
        """Return the payload; None for a text that this signer did not create."""
        try:
            raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        except (ValueError, binascii.Error):
            return None
        signature, payload = raw[:_SIGNATURE_BYTES], raw[_SIGNATURE_BYTES:]
        is_authentic = hmac.compare_digest(signature, self._signature(payload))
        is_canonical = _encode_base64url(raw) == text  # base64 has several forms of the same bytes
        return payload if is_authentic and is_canonical else None

    def _signature(self, payload: bytes) -> bytes:
        return hmac.digest(self._secret, self._purpose + payload, hashlib.sha256)[:_SIGNATURE_BYTES]


def _encode_base64url(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")
