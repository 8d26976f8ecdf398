"""Opaque texts that only this installation can make, each for one purpose. Knows no purposes."""

import base64
import binascii
import hashlib
import hmac

_SIGNATURE_BYTES = 12


class Signer:
    """Writes and reads the texts of one purpose; what is read back is always what was written."""

    def __init__(self, secret: bytes, purpose: str) -> None:
        self._secret = secret
        self._purpose = purpose.encode()

    def sign(self, payload: bytes) -> str:
        return _encode_base64url(self._signature(payload) + payload)

    def unsign(self, text: str) -> bytes | None:
        """The payload; None for whatever this seal did not write."""
        try:
            raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        except (ValueError, binascii.Error):
            return None
        signature, payload = raw[:_SIGNATURE_BYTES], raw[_SIGNATURE_BYTES:]
        is_ours = hmac.compare_digest(signature, self._signature(payload))
        if (
            not is_ours or _encode_base64url(raw) != text
        ):  # base64 has several spellings of the same bytes
            return None
        return payload

    def _signature(self, payload: bytes) -> bytes:
        return hmac.digest(self._secret, self._purpose + payload, hashlib.sha256)[:_SIGNATURE_BYTES]


def _encode_base64url(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")
