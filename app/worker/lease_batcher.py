"""Group commit of the lease requests of webhook deliveries.

A commit takes longer than what it stores, and SQLite has one writer at a time. So a transaction of its own
for each endpoint would delay all of them.
"""

import asyncio
from collections import defaultdict
from typing import TypeAlias

from app.domain.errors import ServiceUnavailable
from app.domain.ids import WorkspaceId
from app.services.webhook_deliveries import DeliveryBatch, LeaseRequest, WebhookDeliveryService

_Waiting: TypeAlias = list[tuple[LeaseRequest, asyncio.Future[DeliveryBatch | None]]]


class LeaseBatcher:
    """Group commit of lease requests.

    Those of one workspace that arrive during a transaction share the next one.
    """

    def __init__(self, service: WebhookDeliveryService) -> None:
        self._service = service
        self._waiting: dict[WorkspaceId, _Waiting] = defaultdict(list)
        self._tasks: dict[WorkspaceId, asyncio.Task[None]] = {}

    async def run(self, workspace_id: WorkspaceId, request: LeaseRequest) -> DeliveryBatch | None:
        """Store and lease what a request says; raises what its transaction has raised."""
        future: asyncio.Future[DeliveryBatch | None] = asyncio.get_running_loop().create_future()
        self._waiting[workspace_id].append((request, future))
        if workspace_id not in self._tasks:
            self._tasks[workspace_id] = asyncio.create_task(self._run_waiting(workspace_id))
        return await future

    async def _run_waiting(self, workspace_id: WorkspaceId) -> None:
        try:
            while waiting := self._waiting.pop(workspace_id, None):
                # A task that was cancelled meanwhile has no use for a batch.
                if running := [each for each in waiting if not each[1].cancelled()]:
                    await self._run_together(workspace_id, running)
        finally:
            del self._tasks[workspace_id]

    async def _run_together(self, workspace_id: WorkspaceId, waiting: _Waiting) -> None:
        try:
            batches = await self._service.settle_and_lease(
                workspace_id, [request for request, _ in waiting]
            )
        except Exception as error:  # noqa: BLE001 - raised by `run`
            if len(waiting) > 1 and not isinstance(error, ServiceUnavailable):
                for each in waiting:  # only those fail that cause the error
                    await self._run_together(workspace_id, [each])
                return
            for _, future in waiting:
                if not future.done():
                    future.set_exception(error)
        else:
            for (_, future), batch in zip(waiting, batches, strict=True):
                if not future.done():  # the endpoint's task was cancelled
                    future.set_result(batch)
