"""Commands on endpoints: results, and the refusal of each invalid value."""

from dataclasses import replace
from datetime import timedelta
from ipaddress import ip_network
from typing import Any
from uuid import UUID

import pytest

from app.domain.ids import WebhookId
from app.domain.outbound_rules import OutboundRules
from app.domain.webhooks.commands import (
    MAX_FILTER_VALUES,
    WebhookUpdate,
    create_endpoint,
    update_endpoint,
)
from app.domain.webhooks.endpoints import MAX_ENDPOINTS, DisabledReason, WebhookEndpoint
from app.domain.webhooks.event_types import WebhookEventType
from tests.domain.errors import (
    ACCOUNT_ID_MESSAGE,
    NOT_A_PLATFORM,
    NOT_PRINTABLE,
    NUL,
    SURROGATE,
    input_error,
)
from tests.domain.webhooks.endpoints import WEBHOOK_ID, make_endpoint
from tests.factories import NOW

RULES = OutboundRules()
LATER = NOW + timedelta(hours=1)
PUBLISHED, FAILED = WebhookEventType.POST_PUBLISHED, WebhookEventType.POST_FAILED
REQUIRED: WebhookUpdate = {"url": "https://example.com/hook", "event_types": [PUBLISHED]}


def create(others: list[WebhookEndpoint] | None = None, **settings: Any) -> WebhookEndpoint:
    merged = REQUIRED | settings
    return create_endpoint(WEBHOOK_ID, merged, others or [], RULES, NOW)  # type: ignore[arg-type]


def change(endpoint: WebhookEndpoint, **update: Any) -> WebhookEndpoint:
    others = [endpoint, make_other(1)]
    return update_endpoint(endpoint, WebhookUpdate(**update), others, RULES, LATER)  # type: ignore[typeddict-item]


def make_other(number: int) -> WebhookEndpoint:
    return make_endpoint(id=WebhookId(UUID(int=number)), url=f"https://other{number}.example.com/")


# Results.


def test_new_endpoint_has_its_settings() -> None:
    assert create() == make_endpoint(event_types=(PUBLISHED,))
    assert create(
        url="HTTPS://Example.COM:443/hook",
        event_types=[FAILED, PUBLISHED, FAILED],
        platforms=["x", "instagram", "x"],
        account_ids=[2, 1, 2],
        name="CRM",
        description="Of the sales team\nin Kiel",
    ) == make_endpoint(
        event_types=(FAILED, PUBLISHED),
        platforms=("x", "instagram"),
        account_ids=(2, 1),
        name="CRM",
        description="Of the sales team\nin Kiel",
    )
    assert not create(is_active=False).is_active


def test_new_endpoint_may_be_the_last_allowed_one() -> None:
    others = [make_other(number) for number in range(1, MAX_ENDPOINTS)]
    assert create(others).is_active


def test_change_replaces_only_its_fields() -> None:
    endpoint = make_endpoint(name="CRM", platforms=("x",))
    changes: list[dict[str, Any]] = [
        {"url": "https://example.com/new"},
        {"event_types": (FAILED,)},
        {"platforms": ()},
        {"account_ids": (1,)},
        {"name": None},
        {"description": "New"},
        {"is_active": False},
    ]
    for fields in changes:
        assert change(endpoint, **fields) == replace(endpoint, **fields, updated_at=LATER)


def test_change_without_effect_returns_an_equal_endpoint() -> None:
    endpoint = make_endpoint(name="CRM")
    assert change(endpoint) is endpoint
    assert change(endpoint, url=endpoint.url, name="CRM", is_active=True) == endpoint
    assert change(replace(endpoint, is_active=False), is_active=False).updated_at == NOW


def test_person_enables_a_disabled_endpoint() -> None:
    disabled = make_endpoint(consecutive_failures=3, failing_since=NOW).disabled(
        DisabledReason.GONE, NOW
    )
    assert change(disabled, is_active=True) == make_endpoint(updated_at=LATER)
    assert change(disabled, is_active=False) == disabled
    assert change(disabled, name="CRM") == replace(disabled, name="CRM", updated_at=LATER)


def test_private_url_is_accepted_if_the_rules_allow_it() -> None:
    rules = OutboundRules(True, (ip_network("127.0.0.0/8"),))
    url: WebhookUpdate = {"url": "http://127.0.0.1:8080/hook"}
    endpoint = update_endpoint(make_endpoint(), url, [], rules, LATER)
    assert endpoint.url == "http://127.0.0.1:8080/hook"


# Refusals.

LONG_LIST = "has 101 values; at most 100 are allowed. An empty list stands for all."
ALL_TYPES = (
    "post.scheduled, post.publishing, post.published, post.failed, post.partially_failed, post.updated,"
    " post.deleted, account.connected, account.disconnected, account.reconnect_needed, webhook.disabled,"
    " media.uploaded, media.deleted"
)
REFUSALS: list[tuple[dict[str, Any], str, str]] = [
    ({"url": "ftp://example.com"}, "url", "url must be a URL that starts with https://."),
    (
        {"url": "https://127.0.0.1/"},
        "url",
        "url must have a public host; 127.0.0.1 is not public. Use a public host, or ask the operator of"
        " this server to allow its network in OUTBOUND_ALLOWED_NETWORKS.",
    ),
    (
        {"url": "https://OTHER1.example.com/"},
        "url",
        "Another webhook of this workspace has this URL. Add the events to that one.",
    ),
    ({"event_types": []}, "events", f"events must have at least one of {ALL_TYPES}."),
    ({"platforms": ["x"] * (MAX_FILTER_VALUES + 1)}, "platforms", f"platforms {LONG_LIST}"),
    ({"platforms": ["x", "X y"]}, "platforms[1]", f"platforms[1] {NOT_A_PLATFORM}"),
    ({"account_ids": [1] * (MAX_FILTER_VALUES + 1)}, "accountIds", f"accountIds {LONG_LIST}"),
    ({"account_ids": [1, 0]}, "accountIds[1]", ACCOUNT_ID_MESSAGE),
    ({"account_ids": [2**31]}, "accountIds[0]", ACCOUNT_ID_MESSAGE),
    ({"name": ""}, "name", f"name {NOT_PRINTABLE}"),
    ({"name": " "}, "name", f"name {NOT_PRINTABLE}"),
    ({"name": "a\nb"}, "name", f"name {NOT_PRINTABLE}"),
    ({"name": "a" * 501}, "name", "name is 501 characters long; at most 500 are allowed."),
    ({"description": "a\0"}, "description", f"description {NUL}"),
    ({"description": "\ud800"}, "description", f"description {SURROGATE}"),
    (
        {"description": "a" * 2_001},
        "description",
        "description is 2001 characters long; at most 2000 are allowed.",
    ),
]


@pytest.mark.parametrize(("settings", "argument", "message"), REFUSALS)
def test_invalid_value_is_refused(settings: dict[str, Any], argument: str, message: str) -> None:
    assert input_error(create, [make_other(1)], **settings) == (argument, message)
    assert input_error(change, make_endpoint(), **settings) == (argument, message)


def test_endpoint_beyond_the_limit_is_refused() -> None:
    others = [make_other(number) for number in range(1, MAX_ENDPOINTS + 1)]
    assert input_error(create, others) == (
        None,
        "This workspace has 25 webhooks; at most 25 are allowed. Delete one first.",
    )
