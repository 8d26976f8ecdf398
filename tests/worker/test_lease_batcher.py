"""Transactions that endpoints of a workspace share."""

import asyncio
from collections.abc import Sequence
from typing import cast
from uuid import UUID

import pytest

from app.domain.errors import ServiceUnavailable
from app.domain.ids import WebhookId, WorkspaceId
from app.services.webhook_deliveries import DeliveryBatch, LeaseRequest, WebhookDeliveryService
from app.worker.lease_batcher import LeaseBatcher
from tests.factories import NOW

ACME, OTHER = WorkspaceId(UUID(int=1)), WorkspaceId(UUID(int=2))
WEBHOOKS = [WebhookId(UUID(int=number)) for number in range(1, 6)]
FIRST, SECOND, THIRD, FOURTH, FIFTH = WEBHOOKS


class Service:
    """Records the endpoints of each transaction, which lasts until the test lets it end."""

    def __init__(self) -> None:
        self.transactions: list[tuple[WorkspaceId, list[WebhookId]]] = []
        self.may_end = asyncio.Event()
        self.failing: dict[WebhookId, Exception] = {}
        """Errors of the transactions with an endpoint."""

    async def settle_and_lease(
        self, workspace_id: WorkspaceId, requests: Sequence[LeaseRequest]
    ) -> list[DeliveryBatch | None]:
        webhooks = [request.webhook_id for request in requests]
        self.transactions.append((workspace_id, webhooks))
        await self.may_end.wait()
        for webhook_id in webhooks:
            if webhook_id in self.failing:
                raise self.failing[webhook_id]
        return [batch_to(webhook_id) for webhook_id in webhooks]


def batch_to(webhook_id: WebhookId) -> DeliveryBatch:
    return DeliveryBatch(url=str(webhook_id), secrets=[], lease_expires_at=NOW, deliveries=[])


@pytest.fixture
def service() -> Service:
    return Service()


@pytest.fixture
def batcher(service: Service) -> LeaseBatcher:
    return LeaseBatcher(cast("WebhookDeliveryService", service))


Running = asyncio.Task[DeliveryBatch | None]


async def start(
    batcher: LeaseBatcher, *webhooks: WebhookId, workspace: WorkspaceId = ACME
) -> list[Running]:
    tasks = [
        asyncio.create_task(batcher.run(workspace, LeaseRequest(webhook_id)))
        for webhook_id in webhooks
    ]
    for _ in range(3):  # until each waits
        await asyncio.sleep(0)
    return tasks


async def test_requests_during_a_transaction_form_the_next_one(
    service: Service, batcher: LeaseBatcher
) -> None:
    tasks = await start(batcher, FIRST)
    tasks += await start(batcher, SECOND, THIRD)
    tasks += await start(batcher, FOURTH)
    service.may_end.set()

    assert await asyncio.gather(*tasks) == [batch_to(webhook_id) for webhook_id in WEBHOOKS[:4]]
    assert service.transactions == [(ACME, [FIRST]), (ACME, [SECOND, THIRD, FOURTH])]


async def test_workspaces_do_not_wait_for_each_other(
    service: Service, batcher: LeaseBatcher
) -> None:
    tasks = await start(batcher, FIRST)
    tasks += await start(batcher, SECOND, workspace=OTHER)

    assert service.transactions == [(ACME, [FIRST]), (OTHER, [SECOND])]
    service.may_end.set()
    await asyncio.gather(*tasks)


async def test_error_is_that_of_the_endpoint_that_causes_it(
    service: Service, batcher: LeaseBatcher
) -> None:
    service.failing = {THIRD: ValueError("a bug")}
    tasks = await start(batcher, FIRST)
    tasks += await start(batcher, SECOND, THIRD, FOURTH)
    service.may_end.set()

    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert results == [
        *(batch_to(webhook_id) for webhook_id in (FIRST, SECOND)),
        service.failing[THIRD],
        batch_to(FOURTH),
    ]


async def test_outage_of_the_database_is_that_of_all(
    service: Service, batcher: LeaseBatcher
) -> None:
    service.failing = {THIRD: ServiceUnavailable("The disk is gone.")}
    tasks = await start(batcher, FIRST)
    tasks += await start(batcher, SECOND, THIRD)
    service.may_end.set()

    assert await asyncio.gather(*tasks, return_exceptions=True) == [
        batch_to(FIRST),
        *[service.failing[THIRD]] * 2,
    ]
    assert service.transactions == [(ACME, [FIRST]), (ACME, [SECOND, THIRD])]


async def test_cancelled_request_leases_nothing(service: Service, batcher: LeaseBatcher) -> None:
    first, cancelled, third = await start(batcher, FIRST, SECOND, THIRD)
    assert service.transactions == [(ACME, [FIRST, SECOND, THIRD])]
    (waiting,) = await start(batcher, FOURTH)
    tasks = await start(batcher, FIFTH)
    cancelled.cancel()
    waiting.cancel()
    service.may_end.set()

    assert await asyncio.gather(first, third, *tasks) == [
        batch_to(webhook_id) for webhook_id in (FIRST, THIRD, FIFTH)
    ]
    assert service.transactions == [(ACME, [FIRST, SECOND, THIRD]), (ACME, [FIFTH])]
