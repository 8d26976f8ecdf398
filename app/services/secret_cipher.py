"""Reversible encryption of secrets with the keys of SECRETS_KEY.

The format is Fernet, whose tokens begin with `gAAAAA`. A token contains the name of its row; decryption for
another row is refused.
"""

import hashlib
import hmac
from collections.abc import Sequence

from cryptography.fernet import Fernet, InvalidToken, MultiFernet

from app.domain.credentials import KEY_ID_PREFIX, EncryptedData, is_hpke_key
from app.domain.errors import Conflict
from app.domain.ids import AccountId, DestinationId, WebhookId, WorkspaceId
from app.services.hpke_credentials import HpkeKeys
from app.settings import Settings

_KEY_ID_LENGTH = 16
_KEY_ID_PURPOSE = b"post-results: id of a key"
_SEPARATOR = b"\0"


class SecretNotReadable(Exception):
    """Error of a secret that no key decrypts, that belongs to another row, or whose file cannot be read."""


class SecretCipher:
    """Cipher of stored secrets. The first key encrypts; all keys decrypt."""

    def __init__(self, keys: Sequence[str], hpke_keys: Sequence[str] = ()) -> None:
        """Create the cipher; the keys are those that `new_secrets_key` returns.

        `hpke_keys`, those of CREDENTIALS_KEY, only decrypt. Without `keys` they are ignored: tokens that a
        platform renews could not be stored.
        """
        self._fernets = {_key_id(key): Fernet(key) for key in keys}
        self._fernet = MultiFernet([*self._fernets.values()]) if keys else None
        self._hpke_keys = HpkeKeys(hpke_keys if keys else ())
        self.key_id = next(iter(self._fernets), None)
        """Id of the key that encrypts; None without keys."""
        self.key_ids = frozenset(self._fernets) | self._hpke_keys.ids
        """Ids of all keys that decrypt."""
        self.has_hpke_keys = bool(hpke_keys)
        """True if CREDENTIALS_KEY is set, even if it is ignored."""

    def require_key(self) -> None:
        """Raise Conflict without a key that encrypts."""
        if self.key_id is None:
            raise _no_key_error()

    def encrypt(self, secret: str, row_name: str) -> str:
        """Return the encrypted secret of a row; raises Conflict without a key."""
        if self._fernet is None:
            raise _no_key_error()
        return self._fernet.encrypt(_bind(row_name, secret.encode())).decode()

    def decrypt(self, encrypted: str, row_name: str) -> str:
        """Return the secret of a row; raises SecretNotReadable."""
        if self._fernet is None:
            raise SecretNotReadable("SECRETS_KEY is not set")
        try:
            return _decrypt(self._fernet, encrypted.encode(), row_name).decode()
        except InvalidToken:
            raise SecretNotReadable("no key of SECRETS_KEY decrypts it") from None

    def reencrypt(self, encrypted: str, row_name: str) -> str:
        """Return the secret of a row encrypted with the first key, which it may be already.

        Raises SecretNotReadable.
        """
        secret = self.decrypt(encrypted, row_name)
        return encrypted if self.has_first_key(encrypted) else self.encrypt(secret, row_name)

    def has_first_key(self, encrypted: str) -> bool:
        """Return whether the first key has encrypted a secret; False without keys."""
        if self.key_id is None:
            return False
        try:
            self._fernets[self.key_id].decrypt(encrypted)
        except InvalidToken:
            return False
        return True

    def encrypt_data(self, data: bytes, row_name: str, key_id: str | None = None) -> EncryptedData:
        """Return the data of a row, encrypted with a key of SECRETS_KEY; raises Conflict without any.

        Uses the first key if `key_id` is None, or if the cipher lacks that key.
        """
        if self.key_id is None:
            raise _no_key_error()
        used_id = key_id if key_id in self._fernets else self.key_id
        return EncryptedData(used_id, self._fernets[used_id].encrypt(_bind(row_name, data)))

    def decrypt_data(self, encrypted: EncryptedData, row_name: str) -> bytes:
        """Return the data of a row; raises SecretNotReadable."""
        key_id = encrypted.key_id
        if key_id in self._hpke_keys.ids:
            if (data := self._hpke_keys.decrypt(encrypted, row_name)) is None:
                raise SecretNotReadable(_CHANGED)
            return data
        if self._fernet is None:
            raise SecretNotReadable("SECRETS_KEY is not set")
        if key_id not in self._fernets:
            variable = "CREDENTIALS_KEY" if is_hpke_key(key_id) else "SECRETS_KEY"
            raise SecretNotReadable(f"{variable} does not have the key {key_id}")
        try:
            return _decrypt(self._fernets[key_id], encrypted.ciphertext, row_name)
        except InvalidToken:
            raise SecretNotReadable(_CHANGED) from None


def new_secrets_key() -> str:
    """Return a new random key for SECRETS_KEY."""
    return Fernet.generate_key().decode()


def load_cipher(settings: Settings) -> SecretCipher:
    """Return the cipher with the keys of a process."""
    return SecretCipher(settings.secrets_key, settings.credentials_key)


def credential_row_name(workspace_id: WorkspaceId, account_id: AccountId, platform: str) -> str:
    """Return the name of the row with the credentials of an account."""
    return f"credential:{workspace_id}:{account_id}:{platform}"


def checkpoint_row_name(workspace_id: WorkspaceId, destination_id: DestinationId) -> str:
    """Return the name of the row with the checkpoint of a destination."""
    return f"checkpoint:{workspace_id}:{destination_id}"


def webhook_row_name(workspace_id: WorkspaceId, webhook_id: WebhookId) -> str:
    """Return the name of the row of a webhook, to which its secrets are bound."""
    return f"webhook:{workspace_id}:{webhook_id}"


_CHANGED = "the data was changed, or copied from another row"


def _no_key_error() -> Conflict:
    return Conflict(
        "This server cannot store secrets, because SECRETS_KEY is not set. The operator can create a key with"
        " `post-results secrets new-key`."
    )


def _key_id(key: str) -> str:
    """Return a short digest that names a key in rows and messages, and does not reveal it."""
    digest = hmac.new(key.encode(), _KEY_ID_PURPOSE, hashlib.sha256).hexdigest()
    return KEY_ID_PREFIX + digest[:_KEY_ID_LENGTH]


def _bind(row_name: str, data: bytes) -> bytes:
    return row_name.encode() + _SEPARATOR + data


def _decrypt(fernet: Fernet | MultiFernet, token: bytes, row_name: str) -> bytes:
    """Return the data of a token; raises InvalidToken, and SecretNotReadable for the token of another row."""
    stored_name, _, data = fernet.decrypt(token).partition(_SEPARATOR)
    if stored_name != row_name.encode():
        raise SecretNotReadable("it belongs to another row")
    return data
