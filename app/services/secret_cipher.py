"""Encryption of secrets that this service has to use again, with the keys of the setting SECRETS_KEY."""

from collections.abc import Sequence

from cryptography.fernet import Fernet, InvalidToken, MultiFernet

from app.domain.errors import Conflict

_SEPARATOR = "\0"


class SecretNotReadable(Exception):
    """Error of a secret that none of the keys decrypts, or that belongs to another row."""


class SecretCipher:
    """Cipher of stored secrets. The first key encrypts; all keys decrypt.

    A secret is bound to the row that stores it: copied to another row, it cannot be decrypted.
    """

    def __init__(self, keys: Sequence[str]) -> None:
        """Create the cipher; the keys are those that `new_secrets_key` returns."""
        self._fernet = MultiFernet([Fernet(key) for key in keys]) if keys else None

    def require_key(self) -> MultiFernet:
        """Return the keys; raises Conflict without any."""
        if self._fernet is None:
            raise Conflict(
                "This server cannot store secrets, because SECRETS_KEY is not set. The operator can create a"
                " key with `post-results secrets new-key`."
            )
        return self._fernet

    def encrypt(self, secret: str, row: str) -> str:
        """Return the encrypted secret of a row; raises Conflict without a key."""
        return self.require_key().encrypt(f"{row}{_SEPARATOR}{secret}".encode()).decode()

    def decrypt(self, encrypted: str, row: str) -> str:
        """Return the secret of a row; raises SecretNotReadable."""
        if self._fernet is None:
            raise SecretNotReadable("SECRETS_KEY is not set")
        try:
            text = self._fernet.decrypt(encrypted).decode()
        except (InvalidToken, ValueError):  # the second for text that is not base64
            raise SecretNotReadable("no key of SECRETS_KEY decrypts it") from None
        stored_row, _, secret = text.partition(_SEPARATOR)
        if stored_row != row:
            raise SecretNotReadable("it belongs to another row")
        return secret

    def reencrypt(self, encrypted: str, row: str) -> str:
        """Return the secret of a row encrypted with the first key; raises SecretNotReadable."""
        return self.encrypt(self.decrypt(encrypted, row), row)


def new_secrets_key() -> str:
    """Return a new random key for SECRETS_KEY."""
    return Fernet.generate_key().decode()
