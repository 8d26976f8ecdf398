"""Signed endpoints of one receiver for measurements: each with a path, a secret, and what it has accepted."""

import secrets
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Sequence
from datetime import UTC, datetime
from typing import Any

import orjson
from standardwebhooks import Webhook, WebhookVerificationError

from app.db.core.database import Database
from app.domain.ids import WorkspaceId
from app.domain.times import parse_instant
from app.domain.webhooks.event_types import WebhookEventType
from app.domain.webhooks.signatures import make_secret
from tests.webhook_receiver import ReceivedRequest, ReceiverResponse, WebhookReceiver
from tests.webhook_rows import add_webhook


class WebhookEndpoints:
    """Endpoints that verify the signatures of their requests, and may fail or never answer."""

    def __init__(
        self,
        fails: Callable[[str], bool] = lambda _path: False,
        is_silent: Callable[[str], bool] = lambda _path: False,
    ) -> None:
        """Create endpoints that answer 500 to the valid requests that fail, and nothing if one is silent.

        Both functions are called with the path of each request.
        """
        self._fails = fails
        self._is_silent = is_silent
        self._verifiers: dict[str, Webhook] = {}
        self.receiver = WebhookReceiver()
        self.receiver.respond = self._respond
        self.accepted: dict[str, Counter[str]] = defaultdict(Counter)
        """Number of accepted deliveries by path and event id."""
        self.payloads: dict[str, dict[str, Any]] = {}
        """Last payload of each event id."""
        self.delays: list[float] = []
        """Seconds from the time of each event to the receipt of its delivery."""
        self.invalid = 0
        """Requests whose signature is wrong."""

    async def add(
        self,
        database: Database,
        workspace: WorkspaceId,
        paths: Sequence[str],
        event_types: Collection[WebhookEventType],
    ) -> None:
        """Add a webhook for each path to a workspace without events; its secret needs `SECRETS_KEY`."""
        for path in paths:
            secret = make_secret(secrets.token_bytes)
            url = f"http://127.0.0.1:{self.receiver.port}{path}"
            await add_webhook(database, workspace, url=url, event_types=event_types, secret=secret)
            self._verifiers[path] = Webhook(secret)

    def count(self, path: str) -> int:
        """Return the number of events that a path has received."""
        return len(self.accepted[path])

    def _respond(self, request: ReceivedRequest) -> ReceiverResponse | None:
        if self._is_silent(request.path):
            return None
        try:
            self._verifiers[request.path].verify(request.body, dict(request.headers))
        except WebhookVerificationError:
            self.invalid += 1
            return ReceiverResponse(401)
        if self._fails(request.path):
            return ReceiverResponse(500)
        self.accepted[request.path][request.event_id] += 1
        self.payloads[request.event_id] = orjson.loads(request.body)
        created_at = parse_instant(self.payloads[request.event_id]["created_at"])
        self.delays.append((datetime.now(UTC) - created_at).total_seconds())
        return ReceiverResponse(200)
