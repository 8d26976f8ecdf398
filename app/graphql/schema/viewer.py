"""Query field `viewer`: the API key of the request, its workspace, and totals."""

from datetime import datetime, timedelta
from uuid import UUID

import strawberry
from strawberry import field

from app import __version__
from app.db.repositories import accounts, analytics
from app.domain.api_keys import Scope
from app.domain.ids import WorkspaceKind
from app.graphql.schema.context import Info
from app.graphql.schema.inputs import to_record
from app.graphql.schema.permissions import requires

_RECENT_POSTS_WINDOW = timedelta(days=30)


@strawberry.type(name="ApiKey", description="API key, without its secret.")
class ViewerApiKey:
    key_id: UUID = field(description="UUID of the API key.")
    key_prefix: str = field(description="First characters of the secret, to recognize the key.")
    name: str = field(description="Name of the API key.")
    scopes: list[Scope] = field(
        description="Permissions of the API key; in a session, those that the session has."
    )
    created_at: datetime = field(description="UTC time when the API key was created.")
    last_used_at: datetime | None = field(
        description="UTC time of the last use, to about a minute; null if not yet recorded."
    )
    expires_at: datetime | None = field(description="UTC time of expiry; null if it never expires.")


@strawberry.type(description="Tenant of this server: one set of posts, accounts and API keys.")
class Workspace:
    workspace_id: UUID = field(description="UUID of the workspace.")
    name: str = field(description="Name of the workspace on this server.")
    kind: WorkspaceKind = field(description="LOCAL, or MIRROR of another service.")


@strawberry.type(description="Totals of a workspace.")
class WorkspaceStats:
    total_posts: int = field(description="Number of posts, without deleted ones.")
    posts_last30d: int = field(
        name="postsLast30d",
        description="Number of posts created in the last 30 days, without deleted ones.",
    )
    accounts: int = field(description="Number of accounts, including inactive ones.")


@strawberry.type(name="Session", description="Session of a person who has signed in on the board.")
class ViewerSession:
    person: str | None = field(
        description="Name of the person, if stated at sign-in; the user if a proxy signs people in."
    )
    expires_at: datetime | None = field(
        description="UTC time when the session ends without further use, to about a minute; null if a"
        " proxy signs the person in, which also ends the session."
    )


@strawberry.type(description="Server process that answered the request.")
class Server:
    version: str = field(description="Version of the service.")
    started_at: datetime = field(description="UTC time when the process started.")
    now: datetime = field(description="UTC time of the server's clock.")
    changes_retention_seconds: int = field(
        description="Number of seconds for which changes are stored. An older cursor is refused."
    )


@strawberry.type(name="Viewer", description="Authenticated client of the request.")
class ViewerDetails:
    api_key: ViewerApiKey = field(description="API key of the request.")
    scopes: list[Scope] = field(
        description="Permissions of the request: of the API key, or those that its session has."
    )
    workspace: Workspace = field(description="Workspace of the API key.")
    session: ViewerSession | None = field(
        description="Session of the request; null for a request with an API key."
    )
    server: Server = field(description="Server process that answered the request.")

    @strawberry.field(
        description="Totals of the workspace. Needs the scope READ.",
        extensions=requires(Scope.READ),
    )
    async def stats(self, info: Info) -> WorkspaceStats | None:
        since = info.context.clock() - _RECENT_POSTS_WINDOW
        reader = info.context.reader
        return WorkspaceStats(
            total_posts=await analytics.count_posts_created(reader, since=None),
            posts_last30d=await analytics.count_posts_created(reader, since),
            accounts=await accounts.count_accounts(reader),
        )


def build_viewer(info: Info) -> ViewerDetails:
    context, viewer = info.context, info.context.viewer
    scopes, session = list(viewer.scopes), viewer.session
    return ViewerDetails(
        api_key=to_record(
            viewer,
            ViewerApiKey,
            key_prefix=viewer.display_prefix,
            name=viewer.key_name,
            scopes=scopes,
        ),
        scopes=scopes,
        workspace=to_record(
            viewer, Workspace, name=viewer.workspace_name, kind=viewer.workspace_kind
        ),
        session=None if session is None else to_record(session, ViewerSession),
        server=Server(
            version=__version__,
            started_at=context.app_state.started_at,
            now=context.clock(),
            changes_retention_seconds=round(context.app_state.changes_retention.total_seconds()),
        ),
    )
