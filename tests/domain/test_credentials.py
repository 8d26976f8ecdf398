"""Form of credentials: what is accepted, errors without any part of the value, and fingerprints."""

import pytest

from app.domain.credentials import MAX_CREDENTIALS_BYTES, NewCredentials, parse_credentials
from tests.domain.errors import input_error

INVALID_TEXTS = (
    "Credentials must not be nested deeper than 20 levels, and must not have NUL characters, lone surrogates,"
    " texts of more than 100,000 characters, or numbers beyond 64 bits."
)
NO_OBJECT = "Credentials must be a JSON object with at least one member."
INVALID_REFERENCE = (
    'Credentials with the member "ref" must have no other, and it must name a file, as in'
    ' {"ref": "file:name.json"}.'
)


def nested(levels: int) -> object:
    return {"sesame": nested(levels - 1)} if levels else "sesame"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({"b": "ü", "a": [1, None, True]}, '{"a":[1,null,true],"b":"ü"}'),
        ({"ref": "file:alice.json"}, '{"ref":"file:alice.json"}'),
        (nested(20), '{"sesame":' * 20 + '"sesame"' + "}" * 20),
    ],
)
def test_credentials_are_an_object_of_any_members(value: object, text: str) -> None:
    assert parse_credentials(value) == NewCredentials(text)


NO_OBJECTS: list[object] = ["sesame", ["sesame"], 7, True, {}]
UNSTORABLE: list[object] = [
    {"sesame": "\0"},
    {"sesame\0": 1},
    {"sesame": "\ud800"},
    {"sesame": 2**63},
    {"sesame": "x" * 100_001},
    nested(21),
]
WRONG_REFERENCES: list[object] = [
    {"ref": "sesame"},
    {"ref": "file:"},
    {"ref": 7},
    {"ref": None},
    {"ref": "file:sesame", "password": "sesame"},
]


@pytest.mark.parametrize(
    ("value", "message"),
    [
        *((value, NO_OBJECT) for value in NO_OBJECTS),
        *((value, INVALID_TEXTS) for value in UNSTORABLE),
        *((value, INVALID_REFERENCE) for value in WRONG_REFERENCES),
        (
            {"sesame": "x" * (MAX_CREDENTIALS_BYTES - 12)},
            "Credentials have 16,385 bytes; at most 16,384 are allowed.",
        ),
    ],
)
def test_invalid_credentials_are_refused_without_their_value(value: object, message: str) -> None:
    assert input_error(parse_credentials, value) == (None, message)


def test_largest_credentials_are_accepted() -> None:
    assert len(parse_credentials({"sesame": "x" * (MAX_CREDENTIALS_BYTES - 13)}).text) == 16_384


def test_repr_has_no_credentials() -> None:
    assert repr(parse_credentials({"password": "sesame"})) == "NewCredentials()"


def test_fingerprint_depends_on_the_values_and_the_secret_only() -> None:
    credentials = parse_credentials({"a": 1, "b": 2})
    fingerprint = credentials.fingerprint(b"secret")

    assert parse_credentials({"b": 2, "a": 1}).fingerprint(b"secret") == fingerprint
    assert parse_credentials({"a": 1, "b": 3}).fingerprint(b"secret") != fingerprint
    assert credentials.fingerprint(b"other") != fingerprint
    assert len(fingerprint) == 64
