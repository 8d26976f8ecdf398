"""Fixture rows in every table, a dump of all rows, and broken rules, for tests of whole databases."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import TextClause, select, text, update

from app.db.core.database import Database
from app.db.core.write_session import AllWorkspacesWriteSession
from app.db.models import (
    AccountBreaker,
    AccountCredentials,
    AccountPause,
    Base,
    DestinationCheckpoint,
    DuplicateCheck,
    Event,
    IdempotencyKey,
    LiveWorker,
    MediaCheck,
    MediaCheckUsage,
    PublishEvidence,
    ServerBreaker,
    Session,
    Webhook,
    WebhookDelivery,
    WebhookDeliveryAttempt,
    WorkerKey,
    Workspace,
)
from app.db.tools.invariants import RULES
from app.domain.accounts import AccountPublisher
from app.domain.attempts import AttemptKind
from app.domain.circuit_breakers import ServerFailure
from app.domain.destinations import Outcome
from app.domain.ids import AccountId, ApiKeyId, DestinationId, PostId, WorkspaceId
from app.domain.webhooks.event_types import WebhookEventType
from tests.factories import (
    NOW,
    add_account,
    add_api_key,
    add_attempt,
    add_post,
    add_workspace,
    being_verified,
    claimed,
    draft,
    failed,
    insert_objects,
    published,
    queued,
    started,
    unknown,
    waiting_for_retry,
)
from tests.raw_statements import run_raw

WORKSPACE = UUID(int=0xA)
KEY = UUID(int=0xB)
POST = UUID(int=0xC)
PUBLISHED = UUID(int=0xD1)
FAILED = UUID(int=0xD2)
RETRYING = UUID(int=0xD3)
WEBHOOK = UUID(int=0xE)
DELIVERY = UUID(int=0xF)
SESSION = UUID(int=0x11)
PROBE_UNTIL = NOW + timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class Ids:
    """Fixed ids of the rows that tests refer to."""

    workspace: WorkspaceId
    key: ApiKeyId
    account: AccountId
    post: PostId
    published: DestinationId
    failed: DestinationId


async def add_row_in_every_table(database: Database) -> Ids:
    """Add rows to every table, with destinations in every state, beside an empty mirror workspace."""
    ids = Ids(
        workspace=await add_workspace(database, id=WORKSPACE, name="Everything"),
        key=ApiKeyId(KEY),
        account=AccountId(1),
        post=PostId(POST),
        published=DestinationId(PUBLISHED),
        failed=DestinationId(FAILED),
    )
    await add_workspace(database, mirror_of="https://example.com")
    await add_api_key(database, ids.workspace, id=KEY, last_used_at=NOW)
    accounts = [await add_account(database, ids.workspace) for _ in range(4)]
    post = await add_post(
        database,
        ids.workspace,
        dict(zip(accounts, [published(), failed(), waiting_for_retry(), unknown()], strict=True)),
        id=POST,
        destination_ids=[PUBLISHED, FAILED, RETRYING],
        content="GRÜẞE",
        platform_content={"x": {"content": "kürzer", "settings": {"b": 1, "a": [None, 1.5]}}},
        media_ids=["m1"],
        reference="ref-1",
    )
    in_flight = await add_post(
        database, ids.workspace, {accounts[0]: claimed(), accounts[1]: started()}
    )
    unresolved = await add_post(
        database, ids.workspace, {accounts[0]: queued(), accounts[1]: being_verified()}
    )
    await add_post(database, ids.workspace, {accounts[0]: draft()}, is_draft=True)
    await add_post(database, ids.workspace, deleted_at=NOW)
    for destination_id, outcome in (
        (ids.published, Outcome.PUBLISHED),
        (ids.failed, Outcome.FAILED),
        (post.destinations[2], Outcome.FAILED),
        (post.destinations[3], Outcome.UNKNOWN),
        (in_flight.destinations[1], Outcome.NONE),
        (unresolved.destinations[1], Outcome.UNKNOWN),
    ):
        await add_attempt(database, ids.workspace, destination_id, outcome=outcome)
    await add_attempt(
        database, ids.workspace, ids.failed, kind=AttemptKind.LATE, number=None, fence=None
    )
    for _ in range(3):
        await add_event(database, ids)
    await _add_evidence_and_deliveries(database, ids)
    await _add_encrypted_rows(database, ids)
    await _add_breakers(database, ids)
    return ids


async def add_event(database: Database, ids: Ids) -> None:
    """Append an event to the workspace, with all foreign keys set."""

    async def work(session: AllWorkspacesWriteSession) -> None:
        ((seq,),) = await run_raw(
            session,
            update(Workspace)
            .where(Workspace.id == ids.workspace)
            .values(event_seq=Workspace.event_seq + 1)
            .returning(Workspace.event_seq),
        )
        await insert_objects(
            session,
            Event(
                workspace_id=ids.workspace,
                seq=seq,
                kind="post.published",
                actor_key_id=ids.key,
                post_id=ids.post,
                destination_id=ids.published,
                account_id=ids.account,
                payload={"seqs": [seq]},
                created_at=NOW,
            ),
        )

    await database.write_all_workspaces(work)


async def _add_evidence_and_deliveries(database: Database, ids: Ids) -> None:
    rows = [
        PublishEvidence(
            workspace_id=ids.workspace,
            destination_id=ids.published,
            fence=1,
            counted=True,
            platform_post_id=published().platform_post_id,
            platform_post_url=published().platform_post_url,
            published_at=published().published_at,
            reported_at=published().settled_at,
        ),
        DuplicateCheck(
            workspace_id=ids.workspace,
            destination_id=ids.published,
            post_id=ids.post,
            account_id=ids.account,
            first_attempt_at=NOW,
            check_at=NOW,
            attempts=1,
        ),
        MediaCheck(
            workspace_id=ids.workspace, post_id=ids.post, check_at=NOW, attempts=1, checked_at=NOW
        ),
        MediaCheckUsage(workspace_id=ids.workspace, started_at=NOW, byte_count=2**40),
        AccountPause(workspace_id=ids.workspace, account_id=ids.account, paused_until=NOW),
        Session(
            workspace_id=ids.workspace,
            id=SESSION,
            digest=b"\x01" * 32,
            api_key_id=ids.key,
            person="Ann",
            scopes=["read"],
            created_at=NOW,
            last_used_at=NOW,
            expires_at=NOW + timedelta(hours=12),
        ),
        IdempotencyKey(
            workspace_id=ids.workspace,
            operation="createPost",
            key="given:k",
            fingerprint=b"\x00\xff",
            outcome={"postId": str(ids.post)},
            created_at=NOW,
            expires_at=NOW + timedelta(days=1),
        ),
        Webhook(
            workspace_id=ids.workspace,
            id=WEBHOOK,
            url="https://example.com/hook",
            event_types=["post.published"],
            platforms=[],
            account_ids=[],
            encrypted_secret="e",
            is_active=True,
            feed_seq=1,
            consecutive_failures=0,
            created_at=NOW,
            updated_at=NOW,
        ),
        WebhookDelivery(
            workspace_id=ids.workspace,
            id=DELIVERY,
            webhook_id=WEBHOOK,
            event_seq=1,
            event_type=WebhookEventType.POST_PUBLISHED,
            event_id=UUID(int=0x12),
            post_id=ids.post,
            body="{}",
            attempts=1,
            round_attempts=1,
            next_attempt_at=NOW,
            lease_token=UUID(int=0x10),
            created_at=NOW,
        ),
        WebhookDeliveryAttempt(
            workspace_id=ids.workspace,
            delivery_id=DELIVERY,
            number=1,
            status_code=500,
            error="The receiver answered 500.",
            duration_ms=12,
            started_at=NOW,
        ),
    ]

    await database.write_all_workspaces(lambda session: insert_objects(session, *rows))


async def _add_encrypted_rows(database: Database, ids: Ids) -> None:
    encrypted = {"key_id": "0123456789abcdef", "ciphertext": b"\x00\xff"}
    rows = [
        AccountCredentials(
            workspace_id=ids.workspace,
            account_id=ids.account,
            version=1,
            set_at=NOW,
            refresh_until=NOW,
            refresh_fence=1,
            verify_at=NOW,
            verify_attempts=1,
            verify_error="No answer.",
            **encrypted,
        ),
        DestinationCheckpoint(
            workspace_id=ids.workspace, destination_id=ids.failed, updated_at=NOW, **encrypted
        ),
        WorkerKey(key_id="fernet-1", seen_at=NOW),
    ]
    await database.write_all_workspaces(lambda session: insert_objects(session, *rows))


async def _add_breakers(database: Database, ids: Ids) -> None:
    server: dict[str, Any] = {"publisher": AccountPublisher.MASTODON, "origin": "https://example"}
    state: dict[str, Any] = {
        "failures": 3,
        "failing_since": NOW,
        "last_failed_at": NOW,
        "is_open": True,
        "open_until": PROBE_UNTIL,
        "failed_probes": 1,
    }
    rows = [
        AccountBreaker(
            workspace_id=ids.workspace,
            account_id=ids.account,
            failure=ServerFailure.NO_ANSWER,
            worker="worker-1",
            is_of_several_workers=True,
            **server,
            **state,
        ),
        ServerBreaker(**server, **state),
        LiveWorker(name="worker-1", seen_at=NOW),
    ]
    await database.write_all_workspaces(lambda session: insert_objects(session, *rows))


async def all_rows(database: Database) -> dict[str, list[tuple[Any, ...]]]:
    """Return all rows of all tables by primary key; JSON values as text, to compare the order of keys."""
    async with database.snapshot() as connection:
        return {
            name: [
                tuple(repr(value) if isinstance(value, dict | list) else value for value in row)
                for row in await connection.execute(statement)
            ]
            for name, statement in _SELECT_ALL.items()
        }


_SELECT_ALL = {
    table.name: select(table).order_by(*table.primary_key) for table in Base.metadata.sorted_tables
}


async def dump_rows(database: Database) -> list[tuple[str, str]]:
    """Return all rows of all tables as text, by one statement, to compare them before and after a request."""
    dump = dump_statement(is_sqlite=database.is_sqlite)
    async with database.snapshot() as connection:
        return sorted((table, row) for table, row in await connection.execute(dump))


def dump_statement(*, is_sqlite: bool) -> TextClause:
    """Return the statement that selects table and text of all rows."""
    return text(_SQLITE_DUMP if is_sqlite else _POSTGRESQL_DUMP)


_SQLITE_DUMP = " UNION ALL ".join(
    f"SELECT '{table}', {' || char(10) || '.join(f'quote({column.name})' for column in table.columns)}"
    f" FROM {table}"
    for table in Base.metadata.sorted_tables
)
_POSTGRESQL_DUMP = " UNION ALL ".join(
    f"SELECT '{table}', CAST({table} AS text) FROM {table}" for table in Base.metadata.sorted_tables
)


async def broken_rules(database: Database) -> list[str]:
    """Return each contradiction between rows and the rules of the domain, as a sentence.

    A third of the work of `find_problems`, which also finds what a service cannot write: values that
    cannot be read, and broken foreign keys.
    """
    async with database.snapshot() as connection:
        return sorted([problem for rule in RULES.values() async for problem in rule(connection)])
