"""Deliveries of webhooks: stored for new events, leased to one process, and settled by their attempts.

Events are the transactional outbox. One transaction stores the deliveries of events and advances the
endpoint's position, so that no event is lost or delivered twice by this step.
"""

from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import IntEnum
from functools import partial
from typing import TypeVar

import orjson
import structlog

from app.db.core.database import Database
from app.db.repositories.events import read_events_after
from app.db.repositories.webhook_deliveries import (
    NewDelivery,
    StoredDelivery,
    insert_attempts,
    insert_deliveries,
    lock_due_deliveries,
    settle_deliveries,
    store_leases,
)
from app.db.repositories.webhooks import (
    StoredWebhook,
    load_webhook_for_update,
    lock_webhooks_behind_feed,
    record_poll,
    update_webhooks,
    webhooks_with_due_deliveries,
    workspaces_with_new_events,
)
from app.domain.errors import ServiceUnavailable
from app.domain.events import FEED_LIST_NAME, StoredEvent, encode_position
from app.domain.ids import AccountId, DeliveryId, IdFactory, WebhookId, WorkspaceId
from app.domain.signing import CursorCodec
from app.domain.times import Clock
from app.domain.webhooks.deliveries import DeliveryAttempt, DeliveryState
from app.domain.webhooks.event_types import WebhookEventType, webhook_event_type
from app.domain.webhooks.payloads import EventSubject, webhook_event_id, webhook_payload
from app.services.secret_cipher import SecretCipher, SecretNotReadable, webhook_row_name
from app.services.unit_of_work import UnitOfWork, WriteContext, run_in_transaction

T = TypeVar("T")

LEASE_DURATION = timedelta(minutes=1)
"""Time in which a process has to settle the deliveries that it leases."""

_BATCH_SIZE, _FAILING_BATCH_SIZE = 50, 4
"""Deliveries leased at a time to an endpoint, and to one whose last attempt failed or that is new."""

_MAX_EVENTS, _MAX_DELIVERIES = 200, 500
"""Events whose deliveries one transaction stores, and deliveries that it stores, in one workspace.

The write lock of SQLite is held meanwhile, for about 40 ms with 500 deliveries (measured).
"""

_OPERATION = "deliverWebhooks"

logger = structlog.stdlib.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class DueWebhook:
    """An endpoint with deliveries that are due."""

    workspace_id: WorkspaceId
    id: WebhookId
    is_failing: bool
    """True if its last attempt failed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryBatch:
    """Leased deliveries to one endpoint."""

    url: str
    secrets: Sequence[str] = field(repr=False)
    """Secrets that sign, the newest first; empty if no key of this process decrypts them.

    Then nothing is leased, because another process may have the key.
    """
    lease_expires_at: datetime
    deliveries: Sequence[StoredDelivery]


@dataclass(frozen=True, slots=True)
class SettledDelivery:
    """A leased delivery with its attempt; None if there was no time for one."""

    delivery: StoredDelivery
    attempt: DeliveryAttempt | None


@dataclass(frozen=True, slots=True)
class LeaseRequest:
    """Results for one endpoint to store, before its next deliveries are leased."""

    webhook_id: WebhookId
    settled: Sequence[SettledDelivery] = ()
    wants_more: bool = True
    """False to lease nothing."""


class RemainingEvents(IntEnum):
    """Events whose deliveries one call of `store_deliveries` may have left to the next."""

    NONE = 0
    LOCKED = 1
    """Events of endpoints that another transaction had locked, mostly for milliseconds."""
    MORE = 2
    """Events after the last one of the transaction, which stores a limited number."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookDeliveryService:
    """Deliveries of all workspaces."""

    database: Database
    cipher: SecretCipher
    signing_key: bytes
    """Key of the cursors in payloads."""
    retry_schedule: Sequence[timedelta]
    new_id: IdFactory
    clock: Clock
    random: Callable[[], float]

    async def store_deliveries(self) -> RemainingEvents:
        """Store the deliveries of the next events in each workspace; return what may be left.

        A workspace whose events cannot be read delays no other: its error is raised after the others are
        done.
        """
        remaining, failure = RemainingEvents.NONE, None
        for workspace_id in await workspaces_with_new_events(self.database.all_workspaces):
            try:
                remaining = max(
                    remaining, await self._run(workspace_id, self._store_next_deliveries)
                )
            except ServiceUnavailable:
                raise
            except Exception as error:  # noqa: BLE001 - raised below
                error.add_note(f"The webhooks of workspace {workspace_id} wait for this event.")
                failure = error
        if failure is not None:
            raise failure
        return remaining

    async def due_webhooks(self) -> list[DueWebhook]:
        """Return the active endpoints of all workspaces that have deliveries to attempt."""
        rows = await webhooks_with_due_deliveries(self.database.all_workspaces, self.clock())
        return [
            DueWebhook(
                WorkspaceId(row.workspace_id), WebhookId(row.id), row.consecutive_failures > 0
            )
            for row in rows
        ]

    async def settle_and_lease(
        self, workspace_id: WorkspaceId, requests: Sequence[LeaseRequest]
    ) -> list[DeliveryBatch | None]:
        """Store results of attempts and lease the next deliveries, of several endpoints in one transaction.

        Returns a batch for each request, None if nothing is leased. A result is ignored if its lease was lost
        to another process. The requests must be for different endpoints.
        """
        return await self._run(workspace_id, partial(self._settle_and_lease_all, requests))

    async def record_poll(self) -> None:
        """Store that a process is looking for deliveries."""
        now = self.clock()
        await self.database.write_all_workspaces(lambda session: record_poll(session, now))

    async def _run(
        self, workspace_id: WorkspaceId, work: Callable[[UnitOfWork], Awaitable[T]]
    ) -> T:
        write_context = WriteContext.without_actor(workspace_id, _OPERATION, self.clock())
        return await run_in_transaction(self.database, write_context, work)

    async def _store_next_deliveries(self, uow: UnitOfWork) -> RemainingEvents:
        """Store the deliveries of the next events of a workspace that has some.

        Endpoints at other positions get other events, so that one which is far behind, because it was
        enabled again, does not delay the others.
        """
        workspace_id, now = uow.write_context.workspace_id, uow.write_context.now
        webhooks = await lock_webhooks_behind_feed(uow.session)
        behind = sorted(webhooks.locked, key=lambda each: each.feed_seq)
        limit = min(_MAX_EVENTS, _MAX_DELIVERIES // max(len(behind), 1))
        remaining = RemainingEvents.NONE if webhooks.are_all else RemainingEvents.LOCKED
        while behind:
            events = await read_events_after(uow.reader, behind[0].feed_seq, limit=limit)
            if not events:
                break
            last = events[-1].seq
            group = [each for each in behind if each.feed_seq < last]
            for webhook in group:
                _log_pruned_events(workspace_id, webhook, events[0])
            behind = behind[len(group) :]
            deliveries = await self._deliveries_of(events, group, uow)
            await insert_deliveries(uow.session, deliveries, now)
            advanced = [replace(each, feed_seq=last) for each in group]
            await update_webhooks(uow.session, advanced)
            if len(events) == limit:
                remaining = RemainingEvents.MORE
        return remaining

    async def _deliveries_of(
        self, events: Sequence[StoredEvent], webhooks: Sequence[StoredWebhook], uow: UnitOfWork
    ) -> list[NewDelivery]:
        types = {
            event.seq: event_type
            for event in events
            if (event_type := webhook_event_type(event)) is not None
        }
        events = [event for event in events if event.seq in types]
        subjects = await _load_subjects(events, uow)
        workspace_id = uow.write_context.workspace_id
        deliveries: list[NewDelivery] = []
        for event, subject in zip(events, subjects, strict=True):
            event_type = types[event.seq]
            accounts = subject.platforms_by_account(event).items()
            receivers = [
                each.endpoint.id
                for each in webhooks
                if each.feed_seq < event.seq and each.endpoint.wants(event_type, accounts)
            ]
            if not receivers:
                continue
            body = self._body(event, event_type, subject, workspace_id)
            deliveries += [
                NewDelivery(
                    id=DeliveryId(self.new_id()),
                    webhook_id=webhook_id,
                    event_seq=event.seq,
                    event_type=event_type,
                    event_id=webhook_event_id(workspace_id, event),
                    post_id=event.post_id,
                    body=body,
                    created_at=event.happened_at,
                )
                for webhook_id in receivers
            ]
        return deliveries

    def _body(
        self,
        event: StoredEvent,
        event_type: WebhookEventType,
        subject: EventSubject,
        workspace_id: WorkspaceId,
    ) -> str:
        codec = CursorCodec(self.signing_key, workspace_id, FEED_LIST_NAME)
        payload = webhook_payload(
            event,
            event_type,
            subject,
            workspace_id=workspace_id,
            cursor=encode_position(codec, event),
        )
        return orjson.dumps(payload).decode()

    async def _settle_and_lease_all(
        self, requests: Sequence[LeaseRequest], uow: UnitOfWork
    ) -> list[DeliveryBatch | None]:
        batches = {}
        # The same order in each process, so that they do not wait for each other's locks.
        for request in sorted(requests, key=lambda each: each.webhook_id):
            batches[request.webhook_id] = await self._settle_and_lease(request, uow)
        return [batches[request.webhook_id] for request in requests]

    async def _settle_and_lease(
        self, request: LeaseRequest, uow: UnitOfWork
    ) -> DeliveryBatch | None:
        webhook_id = request.webhook_id
        webhook = await self._settle(webhook_id, request.settled, uow)
        if webhook is None or not webhook.endpoint.is_active or not request.wants_more:
            return None
        is_healthy = webhook.endpoint.last_success_at and not webhook.endpoint.consecutive_failures
        limit = _BATCH_SIZE if is_healthy else _FAILING_BATCH_SIZE
        workspace_id, now = uow.write_context.workspace_id, uow.write_context.now
        token, expires_at = self.new_id(), now + LEASE_DURATION
        secrets = decrypted_secrets(self.cipher, workspace_id, webhook, now)
        due = []
        if secrets:
            due = await lock_due_deliveries(uow.reader, webhook_id, now, limit=limit)
            if not due:
                return None
            due = [replace(each, state=each.state.leased(token, expires_at)) for each in due]
            await store_leases(uow.session, [each.id for each in due], token, expires_at)
        return DeliveryBatch(
            url=webhook.endpoint.url, secrets=secrets, lease_expires_at=expires_at, deliveries=due
        )

    async def _settle(
        self, webhook_id: WebhookId, settled: Sequence[SettledDelivery], uow: UnitOfWork
    ) -> StoredWebhook | None:
        """Store the results, and return the endpoint after them; a deleted endpoint is None."""
        now = uow.write_context.now
        webhook = await load_webhook_for_update(uow.reader, webhook_id)
        if not settled:
            return webhook
        results = {each.delivery.id: self._result(each, now) for each in settled}
        held = await settle_deliveries(
            uow.session,
            [(each.delivery, results[each.delivery.id]) for each in settled],
        )
        attempts = [
            (each.delivery.id, results[each.delivery.id].attempts, each.attempt)
            for each in settled
            if each.attempt is not None and each.delivery.id in held
        ]
        await insert_attempts(uow.session, attempts)
        if webhook is None or not attempts:
            return webhook
        endpoint = webhook.endpoint
        for _, _, attempt in attempts:
            endpoint = endpoint.with_attempt(attempt, now)
        if endpoint.disabled_reason is not webhook.endpoint.disabled_reason:
            uow.add_event(endpoint.disabled_event())
        webhook = replace(webhook, endpoint=endpoint)
        await update_webhooks(uow.session, [webhook])
        return webhook

    def _result(self, settled: SettledDelivery, now: datetime) -> DeliveryState:
        state = settled.delivery.state
        if settled.attempt is None:
            return state.released(now)
        return state.attempted(settled.attempt, self.retry_schedule, now, self.random)


def decrypted_secrets(
    cipher: SecretCipher, workspace_id: WorkspaceId, webhook: StoredWebhook, now: datetime
) -> list[str]:
    """Return the secrets that sign, the newest first; an empty list if the current one cannot be decrypted.

    A previous secret that cannot be decrypted is left out, because a person rotates the secret of a webhook
    after a key was lost.
    """
    row_name = webhook_row_name(workspace_id, webhook.endpoint.id)
    try:
        secrets = [cipher.decrypt(webhook.encrypted_secret, row_name)]
    except SecretNotReadable:
        return []
    previous = webhook.unexpired_previous_secret(now)
    if previous is not None:
        with suppress(SecretNotReadable):
            secrets.append(cipher.decrypt(previous, row_name))
    return secrets


def _log_pruned_events(
    workspace_id: WorkspaceId, webhook: StoredWebhook, next_event: StoredEvent
) -> None:
    """Log a warning if events before the next stored one were pruned: the endpoint never receives them."""
    pruned = next_event.seq - webhook.feed_seq - 1
    if pruned > 0:
        logger.warning(
            "events pruned before webhook delivery",
            workspace_id=str(workspace_id),
            webhook_id=str(webhook.endpoint.id),
            events=pruned,
            reason="No process delivered webhooks for the time of CHANGES_RETENTION.",
        )


async def _load_subjects(events: Sequence[StoredEvent], uow: UnitOfWork) -> list[EventSubject]:
    """Return the post and the accounts of each event."""
    posts = await uow.load_posts({event.post_id for event in events if event.post_id is not None})
    account_ids: set[AccountId] = {
        destination.account_id for post in posts.values() for destination in post.destinations
    }
    account_ids |= {event.account_id for event in events if event.account_id is not None}
    accounts = await uow.load_accounts(account_ids)
    return [
        EventSubject(None if event.post_id is None else posts.get(event.post_id), accounts)
        for event in events
    ]
