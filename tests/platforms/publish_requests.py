"""Publish requests for adapter tests."""

from dataclasses import dataclass, replace
from uuid import UUID

from app.domain.accounts import Account
from app.domain.destinations import Destination
from app.domain.ids import AccountId, DestinationId, PostId, WorkspaceId
from app.domain.posts import Post
from app.platforms.protocol import PublishRequest, make_publish_request
from tests.factories import NOW, started

WORKSPACE = WorkspaceId(UUID(int=1))
ACCOUNT = Account(
    id=AccountId(7),
    platform="sandbox",
    account_name="succeeds",
    display_name=None,
    platform_user_id=None,
    platform_username=None,
    avatar_url=None,
    is_active=True,
    needs_reconnection_since=None,
    token_expires_at=None,
    token_refreshed_at=None,
    connected_at=NOW,
    created_at=NOW,
    updated_at=NOW,
)
DESTINATION = Destination(
    id=DestinationId(UUID("d1e2f3a4-b5c6-7890-abcd-ef1234567890")),
    account_id=ACCOUNT.id,
    platform="sandbox",
    position=0,
    state=started(),
    created_at=NOW,
    updated_at=NOW,
)
POST = Post(
    id=PostId(UUID(int=2)),
    content="Spring sale",
    is_draft=False,
    submitted_now=True,
    scheduled_for=None,
    timezone=None,
    media_ids=["m1"],
    media=[],
    platform_content={},
    reference="campaign-7/1",
    version=1,
    deleted_at=None,
    imported_at=None,
    created_at=NOW,
    updated_at=NOW,
    destinations=(DESTINATION,),
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
