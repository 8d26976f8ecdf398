"""Encryption of stored secrets: rotation of keys, the row of a secret, and what cannot be decrypted."""

import re
from dataclasses import replace

import pytest

from app.domain.credentials import EncryptedData
from app.domain.errors import Conflict
from app.services.secret_cipher import SecretCipher, SecretNotReadable, new_secrets_key
from app.settings import read_settings
from tests.domain.errors import expect_error
from tests.hpke_credential_rows import (
    HPKE_CHECKPOINT,
    HPKE_CHECKPOINT_ROW_NAME,
    HPKE_CREDENTIALS,
    HPKE_CREDENTIALS_ROW_NAME,
    HPKE_KEY,
    HPKE_KEY_ID,
    OTHER_HPKE_KEY,
)

OLD_KEY, NEW_KEY = new_secrets_key(), new_secrets_key()
OLD, NEW, BOTH = SecretCipher([OLD_KEY]), SecretCipher([NEW_KEY]), SecretCipher([NEW_KEY, OLD_KEY])
NO_KEY = SecretCipher([])
SECRET = "whsec_\0 é☀"
ROW_NAME = "webhook:1:2"
DATA = b'{"password": "\0 \xf0\x9f\x94\x91"}'

NOT_DECRYPTED = "no key of SECRETS_KEY decrypts it"


def reading_problem(cipher: SecretCipher, encrypted: str, row_name: str = ROW_NAME) -> str:
    with pytest.raises(SecretNotReadable) as caught:
        cipher.decrypt(encrypted, row_name)
    return str(caught.value)


def test_encrypted_secret_is_decrypted_and_unreadable_text() -> None:
    encrypted = OLD.encrypt(SECRET, ROW_NAME)
    assert OLD.decrypt(encrypted, ROW_NAME) == SECRET
    assert encrypted.isascii()
    assert "whsec" not in encrypted
    assert OLD.encrypt(SECRET, ROW_NAME) != encrypted


def test_first_key_encrypts_and_all_decrypt() -> None:
    old = OLD.encrypt(SECRET, ROW_NAME)
    assert BOTH.decrypt(old, ROW_NAME) == SECRET
    assert NEW.decrypt(BOTH.encrypt(SECRET, ROW_NAME), ROW_NAME) == SECRET
    assert (
        reading_problem(NEW, old)
        == reading_problem(OLD, BOTH.encrypt("", ROW_NAME))
        == NOT_DECRYPTED
    )


def test_secret_encrypted_again_needs_only_the_first_key() -> None:
    encrypted = BOTH.reencrypt(OLD.encrypt(SECRET, ROW_NAME), ROW_NAME)
    assert NEW.decrypt(encrypted, ROW_NAME) == SECRET
    assert reading_problem(NEW, encrypted, "webhook:1:3") == "it belongs to another row"
    with pytest.raises(SecretNotReadable, match=NOT_DECRYPTED):
        NEW.reencrypt(OLD.encrypt(SECRET, ROW_NAME), ROW_NAME)
    with pytest.raises(SecretNotReadable, match="it belongs to another row"):
        NEW.reencrypt(encrypted, "webhook:1:3")


@pytest.mark.parametrize("row_name", ["webhook:1:3", "", "webhook:1", "webhook:1:2\0whsec_"])
def test_secret_of_another_row_cannot_be_decrypted(row_name: str) -> None:
    assert (
        reading_problem(OLD, OLD.encrypt(SECRET, ROW_NAME), row_name) == "it belongs to another row"
    )


@pytest.mark.parametrize("text", ["", "x", "gAAAA", "é☀", "\0", OLD.encrypt(SECRET, ROW_NAME)[:-4]])
def test_damaged_text_cannot_be_decrypted(text: str) -> None:
    assert reading_problem(OLD, text) == NOT_DECRYPTED
    with pytest.raises(SecretNotReadable, match=NOT_DECRYPTED):
        OLD.reencrypt(text, ROW_NAME)


def test_nothing_is_encrypted_or_decrypted_without_a_key() -> None:
    assert expect_error(Conflict, NO_KEY.encrypt, SECRET, ROW_NAME).message == (
        "This server cannot store secrets, because SECRETS_KEY is not set. The operator can create a key with"
        " `post-results secrets new-key`."
    )
    with pytest.raises(Conflict, match="SECRETS_KEY is not set"):
        NO_KEY.require_key()
    encrypted = OLD.encrypt(SECRET, ROW_NAME)
    assert reading_problem(NO_KEY, encrypted) == "SECRETS_KEY is not set"
    with pytest.raises(SecretNotReadable, match="SECRETS_KEY is not set"):
        NO_KEY.reencrypt(encrypted, ROW_NAME)


def data_problem(cipher: SecretCipher, encrypted: EncryptedData, row_name: str = ROW_NAME) -> str:
    with pytest.raises(SecretNotReadable) as caught:
        cipher.decrypt_data(encrypted, row_name)
    return str(caught.value)


def test_encrypted_data_name_their_key_and_format() -> None:
    encrypted = OLD.encrypt_data(DATA, ROW_NAME)

    assert OLD.key_id is not None
    assert re.fullmatch("fernet-[0-9a-f]{16}", OLD.key_id)
    assert encrypted.key_id == OLD.key_id
    assert encrypted.ciphertext.startswith(b"gAAAAA")
    assert DATA not in encrypted.ciphertext
    assert repr(encrypted) == f"EncryptedData(key_id='{OLD.key_id}')"
    assert OLD.decrypt_data(encrypted, ROW_NAME) == BOTH.decrypt_data(encrypted, ROW_NAME) == DATA
    assert BOTH.key_ids == {NEW.key_id, OLD.key_id}


def test_key_id_is_stable_and_does_not_have_the_key() -> None:
    assert SecretCipher(["c2VjcmV0cyBrZXkgb2YgdGhlIHRlc3RzIG9ubHkhISE="]).key_id == (
        "fernet-7c5b738b08b77239"
    )


def test_first_key_encrypts_unless_the_cipher_has_the_key_that_is_requested() -> None:
    assert BOTH.encrypt_data(DATA, ROW_NAME).key_id == NEW.key_id
    assert BOTH.encrypt_data(DATA, ROW_NAME, OLD.key_id).key_id == OLD.key_id
    assert NEW.encrypt_data(DATA, ROW_NAME, OLD.key_id).key_id == NEW.key_id


def test_data_of_a_missing_key_are_not_readable() -> None:
    encrypted = OLD.encrypt_data(DATA, ROW_NAME)

    assert data_problem(NEW, encrypted) == f"SECRETS_KEY does not have the key {OLD.key_id}"
    assert data_problem(NO_KEY, encrypted) == "SECRETS_KEY is not set"
    assert expect_error(Conflict, NO_KEY.encrypt_data, DATA, ROW_NAME).message.startswith(
        "This server cannot store secrets, because SECRETS_KEY is not set."
    )


@pytest.mark.parametrize("row_name", ["webhook:1:3", "webhook:2:2", "webhook:1", ""])
def test_data_of_another_row_are_not_readable(row_name: str) -> None:
    assert (
        data_problem(OLD, OLD.encrypt_data(DATA, ROW_NAME), row_name) == "it belongs to another row"
    )


def test_changed_data_are_not_readable() -> None:
    encrypted = OLD.encrypt_data(DATA, ROW_NAME)
    damaged = [b"", encrypted.ciphertext[:-4], encrypted.ciphertext + b"A", bytes(80)]

    problems = {
        data_problem(OLD, replace(encrypted, ciphertext=ciphertext)) for ciphertext in damaged
    }

    assert problems == {"the data was changed, or copied from another row"}


def test_data_in_the_hpke_format_are_decrypted_with_their_key() -> None:
    cipher = SecretCipher([NEW_KEY], [OTHER_HPKE_KEY, HPKE_KEY])

    assert cipher.decrypt_data(HPKE_CREDENTIALS, HPKE_CREDENTIALS_ROW_NAME) == (
        b'{"appPassword":"abcd-efgh-ijkl-mnop","identifier":"alice.test"}'
    )
    assert (
        cipher.decrypt_data(HPKE_CHECKPOINT, HPKE_CHECKPOINT_ROW_NAME) == b'{"container":"17889"}'
    )
    assert cipher.encrypt_data(DATA, ROW_NAME, HPKE_KEY_ID).key_id == NEW.key_id
    assert HPKE_KEY_ID in cipher.key_ids


def test_data_in_the_hpke_format_are_not_readable_in_another_row_or_without_a_key() -> None:
    cipher = SecretCipher([NEW_KEY], [HPKE_KEY])
    changed = "the data was changed, or copied from another row"
    copied = HPKE_CREDENTIALS_ROW_NAME.replace(":7:", ":8:")
    cut = replace(HPKE_CREDENTIALS, ciphertext=HPKE_CREDENTIALS.ciphertext[:20])

    assert data_problem(cipher, HPKE_CREDENTIALS, copied) == changed
    assert data_problem(cipher, cut, HPKE_CREDENTIALS_ROW_NAME) == changed
    missing = f"CREDENTIALS_KEY does not have the key {HPKE_KEY_ID}"
    assert data_problem(NEW, HPKE_CREDENTIALS, HPKE_CREDENTIALS_ROW_NAME) == missing
    other = SecretCipher([NEW_KEY], [OTHER_HPKE_KEY])
    assert data_problem(other, HPKE_CREDENTIALS, HPKE_CREDENTIALS_ROW_NAME) == missing


def test_hpke_key_is_ignored_without_secrets_key() -> None:
    """Tokens that a platform renews could not be stored."""
    cipher = SecretCipher([], [HPKE_KEY])

    assert cipher.key_ids == frozenset()
    assert (
        data_problem(cipher, HPKE_CREDENTIALS, HPKE_CREDENTIALS_ROW_NAME)
        == "SECRETS_KEY is not set"
    )


def test_secret_that_an_earlier_version_has_encrypted_is_decrypted() -> None:
    cipher = SecretCipher(["c2VjcmV0cyBrZXkgb2YgdGhlIHRlc3RzIG9ubHkhISE="])

    assert (
        cipher.decrypt(
            "gAAAAABrD53TnfPTTcs_CXhLBvU62HrW4lXE_IB9Mdlw3TQcsORvQtZayugjKqjx8TJS43QTyKtXgU2IgtDNQ7ho0NxYJxtZjtX"
            "XUACsz7fRvALSdiRq-P_KelOhzkV7NH-z_6P9ssFRkVpfJV9lYMzgqGb1LIMnrHp3pdpElZrJcX4eg-jwIAtBfLjIdT0Qr0ZDXSD"
            "9I0fG_wi1K4xW5UVhjEhzyX_fNeALNJsv-rG8UnW1ka_9ZFJKmDw4EvBT4i8HpCy5wkUj",
            "webhook:11111111-2222-4333-8444-555555555555:aaaaaaaa-bbbb-4ccc-8ddd-eeeeeeeeeeee",
        )
        == "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
    )


def test_new_keys_are_random_and_valid_settings() -> None:
    keys = [new_secrets_key() for _ in range(20)]
    assert len(set(keys)) == 20
    assert read_settings({"SECRETS_KEY": ",".join(keys)}).secrets_key == tuple(keys)
