"""Decrypts credentials and checkpoints in the HPKE format (RFC 9180) of the deprecated CREDENTIALS_KEY.

In the next version, this module can be deleted, with the setting and what refers to it.
"""

import base64
import hashlib
from collections.abc import Sequence

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite

from app.domain.credentials import EncryptedData
from app.setting_values import PRIVATE_KEY_PREFIX

_SUITE = Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM)
_KEY_ID_LENGTH = 16


class HpkeKeys:
    """X25519 private keys of CREDENTIALS_KEY, which only decrypt."""

    def __init__(self, keys: Sequence[str]) -> None:
        self._keys: dict[str, X25519PrivateKey] = {}
        for text in keys:
            encoded = text.removeprefix(PRIVATE_KEY_PREFIX)
            key = X25519PrivateKey.from_private_bytes(base64.urlsafe_b64decode(f"{encoded}="))
            digest = hashlib.sha256(key.public_key().public_bytes_raw()).hexdigest()
            self._keys[digest[:_KEY_ID_LENGTH]] = key
        self.ids = frozenset(self._keys)

    def decrypt(self, encrypted: EncryptedData, row_name: str) -> bytes | None:
        """Return the data of a row; None if it was changed, or copied from another row."""
        info = f"post-results:{row_name}".encode()
        try:
            return _SUITE.decrypt(encrypted.ciphertext, self._keys[encrypted.key_id], info)
        except InvalidTag:
            return None
