"""Commands on webhook endpoints: create, change, enable and disable.

Errors name arguments as in GraphQL.
"""

from collections.abc import Collection, Sequence
from dataclasses import replace
from datetime import datetime
from typing import TypedDict

from app.domain.accounts import check_platform
from app.domain.errors import InvalidInput
from app.domain.ids import AccountId, WebhookId, validate_account_id
from app.domain.outbound_rules import OutboundRules
from app.domain.validation.outbound_urls import validate_outbound_url
from app.domain.validation.text import MAX_NAME_LENGTH, validate_name, validate_text
from app.domain.webhooks.endpoints import MAX_ENDPOINTS, WebhookEndpoint
from app.domain.webhooks.event_types import WebhookEventType

MAX_FILTER_VALUES = 100
"""Platforms, and accounts, of one endpoint."""

_MAX_DESCRIPTION_LENGTH = 2_000

ALL_EVENT_TYPES = ", ".join(WebhookEventType)


class WebhookUpdate(TypedDict, total=False):
    """Requested changes to an endpoint; absent keys leave fields unchanged."""

    url: str
    event_types: Sequence[WebhookEventType]
    platforms: Sequence[str]
    account_ids: Sequence[int]
    name: str | None
    description: str | None
    is_active: bool


def create_endpoint(
    webhook_id: WebhookId,
    settings: WebhookUpdate,
    others: Collection[WebhookEndpoint],
    rules: OutboundRules,
    now: datetime,
) -> WebhookEndpoint:
    """Create an endpoint beside the others of its workspace; `url` and `event_types` are required.

    Raises InvalidInput for an invalid value, a URL that another endpoint has, and too many endpoints.
    """
    if len(others) >= MAX_ENDPOINTS:
        raise InvalidInput(
            f"This workspace has {len(others)} webhooks; at most {MAX_ENDPOINTS} are allowed. Delete one"
            " first."
        )
    return WebhookEndpoint(
        id=webhook_id,
        url=_validate_url(settings["url"], webhook_id, others, rules),
        event_types=_validate_event_types(settings["event_types"]),
        platforms=_validate_platforms(settings.get("platforms", ())),
        account_ids=_validate_account_ids(settings.get("account_ids", ())),
        name=_validate_name(settings.get("name")),
        description=_validate_description(settings.get("description")),
        is_active=settings.get("is_active", True),
        created_at=now,
        updated_at=now,
    )


def update_endpoint(
    endpoint: WebhookEndpoint,
    update: WebhookUpdate,
    others: Collection[WebhookEndpoint],
    rules: OutboundRules,
    now: datetime,
) -> WebhookEndpoint:
    """Return the endpoint after the changes; the same object if nothing changes.

    Raises InvalidInput for an invalid value, and for a URL that another endpoint of the workspace has.
    """
    changed = endpoint
    if "url" in update:
        url = _validate_url(update["url"], endpoint.id, others, rules)
        if url != endpoint.url:  # the failures were those of another receiver
            changed = replace(changed, url=url, consecutive_failures=0, failing_since=None)
    if "event_types" in update:
        changed = replace(changed, event_types=_validate_event_types(update["event_types"]))
    if "platforms" in update:
        changed = replace(changed, platforms=_validate_platforms(update["platforms"]))
    if "account_ids" in update:
        changed = replace(changed, account_ids=_validate_account_ids(update["account_ids"]))
    if "name" in update:
        changed = replace(changed, name=_validate_name(update["name"]))
    if "description" in update:
        changed = replace(changed, description=_validate_description(update["description"]))
    if changed != endpoint:
        changed = replace(changed, updated_at=now)
    match update.get("is_active"):
        case True if not changed.is_active:
            changed = changed.enabled(now)
        case False if changed.is_active:
            changed = replace(changed, is_active=False, updated_at=now)
    return changed


def _validate_url(
    url: str, webhook_id: WebhookId, others: Collection[WebhookEndpoint], rules: OutboundRules
) -> str:
    url = validate_outbound_url(url, "url", rules)
    if any(other.url == url and other.id != webhook_id for other in others):
        raise InvalidInput(
            "Another webhook of this workspace has this URL. Add the events to that one.",
            argument="url",
        )
    return url


def _validate_event_types(
    event_types: Sequence[WebhookEventType],
) -> tuple[WebhookEventType, ...]:
    if not event_types:
        raise InvalidInput(
            f"events must have at least one of {ALL_EVENT_TYPES}.", argument="events"
        )
    return tuple(dict.fromkeys(event_types))


def _validate_platforms(platforms: Sequence[str]) -> tuple[str, ...]:
    _check_number(len(platforms), "platforms")
    for index, platform in enumerate(platforms):
        check_platform(platform, f"platforms[{index}]")
    return tuple(dict.fromkeys(platforms))


def _validate_account_ids(account_ids: Sequence[int]) -> tuple[AccountId, ...]:
    _check_number(len(account_ids), "accountIds")
    for index, number in enumerate(account_ids):
        validate_account_id(number, f"accountIds[{index}]")
    return tuple(dict.fromkeys(map(AccountId, account_ids)))


def _check_number(number: int, argument: str) -> None:
    if number > MAX_FILTER_VALUES:
        raise InvalidInput(
            f"{argument} has {number} values; at most {MAX_FILTER_VALUES} are allowed. An empty list"
            " stands for all.",
            argument=argument,
        )


def _validate_name(name: str | None) -> str | None:
    return None if name is None else validate_name(name, "name", max_length=MAX_NAME_LENGTH)


def _validate_description(description: str | None) -> str | None:
    return description and validate_text(
        description, "description", max_length=_MAX_DESCRIPTION_LENGTH
    )
