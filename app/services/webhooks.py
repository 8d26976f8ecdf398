"""Webhook use cases: create, change, delete, rotate secrets, test, and redeliver."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import TypeAlias
from uuid import UUID

import orjson

from app.db.core.database import Database, Reader
from app.db.core.projections import Projection
from app.db.repositories.accounts import all_accounts, load_accounts
from app.db.repositories.events import are_events_after_stored, check_position
from app.db.repositories.webhook_deliveries import (
    FailureRange,
    count_failed_deliveries,
    load_deliveries_for_update,
    lock_failed_deliveries,
    resume_deliveries,
    update_deliveries,
)
from app.db.repositories.webhook_pages import deliveries_by_id
from app.db.repositories.webhooks import (
    StoredWebhook,
    delete_webhook,
    find_webhook,
    insert_webhook,
    last_poll,
    list_webhooks,
    load_webhook_for_update,
    lock_event_counter,
    update_webhooks,
)
from app.domain.errors import Conflict, InvalidInput, ResyncRequired, not_found_error
from app.domain.events import FeedPosition
from app.domain.idempotency import IdempotencyKey, canonicalize
from app.domain.ids import DeliveryId, IdFactory, WebhookId, WorkspaceId
from app.domain.outbound_rules import OutboundRules
from app.domain.times import Clock, format_instant
from app.domain.webhooks.commands import WebhookUpdate, create_endpoint, update_endpoint
from app.domain.webhooks.deliveries import DeliveryAttempt
from app.domain.webhooks.endpoints import WebhookEndpoint
from app.domain.webhooks.signatures import ROTATION_PERIOD, make_secret
from app.outbound.client import OutboundClient
from app.services.bulk_plans import BulkPlan
from app.services.idempotency import StoredOutcome, run_idempotently
from app.services.secret_cipher import SecretCipher, SecretNotReadable, webhook_row_name
from app.services.unit_of_work import UnitOfWork, WriteContext
from app.services.webhook_deliveries import decrypted_secrets
from app.services.webhook_requests import redact_headers, send_webhook

RedeliveryPlan: TypeAlias = BulkPlan[FailureRange]

MAX_REDELIVERIES = 500
"""Deliveries that one call delivers again."""

_NO_PROCESS_AFTER = timedelta(minutes=1)
"""Time without a process that looks for deliveries, after which a new webhook comes with a warning."""


SECRET_NOT_READABLE = (
    "Nothing is sent: the server cannot decrypt the secret, because SECRETS_KEY was changed or is missing."
    " The operator can restore the key. Otherwise, rotate the secret of this webhook."
)
"""Reason why the requests of a webhook cannot be signed."""


@dataclass(frozen=True, slots=True)
class WebhookSecret:
    """A secret as displayed to a person, only once."""

    webhook_id: WebhookId
    secret: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Redelivery:
    """Result of a redelivery."""

    count: int
    """Deliveries that are attempted again."""
    has_more: bool
    """True if another call would find more."""
    plan: RedeliveryPlan | None = None
    """Plan of what is left of a plan; None if nothing is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookService:
    """Webhooks of all workspaces."""

    database: Database
    cipher: SecretCipher
    rules: OutboundRules
    client: OutboundClient
    new_id: IdFactory
    random_bytes: Callable[[int], bytes]
    clock: Clock
    monotonic: Callable[[], float]

    async def create(
        self,
        write_context: WriteContext,
        settings: WebhookUpdate,
        idempotency_key: IdempotencyKey | None,
    ) -> WebhookSecret:
        """Create an endpoint for all events from now on.

        Raises InvalidInput for invalid settings, and Conflict if the server cannot store secrets. A repeated
        request gets the same secret; NotFound if the webhook was deleted since.
        """
        workspace_id, now = write_context.workspace_id, write_context.now

        async def work(uow: UnitOfWork) -> StoredOutcome:
            feed_seq = await lock_event_counter(uow.session)
            others = [each.endpoint for each in await list_webhooks(uow.reader)]
            webhook_id = WebhookId(self.new_id())
            endpoint = create_endpoint(webhook_id, settings, others, self.rules, now)
            await _check_filters(uow, endpoint)
            stored = StoredWebhook(
                endpoint=endpoint,
                feed_seq=feed_seq,
                encrypted_secret=self._new_encrypted_secret(workspace_id, webhook_id),
            )
            await insert_webhook(uow.session, stored)
            return {"id": str(webhook_id)}

        outcome = await run_idempotently(
            self.database, write_context, idempotency_key, settings, work, still_valid=_still_exists
        )
        return await self._read_secret(write_context, WebhookId(UUID(outcome["id"])))

    async def update(
        self,
        write_context: WriteContext,
        webhook_id: WebhookId,
        update: WebhookUpdate,
        *,
        resume_after: FeedPosition | None,
        idempotency_key: IdempotencyKey | None,
    ) -> None:
        """Change an endpoint. One that is enabled gets the events after `resume_after`, or all it missed.

        That includes events whose delivery was given up. Raises NotFound, InvalidInput for invalid changes,
        and ResyncRequired if events after that position are no longer stored.
        """

        async def work(uow: UnitOfWork) -> StoredOutcome:
            stored = await _get_for_update(uow, webhook_id)
            others = []
            if "url" in update:
                await lock_event_counter(uow.session)
                others = [each.endpoint for each in await list_webhooks(uow.reader)]
            endpoint = update_endpoint(
                stored.endpoint, update, others, self.rules, write_context.now
            )
            if "account_ids" in update or "platforms" in update:
                await _check_filters(uow, endpoint)
            feed_seq = stored.feed_seq
            if endpoint.is_active and not stored.endpoint.is_active:
                feed_seq = await _position_to_resume(uow, stored, resume_after)
                await resume_deliveries(
                    uow.session,
                    webhook_id,
                    after=0 if resume_after is None else resume_after.seq,
                    now=write_context.now,
                )
            elif resume_after is not None:
                raise InvalidInput(
                    "resumeAfter needs isActive: true, and a webhook that is not active.",
                    argument="resumeAfter",
                )
            changed = replace(stored, endpoint=endpoint, feed_seq=feed_seq)
            await update_webhooks(uow.session, [changed])
            return {}

        request = {"id": webhook_id, "update": update, "resume_after": resume_after}
        await run_idempotently(self.database, write_context, idempotency_key, request, work)

    async def delete(
        self,
        write_context: WriteContext,
        webhook_id: WebhookId,
        idempotency_key: IdempotencyKey | None,
    ) -> None:
        """Delete an endpoint; nothing more is sent to it. Raises NotFound."""

        async def work(uow: UnitOfWork) -> StoredOutcome:
            await _get_for_update(uow, webhook_id)
            await delete_webhook(uow.session, webhook_id, write_context.now)
            return {}

        request = {"id": webhook_id}
        await run_idempotently(self.database, write_context, idempotency_key, request, work)

    async def rotate_secret(
        self,
        write_context: WriteContext,
        webhook_id: WebhookId,
        idempotency_key: IdempotencyKey | None,
    ) -> WebhookSecret:
        """Replace the secret; the old one signs too for ROTATION_PERIOD. Raises NotFound and Conflict."""
        workspace_id, now = write_context.workspace_id, write_context.now

        async def work(uow: UnitOfWork) -> StoredOutcome:
            stored = await _get_for_update(uow, webhook_id)
            rotated = replace(
                stored,
                endpoint=replace(stored.endpoint, updated_at=now),
                encrypted_secret=self._new_encrypted_secret(workspace_id, webhook_id),
                encrypted_previous_secret=stored.encrypted_secret,
                previous_secret_expires_at=now + ROTATION_PERIOD,
            )
            await update_webhooks(uow.session, [rotated])
            return {}

        request = {"id": webhook_id}
        await run_idempotently(self.database, write_context, idempotency_key, request, work)
        return await self._read_secret(write_context, webhook_id)

    async def send_test(self, workspace_id: WorkspaceId, webhook_id: WebhookId) -> DeliveryAttempt:
        """Send a test event, which is not stored, and return the receiver's response. Raises NotFound."""
        stored = await find_webhook(self.database.reader(workspace_id), webhook_id)
        if stored is None:
            raise not_found_error("webhook")
        now, event_id = self.clock(), self.new_id()
        payload = {
            "event": "webhook.test",
            "event_id": str(event_id),
            "created_at": format_instant(now),
            "organization_id": str(workspace_id),
            "cursor": None,
            "data": {"message": "This is a test of the webhook."},
        }
        attempt = await send_webhook(
            self.client,
            stored.endpoint.url,
            orjson.dumps(payload).decode(),
            event_id=event_id,
            secrets=decrypted_secrets(self.cipher, workspace_id, stored, now),
            clock=self.clock,
            monotonic=self.monotonic,
        )
        return replace(attempt, response_headers=redact_headers(attempt.response_headers))

    async def redeliver(
        self,
        write_context: WriteContext,
        webhook_id: WebhookId,
        delivery_id: DeliveryId,
        idempotency_key: IdempotencyKey | None,
    ) -> None:
        """Attempt a delivery again, by the whole schedule. Raises NotFound, and Conflict while it runs."""

        async def work(uow: UnitOfWork) -> StoredOutcome:
            await _get_for_update(uow, webhook_id)
            await _check_delivery(uow.reader, webhook_id, delivery_id)
            states = await load_deliveries_for_update(uow.reader, [delivery_id])
            if not states:  # pruned since the check
                raise not_found_error("delivery")
            state = states[delivery_id]
            if state.is_leased(write_context.now):
                raise Conflict("The delivery is being attempted right now. Try again in a minute.")
            redelivered = {delivery_id: state.redelivered(write_context.now)}
            await update_deliveries(uow.session, redelivered)
            return {}

        request = {"id": webhook_id, "delivery_id": delivery_id}
        await run_idempotently(self.database, write_context, idempotency_key, request, work)

    async def check_delivery(
        self, workspace_id: WorkspaceId, webhook_id: WebhookId, delivery_id: DeliveryId
    ) -> None:
        """Raise NotFound unless the webhook has the delivery."""
        await _check_delivery(self.database.reader(workspace_id), webhook_id, delivery_id)

    async def redeliver_failed(
        self,
        write_context: WriteContext,
        webhook_id: WebhookId,
        since: datetime,
        idempotency_key: IdempotencyKey | None,
    ) -> Redelivery:
        """Attempt again what failed of the events since a time, up to MAX_REDELIVERIES. Raises NotFound."""

        async def work(uow: UnitOfWork) -> StoredOutcome:
            await _get_for_update(uow, webhook_id)
            return await _redeliver_next(uow, webhook_id, FailureRange(since=since))

        request = {"id": webhook_id, "since": since}
        outcome = await run_idempotently(
            self.database, write_context, idempotency_key, request, work
        )
        return Redelivery(outcome["count"], outcome["has_more"])

    async def redeliver_plan(
        self,
        write_context: WriteContext,
        webhook_id: WebhookId,
        plan: RedeliveryPlan,
        idempotency_key: IdempotencyKey | None,
    ) -> Redelivery:
        """Attempt the next MAX_REDELIVERIES of a plan again. Raises NotFound.

        Raises Conflict, and changes nothing, if the plan has expired or more have failed than it has left.
        """

        async def work(uow: UnitOfWork) -> StoredOutcome:
            await _get_for_update(uow, webhook_id)  # no attempt is stored until the end
            plan.require_valid(write_context.now)
            limit = plan.remaining_count + 1
            count, _ = await count_failed_deliveries(
                uow.reader, webhook_id, plan.criteria, write_context.now, limit=limit
            )
            plan.require_unchanged(count)
            return await _redeliver_next(uow, webhook_id, plan.criteria)

        request = {"id": webhook_id, "plan": canonicalize(plan)}
        outcome = await run_idempotently(
            self.database, write_context, idempotency_key, request, work
        )
        next_plan = None
        if outcome["has_more"]:
            # Without those of this call, so that the next one does not read them.
            failures = replace(plan.criteria, after_seq=outcome["last_seq"])
            next_plan = replace(plan, criteria=failures).continued(outcome["count"], None)
        return Redelivery(outcome["count"], outcome["has_more"], next_plan)

    async def plan_redelivery(
        self, workspace_id: WorkspaceId, webhook_id: WebhookId, since: datetime, *, limit: int
    ) -> RedeliveryPlan | None:
        """Return a plan for what failed of the events since a time, up to a limit; None if nothing has.

        It excludes deliveries that are attempted again from now on. Raises NotFound.
        """
        reader = self.database.reader(workspace_id)
        if await find_webhook(reader, webhook_id) is None:
            raise not_found_error("webhook")
        now = self.clock()
        failures = FailureRange(since=since, last_attempt_before=now)
        count, planned = await count_failed_deliveries(
            reader, webhook_id, failures, now, limit=limit
        )
        if not count:
            return None
        return BulkPlan(
            criteria=planned,
            created_at=now,
            remaining_count=count,
        )

    async def is_delivering(self) -> bool:
        """Return whether a process has looked for deliveries in the last minute."""
        polled_at = await last_poll(self.database.all_workspaces)
        return polled_at is not None and self.clock() - polled_at <= _NO_PROCESS_AFTER

    def secret_error(
        self, workspace_id: WorkspaceId, webhook_id: WebhookId, encrypted_secret: str
    ) -> str | None:
        """Return why this server cannot sign requests with a secret; None if it can."""
        try:
            self.cipher.decrypt(encrypted_secret, webhook_row_name(workspace_id, webhook_id))
        except SecretNotReadable:
            return SECRET_NOT_READABLE
        return None

    def _new_encrypted_secret(self, workspace_id: WorkspaceId, webhook_id: WebhookId) -> str:
        secret = make_secret(self.random_bytes)
        return self.cipher.encrypt(secret, webhook_row_name(workspace_id, webhook_id))

    async def _read_secret(
        self, write_context: WriteContext, webhook_id: WebhookId
    ) -> WebhookSecret:
        """Return the stored secret, which a repeated request gets too."""
        workspace_id = write_context.workspace_id
        stored = await find_webhook(self.database.reader(workspace_id), webhook_id)
        if stored is None:  # deleted since the first request
            raise not_found_error("webhook")
        row_name = webhook_row_name(workspace_id, webhook_id)
        try:
            secret = self.cipher.decrypt(stored.encrypted_secret, row_name)
        except SecretNotReadable:
            raise Conflict(
                "The secret can no longer be decrypted, because SECRETS_KEY was changed. Rotate it."
            ) from None
        return WebhookSecret(webhook_id, secret)


async def _get_for_update(uow: UnitOfWork, webhook_id: WebhookId) -> StoredWebhook:
    stored = await load_webhook_for_update(uow.reader, webhook_id)
    if stored is None:
        raise not_found_error("webhook")
    return stored


async def _still_exists(uow: UnitOfWork, outcome: StoredOutcome) -> bool:
    return await find_webhook(uow.reader, WebhookId(UUID(outcome["id"]))) is not None


async def _redeliver_next(
    uow: UnitOfWork, webhook_id: WebhookId, failures: FailureRange
) -> StoredOutcome:
    """Attempt the first MAX_REDELIVERIES failed deliveries again."""
    now = uow.write_context.now
    failed = await lock_failed_deliveries(
        uow.reader, webhook_id, failures, now, limit=MAX_REDELIVERIES + 1
    )
    redelivered = failed[:MAX_REDELIVERIES]
    states = {each.id: each.state.redelivered(now) for each in redelivered}
    await update_deliveries(uow.session, states)
    return {
        "count": len(redelivered),
        "has_more": len(failed) > len(redelivered),
        "last_seq": redelivered[-1].event_seq if redelivered else failures.after_seq,
    }


async def _check_delivery(reader: Reader, webhook_id: WebhookId, delivery_id: DeliveryId) -> None:
    """Raise NotFound unless the webhook has the delivery."""
    rows = await deliveries_by_id(reader, [delivery_id])
    if not rows or rows[0].webhook_id != webhook_id:
        raise not_found_error("delivery")


async def _check_filters(uow: UnitOfWork, endpoint: WebhookEndpoint) -> None:
    """Raise InvalidInput for a platform or an account with which the filters can match no event."""
    accounts = await load_accounts(uow.reader, endpoint.account_ids)
    for account_id in endpoint.account_ids:
        if account_id not in accounts:
            raise InvalidInput(
                f"accountIds names account {account_id}, which this workspace does not have.",
                argument="accountIds",
            )
        platform = accounts[account_id].platform
        if endpoint.platforms and platform not in endpoint.platforms:
            raise InvalidInput(
                f"accountIds names account {account_id}, whose platform {platform} is not in platforms. Add"
                " the platform, or leave platforms empty.",
                argument="accountIds",
            )
    if endpoint.platforms:
        rows = await all_accounts(uow.reader, _PLATFORM, {"platform": [*endpoint.platforms]})
        connected = {row.platform for row in rows}
        for platform in endpoint.platforms:
            if platform not in connected:
                raise InvalidInput(
                    f"platforms names {platform}, of which this workspace has no account. Connect an account"
                    " first, or leave the platform out.",
                    argument="platforms",
                )


_PLATFORM = Projection(frozenset({"platform"}))


async def _position_to_resume(
    uow: UnitOfWork, stored: StoredWebhook, resume_after: FeedPosition | None
) -> int:
    """Return the number of the last event that an enabled endpoint does not get; raises ResyncRequired."""
    if resume_after is not None:
        await check_position(uow.reader, resume_after, argument="resumeAfter")
        return resume_after.seq
    if not await are_events_after_stored(uow.reader, stored.feed_seq):
        raise ResyncRequired(
            "The events since the webhook was disabled are no longer all stored. Read the current state, then"
            " enable it with resumeAfter, such as the latest cursor of the change feed.",
            argument="resumeAfter",
        )
    return stored.feed_seq
