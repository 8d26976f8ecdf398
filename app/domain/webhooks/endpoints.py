"""Webhook endpoints: which events one wants, and how results of deliveries disable it."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from http import HTTPStatus

from app.domain.events import Event, EventKind
from app.domain.ids import AccountId, WebhookId
from app.domain.webhooks.deliveries import DeliveryAttempt
from app.domain.webhooks.event_types import WebhookEventType

MAX_ENDPOINTS = 25
"""Endpoints of a workspace."""

DISABLE_AFTER = timedelta(days=5)
"""Time without a successful delivery, from the first failure on, after which an endpoint is disabled."""

MIN_FAILURES = 10
"""Failed attempts in that time, so that no endpoint with few events is disabled for one of them."""


class DisabledReason(StrEnum):
    """Reason why this service disabled an endpoint."""

    GONE = "gone"
    """The receiver answered 410."""
    FAILING = "failing"
    """Every delivery failed for DISABLE_AFTER."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookEndpoint:
    """An endpoint, without its secrets and without its position in the feed.

    Creating one without a URL or without events raises ValueError.
    """

    id: WebhookId
    url: str
    event_types: Collection[WebhookEventType]
    platforms: Collection[str] = ()
    """Platforms whose events it wants; empty for all."""
    account_ids: Collection[AccountId] = ()
    """Accounts whose events it wants; empty for all."""
    name: str | None = None
    description: str | None = None
    is_active: bool = True
    consecutive_failures: int = 0
    """Failed attempts since the last success."""
    failing_since: datetime | None = None
    """Time of the first of them."""
    disabled_reason: DisabledReason | None = None
    auto_disabled_at: datetime | None = None
    last_delivery_at: datetime | None = None
    last_success_at: datetime | None = None
    last_failure_at: datetime | None = None
    created_at: datetime
    updated_at: datetime

    def __post_init__(self) -> None:
        if not self.url or not self.event_types:
            raise ValueError("an endpoint has a URL and at least one event type")

    def wants(
        self, event_type: WebhookEventType, accounts: Iterable[tuple[AccountId, str]]
    ) -> bool:
        """Return whether it wants an event about accounts, each with its platform.

        A disabled webhook has no account, so the filters by platform and account do not apply to it.
        """
        if event_type not in self.event_types:
            return False
        is_filtered = bool(self.platforms or self.account_ids)
        if not is_filtered or event_type is WebhookEventType.WEBHOOK_DISABLED:
            return True
        return any(
            (not self.platforms or platform in self.platforms)
            and (not self.account_ids or account_id in self.account_ids)
            for account_id, platform in accounts
        )

    def with_attempt(self, attempt: DeliveryAttempt, now: datetime) -> "WebhookEndpoint":
        """Return the endpoint after an attempt, disabled if the receiver is gone or fails for too long."""
        if attempt.is_success:
            return replace(
                self,
                consecutive_failures=0,
                failing_since=None,
                last_delivery_at=now,
                last_success_at=now,
            )
        failing_since = self.failing_since or now
        failed = replace(
            self,
            consecutive_failures=self.consecutive_failures + 1,
            failing_since=failing_since,
            last_delivery_at=now,
            last_failure_at=now,
        )
        if not self.is_active:
            return failed
        if attempt.status_code == HTTPStatus.GONE:
            return failed.disabled(DisabledReason.GONE, now)
        is_long = now - failing_since >= DISABLE_AFTER
        if is_long and failed.consecutive_failures >= MIN_FAILURES:
            return failed.disabled(DisabledReason.FAILING, now)
        return failed

    def disabled(self, reason: DisabledReason, now: datetime) -> "WebhookEndpoint":
        """Return the endpoint as this service disables it: no event is sent until a person enables it."""
        return replace(
            self, is_active=False, disabled_reason=reason, auto_disabled_at=now, updated_at=now
        )

    def disabled_event(self) -> Event:
        """Return the event of a disabled endpoint, without its URL, which may contain a secret."""
        assert self.disabled_reason is not None  # noqa: S101 - after `disabled`
        return Event(
            kind=EventKind.WEBHOOK_DISABLED,
            values={
                "webhook_id": str(self.id),
                "name": self.name,
                "disabled_reason": self.disabled_reason.value,
            },
        )

    def enabled(self, now: datetime) -> "WebhookEndpoint":
        """Return the endpoint enabled by a person; its failures count from zero."""
        return replace(
            self,
            is_active=True,
            disabled_reason=None,
            auto_disabled_at=None,
            consecutive_failures=0,
            failing_since=None,
            updated_at=now,
        )
