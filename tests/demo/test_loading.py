"""Loading of the demo workspace: complete, once, reproducible, with one valid key."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from time import monotonic
from uuid import UUID

import pytest
from sqlalchemy import select

from app.db.core.database import Database
from app.db.migrations import migrate
from app.db.models import ApiKey
from app.db.repositories.accounts import activity_by_account_id, all_accounts
from app.db.repositories.attempts import load_attempts
from app.db.repositories.events import read_events
from app.db.repositories.posts import load_posts
from app.db.tools.integrity import find_problems
from app.demo import DEMO_WORKSPACE_ID, DemoRefused, load_demo
from app.domain.accounts import (
    ACTIVITY_WINDOW,
    AccountAccess,
    HealthReason,
    HealthStatus,
    health,
)
from app.domain.api_keys import Scope
from app.domain.attempts import AttemptKind
from app.domain.destinations import ErrorCategory, Outcome
from app.domain.errors import InvalidApiKey
from app.domain.events import EventFilter, EventKind
from app.domain.ids import DestinationId, PostId
from app.domain.posts import PostStatus
from app.services.api_keys import ApiKeyAuthenticator
from app.settings import SettingsError
from tests.db.all_tables import all_rows
from tests.factories import KEY_PREFIX, NOW, add_api_key, add_workspace, failed, published

TOKEN = KEY_PREFIX + "0" * 32
OTHER_TOKEN = KEY_PREFIX + "1" * 32
LATER = NOW + timedelta(days=3)

EXAMPLE = PostId(UUID("f47ac10b-58cc-4372-a567-0e02b2c3d479"))
INSTAGRAM_DESTINATION = DestinationId(UUID("d1e2f3a4-b5c6-7890-abcd-ef1234567890"))
X_DESTINATION = DestinationId(UUID("e2f3a4b5-c6d7-8901-abcd-ef1234567890"))
LINKEDIN_DESTINATION = DestinationId(UUID("f3a4b5c6-d7e8-9012-abcd-ef1234567890"))


async def load_demo_data(database: Database, *, token: str = TOKEN, now: datetime = NOW) -> None:
    await load_demo(database, token=token, api_key_prefix=KEY_PREFIX, now=now)


async def scopes_of_token(
    database: Database, token: str, now: datetime = NOW
) -> Sequence[Scope] | None:
    """Scopes of a token in the demo workspace; None if the token is invalid."""
    try:
        viewer = await ApiKeyAuthenticator(
            database, prefix=KEY_PREFIX, monotonic=monotonic
        ).authenticate(token, now)
    except InvalidApiKey:
        return None
    assert viewer.workspace_id == DEMO_WORKSPACE_ID
    return viewer.scopes


@pytest.fixture
async def second_database(anyio_backend: str, tmp_path: Path) -> AsyncIterator[Database]:
    async with Database(f"sqlite+aiosqlite:///{tmp_path / 'second.db'}") as opened_database:
        await migrate(opened_database, now=NOW, random_bytes=bytes)
        yield opened_database


@pytest.mark.parametrize("now", [NOW, datetime(2026, 11, 30, 3, 17, tzinfo=UTC)], ids=str)
async def test_documented_example_has_its_results_and_dates_at_every_load_time(
    database: Database, now: datetime
) -> None:
    await load_demo_data(database, now=now)
    reader = database.reader(DEMO_WORKSPACE_ID)
    post = (await load_posts(reader, [EXAMPLE]))[EXAMPLE]
    names = {account.id: account.account_name for account in await all_accounts(reader)}

    due_at = datetime(2026, 4, 15, 14, 30, tzinfo=UTC)
    token_expired_at = due_at + timedelta(seconds=107)
    assert (post.status, post.scheduled_for) == (PostStatus.PARTIALLY_FAILED, due_at)
    assert (post.created_at, post.updated_at) == (
        datetime(2026, 4, 14, 9, 5, tzinfo=UTC),
        token_expired_at,
    )
    assert [(d.id, d.account_id, d.platform, names[d.account_id]) for d in post.destinations] == [
        (INSTAGRAM_DESTINATION, 2280, "instagram", "@mybrand"),
        (X_DESTINATION, 2282, "x", "@mybrand"),
        (LINKEDIN_DESTINATION, 2285, "linkedin", "My Brand Inc."),
    ]
    assert [destination.state for destination in post.destinations] == [
        published(
            due_at + timedelta(seconds=5),
            due_at=due_at,
            platform_post_id="17895432678901234",
            platform_post_url="https://www.instagram.com/p/ABC123/",
            settled_at=due_at + timedelta(seconds=5.18),
        ),
        published(
            due_at + timedelta(seconds=3),
            due_at=due_at,
            platform_post_id="1780123456789012345",
            platform_post_url="https://x.com/mybrand/status/1780123456789012345",
            settled_at=due_at + timedelta(seconds=3.09),
        ),
        failed(
            due_at=due_at,
            attempts=3,
            error="Token expired. Please reconnect your LinkedIn account.",
            category=ErrorCategory.AUTH,
            code="TOKEN_EXPIRED",
            settled_at=token_expired_at,
        ),
    ]
    attempts = await load_attempts(reader, LINKEDIN_DESTINATION)
    unavailable = (ErrorCategory.TRANSIENT, "PLATFORM_UNAVAILABLE", 503)
    failures = [attempt.failure for attempt in attempts if attempt.failure]
    assert [(a.number, a.kind, a.outcome) for a in attempts] == [
        (number, AttemptKind.REGULAR, Outcome.FAILED) for number in (1, 2, 3)
    ]
    assert [(failure.category, failure.code, failure.http_status) for failure in failures] == [
        unavailable,
        unavailable,
        (ErrorCategory.AUTH, "TOKEN_EXPIRED", 401),
    ]


async def test_loaded_data_passes_the_integrity_check(database: Database) -> None:
    await load_demo_data(database)
    assert await find_problems(database) == []


async def test_same_load_time_gives_the_same_rows(
    database: Database, second_database: Database
) -> None:
    await load_demo_data(database)
    await load_demo_data(second_database)
    assert await all_rows(second_database) == await all_rows(database)


async def test_a_second_load_changes_nothing(database: Database) -> None:
    await load_demo_data(database)
    before = await all_rows(database)
    await load_demo_data(database, now=LATER)
    assert await all_rows(database) == before


async def test_change_feed_has_an_event_for_every_post_destination_and_account(
    database: Database,
) -> None:
    await load_demo_data(database)
    rows = await all_rows(database)
    page = await read_events(
        database.reader(DEMO_WORKSPACE_ID), None, EventFilter(), limit=len(rows["event"])
    )
    assert Counter(change.kind for change in page.events) == {
        EventKind.ACCOUNT_CONNECTED: len(rows["account"]),
        EventKind.POST_CREATED: len(rows["post"]),
        EventKind.DESTINATION_ADDED: len(rows["destination"]),
        EventKind.DESTINATION_DUPLICATED: 1,
    }


async def test_two_concurrent_loads_store_the_same_as_one(
    database: Database, database_url: str, second_database: Database
) -> None:
    await load_demo_data(second_database)
    async with Database(database_url) as second_process:
        await asyncio.gather(load_demo_data(database), load_demo_data(second_process))
    assert await all_rows(database) == await all_rows(second_database)


async def test_only_the_latest_token_is_valid_and_reads_writes_and_publishes(
    database: Database,
) -> None:
    scopes = (Scope.READ, Scope.WRITE, Scope.PUBLISH)
    await load_demo_data(database)
    assert await scopes_of_token(database, TOKEN) == scopes
    assert await scopes_of_token(database, OTHER_TOKEN) is None
    before = await all_rows(database)

    await load_demo_data(database, token=OTHER_TOKEN, now=LATER)

    assert await scopes_of_token(database, TOKEN, LATER) is None
    assert await scopes_of_token(database, OTHER_TOKEN, LATER) == scopes
    after = await all_rows(database)
    assert before | {"api_key": after["api_key"]} == after
    async with database.read_connection() as connection:
        keys = await connection.execute(
            select(ApiKey.name, ApiKey.revoked_at).order_by(ApiKey.created_at)
        )
        assert [tuple(key) for key in keys] == [("demo", LATER), ("demo", None)]
    await load_demo_data(database, token=TOKEN, now=LATER)
    assert await scopes_of_token(database, TOKEN, LATER) == scopes
    assert await scopes_of_token(database, OTHER_TOKEN, LATER) is None


async def test_keys_with_other_names_or_in_other_workspaces_stay_valid(database: Database) -> None:
    await load_demo_data(database)
    other_workspace = await add_workspace(database)
    others = [
        await add_api_key(database, DEMO_WORKSPACE_ID, name="mine"),
        await add_api_key(database, other_workspace, name="demo"),
    ]
    await load_demo_data(database, token=OTHER_TOKEN, now=LATER)
    async with database.read_connection() as connection:
        revoked = await connection.scalars(
            select(ApiKey.revoked_at).where(ApiKey.id.in_([key.id for key in others]))
        )
        assert revoked.all() == [None, None]


async def test_two_concurrent_tokens_leave_one_valid(database: Database, database_url: str) -> None:
    await load_demo_data(database, token=KEY_PREFIX + "2" * 32)
    async with Database(database_url) as second_process:
        await asyncio.gather(
            load_demo_data(database), load_demo_data(second_process, token=OTHER_TOKEN)
        )
    valid = [await scopes_of_token(database, token) for token in (TOKEN, OTHER_TOKEN)]
    assert valid.count(None) == 1


async def test_key_of_another_workspace_is_rejected(database: Database) -> None:
    key = await add_api_key(database, await add_workspace(database))
    before = await all_rows(database)
    with pytest.raises(SettingsError) as raised:
        await load_demo_data(database, token=key.token)
    assert str(raised.value) == (
        "DEMO_API_KEY is the key of another workspace. Choose another key."
    )
    assert await all_rows(database) == before


async def test_workspace_with_the_same_name_stops_the_load(database: Database) -> None:
    await add_workspace(database, name="Demo")
    before = await all_rows(database)
    with pytest.raises(DemoRefused) as raised:
        await load_demo_data(database)
    assert str(raised.value) == (
        "The demo data needs a workspace named 'Demo', but another workspace has that name."
        " Start without --demo, or use another DATABASE_URL."
    )
    assert await all_rows(database) == before


async def test_accounts_have_every_kind_of_health(database: Database) -> None:
    await load_demo_data(database)
    reader = database.reader(DEMO_WORKSPACE_ID)
    accounts = await all_accounts(reader)
    ids = [account.id for account in accounts]
    activities = await activity_by_account_id(reader, ids, NOW - ACTIVITY_WINDOW)
    failures = {row.account_id: row.permanent_failures for row in activities}
    health_by_account = {
        account.id: health(
            AccountAccess(
                is_active=account.is_active,
                needs_reconnection_since=account.needs_reconnection_since,
                token_expires_at=account.token_expires_at,
            ),
            permanent_failures=failures.get(account.id, 0),
            now=NOW,
        )
        for account in accounts
    }
    assert {id: (each.status, *each.reasons) for id, each in health_by_account.items()} == {
        **dict.fromkeys((2280, 2281, 2282, 2283, 2286, 2288, 2291), (HealthStatus.HEALTHY,)),
        2284: (HealthStatus.WARNING, HealthReason.TOKEN_EXPIRING_SOON),
        2285: (HealthStatus.BROKEN, HealthReason.NEEDS_RECONNECTION, HealthReason.TOKEN_EXPIRED),
        2287: (HealthStatus.WARNING, HealthReason.RECENT_PERMANENT_FAILURES),
        2289: (HealthStatus.BROKEN, HealthReason.TOKEN_EXPIRED),
        2290: (HealthStatus.BROKEN, HealthReason.ACCOUNT_INACTIVE),
        2292: (
            HealthStatus.BROKEN,
            HealthReason.NEEDS_RECONNECTION,
            HealthReason.RECENT_PERMANENT_FAILURES,
        ),
    }
