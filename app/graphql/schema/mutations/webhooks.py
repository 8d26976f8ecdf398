"""Mutations of webhooks: create, update, delete, rotate the secret, test, and deliver again."""

from datetime import datetime, timedelta
from uuid import UUID

import strawberry
from strawberry import UNSET, field

from app.db.repositories.webhook_deliveries import FailureRange
from app.domain.errors import InvalidInput
from app.domain.events import FEED_LIST_NAME, FeedPosition, to_feed_position
from app.domain.ids import DeliveryId, WebhookId
from app.domain.webhooks.commands import WebhookUpdate
from app.domain.webhooks.deliveries import DeliveryAttempt
from app.domain.webhooks.event_types import WebhookEventType
from app.domain.webhooks.signatures import ROTATION_PERIOD
from app.graphql.schema.connections import MAX_CAPPED_TOTAL
from app.graphql.schema.context import Context, Info
from app.graphql.schema.inputs import (
    IDEMPOTENCY_KEY_DESCRIPTION,
    MutationInput,
    optional,
    passed_fields,
    require_not_null,
)
from app.graphql.schema.permissions import admin_mutation
from app.graphql.schema.webhooks import Webhook, load_webhook
from app.services.bulk_plans import PLAN_LIFETIME, PlanCodec
from app.services.webhooks import MAX_REDELIVERIES, Redelivery, RedeliveryPlan

_URL = (
    "URL that receives the requests. It must be public and start with `https://`, unless the operator of the"
    " server allows others."
)
_PLATFORMS = "Platforms whose events the webhook receives; empty or null for all."
_ACCOUNT_IDS = "Numbers of the accounts whose events the webhook receives; empty or null for all."
_SECRET = (
    "Secret that signs the requests: the key of the header `X-PostEverywhere-Signature`, and of the Standard"
    " Webhooks header `webhook-signature`."
)
_SECRET_WARNING = "Store the secret now: it is not displayed again."
_NO_PROCESS_WARNING = (
    "No process of this installation has delivered or looked for deliveries of webhooks for a minute: start"
    " one with `post-results serve` or `post-results worker`, without the setting WEBHOOKS=no."
)
_ROTATION_HOURS = ROTATION_PERIOD // timedelta(hours=1)


@strawberry.input(description="Input of `createWebhook`.")
class CreateWebhookInput:
    url: str = field(description=_URL)
    event_types: list[WebhookEventType] = field(
        name="events", description="Types of the events that the webhook receives; at least one."
    )
    platforms: list[str] | None = optional(_PLATFORMS)
    account_ids: list[int] | None = optional(_ACCOUNT_IDS)
    name: str | None = optional("Name of the webhook.")
    description: str | None = optional("Notes about the webhook.")
    idempotency_key: str | None = optional(IDEMPOTENCY_KEY_DESCRIPTION)

    def settings(self) -> WebhookUpdate:
        return WebhookUpdate(
            url=self.url,
            event_types=self.event_types,
            platforms=self.platforms or (),
            account_ids=self.account_ids or (),
            name=self.name,
            description=self.description,
        )


@strawberry.input
class WebhookIdInput:
    webhook_id: UUID = field(description="UUID of the webhook.")
    idempotency_key: str | None = optional(IDEMPOTENCY_KEY_DESCRIPTION)


@strawberry.input(
    description="Input of `updateWebhook`. An omitted field stays unchanged; null clears a field, and is not"
    " allowed for `url`, `events` and `isActive`."
)
class UpdateWebhookInput(WebhookIdInput):
    url: str | None = optional(_URL, default=UNSET)
    event_types: list[WebhookEventType] | None = strawberry.field(
        name="events",
        default=UNSET,
        description="Types of the events that the webhook receives; at least one.",
    )
    platforms: list[str] | None = optional(_PLATFORMS, default=UNSET)
    account_ids: list[int] | None = optional(_ACCOUNT_IDS, default=UNSET)
    name: str | None = optional("Name of the webhook.", default=UNSET)
    description: str | None = optional("Notes about the webhook.", default=UNSET)
    is_active: bool | None = optional(
        "False to send no events from now on. True to send events again: those after `resumeAfter`, or all"
        " since the webhook was disabled.",
        default=UNSET,
    )
    resume_after: str | None = optional(
        "Cursor of the change feed, such as `changes.latestCursor`: a webhook that `isActive` enables gets"
        " the events of later changes only. Null for all since it was disabled, which fails with"
        " RESYNC_REQUIRED if they are no longer stored."
    )

    def update(self) -> WebhookUpdate:
        """Return the requested changes; raises InvalidInput for a null that clears nothing."""
        update = passed_fields(self, WebhookUpdate)
        require_not_null(update, {"url": "url", "event_types": "events", "is_active": "isActive"})
        if "platforms" in update:
            update["platforms"] = update["platforms"] or ()
        if "account_ids" in update:
            update["account_ids"] = update["account_ids"] or ()
        return update


@strawberry.input(description="Input of `deleteWebhook`.")
class DeleteWebhookInput(WebhookIdInput):
    pass


@strawberry.input(description="Input of `rotateWebhookSecret`.")
class RotateWebhookSecretInput(WebhookIdInput):
    pass


@strawberry.input(description="Input of `testWebhook`.")
class TestWebhookInput:
    webhook_id: UUID = field(description="UUID of the webhook.")


@strawberry.input(
    description="Input of `redeliverWebhook`. Exactly one of `deliveryId`, `failedSince` and `plan` is"
    " required."
)
class RedeliverWebhookInput(WebhookIdInput):
    delivery_id: UUID | None = optional(
        "UUID of the delivery to attempt again, whatever its status."
    )
    failed_since: datetime | None = optional(
        "Attempt all deliveries again that have failed, of events at this time or later."
    )
    plan: str | None = optional(
        "`plan` of a dry run or of the call before. Fails with CONFLICT, without any change, if the plan has"
        " expired, or if more of its deliveries have failed than it has left."
    )
    dry_run: bool = field(
        default=False,
        description="True to return what would be attempted again, without changing anything. Not with"
        " `plan`.",
    )


@strawberry.type(description="Result of `createWebhook`.")
class CreateWebhookPayload:
    webhook: Webhook | None = field(description="The webhook; null if it was deleted meanwhile.")
    secret: str = field(description=_SECRET)
    secret_warning: str = field(description="Advice to store the secret, as a sentence.")
    warning: str | None = field(
        description="Reason why events would not be delivered now, as a sentence; null if they are."
    )


@strawberry.type(description="Result of `updateWebhook`.")
class UpdateWebhookPayload:
    webhook: Webhook | None = field(
        description="Current state of the webhook; null if it was deleted."
    )


@strawberry.type(description="Result of `deleteWebhook`.")
class DeleteWebhookPayload:
    webhook_id: UUID = field(description="UUID of the deleted webhook.")


@strawberry.type(description="Result of `rotateWebhookSecret`.")
class RotateWebhookSecretPayload:
    webhook: Webhook | None = field(
        description="Current state of the webhook; null if it was deleted."
    )
    secret: str = field(description=_SECRET)
    secret_warning: str = field(description="Advice to store the secret, as a sentence.")
    previous_secret_expires_at: datetime | None = field(
        description="UTC time until which the replaced secret signs besides the new one."
    )


@strawberry.type(description="Header of an HTTP response.")
class HttpHeader:
    name: str = field(description="Name of the header in lower case.")
    value: str = field(description="Value of the header, without secrets.")


@strawberry.type(description="Result of `testWebhook`.")
class TestWebhookPayload:
    ok: bool = field(description="True if the receiver responded with a status from 200 to 299.")
    status_code: int | None = field(
        description="HTTP status of the response; null if the receiver did not respond."
    )
    duration_ms: int = field(
        description="Milliseconds from the start to the end of the response, or to the failure."
    )
    headers: list[HttpHeader] = field(description="Headers of the response, in its order.")
    body: str | None = field(
        description="First 2 KiB of the response, without secrets; null if there is none."
    )
    error: str | None = field(
        description="Reason of the failure, as a sentence; null if the test succeeded."
    )
    message: str = field(description="The result for people, in English sentences.")


@strawberry.type(description="Result of `redeliverWebhook`.")
class RedeliverWebhookPayload:
    webhook: Webhook | None = field(
        description="Current state of the webhook; null if it was deleted."
    )
    count: int = field(
        description=f"Number of deliveries that are attempted again, at most {MAX_REDELIVERIES}; 0 in a dry"
        " run."
    )
    has_more: bool = field(
        description="True if another request is needed for the remaining deliveries."
    )
    planned_count: int | None = field(
        description="Number of deliveries that a dry run found, but at most"
        f" {MAX_CAPPED_TOTAL:,}; null without a dry run."
    )
    plan: str | None = field(
        description="Token to pass as `plan` in the next call: after a dry run with `failedSince`, a plan for"
        " the deliveries that it found, without those of later events and those that fail again later; after"
        " a call with a plan, one for those that are left. Null if none are, and after other calls. Expires"
        f" {PLAN_LIFETIME.total_seconds() / 60:.0f} minutes after the dry run."
    )


@strawberry.type
class WebhookMutations:
    @admin_mutation(
        "Create a webhook. It receives the events from now on, by signed HTTP POST requests, each at least"
        " once. The secret is displayed only in this response."
    )
    async def create_webhook(
        self, info: Info, input: MutationInput[CreateWebhookInput]
    ) -> CreateWebhookPayload | None:
        context, webhooks = info.context, info.context.app_state.webhooks
        created = await webhooks.create(
            context.write_context("createWebhook"),
            input.settings(),
            context.idempotency_key(input.idempotency_key),
        )
        return CreateWebhookPayload(
            webhook=await load_webhook(context, created.webhook_id),
            secret=created.secret,
            secret_warning=_SECRET_WARNING,
            warning=None if await webhooks.is_delivering() else _NO_PROCESS_WARNING,
        )

    @admin_mutation("Change the settings of a webhook, disable it, or enable it again.")
    async def update_webhook(
        self, info: Info, input: MutationInput[UpdateWebhookInput]
    ) -> UpdateWebhookPayload | None:
        context, webhook_id = info.context, WebhookId(input.webhook_id)
        await context.app_state.webhooks.update(
            context.write_context("updateWebhook"),
            webhook_id,
            input.update(),
            resume_after=_feed_position(context, input.resume_after),
            idempotency_key=context.idempotency_key(input.idempotency_key),
        )
        return UpdateWebhookPayload(webhook=await load_webhook(context, webhook_id))

    @admin_mutation("Delete a webhook and its deliveries. Nothing more is sent to it.")
    async def delete_webhook(
        self, info: Info, input: MutationInput[DeleteWebhookInput]
    ) -> DeleteWebhookPayload | None:
        context, webhook_id = info.context, WebhookId(input.webhook_id)
        await context.app_state.webhooks.delete(
            context.write_context("deleteWebhook"),
            webhook_id,
            context.idempotency_key(input.idempotency_key),
        )
        return DeleteWebhookPayload(webhook_id=webhook_id)

    @admin_mutation(
        f"Replace the secret of a webhook. For {_ROTATION_HOURS} hours both secrets sign, so that the"
        " receiver can change to the new one; a secret that an earlier call replaced no longer signs."
    )
    async def rotate_webhook_secret(
        self, info: Info, input: MutationInput[RotateWebhookSecretInput]
    ) -> RotateWebhookSecretPayload | None:
        context = info.context
        rotated = await context.app_state.webhooks.rotate_secret(
            context.write_context("rotateWebhookSecret"),
            WebhookId(input.webhook_id),
            context.idempotency_key(input.idempotency_key),
        )
        webhook = await load_webhook(context, rotated.webhook_id)
        return RotateWebhookSecretPayload(
            webhook=webhook,
            secret=rotated.secret,
            secret_warning=_SECRET_WARNING,
            previous_secret_expires_at=(
                None if webhook is None else webhook.previous_secret_expires_at()
            ),
        )

    @admin_mutation(
        "Send a test event to a webhook, also to a disabled one, and return the response of its receiver. The"
        " test is neither stored nor repeated."
    )
    async def test_webhook(
        self, info: Info, input: MutationInput[TestWebhookInput]
    ) -> TestWebhookPayload | None:
        context = info.context
        attempt = await context.app_state.webhooks.send_test(
            context.viewer.workspace_id, WebhookId(input.webhook_id)
        )
        return _test_payload(attempt)

    @admin_mutation(
        "Attempt deliveries of a webhook again, by the whole schedule: one, or at most"
        f" {MAX_REDELIVERIES} that have failed. A disabled webhook receives them when it is enabled."
    )
    async def redeliver_webhook(
        self, info: Info, input: MutationInput[RedeliverWebhookInput]
    ) -> RedeliverWebhookPayload | None:
        context, webhook_id = info.context, WebhookId(input.webhook_id)
        choices = (input.delivery_id, input.failed_since, input.plan)
        if sum(choice is not None for choice in choices) != 1:
            raise InvalidInput(
                "Pass exactly one of deliveryId, failedSince and plan.", argument="deliveryId"
            )
        plans = context.plan_codec(f"redeliverWebhook:{webhook_id}", FailureRange)
        planned_count = None
        if input.dry_run:
            planned_count, plan = await _plan(context, input)
            redelivery = Redelivery(0, has_more=planned_count > MAX_REDELIVERIES, plan=plan)
        else:
            redelivery = await _redeliver(context, input, plans)
        return RedeliverWebhookPayload(
            webhook=await load_webhook(context, webhook_id),
            count=redelivery.count,
            has_more=redelivery.has_more,
            planned_count=planned_count,
            plan=None if redelivery.plan is None else plans.encode(redelivery.plan),
        )


async def _redeliver(
    context: Context, input: RedeliverWebhookInput, plans: PlanCodec[FailureRange]
) -> Redelivery:
    webhooks, webhook_id = context.app_state.webhooks, WebhookId(input.webhook_id)
    write_context = context.write_context("redeliverWebhook")
    key = context.idempotency_key(input.idempotency_key)
    if input.plan is not None:
        plan = plans.decode(input.plan)
        return await webhooks.redeliver_plan(write_context, webhook_id, plan, key)
    if input.failed_since is not None:
        return await webhooks.redeliver_failed(write_context, webhook_id, input.failed_since, key)
    assert input.delivery_id is not None  # noqa: S101 - checked by the caller
    await webhooks.redeliver(write_context, webhook_id, DeliveryId(input.delivery_id), key)
    return Redelivery(1, has_more=False)


async def _plan(
    context: Context, input: RedeliverWebhookInput
) -> tuple[int, RedeliveryPlan | None]:
    """Return the number of deliveries that would be attempted again, and a plan for them."""
    webhooks, webhook_id = context.app_state.webhooks, WebhookId(input.webhook_id)
    workspace_id = context.viewer.workspace_id
    if input.plan is not None:
        raise InvalidInput("Pass plan without dryRun.", argument="dryRun")
    if input.failed_since is not None:
        plan = await webhooks.plan_redelivery(
            workspace_id, webhook_id, input.failed_since, limit=MAX_CAPPED_TOTAL
        )
        return (0 if plan is None else plan.remaining_count), plan
    assert input.delivery_id is not None  # noqa: S101 - checked by the caller
    await webhooks.check_delivery(workspace_id, webhook_id, DeliveryId(input.delivery_id))
    return 1, None


def _feed_position(context: Context, cursor: str | None) -> FeedPosition | None:
    if cursor is None:
        return None
    codec = context.cursor_codec(FEED_LIST_NAME)
    return to_feed_position(codec.decode(cursor, "resumeAfter"))


def _test_payload(attempt: DeliveryAttempt) -> TestWebhookPayload:
    duration_ms = round(attempt.duration / timedelta(milliseconds=1))
    if attempt.is_success:
        message = f"The receiver accepted the test with {attempt.status_code} in {duration_ms} ms."
    else:
        message = f"The test failed. {attempt.error}"
    return TestWebhookPayload(
        ok=attempt.is_success,
        status_code=attempt.status_code,
        duration_ms=duration_ms,
        headers=[HttpHeader(name=name, value=value) for name, value in attempt.response_headers],
        body=attempt.response_body,
        error=attempt.error,
        message=message,
    )
