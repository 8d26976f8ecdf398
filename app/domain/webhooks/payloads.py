"""Payloads of webhook events: what a receiver needs to know of a change, without a second request."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from uuid import UUID, uuid5

from app.domain.accounts import Account
from app.domain.destinations import Destination
from app.domain.events import StoredEvent, as_json
from app.domain.ids import AccountId, WorkspaceId
from app.domain.posts import Post
from app.domain.times import format_instant
from app.domain.webhooks.event_types import WebhookEventType


@dataclass(frozen=True, slots=True)
class EventSubject:
    """Post and accounts of an event, as they are when its deliveries are stored."""

    post: Post | None
    accounts: Mapping[AccountId, Account]

    def platforms_by_account(self, event: StoredEvent) -> dict[AccountId, str]:
        """Return the accounts that the event is about: its own, or all of its post."""
        if event.account_id is not None:
            account_ids = [event.account_id]
        else:
            destinations = () if self.post is None else self.post.destinations
            account_ids = [destination.account_id for destination in destinations]
        return {
            account_id: account.platform
            for account_id in account_ids
            if (account := self.accounts.get(account_id)) is not None
        }


def webhook_event_id(workspace_id: WorkspaceId, event: StoredEvent) -> UUID:
    """Return the id of the webhook event, the same for all endpoints and attempts.

    The time is part of it: after a restore of a backup, sequence numbers are assigned again.
    """
    return uuid5(workspace_id, f"{event.seq}:{format_instant(event.happened_at)}")


def webhook_payload(
    event: StoredEvent,
    event_type: WebhookEventType,
    subject: EventSubject,
    *,
    workspace_id: WorkspaceId,
    cursor: str,
) -> dict[str, object]:
    """Return the payload of an event as JSON values; `cursor` is its position in the change feed.

    Fields that do not apply to the event are null. The fields of the change have their values of the event,
    even if they have changed since.
    """
    return {
        "event": event_type.value,
        "event_id": str(webhook_event_id(workspace_id, event)),
        "created_at": format_instant(event.happened_at),
        "organization_id": str(workspace_id),
        "cursor": cursor,
        "data": _common_data(event, subject) | _DATA[event_type](event, subject),
    }


def _common_data(event: StoredEvent, subject: EventSubject) -> dict[str, object]:
    account = None if event.account_id is None else subject.accounts.get(event.account_id)
    return {
        "post_id": None if event.post_id is None else str(event.post_id),
        "destination_id": None if event.destination_id is None else str(event.destination_id),
        "platform": None if account is None else account.platform,
        "account_id": event.account_id,
        "account_name": None if account is None else account.name,
        "reference": None if subject.post is None else subject.post.reference,
    }


def _published_data(event: StoredEvent, subject: EventSubject) -> dict[str, object]:
    return _changed_values(event, subject, _PUBLICATION_FIELDS)


def _failed_data(event: StoredEvent, subject: EventSubject) -> dict[str, object]:
    return _changed_values(event, subject, _FAILURE_FIELDS)


def _post_data(event: StoredEvent, subject: EventSubject) -> dict[str, object]:
    post = subject.post
    if post is None:
        return {}
    scheduled_for = None if post.scheduled_for is None else format_instant(post.scheduled_for)
    return {
        "post_status": event.values.get("status", post.status),
        "scheduled_for": event.values.get("scheduled_for", scheduled_for),
    }


def _partially_failed_data(event: StoredEvent, subject: EventSubject) -> dict[str, object]:
    destinations = () if subject.post is None else subject.post.destinations
    results = [_result(destination, subject.accounts) for destination in destinations]
    return _post_data(event, subject) | {"results": results}


def _no_data(_event: StoredEvent, _subject: EventSubject) -> dict[str, object]:
    return {}


def _webhook_data(event: StoredEvent, _subject: EventSubject) -> dict[str, object]:
    return dict(event.values)


def _result(destination: Destination, accounts: Mapping[AccountId, Account]) -> dict[str, object]:
    account, state = accounts.get(destination.account_id), destination.state
    return {
        "destination_id": str(destination.id),
        "platform": destination.platform,
        "account_id": destination.account_id,
        "account_name": None if account is None else account.name,
        "status": state.status.value,
        "outcome": state.outcome.value,
        "published_at": None if state.published_at is None else format_instant(state.published_at),
        "platform_post_url": state.platform_post_url,
        "error": state.error,
    }


def _changed_values(
    event: StoredEvent, subject: EventSubject, fields: tuple[str, ...]
) -> dict[str, object]:
    """Return fields of a destination: those that changed from the event, the others as they are now."""
    destinations = () if subject.post is None else subject.post.destinations
    now: dict[str, object] = {}
    for destination in destinations:
        if destination.id == event.destination_id:
            now = {field: getattr(destination.state, field) for field in fields}
    return {field: event.values.get(field, as_json(now.get(field))) for field in fields}


_PUBLICATION_FIELDS = ("published_at", "platform_post_id", "platform_post_url", "attempts")
_FAILURE_FIELDS = ("outcome", "error", "error_category", "error_code", "attempts")
_DATA: Mapping[WebhookEventType, Callable[[StoredEvent, EventSubject], dict[str, object]]] = {
    **dict.fromkeys(WebhookEventType, _no_data),
    **dict.fromkeys(
        (
            WebhookEventType.POST_SCHEDULED,
            WebhookEventType.POST_UPDATED,
            WebhookEventType.POST_DELETED,
        ),
        _post_data,
    ),
    WebhookEventType.POST_PUBLISHED: _published_data,
    WebhookEventType.POST_FAILED: _failed_data,
    WebhookEventType.POST_PARTIALLY_FAILED: _partially_failed_data,
    WebhookEventType.WEBHOOK_DISABLED: _webhook_data,
}
