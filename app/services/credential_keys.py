"""Keys of the settings CREDENTIALS_KEY and CREDENTIALS_SEAL: a public key seals, its private key opens.

Sealed data is a message of HPKE (RFC 9180): X25519, HKDF-SHA256 and AES-256-GCM. It is bound to the row that
stores it, so that it cannot be opened in another row.
"""

import base64
import hashlib
from collections.abc import Sequence

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite

from app.domain.credentials import SealedData
from app.domain.ids import AccountId, DestinationId, WorkspaceId
from app.setting_values import PRIVATE_KEY_PREFIX, PUBLIC_KEY_PREFIX
from app.settings import Settings, SettingsError

CANARY = b"post-results"
"""Data of the canary of a key."""

CANARY_ROW = "canary"
"""Name of the row with the canary of a key."""

_SUITE = Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM)
_KEY_ID_LENGTH = 16
_PURPOSE = "post-results"


class CredentialsNotReadable(Exception):
    """Error of sealed data that the private keys do not open; the message is the reason."""


class SealingKey:
    """Public key, which seals data that only the holder of its private key can open."""

    def __init__(self, public_key: X25519PublicKey) -> None:
        self._public_key = public_key
        self.text = PUBLIC_KEY_PREFIX + _encode(public_key.public_bytes_raw())
        """Text of the setting CREDENTIALS_SEAL."""
        digest = hashlib.sha256(public_key.public_bytes_raw()).hexdigest()
        self.id = digest[:_KEY_ID_LENGTH]
        """Short hash, which names the key in rows and messages."""

    def seal(self, data: bytes, row: str) -> SealedData:
        """Encrypt the data of a row."""
        return SealedData(self.id, _SUITE.encrypt(data, self._public_key, _info(row)))


class CredentialKeys:
    """Private keys, which open what their public keys have sealed. The first is the current one."""

    def __init__(self, keys: Sequence[str]) -> None:
        """Load the keys, as `new_private_key` returns them."""
        self._keys: dict[str, X25519PrivateKey] = {}
        self.current: SealingKey | None = None
        """Public key of the first key; None without keys."""
        for text in keys:
            key = X25519PrivateKey.from_private_bytes(_decode(text, PRIVATE_KEY_PREFIX))
            sealing_key = SealingKey(key.public_key())
            self._keys[sealing_key.id] = key
            self.current = self.current or sealing_key

    def __contains__(self, key_id: object) -> bool:
        return key_id in self._keys

    def open(self, data: SealedData, row: str) -> bytes:
        """Return the data of a row; raises CredentialsNotReadable."""
        if not self._keys:
            raise CredentialsNotReadable("CREDENTIALS_KEY is not set")
        key = self._keys.get(data.key_id)
        if key is None:
            raise CredentialsNotReadable(f"CREDENTIALS_KEY does not have the key {data.key_id}")
        try:
            return _SUITE.decrypt(data.sealed, key, _info(row))
        except InvalidTag:
            raise CredentialsNotReadable(
                "the data was changed, or copied from another row"
            ) from None


def new_private_key() -> str:
    """Return a new random key for CREDENTIALS_KEY."""
    return PRIVATE_KEY_PREFIX + _encode(X25519PrivateKey.generate().private_bytes_raw())


def load_sealing_key(settings: Settings) -> SealingKey | None:
    """Return the key of CREDENTIALS_SEAL, or that of the first CREDENTIALS_KEY; None without both.

    Raises SettingsError if the process has private keys, but not the one that opens what it seals.
    """
    keys = CredentialKeys(settings.credentials_key)
    if settings.credentials_seal is None:
        return keys.current
    public_bytes = _decode(settings.credentials_seal, PUBLIC_KEY_PREFIX)
    sealing_key = SealingKey(X25519PublicKey.from_public_bytes(public_bytes))
    if keys.current is not None and sealing_key.id not in keys:
        raise SettingsError(
            f"CREDENTIALS_SEAL is the public key {sealing_key.id}, whose private key is not in"
            " CREDENTIALS_KEY. Remove CREDENTIALS_SEAL, or add its private key."
        )
    return sealing_key


def credential_row(workspace_id: WorkspaceId, account_id: AccountId, platform: str) -> str:
    """Return the name of the row with the credentials of an account."""
    return f"credential:{workspace_id}:{account_id}:{platform}"


def checkpoint_row(workspace_id: WorkspaceId, destination_id: DestinationId) -> str:
    """Return the name of the row with the checkpoint of a destination."""
    return f"checkpoint:{workspace_id}:{destination_id}"


def _info(row: str) -> bytes:
    return f"{_PURPOSE}:{row}".encode()


def _encode(key: bytes) -> str:
    return base64.urlsafe_b64encode(key).decode().rstrip("=")


def _decode(text: str, prefix: str) -> bytes:
    return base64.urlsafe_b64decode(f"{text.removeprefix(prefix)}=")
