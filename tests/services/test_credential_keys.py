"""Keys that seal and open credentials: binding to rows, several keys, and what the settings accept."""

import pytest

from app.domain.credentials import SealedData
from app.services.credential_keys import (
    CredentialKeys,
    CredentialsNotReadable,
    load_sealing_key,
    new_private_key,
)
from app.settings import SettingsError, read_settings

OLD_KEY, NEW_KEY = new_private_key(), new_private_key()
OLD, NEW, BOTH = (
    CredentialKeys([OLD_KEY]),
    CredentialKeys([NEW_KEY]),
    CredentialKeys([NEW_KEY, OLD_KEY]),
)
DATA = b'{"password": "\xf0\x9f\x94\x91"}'
ROW = "credential:1:2:bluesky"


def seal(keys: CredentialKeys, data: bytes = DATA, row: str = ROW) -> SealedData:
    assert keys.current is not None
    return keys.current.seal(data, row)


def opening_problem(keys: CredentialKeys, data: SealedData, row: str = ROW) -> str:
    with pytest.raises(CredentialsNotReadable) as caught:
        keys.open(data, row)
    return str(caught.value)


def test_private_key_opens_what_its_public_key_sealed() -> None:
    sealed = seal(OLD)

    assert OLD.open(sealed, ROW) == DATA
    assert DATA not in sealed.sealed
    assert len(sealed.sealed) == len(DATA) + 48
    assert seal(OLD).sealed != sealed.sealed
    assert repr(sealed) == f"SealedData(key_id='{sealed.key_id}')"


def test_public_key_alone_seals() -> None:
    assert OLD.current is not None
    server = load_sealing_key(read_settings({"CREDENTIALS_SEAL": OLD.current.text}))

    assert server is not None
    assert OLD.open(server.seal(DATA, ROW), ROW) == DATA


def test_public_key_is_derived_from_the_first_private_key() -> None:
    derived = load_sealing_key(read_settings({"CREDENTIALS_KEY": f"{NEW_KEY},{OLD_KEY}"}))

    assert derived is not None
    assert NEW.current is not None
    assert (derived.id, derived.text) == (NEW.current.id, NEW.current.text)
    assert load_sealing_key(read_settings({})) is None


def test_public_key_of_another_private_key_is_refused() -> None:
    assert NEW.current is not None
    settings = read_settings({"CREDENTIALS_KEY": OLD_KEY, "CREDENTIALS_SEAL": NEW.current.text})

    with pytest.raises(SettingsError) as caught:
        load_sealing_key(settings)

    assert str(caught.value) == (
        f"CREDENTIALS_SEAL is the public key {NEW.current.id}, whose private key is not in CREDENTIALS_KEY."
        " Remove CREDENTIALS_SEAL, or add its private key."
    )


def test_public_key_of_an_older_private_key_is_accepted() -> None:
    assert OLD.current is not None
    settings = read_settings(
        {"CREDENTIALS_KEY": f"{NEW_KEY},{OLD_KEY}", "CREDENTIALS_SEAL": OLD.current.text}
    )

    sealing_key = load_sealing_key(settings)

    assert sealing_key is not None
    assert sealing_key.id == OLD.current.id


def test_all_keys_open_and_the_first_seals() -> None:
    assert BOTH.open(seal(OLD), ROW) == DATA
    assert NEW.open(seal(BOTH), ROW) == DATA


def test_data_of_a_missing_key_is_not_readable() -> None:
    sealed = seal(OLD)

    assert opening_problem(NEW, sealed) == f"CREDENTIALS_KEY does not have the key {sealed.key_id}"
    assert opening_problem(CredentialKeys([]), sealed) == "CREDENTIALS_KEY is not set"
    assert CredentialKeys([]).current is None


@pytest.mark.parametrize(
    "row", ["credential:1:3:bluesky", "credential:2:2:bluesky", "credential:1:2:mastodon", ""]
)
def test_data_of_another_row_is_not_readable(row: str) -> None:
    assert (
        opening_problem(OLD, seal(OLD), row) == "the data was changed, or copied from another row"
    )


def test_changed_data_is_not_readable() -> None:
    sealed = seal(OLD)
    damaged = [b"", sealed.sealed[:-1], sealed.sealed + b"\0", bytes(80)]

    problems = {opening_problem(OLD, SealedData(sealed.key_id, data)) for data in damaged}

    assert problems == {"the data was changed, or copied from another row"}


def test_new_keys_are_random_and_valid_settings() -> None:
    keys = [new_private_key() for _ in range(20)]

    assert len(set(keys)) == 20
    assert read_settings({"CREDENTIALS_KEY": ",".join(keys)}).credentials_key == tuple(keys)
