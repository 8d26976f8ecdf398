"""Types of webhook events, and the one that a change of the feed causes."""

from collections.abc import Callable, Mapping
from enum import StrEnum

from app.domain.destinations import Outcome
from app.domain.events import EventKind, StoredEvent
from app.domain.operations import IMPORT, RETRY
from app.domain.posts import PostStatus


class WebhookEventType(StrEnum):
    """Type of a webhook event. Those of media are accepted in a list, and never sent."""

    POST_SCHEDULED = "post.scheduled"
    POST_PUBLISHING = "post.publishing"
    POST_PUBLISHED = "post.published"
    POST_FAILED = "post.failed"
    POST_PARTIALLY_FAILED = "post.partially_failed"
    POST_UPDATED = "post.updated"
    POST_DELETED = "post.deleted"
    ACCOUNT_CONNECTED = "account.connected"
    ACCOUNT_DISCONNECTED = "account.disconnected"
    ACCOUNT_RECONNECT_NEEDED = "account.reconnect_needed"
    WEBHOOK_DISABLED = "webhook.disabled"
    MEDIA_UPLOADED = "media.uploaded"
    MEDIA_DELETED = "media.deleted"


def webhook_event_type(event: StoredEvent) -> WebhookEventType | None:
    """Return the type of the webhook event that a change causes; None for most changes.

    Publishing, published and failed are reported for each account of a post. An unknown outcome is
    reported as failed, and only once: the check that confirms it is no event. Imports report nothing,
    because they record results of the past.
    """
    rule = _RULES.get(event.kind)
    return None if rule is None or event.operation == IMPORT else rule(event)


def _post_created(event: StoredEvent) -> WebhookEventType | None:
    is_scheduled = event.values.get("status") == PostStatus.SCHEDULED
    return WebhookEventType.POST_SCHEDULED if is_scheduled else None


def _post_changed(event: StoredEvent) -> WebhookEventType | None:
    status = event.values.get("status")
    if status == PostStatus.PARTIALLY_FAILED:
        return WebhookEventType.POST_PARTIALLY_FAILED
    # The version counts changes by people, of which a retry changes no content.
    if "version" not in event.values or event.operation.startswith(RETRY):
        return None
    was_draft = _previous(event, "status") == PostStatus.DRAFT
    if status == PostStatus.SCHEDULED and was_draft:
        return WebhookEventType.POST_SCHEDULED
    return WebhookEventType.POST_UPDATED


def _destination_changed(event: StoredEvent) -> WebhookEventType | None:
    match event.values.get("outcome"):
        case Outcome.PUBLISHED:
            return WebhookEventType.POST_PUBLISHED
        case Outcome.FAILED | Outcome.UNKNOWN if _previous(event, "outcome") == Outcome.NONE:
            return WebhookEventType.POST_FAILED
    match event.values:
        case {"started_at": str(), "attempts": 1}:
            return WebhookEventType.POST_PUBLISHING
    return None


def _account_changed(event: StoredEvent) -> WebhookEventType | None:
    match event.values:
        case {"needs_reconnection_since": str()}:
            return WebhookEventType.ACCOUNT_RECONNECT_NEEDED
        case {"is_active": False}:
            return WebhookEventType.ACCOUNT_DISCONNECTED
        case {"is_active": True} | {"needs_reconnection_since": None} | {"connected_at": _}:
            return WebhookEventType.ACCOUNT_CONNECTED
    return None


def _previous(event: StoredEvent, field: str) -> object:
    return (event.previous or {}).get(field)


_RULES: Mapping[EventKind, Callable[[StoredEvent], WebhookEventType | None]] = {
    EventKind.POST_CREATED: _post_created,
    EventKind.POST_CHANGED: _post_changed,
    EventKind.POST_DELETED: lambda _event: WebhookEventType.POST_DELETED,
    EventKind.DESTINATION_CHANGED: _destination_changed,
    EventKind.ACCOUNT_CONNECTED: lambda _event: WebhookEventType.ACCOUNT_CONNECTED,
    EventKind.ACCOUNT_CHANGED: _account_changed,
    EventKind.WEBHOOK_DISABLED: lambda _event: WebhookEventType.WEBHOOK_DISABLED,
}
