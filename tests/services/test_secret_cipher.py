"""Encryption of stored secrets: rotation of keys, the row of a secret, and what cannot be decrypted."""

import pytest

from app.domain.errors import Conflict
from app.services.secret_cipher import SecretCipher, SecretNotReadable, new_secrets_key
from app.settings import read_settings
from tests.domain.errors import expect_error

OLD_KEY, NEW_KEY = new_secrets_key(), new_secrets_key()
OLD, NEW, BOTH = SecretCipher([OLD_KEY]), SecretCipher([NEW_KEY]), SecretCipher([NEW_KEY, OLD_KEY])
NO_KEY = SecretCipher([])
SECRET = "whsec_\0 é☀"
ROW = "webhook:1:2"

NOT_DECRYPTED = "no key of SECRETS_KEY decrypts it"


def reading_problem(cipher: SecretCipher, encrypted: str, row: str = ROW) -> str:
    with pytest.raises(SecretNotReadable) as caught:
        cipher.decrypt(encrypted, row)
    return str(caught.value)


def test_encrypted_secret_is_decrypted_and_unreadable_text() -> None:
    encrypted = OLD.encrypt(SECRET, ROW)
    assert OLD.decrypt(encrypted, ROW) == SECRET
    assert encrypted.isascii()
    assert "whsec" not in encrypted
    assert OLD.encrypt(SECRET, ROW) != encrypted


def test_first_key_encrypts_and_all_decrypt() -> None:
    old = OLD.encrypt(SECRET, ROW)
    assert BOTH.decrypt(old, ROW) == SECRET
    assert NEW.decrypt(BOTH.encrypt(SECRET, ROW), ROW) == SECRET
    assert reading_problem(NEW, old) == reading_problem(OLD, BOTH.encrypt("", ROW)) == NOT_DECRYPTED


def test_secret_encrypted_again_needs_only_the_first_key() -> None:
    encrypted = BOTH.reencrypt(OLD.encrypt(SECRET, ROW), ROW)
    assert NEW.decrypt(encrypted, ROW) == SECRET
    assert reading_problem(NEW, encrypted, "webhook:1:3") == "it belongs to another row"
    with pytest.raises(SecretNotReadable, match=NOT_DECRYPTED):
        NEW.reencrypt(OLD.encrypt(SECRET, ROW), ROW)
    with pytest.raises(SecretNotReadable, match="it belongs to another row"):
        NEW.reencrypt(encrypted, "webhook:1:3")


@pytest.mark.parametrize("row", ["webhook:1:3", "", "webhook:1", "webhook:1:2\0whsec_"])
def test_secret_of_another_row_cannot_be_decrypted(row: str) -> None:
    assert reading_problem(OLD, OLD.encrypt(SECRET, ROW), row) == "it belongs to another row"


@pytest.mark.parametrize("text", ["", "x", "gAAAA", "é☀", "\0", OLD.encrypt(SECRET, ROW)[:-4]])
def test_damaged_text_cannot_be_decrypted(text: str) -> None:
    assert reading_problem(OLD, text) == NOT_DECRYPTED
    with pytest.raises(SecretNotReadable, match=NOT_DECRYPTED):
        OLD.reencrypt(text, ROW)


def test_nothing_is_encrypted_or_decrypted_without_a_key() -> None:
    assert expect_error(Conflict, NO_KEY.encrypt, SECRET, ROW).message == (
        "This server cannot store secrets, because SECRETS_KEY is not set. The operator can create a key with"
        " `post-results secrets new-key`."
    )
    encrypted = OLD.encrypt(SECRET, ROW)
    assert reading_problem(NO_KEY, encrypted) == "SECRETS_KEY is not set"
    with pytest.raises(SecretNotReadable, match="SECRETS_KEY is not set"):
        NO_KEY.reencrypt(encrypted, ROW)


def test_new_keys_are_random_and_valid_settings() -> None:
    keys = [new_secrets_key() for _ in range(20)]
    assert len(set(keys)) == 20
    assert read_settings({"SECRETS_KEY": ",".join(keys)}).secrets_key == tuple(keys)
