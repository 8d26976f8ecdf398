"""Credentials of accounts and checkpoints of destinations: their form, before and after encryption."""

import hashlib
import hmac
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

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


KEY_ID_PREFIX = "fernet-"
"""Prefix of the ids of the keys of SECRETS_KEY. It names the format of what they have encrypted."""

KEY_GRACE = timedelta(minutes=1)
"""Time after which encrypted credentials have a problem if no running worker has their key."""

NO_WORKER_WITH_KEY = (
    "Nothing is published: no running worker has the key with which the credentials are encrypted. The"
    " operator can start a worker with this key. Otherwise, set the credentials again with"
    " setAccountCredentials."
)
"""Reason why nothing is published on an account whose credentials no running worker can read."""


NO_WORKER_WITH_CHECKPOINT_KEY = (
    "Some posts wait: no running worker has the key with which the progress of their last attempt is"
    " encrypted. The operator can start a worker with this key."
)
"""Reason why some posts of an account wait whose checkpoints no running worker can read."""


_MAX_REFRESHES, _REFRESH_INTERVAL = 10, timedelta(minutes=5)
"""Budget of an account for logins and refreshes of its access: at most ten in a row, and one more every five
minutes. A server of Bluesky allows 30 logins in five minutes and 300 a day."""


def refresh_wait(budget_full_at: datetime | None, now: datetime) -> timedelta:
    """Return the time until an account may log in or refresh its access; 0 if it may now.

    `budget_full_at` is the time at which its budget is full again, None if it was never used.
    """
    used = max((budget_full_at or now) - now, timedelta())
    return max(used - (_MAX_REFRESHES - 1) * _REFRESH_INTERVAL, timedelta())


def spend_refresh(budget_full_at: datetime | None, now: datetime) -> datetime:
    """Return the time at which the budget is full again after one more login or refresh."""
    return max(budget_full_at or now, now) + _REFRESH_INTERVAL


@dataclass(frozen=True, slots=True)
class EncryptedData:
    """Encrypted data, and the id of the key that decrypts it."""

    key_id: str
    ciphertext: bytes = field(repr=False)


def is_hpke_key(key_id: str) -> bool:
    """Return whether a key is one of CREDENTIALS_KEY, whose format is HPKE."""
    return not key_id.startswith(KEY_ID_PREFIX)


@dataclass(frozen=True, slots=True)
class UnreadableSecretCounts:
    """Numbers of secrets that cannot be decrypted now, for readiness and metrics."""

    warnings: Sequence[str]
    """Sentences about keys that the process lacks, and about a deprecated key that is still needed."""
    webhooks: int
    """Webhooks whose secret the process cannot decrypt."""
    accounts: int
    """Accounts whose credentials no running worker can decrypt."""
    checkpoints: int
    """Destinations to claim or verify whose checkpoint no running worker can decrypt."""


@dataclass(frozen=True, slots=True)
class NewCredentials:
    """Credentials of an account before they are encrypted; their repr does not contain them."""

    text: str = field(repr=False)
    """JSON object with sorted names."""

    @property
    def has_authorization(self) -> bool:
        """True if the credentials are a code that must be exchanged for an access token first."""
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


def is_unreadable_by_workers(set_at: datetime, key_seen_at: datetime | None, now: datetime) -> bool:
    """Return whether no running worker can read credentials, which were set at least KEY_GRACE ago.

    `key_seen_at` is the time at which a worker last reported to have their key; None if none ever did.
    `count_accounts_without_worker` of `app.db.repositories.worker_keys` has the same rule in SQL.
    """
    return max(set_at, key_seen_at or set_at) <= now - KEY_GRACE
