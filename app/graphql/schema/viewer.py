"""The viewer: the key that asks, its workspace, and a few totals."""

from datetime import datetime, timedelta
from uuid import UUID

import strawberry
from strawberry import field

from app.db.repositories import accounts, analytics
from app.domain.api_keys import Scope
from app.domain.workspaces import WorkspaceKind
from app.graphql.schema.context import Info
from app.graphql.schema.permissions import requires

_RECENT_POSTS_WINDOW = timedelta(days=30)


@strawberry.type(description="An API key; its secret is never shown again.")
class ApiKey:
    key_id: UUID = field(description="The key's UUID.")
    key_prefix: str = field(description="How the key begins, to recognise it.")
    name: str = field(description="What it was named.")
    scopes: list[Scope] = field(description="What it may do.")
    created_at: datetime = field(description="When it was made.")
    last_used_at: datetime | None = field(description="When it was last used, to about a minute.")
    expires_at: datetime | None = field(description="When it stops working; null = never.")


@strawberry.type(description="A tenant: everything one group of people posts.")
class Workspace:
    workspace_id: UUID = field(description="The workspace's UUID.")
    name: str = field(description="Its name on this server.")
    kind: WorkspaceKind = field(description="Where its posts are published from.")


@strawberry.type(description="Totals of the workspace.")
class WorkspaceStats:
    total_posts: int = field(description="Posts that are not deleted.")
    posts_last30d: int = field(
        name="postsLast30d", description="Those of them created within 30 days."
    )
    accounts: int = field(description="Accounts, also inactive ones.")


@strawberry.type(description="Who asks.")
class Viewer:
    api_key: ApiKey = field(description="The key of this request.")
    scopes: list[Scope] = field(description="What it may do.")
    workspace: Workspace = field(description="The one workspace it opens.")

    @strawberry.field(
        description="Totals of the workspace. Needs the scope READ.",
        extensions=requires(Scope.READ),
    )
    async def stats(self, info: Info) -> WorkspaceStats | None:
        since = info.context.clock() - _RECENT_POSTS_WINDOW
        reader = info.context.read()
        return WorkspaceStats(
            total_posts=await analytics.count_posts_created(reader, since=None),
            posts_last30d=await analytics.count_posts_created(reader, since),
            accounts=await accounts.count_accounts(reader),
        )


def build_viewer(info: Info) -> Viewer:
    viewer = info.context.viewer
    return Viewer(
        api_key=ApiKey(
            key_id=viewer.key_id,
            key_prefix=viewer.key_prefix,
            name=viewer.key_name,
            scopes=list(viewer.scopes),
            created_at=viewer.created_at,
            last_used_at=viewer.last_used_at,
            expires_at=viewer.expires_at,
        ),
        scopes=list(viewer.scopes),
        workspace=Workspace(
            workspace_id=viewer.workspace_id,
            name=viewer.workspace_name,
            kind=viewer.workspace_kind,
        ),
    )
