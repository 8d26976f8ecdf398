"""Credentials of accounts and checkpoints of destinations: their form, before and after encryption."""

import hashlib
import hmac
import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from app.domain.errors import InvalidInput
from app.domain.validation.json_values import check_json

NO_CREDENTIALS = (
    "No credentials are stored for the account. Connect it again, or use setAccountCredentials."
)
"""Reason why nothing is published on an account whose publisher needs credentials."""

MAX_CREDENTIALS_BYTES = 16 * 1024
"""Bytes of the credentials of one account as JSON."""

MAX_CHECKPOINT_BYTES = 4 * 1024
"""Bytes of the checkpoint of one destination as JSON."""

REFERENCE = "ref"
"""Name of the only member of credentials that refer to a file."""

FILE_SCHEME = "file:"

AUTHORIZATION, CODE = "authorization", "code"
"""Names of the members of credentials that are exchanged for an access token before they are stored."""

_FINGERPRINT_PURPOSE = b"credentials:"


@dataclass(frozen=True, slots=True)
class SealedData:
    """Encrypted data, and the id of the key that opens it."""

    key_id: str
    sealed: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class NewCredentials:
    """Credentials of an account before they are encrypted; their repr does not contain them."""

    text: str = field(repr=False)
    """JSON object with sorted names."""

    @property
    def has_authorization(self) -> bool:
        """True if they are to be exchanged for an access token before they are stored."""
        return AUTHORIZATION in json.loads(self.text)

    def fingerprint(self, secret: bytes) -> str:
        """Return a keyed digest, which identifies repeated credentials without revealing them."""
        return hmac.new(
            secret, _FINGERPRINT_PURPOSE + self.text.encode(), hashlib.sha256
        ).hexdigest()


def parse_credentials(value: object) -> NewCredentials:
    """Return the credentials of a JSON value; raises InvalidInput, whose message has no part of the value."""
    if not isinstance(value, Mapping) or not value:
        raise InvalidInput("Credentials must be a JSON object with at least one member.")
    try:
        check_json(value, "")
    except InvalidInput:  # its message may have names of the value
        raise InvalidInput(
            "Credentials must not be nested deeper than 20 levels, and must not have NUL characters, lone"
            " surrogates, texts of more than 100,000 characters, or numbers beyond 64 bits."
        ) from None
    if REFERENCE in value and not _is_file_reference(value):
        raise InvalidInput(
            'Credentials with the member "ref" must have no other, and it must name a file, as in'
            ' {"ref": "file:name.json"}.'
        )
    text = json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    if (size := len(text.encode())) > MAX_CREDENTIALS_BYTES:
        raise InvalidInput(
            f"Credentials have {size:,} bytes; at most {MAX_CREDENTIALS_BYTES:,} are allowed."
        )
    return NewCredentials(text)


def _is_file_reference(value: Mapping[str, object]) -> bool:
    reference = value[REFERENCE]
    return (
        len(value) == 1
        and isinstance(reference, str)
        and len(reference) > len(FILE_SCHEME)
        and reference.startswith(FILE_SCHEME)
    )
