"""Adds two workspaces with the same ids and texts; the foreign one has additional rows."""

from datetime import timedelta
from uuid import UUID

from app.db.core.database import Database
from app.domain.api_keys import DEFAULT_SCOPES, Scope
from app.domain.destinations import ErrorCategory, Outcome
from app.domain.events import Event, EventKind
from app.domain.failure_groups import group_of
from app.domain.ids import AccountId, ApiKeyId, DestinationId, PostId, WorkspaceId
from tests.credential_rows import KEY, add_credentials
from tests.db.repositories.event_rows import append_test_events
from tests.factories import (
    NOW,
    add_account,
    add_api_key,
    add_attempt,
    add_post,
    add_workspace,
    claimed,
    draft,
    failed,
    published,
    queued,
    started,
    unknown,
    waiting_for_retry,
)
from tests.webhook_rows import add_delivery, add_webhook, given_up

NO_LIMITS = {
    "RATE_LIMIT": "off",
    "GRAPHQL_MAX_FIELDS": "100000",
    "GRAPHQL_MAX_ALIASES": "100000",
    "GRAPHQL_MAX_NODES": "100000",
    "GRAPHQL_MAX_ROOT_FIELDS": "1000",
    "GRAPHQL_MAX_TOKENS": "100000",
    "SECRETS_KEY": KEY,
}
OWN_WORKSPACE = WorkspaceId(UUID("00000000-0000-4000-8000-000000000001"))
FOREIGN_WORKSPACE = WorkspaceId(UUID("00000000-0000-4000-8000-000000000002"))

SHARED_POST = UUID("5ba6ed00-0000-4000-8000-000000000001")
SHARED_DESTINATIONS = (
    UUID("5ba6ed00-0000-4000-8000-00000000000a"),
    UUID("5ba6ed00-0000-4000-8000-00000000000b"),
)
SHARED_ATTEMPT = UUID("5ba6ed00-0000-4000-8000-0000000000aa")
SHARED_WEBHOOK = UUID("5ba6ed00-0000-4000-8000-0000000000ee")
SHARED_DELIVERY = UUID("5ba6ed00-0000-4000-8000-0000000000ef")
SHARED_ACCOUNT = 1
SHARED_KEY = ApiKeyId(UUID("5ba6ed00-0000-4000-8000-0000000000cc"))
SHARED_PERSON = "Ann"

FOREIGN_POST = UUID("f04e1600-0000-4000-8000-000000000001")
FOREIGN_DESTINATION = UUID("f04e1600-0000-4000-8000-00000000000a")
FOREIGN_WEBHOOK = UUID("f04e1600-0000-4000-8000-0000000000ee")
FOREIGN_DELIVERY = UUID("f04e1600-0000-4000-8000-0000000000ef")
FOREIGN_ACCOUNT = 3
FOREIGN_KEY = ApiKeyId(UUID("f04e1600-0000-4000-8000-0000000000cc"))
FOREIGN_PERSON = "quokka keeper"
FOREIGN_PLATFORM = "bluesky"
FOREIGN_WORD = "quokka"
FOREIGN_REFERENCE = "only-there"
FOREIGN_CODE = "ONLY_THERE"
OWN_FAILURE_GROUP = group_of("x", ErrorCategory.CONTENT_REJECTED, "CAPTION_TOO_LONG", "own")
FOREIGN_FAILURE_GROUP = group_of(
    FOREIGN_PLATFORM, ErrorCategory.PERMANENT, FOREIGN_CODE, "The caption is too long."
)

SCOPES = (*DEFAULT_SCOPES, Scope.RAW, Scope.ADMIN, Scope.CREDENTIALS)
"""Scopes of both keys, so that no field fails."""


async def add_own_workspace(database: Database) -> str:
    """Add the workspace that sends queries; return its API key."""
    await add_workspace(database, id=OWN_WORKSPACE)
    await _add_shared(database, OWN_WORKSPACE, suffix="own")
    # The last use of a recently used key is not updated, so responses stay equal.
    key = await add_api_key(database, OWN_WORKSPACE, scopes=SCOPES, last_used_at=NOW)
    return key.token


async def add_foreign_workspace(database: Database) -> str:
    """Add the other workspace with the same ids and additional rows; return its API key."""
    await add_workspace(database, id=FOREIGN_WORKSPACE)
    await _add_shared(database, FOREIGN_WORKSPACE, suffix="foreign")
    await add_credentials(database, FOREIGN_WORKSPACE, AccountId(SHARED_ACCOUNT))
    account = await add_account(
        database,
        FOREIGN_WORKSPACE,
        id=FOREIGN_ACCOUNT,
        platform=FOREIGN_PLATFORM,
        account_name=FOREIGN_WORD,
    )
    await add_post(
        database,
        FOREIGN_WORKSPACE,
        {account: failed(code=FOREIGN_CODE, category=ErrorCategory.PERMANENT)},
        id=FOREIGN_POST,
        destination_ids=[FOREIGN_DESTINATION],
        content=f"A {FOREIGN_WORD} smiles",
        reference=FOREIGN_REFERENCE,
        created_at=NOW + timedelta(hours=1),
    )
    for state in (queued(NOW - timedelta(hours=1)), unknown(), claimed(), started(), published()):
        await add_post(database, FOREIGN_WORKSPACE, {account: state})
    await add_webhook(database, FOREIGN_WORKSPACE, id=FOREIGN_WEBHOOK, name=FOREIGN_WORD)
    await add_delivery(
        database,
        FOREIGN_WORKSPACE,
        FOREIGN_WEBHOOK,
        given_up(),
        id=FOREIGN_DELIVERY,
        event_seq=2,
        post_id=FOREIGN_POST,
    )
    destination_event = Event(
        kind=EventKind.DESTINATION_ADDED,
        post_id=PostId(FOREIGN_POST),
        destination_id=DestinationId(FOREIGN_DESTINATION),
        values={},
    )
    await append_test_events(
        database,
        FOREIGN_WORKSPACE,
        [destination_event],
        actor=FOREIGN_KEY,
        person=FOREIGN_PERSON,
    )
    return (await add_api_key(database, FOREIGN_WORKSPACE, scopes=SCOPES)).token


async def _add_shared(database: Database, workspace: WorkspaceId, *, suffix: str) -> None:
    """Add rows with the same ids to both workspaces; `suffix` reveals rows of the wrong one."""
    first = await add_account(
        database,
        workspace,
        id=SHARED_ACCOUNT,
        display_name=suffix,
        platform_username="spring",
    )
    second = await add_account(database, workspace, platform="x", account_name=None)
    post = await add_post(
        database,
        workspace,
        {
            first: published(platform_post_url=f"https://{suffix}.example"),
            second: failed(error=suffix),
        },
        id=SHARED_POST,
        destination_ids=SHARED_DESTINATIONS,
        content="Spring sale",
        reference="spring",
        media_ids=[suffix],
    )
    await add_attempt(
        database,
        workspace,
        post.destinations[1],
        id=SHARED_ATTEMPT,
        outcome=Outcome.FAILED,
        message=suffix,
        raw=suffix,
    )
    await add_webhook(database, workspace, id=SHARED_WEBHOOK, name=suffix)
    await add_delivery(
        database,
        workspace,
        SHARED_WEBHOOK,
        given_up(),
        id=SHARED_DELIVERY,
        event_seq=1,
        post_id=SHARED_POST,
        body=suffix,
    )
    await add_post(database, workspace, {first: draft()}, is_draft=True)
    await add_post(database, workspace, {first: failed()})
    await add_post(
        database,
        workspace,
        {first: waiting_for_retry(), second: queued(NOW + timedelta(days=1))},
        scheduled_for=NOW,
    )
    destination_event = Event(
        kind=EventKind.DESTINATION_ADDED,
        post_id=PostId(SHARED_POST),
        destination_id=DestinationId(SHARED_DESTINATIONS[1]),
        account_id=second,
        values={"error": suffix},
    )
    account_event = Event(
        kind=EventKind.ACCOUNT_CHANGED, account_id=AccountId(SHARED_ACCOUNT), values={}
    )
    await append_test_events(
        database,
        workspace,
        [destination_event, account_event],
        actor=SHARED_KEY,
        person=SHARED_PERSON,
    )
