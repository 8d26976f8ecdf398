"""Requests of webhooks: signed, sent once, and their responses judged."""

from collections.abc import Callable, Sequence
from datetime import timedelta
from http import HTTPStatus
from uuid import UUID

import structlog

from app import __version__
from app.domain.errors import ServiceUnavailable
from app.domain.times import Clock, parse_retry_after, truncate_to_ms
from app.domain.validation.redaction import redact
from app.domain.webhooks.deliveries import DeliveryAttempt
from app.domain.webhooks.signatures import signature_headers
from app.outbound.client import OutboundClient, OutboundRequest, OutboundResponse
from app.outbound.errors import OutboundError, OutboundFailure

ATTEMPT_TIMEOUT = timedelta(seconds=15)
"""Time for one request, with its response."""

_MAX_RESPONSE_BYTES = 2_048
"""Bytes of a response that are stored."""

_MAX_HEADER_BYTES = 4_096
"""Bytes of the headers that a test of a webhook shows."""

_SECRET_NOT_READABLE = (
    "The request could not be signed: the server cannot decrypt the secret, because SECRETS_KEY was changed"
    " or is missing. Restore the key, or rotate the secret of this webhook."
)

_INTERNAL_ERROR = (
    "The request could not be sent because of an error of this service. Its operator finds it in the log by"
    " the id of the event."
)

logger = structlog.stdlib.get_logger(__name__)


async def send_webhook(
    client: OutboundClient,
    url: str,
    body: str,
    *,
    event_id: UUID,
    secrets: Sequence[str],
    clock: Clock,
    monotonic: Callable[[], float],
) -> DeliveryAttempt:
    """Send an event once, signed with the secrets; a request that fails is a failed attempt.

    Raises ServiceUnavailable if this process has no free socket: then the receiver has not failed.
    """
    started_at, start = truncate_to_ms(clock()), monotonic()
    if not secrets:
        return DeliveryAttempt(
            started_at=started_at, duration=timedelta(), error=_SECRET_NOT_READABLE
        )
    content = body.encode()
    request = OutboundRequest(
        method="POST",
        url=url,
        headers={
            "Content-Type": "application/json",
            "User-Agent": f"post-results/{__version__}",
            **signature_headers(content, event_id=str(event_id), now=started_at, secrets=secrets),
        },
        body=content,
        timeout=ATTEMPT_TIMEOUT,
        max_response_bytes=_MAX_RESPONSE_BYTES,
        pool_key=url,
    )
    try:
        response = await client.send(request)
    except OutboundError as error:
        if error.reason is OutboundFailure.NO_FREE_SOCKET:
            raise ServiceUnavailable(error.message) from error
        duration = timedelta(seconds=monotonic() - start)
        return DeliveryAttempt(started_at=started_at, duration=duration, error=error.message)
    except Exception:
        logger.exception("webhook request failed", event_id=str(event_id))
        duration = timedelta(seconds=monotonic() - start)
        return DeliveryAttempt(started_at=started_at, duration=duration, error=_INTERNAL_ERROR)
    retry_after = next((value for name, value in response.headers if name == "retry-after"), None)
    return DeliveryAttempt(
        started_at=started_at,
        duration=timedelta(seconds=monotonic() - start),
        status_code=response.status,
        error=_error(response),
        response_headers=response.headers,
        response_body=redact(
            response.body.decode(errors="replace"), max_length=_MAX_RESPONSE_BYTES
        ),
        retry_after=None if retry_after is None else parse_retry_after(retry_after, clock()),
    )


def redact_headers(headers: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    """Return the first headers of a response, a few KiB of them, without secrets.

    Not for each delivery: the redaction of 100 KiB of headers takes more than a second (measured).
    """
    redacted, size = [], 0
    for name, value in headers:
        size += len(name) + len(value)
        if size > _MAX_HEADER_BYTES:
            break
        # The name may show that the value is a secret.
        line = redact(f"{name}: {value}", max_length=_MAX_HEADER_BYTES + 2)
        redacted.append((name, line.removeprefix(f"{name}: ")))
    return redacted


def _error(response: OutboundResponse) -> str | None:
    """Return why a response is a failure, as a sentence; None for a success."""
    status = response.status
    if HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES:
        return None
    try:
        phrase = f" {HTTPStatus(status).phrase}"
    except ValueError:
        phrase = ""
    answer = f"The receiver answered {status}{phrase}"
    if status < HTTPStatus.BAD_REQUEST:
        return f"{answer}. Redirects are not followed: enter the URL that it redirects to."
    return f"{answer}; a delivery needs a status from 200 to 299."
