"""Signatures of deliveries, verified by the library that receivers use and by the documented HMAC."""

import base64
import hashlib
import hmac
from datetime import UTC, datetime, timedelta

import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from app.domain.webhooks.signatures import ROTATION_PERIOD, make_secret, signature_headers
from tests.factories import NOW

BODY = '{"event":"post.published","reference":"Frühling ☀"}'.encode()
EVENT_ID = "30723d5f-96ca-5dac-bbe1-d17d7b6bb287"
SECRET = make_secret(lambda length: bytes(range(length)))
NEW_SECRET = make_secret(lambda length: b"\xff" * length)
OTHER_SECRET = make_secret(bytes)


def sign(*secrets: str, now: datetime | None = None) -> dict[str, str]:
    """Headers of a delivery; by default of this moment, because the library compares its own clock."""
    return signature_headers(
        BODY, event_id=EVENT_ID, now=now or datetime.now(UTC), secrets=secrets or (SECRET,)
    )


def verify(secret: str, headers: dict[str, str], body: bytes = BODY) -> object:
    return Webhook(secret).verify(body, headers)


# Secrets.


def test_secret_has_256_random_bits_in_the_format_of_standard_webhooks() -> None:
    assert SECRET == "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
    assert len(base64.b64decode(SECRET.removeprefix("whsec_"))) == 32


# Headers.


def test_headers_of_a_delivery() -> None:
    timestamp = "1776265200"
    signed = f"{EVENT_ID}.{timestamp}.".encode() + BODY
    standard = base64.b64encode(hmac.digest(bytes(range(32)), signed, "sha256")).decode()

    assert sign(now=NOW + timedelta(milliseconds=999)) == {
        "webhook-id": EVENT_ID,
        "webhook-timestamp": timestamp,
        "webhook-signature": f"v1,{standard}",
        "X-PostEverywhere-Timestamp": timestamp,
        "X-PostEverywhere-Signature": (
            "sha256=" + hmac.new(SECRET.encode(), BODY, hashlib.sha256).hexdigest()
        ),
    }


def test_both_secrets_sign_during_a_rotation() -> None:
    headers = sign(NEW_SECRET, SECRET)
    new, old = sign(NEW_SECRET, now=NOW), sign(SECRET, now=NOW)
    assert sign(NEW_SECRET, SECRET, now=NOW) == {
        **new,
        "webhook-signature": f"{new['webhook-signature']} {old['webhook-signature']}",
        "X-PostEverywhere-Previous-Signature": old["X-PostEverywhere-Signature"],
    }
    for secret in (NEW_SECRET, SECRET):
        assert verify(secret, headers) == {"event": "post.published", "reference": "Frühling ☀"}
    assert timedelta(hours=24) == ROTATION_PERIOD


# Verification by the library.


def test_library_verifies_a_delivery() -> None:
    assert verify(SECRET, sign()) == {"event": "post.published", "reference": "Frühling ☀"}


@pytest.mark.parametrize(
    ("headers", "secret", "body", "problem"),
    [
        ({}, OTHER_SECRET, BODY, "No matching signature found"),
        ({}, SECRET, BODY + b" ", "No matching signature found"),
        ({}, SECRET, BODY.replace(b"published", b"failed"), "No matching signature found"),
        ({"webhook-id": EVENT_ID[::-1]}, SECRET, BODY, "No matching signature found"),
        ({"webhook-timestamp": "1776265200"}, SECRET, BODY, "Message timestamp too"),
    ],
    ids=["secret", "longer body", "body", "id", "timestamp"],
)
def test_library_refuses_a_changed_delivery(
    headers: dict[str, str], secret: str, body: bytes, problem: str
) -> None:
    with pytest.raises(WebhookVerificationError, match=problem):
        verify(secret, sign() | headers, body)


def test_library_refuses_another_timestamp_within_its_tolerance() -> None:
    now = datetime.now(UTC)
    other = sign(now=now + timedelta(seconds=2))["webhook-timestamp"]
    with pytest.raises(WebhookVerificationError, match="No matching signature found"):
        verify(SECRET, sign(now=now) | {"webhook-timestamp": other})


@pytest.mark.parametrize(
    ("age", "problem"),
    [(timedelta(minutes=6), "too old"), (-timedelta(minutes=6), "too new")],
    ids=["old", "new"],
)
def test_library_refuses_an_old_and_a_new_delivery(age: timedelta, problem: str) -> None:
    with pytest.raises(WebhookVerificationError, match=problem):
        verify(SECRET, sign(now=datetime.now(UTC) - age))
