"""Signing secrets of webhooks, and the headers that let a receiver verify a delivery.

Each delivery has the three headers of the Standard Webhooks specification, and a header with an HMAC of the
body alone, keyed with the text of the secret.
"""

import base64
import hashlib
import hmac
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

SECRET_PREFIX = "whsec_"
ROTATION_PERIOD = timedelta(hours=24)
"""Time for which a replaced secret signs too."""

_SECRET_BYTES = 32


def make_secret(random_bytes: Callable[[int], bytes]) -> str:
    """Create a secret from 256 random bits, in the format of Standard Webhooks."""
    return SECRET_PREFIX + base64.b64encode(random_bytes(_SECRET_BYTES)).decode()


def signature_headers(
    body: bytes, *, event_id: str, now: datetime, secrets: Sequence[str]
) -> dict[str, str]:
    """Return the headers of a delivery, signed with each of the secrets, the newest first."""
    timestamp = str(int(now.timestamp()))
    signed = f"{event_id}.{timestamp}.".encode() + body
    headers = {
        "webhook-id": event_id,
        "webhook-timestamp": timestamp,
        "webhook-signature": " ".join(_standard_signature(signed, secret) for secret in secrets),
        "X-PostEverywhere-Timestamp": timestamp,
    }
    for name, secret in zip(_BODY_SIGNATURE_HEADERS, secrets, strict=False):
        headers[name] = "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
    return headers


_BODY_SIGNATURE_HEADERS = ("X-PostEverywhere-Signature", "X-PostEverywhere-Previous-Signature")


def _standard_signature(signed: bytes, secret: str) -> str:
    key = base64.b64decode(secret.removeprefix(SECRET_PREFIX))
    return "v1," + base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()
