"""Publish requests for adapter tests, with credentials and a checkpoint in memory."""

from collections.abc import Awaitable, Callable, Mapping, Set
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from app.domain.destinations import ErrorCategory
from app.domain.ids import DestinationId, PostId, WorkspaceId
from app.platforms.protocol import (
    CredentialValues,
    FindReported,
    NotPublished,
    PublishRequest,
    make_publish_request,
)
from tests.domain.destination_states import make_account, make_post
from tests.factories import NOW, started


class DriverUuid(UUID):
    """UUID of a subclass, as asyncpg returns it; orjson does not encode it."""


WORKSPACE = WorkspaceId(DriverUuid(int=1))
ACCOUNT = make_account(1, platform="sandbox", account_name="succeeds")
DESTINATION = replace(
    make_post([started()]).destinations[0],
    id=DestinationId(DriverUuid("d1e2f3a4-b5c6-7890-abcd-ef1234567890")),
    platform="sandbox",
)
POST = replace(
    make_post([], platform_content={}, reference="campaign-7/1"), destinations=(DESTINATION,)
)
POST = replace(POST, id=PostId(DriverUuid(str(POST.id))))


@dataclass(frozen=True)
class FixedDeadline:
    """A deadline with a constant remaining time."""

    remaining: float

    def seconds_left(self) -> float:
        return self.remaining


@dataclass
class MemoryCredentials:
    """Credentials of an account in memory; without values the account has none."""

    values: CredentialValues | None = None
    refreshes: int = 0
    """Number of calls of `request_new`."""
    platform_user_id: str | None = None

    async def get(self) -> CredentialValues:
        if self.values is None:
            raise NotPublished(
                ErrorCategory.AUTH, "NO_CREDENTIALS", "The account has no credentials."
            )
        return self.values

    async def refresh(
        self,
        rejected: CredentialValues,
        request_new: Callable[[CredentialValues], Awaitable[CredentialValues]],
    ) -> CredentialValues:
        current = await self.get()
        if current == rejected:
            self.refreshes += 1
            self.values = await request_new(current)
        return await self.get()


@dataclass
class MemoryCheckpoint:
    """The checkpoint of a destination in memory."""

    values: list[Mapping[str, object]] = field(default_factory=list)
    """Everything that was saved, the last one last."""

    async def load(self) -> Mapping[str, object] | None:
        return self.values[-1] if self.values else None

    async def save(self, value: Mapping[str, object]) -> None:
        self.values.append(value)


def reported(*ids: str) -> FindReported:
    """Return a function that finds these ids."""

    async def find() -> Set[str]:
        return set(ids)

    return find


def publish_request(
    account_name: str = "succeeds",
    *,
    attempt: int = 1,
    deadline: FixedDeadline | None = None,
    **fields: Any,
) -> PublishRequest:
    request = make_publish_request(
        WORKSPACE,
        POST,
        DESTINATION,
        replace(ACCOUNT, account_name=account_name),
        attempt_started_at=NOW,
        credentials=MemoryCredentials(),
        checkpoint=MemoryCheckpoint(),
        deadline=deadline or FixedDeadline(60),
        find_reported=reported(),
    )
    return replace(request, attempt=attempt, **fields)


async def publish_problem(call: Awaitable[object]) -> tuple[ErrorCategory, str, str]:
    """Return category, code and message of the NotPublished that the call must raise."""
    with pytest.raises(NotPublished) as caught:
        await call
    return caught.value.category, caught.value.code, caught.value.message


def refusal_details(error: NotPublished) -> tuple[ErrorCategory, str, int | None, timedelta | None]:
    return error.category, error.code, error.http_status, error.retry_after
