"""Publish requests for adapter tests."""

from dataclasses import dataclass, replace
from uuid import UUID

from app.domain.ids import DestinationId, WorkspaceId
from app.platforms.protocol import PublishRequest, make_publish_request
from tests.domain.destination_states import make_account, make_post
from tests.factories import started

WORKSPACE = WorkspaceId(UUID(int=1))
ACCOUNT = make_account(1, platform="sandbox", account_name="succeeds")
DESTINATION = replace(
    make_post([started()]).destinations[0],
    id=DestinationId(UUID("d1e2f3a4-b5c6-7890-abcd-ef1234567890")),
    platform="sandbox",
)
POST = replace(
    make_post([], platform_content={}, reference="campaign-7/1"), destinations=(DESTINATION,)
)


@dataclass(frozen=True)
class FixedDeadline:
    """A deadline with a constant remaining time."""

    remaining: float

    def seconds_left(self) -> float:
        return self.remaining


def publish_request(
    account_name: str = "succeeds", *, attempt: int = 1, deadline: FixedDeadline | None = None
) -> PublishRequest:
    account = replace(ACCOUNT, account_name=account_name)
    request = make_publish_request(
        WORKSPACE, POST, DESTINATION, account, deadline or FixedDeadline(60)
    )
    return replace(request, attempt=attempt)
