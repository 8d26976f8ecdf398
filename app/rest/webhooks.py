"""`/webhooks…`: endpoints of other systems that receive events, and the deliveries to them."""

from app.domain.errors import NotFound
from app.domain.validation.object_reader import ObjectReader
from app.domain.validation.outbound_urls import MAX_OUTBOUND_URL_LENGTH
from app.domain.webhooks.deliveries import DeliveryStatus
from app.domain.webhooks.event_types import WebhookEventType
from app.graphql.schema.connections import DEFAULT_PAGE_SIZE, MAX_PAGE_SIZE
from app.http.request import HttpRequest
from app.rest.operations import (
    DocumentCall,
    DocumentResult,
    JsonObject,
    MutationOperation,
    QueryOperation,
    RestRequest,
    Variables,
    omit,
)
from app.rest.parameters import (
    InputFields,
    parse_member,
    parse_webhook_id,
    read_body_instant,
    read_enum_names,
    read_input_fields,
    read_integer,
    read_last_value,
)

_EVENT_BY_NAME = {event_type.value: event_type for event_type in WebhookEventType}
_STATUS_BY_NAME = {status.value: status for status in DeliveryStatus}

_NO_RESPONSE = 0
"""`status` of a test without a response: clients of the documented API expect a number."""

_WEBHOOK_FRAGMENT = """
fragment Webhook on Webhook {
  id: webhookId
  url
  events
  name
  description
  is_active: isActive
  consecutive_failures: consecutiveFailures
  auto_disabled_at: autoDisabledAt
  last_delivery_at: lastDeliveryAt
  last_success_at: lastSuccessAt
  last_failure_at: lastFailureAt
  created_at: createdAt
  updated_at: updatedAt
  platforms
  account_ids: accountIds
  disabled_reason: disabledReason
}
"""


def _event_names(body: ObjectReader, name: str) -> list[str] | None:
    """Read event types, and return their GraphQL names."""
    events = body.strings(name)
    if events is None:
        return None
    return [
        parse_member(WebhookEventType, event, f"{name}[{index}]").name
        for index, event in enumerate(events)
    ]


_FIELDS: InputFields = {
    "url": ("url", ObjectReader.string),
    "events": ("events", _event_names),
    "platforms": ("platforms", ObjectReader.strings),
    "account_ids": ("accountIds", ObjectReader.account_ids),
    "name": ("name", ObjectReader.string),
    "description": ("description", ObjectReader.string),
    "is_active": ("isActive", ObjectReader.boolean),
    "resume_after": ("resumeAfter", ObjectReader.string),
}
_ONLY_IN_UPDATES = frozenset({"is_active", "resume_after"})


def _create_call(rest_request: RestRequest) -> DocumentCall:
    body = rest_request.body
    body.required_text("url", max_length=MAX_OUTBOUND_URL_LENGTH)
    if not body.has("events"):
        raise body.error("events", "is missing")
    names = (name for name in body.members if body.has(name) and name not in _ONLY_IN_UPDATES)
    return DocumentCall(
        {**read_input_fields(body, names, _FIELDS), "idempotencyKey": rest_request.idempotency_key},
        implicit_idempotency_key=rest_request.implicit_idempotency_key(),
    )


def _create_data(result: DocumentResult) -> JsonObject:
    payload = result.data["createWebhook"]
    warning = {} if payload["warning"] is None else {"warning": payload["warning"]}
    return {**_webhook_with_secret(payload), **warning}


def _webhook_with_secret(payload: JsonObject) -> JsonObject:
    """Return a webhook with its secret after the id, as documented."""
    webhook = _webhook_or_not_found(payload)
    return {
        "id": webhook["id"],
        "secret": payload["secret"],
        "secret_warning": payload["secret_warning"],
        **webhook,
    }


def _webhook_or_not_found(payload: JsonObject) -> JsonObject:
    if payload["webhook"] is None:
        raise NotFound("The webhook has been deleted in the meantime.")
    return _format_webhook(payload["webhook"])


def _format_webhook(webhook: JsonObject) -> JsonObject:
    reason = webhook["disabled_reason"]
    return {
        **webhook,
        "events": [WebhookEventType[event].value for event in webhook["events"]],
        "disabled_reason": reason and reason.lower(),
    }


def _webhook_reference(rest_request: RestRequest) -> JsonObject:
    return {
        "webhookId": parse_webhook_id(rest_request.request),
        "idempotencyKey": rest_request.idempotency_key,
    }


def _rotate_call(rest_request: RestRequest) -> DocumentCall:
    return DocumentCall(
        _webhook_reference(rest_request),
        implicit_idempotency_key=rest_request.implicit_idempotency_key(),
    )


def _update_call(rest_request: RestRequest) -> DocumentCall:
    body = rest_request.body
    fields = read_input_fields(body, body.members, _FIELDS)
    return DocumentCall({**fields, **_webhook_reference(rest_request)})


def _test_data(result: DocumentResult) -> JsonObject:
    payload = result.data["testWebhook"]
    return {**payload, "status": payload["status"] or _NO_RESPONSE}


def _redeliver_call(rest_request: RestRequest) -> DocumentCall:
    body = rest_request.body
    return DocumentCall(
        {
            "deliveryId": body.uuid("delivery_id"),
            "failedSince": read_body_instant(body, "failed_since"),
            "plan": body.string("plan"),
            "dryRun": body.boolean("dry_run") or False,
            **_webhook_reference(rest_request),
        }
    )


def _deliveries_variables(request: HttpRequest) -> Variables:
    """Read filter and page; the GraphQL field validates the cursor."""
    query = request.query()
    return {
        "webhookId": parse_webhook_id(request),
        "filter": {
            "status": read_enum_names(query, "status", _STATUS_BY_NAME),
            "event": read_enum_names(query, "event", _EVENT_BY_NAME),
        },
        "first": read_integer(query, "limit", 1, MAX_PAGE_SIZE, DEFAULT_PAGE_SIZE),
        "after": read_last_value(query, "after"),
    }


def _deliveries_data(result: DocumentResult) -> JsonObject:
    page = result.require("webhook")["deliveries"]
    return {
        "deliveries": [
            {
                **delivery,
                "event": WebhookEventType[delivery["event"]].value,
                "status": delivery["status"].lower(),
            }
            for delivery in page["nodes"]
        ],
        "cursor": page["pageInfo"]["endCursor"],
        "has_more": page["pageInfo"]["hasNextPage"],
    }


LIST_WEBHOOKS = QueryOperation(
    f"""
query Webhooks {{
  webhooks {{
    ...Webhook
  }}
}}
{_WEBHOOK_FRAGMENT}
""",
    lambda _request: {},
    lambda result: {"webhooks": [_format_webhook(webhook) for webhook in result.data["webhooks"]]},
)

READ_WEBHOOK = QueryOperation(
    f"""
query Webhook($webhookId: UUID!) {{
  webhook(webhookId: $webhookId) {{
    ...Webhook
  }}
}}
{_WEBHOOK_FRAGMENT}
""",
    lambda request: {"webhookId": parse_webhook_id(request)},
    lambda result: _format_webhook(result.require("webhook")),
)

CREATE_WEBHOOK = MutationOperation(
    f"""
mutation CreateWebhook($input: CreateWebhookInput!) {{
  createWebhook(input: $input) {{
    webhook {{
      ...Webhook
    }}
    secret
    secret_warning: secretWarning
    warning
  }}
}}
{_WEBHOOK_FRAGMENT}
""",
    _create_call,
    _create_data,
    lambda _data: 201,
)

UPDATE_WEBHOOK = MutationOperation(
    f"""
mutation UpdateWebhook($input: UpdateWebhookInput!) {{
  updateWebhook(input: $input) {{
    webhook {{
      ...Webhook
    }}
  }}
}}
{_WEBHOOK_FRAGMENT}
""",
    _update_call,
    lambda result: _webhook_or_not_found(result.data["updateWebhook"]),
)

DELETE_WEBHOOK = MutationOperation(
    """
mutation DeleteWebhook($input: DeleteWebhookInput!) {
  deleteWebhook(input: $input) {
    id: webhookId
  }
}
""",
    lambda rest_request: DocumentCall(_webhook_reference(rest_request)),
    lambda result: {**result.data["deleteWebhook"], "deleted": True},
)

ROTATE_SECRET = MutationOperation(
    f"""
mutation RotateWebhookSecret($input: RotateWebhookSecretInput!) {{
  rotateWebhookSecret(input: $input) {{
    webhook {{
      ...Webhook
    }}
    secret
    secret_warning: secretWarning
    previous_secret_expires_at: previousSecretExpiresAt
  }}
}}
{_WEBHOOK_FRAGMENT}
""",
    _rotate_call,
    lambda result: {
        **_webhook_with_secret(result.data["rotateWebhookSecret"]),
        "previous_secret_expires_at": result.data["rotateWebhookSecret"][
            "previous_secret_expires_at"
        ],
    },
)

TEST_WEBHOOK = MutationOperation(
    """
mutation TestWebhook($input: TestWebhookInput!) {
  testWebhook(input: $input) {
    ok
    status: statusCode
    duration_ms: durationMs
    error
    message
  }
}
""",
    lambda rest_request: DocumentCall(omit(_webhook_reference(rest_request), "idempotencyKey")),
    _test_data,
)

REDELIVER = MutationOperation(
    """
mutation RedeliverWebhook($input: RedeliverWebhookInput!) {
  redeliverWebhook(input: $input) {
    count
    has_more: hasMore
    planned_count: plannedCount
    plan
  }
}
""",
    _redeliver_call,
    lambda result: result.data["redeliverWebhook"],
)

LIST_DELIVERIES = QueryOperation(
    """
query WebhookDeliveries(
  $webhookId: UUID!, $filter: WebhookDeliveryFilter, $first: Int, $after: String
) {
  webhook(webhookId: $webhookId) {
    deliveries(filter: $filter, first: $first, after: $after) {
      nodes {
        id: deliveryId
        event_id: eventId
        event
        status
        post_id: postId
        attempt_count: attemptCount
        last_status: lastStatusCode
        last_error: lastError
        next_attempt_at: nextAttemptAt
        delivered_at: deliveredAt
        given_up_at: givenUpAt
        created_at: createdAt
      }
      pageInfo {
        hasNextPage
        endCursor
      }
    }
  }
}
""",
    _deliveries_variables,
    _deliveries_data,
)
