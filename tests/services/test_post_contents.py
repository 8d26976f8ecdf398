"""Checks of stored posts against content schemas: at claims, after an upgrade, and by account."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select, update
from structlog.testing import capture_logs

from app.db.core.database import Database
from app.db.models import Deployment, Destination, Event
from app.db.repositories.posts import load_posts
from app.domain.accounts import AccountPublisher
from app.domain.destinations import DestinationState, DestinationStatus, ErrorCategory, Outcome
from app.domain.ids import AccountId, PostId, WorkspaceId
from app.domain.transitions import unclaimable
from app.domain.validation.post_contents import CONTENT_SCHEMA_VERSION
from app.platforms.content_schemas import CONTENT_SCHEMAS
from app.services.post_contents import check_posts_of_account, check_waiting_posts
from app.services.retries import retry_one_post
from tests.db.all_tables import all_rows, broken_rules
from tests.factories import (
    NOW,
    add_account,
    add_post,
    add_workspace,
    claimed,
    draft,
    failed,
    queued,
    waiting_for_retry,
)
from tests.services.publishing_calls import claim, destination_states, write_context

BLUESKY, EXTERNAL, MASTODON = (
    AccountPublisher.BLUESKY,
    AccountPublisher.EXTERNAL,
    AccountPublisher.MASTODON,
)
MISSPELT = {"mastodon": {"settings": {"visiblity": "private"}}}
MESSAGE = (
    "platformContent.mastodon.settings.visiblity is unknown; there is visibility, spoiler_text, sensitive,"
    " language; the nearest is visibility."
)
FITTING = {"mastodon": {"settings": {"visibility": "private"}}}
MINUTE = timedelta(minutes=1)


async def add_mastodon(database: Database, workspace: WorkspaceId) -> AccountId:
    return await add_account(database, workspace, platform="mastodon", publisher=MASTODON)


async def content_errors(database: Database) -> list[str | None]:
    """Content errors of all destinations, by due time."""
    async with database.read_connection() as connection:
        rows = await connection.execute(
            select(Destination.content_error).order_by(Destination.due_at, Destination.id)
        )
        return [row.content_error for row in rows]


async def uncheck_contents(database: Database) -> None:
    """Mark the waiting destinations as unchecked, as an upgrade does."""
    async with database.write_engine.begin() as connection:
        await connection.execute(update(Deployment).values(content_schema_version=0))


async def checked_version(database: Database) -> int:
    async with database.read_connection() as connection:
        version = await connection.scalar(select(Deployment.content_schema_version))
        assert isinstance(version, int)
        return version


def rejected(state: DestinationState, message: str = MESSAGE) -> DestinationState:
    """The state of a due destination after a claim that found its content invalid."""
    return replace(
        state,
        status=DestinationStatus.FAILED,
        outcome=Outcome.FAILED,
        claimable_at=None,
        next_retry_at=None,
        error=message,
        error_category=ErrorCategory.CONTENT_REJECTED,
        error_code="INVALID_SETTING",
        settled_at=NOW,
        due_day=NOW.date(),
    )


@pytest.mark.parametrize("state", [queued(), waiting_for_retry(NOW)])
async def test_claim_fails_content_that_does_not_fit(
    database: Database, state: DestinationState
) -> None:
    workspace = await add_workspace(database)
    account = await add_mastodon(database, workspace)
    invalid = await add_post(database, workspace, {account: state}, platform_content=MISSPELT)
    valid = await add_post(database, workspace, {account: state}, platform_content=FITTING)

    claims = await claim(database, of=MASTODON)

    assert [each.post.id for each in claims] == [valid.id]
    assert await destination_states(database, workspace, invalid.id) == [rejected(state)]
    assert await claim(database, of=MASTODON) == []


async def test_claim_fails_unknown_platforms_and_media(database: Database) -> None:
    workspace = await add_workspace(database)
    account = await add_mastodon(database, workspace)
    await add_account(database, workspace, platform="my-blog", is_active=False)
    contents: list[dict[str, Any]] = [
        {"platform_content": {"mastodn": {}}},
        {"platform_content": {"my-blog": {}, "bluesky": {"settings": {"poll": 1}}}},
        {"media": [{"url": "https://example.com/1.png", "altText": "A"}]},
        {"media": [{"url": "https://me@example.com/1.png"}]},
    ]
    posts = [
        await add_post(database, workspace, {account: queued()}, **fields) for fields in contents
    ]

    claims = await claim(database, of=MASTODON)

    assert [each.post.id for each in claims] == [posts[1].id]
    states = await destination_states(database, workspace, *(post.id for post in posts))
    assert [state.error for state in states] == [
        "platformContent.mastodn is not the name of a platform; the nearest is mastodon.",
        None,
        "media[0].altText is unknown; there is url, alt; the nearest is alt.",
        "media[0].url must not contain a user name or password.",
    ]


async def test_claim_of_others_does_not_check(database: Database) -> None:
    workspace = await add_workspace(database)
    account = await add_account(database, workspace, platform="mastodon")
    await add_post(database, workspace, {account: queued()}, platform_content=MISSPELT)
    assert len(await claim(database, of=EXTERNAL)) == 1


async def test_each_destination_is_judged_by_its_own_platform(database: Database) -> None:
    workspace = await add_workspace(database)
    mastodon = await add_mastodon(database, workspace)
    bluesky = await add_account(database, workspace, platform="bluesky", publisher=BLUESKY)
    post = await add_post(
        database,
        workspace,
        {mastodon: queued(), bluesky: queued()},
        platform_content=MISSPELT,
    )

    assert await claim(database, of=MASTODON) == []
    (claimed_destination,) = await claim(database, of=BLUESKY)

    assert claimed_destination.destination.account_id == bluesky
    states = await destination_states(database, workspace, post.id)
    assert [state.status for state in states] == [
        DestinationStatus.FAILED,
        DestinationStatus.PUBLISHING,
    ]


async def test_retried_content_fails_again_until_it_fits(database: Database) -> None:
    workspace = await add_workspace(database)
    account = await add_mastodon(database, workspace)
    post = await add_post(database, workspace, {account: queued()}, platform_content=MISSPELT)
    await claim(database, of=MASTODON)

    await retry_one_post(
        database,
        write_context(workspace),
        post.id,
        account_ids=None,
        force=False,
        idempotency_key=None,
    )
    assert await claim(database, of=MASTODON) == []

    (state,) = await destination_states(database, workspace, post.id)
    assert (state.error, state.attempts) == (MESSAGE, 0)


async def test_first_start_after_an_upgrade_finds_posts_that_will_fail(database: Database) -> None:
    workspace, other = await add_workspace(database), await add_workspace(database)
    mirror = await add_workspace(database, mirror_of="https://example.com")
    for workspace_id in (workspace, other):
        account = await add_mastodon(database, workspace_id)
        external = await add_account(database, workspace_id, platform="mastodon")
        for minute in range(5):
            due = queued(NOW + minute * MINUTE)
            await add_post(
                database,
                workspace_id,
                {account: due, external: due},
                platform_content=FITTING if minute == 2 else MISSPELT,
            )
        for state in (draft(), claimed(), failed(), unclaimable(queued())):
            await add_post(database, workspace_id, {account: state}, platform_content=MISSPELT)
    mirrored = await add_mastodon(database, mirror)
    await add_post(database, mirror, {mirrored: unclaimable(queued())}, platform_content=MISSPELT)
    await uncheck_contents(database)
    broken = await broken_rules(database)

    with capture_logs() as logs:
        await check_waiting_posts(database, NOW, batch_size=2)

    found = await content_errors(database)
    assert (found.count(MESSAGE), len(found) - found.count(None)) == (8, 8)
    assert [(log["event"], log["log_level"], log["count"]) for log in logs] == [
        ("scheduled posts have invalid content", "warning", 8)
    ]
    assert await checked_version(database) == CONTENT_SCHEMA_VERSION
    assert await broken_rules(database) == broken
    async with database.read_connection() as connection:
        payloads = await connection.scalars(select(Event.payload))
        assert {payload["operation"] for payload in payloads} == {"checkContents"}

    rows = await all_rows(database)
    with capture_logs() as logs:
        await check_waiting_posts(database, NOW + MINUTE)
    assert logs == []
    assert await all_rows(database) == rows


async def test_check_clears_errors_that_are_gone(database: Database) -> None:
    workspace = await add_workspace(database)
    account = await add_mastodon(database, workspace)
    outdated = replace(queued(), content_error="An older schema.")
    post = await add_post(database, workspace, {account: outdated}, platform_content=FITTING)
    await uncheck_contents(database)

    with capture_logs() as logs:
        await check_waiting_posts(database, NOW)

    assert logs == []
    assert await destination_states(database, workspace, post.id) == [queued()]


async def test_new_database_is_checked(database: Database) -> None:
    assert await checked_version(database) == CONTENT_SCHEMA_VERSION


async def test_posts_of_an_account_are_checked_up_to_a_number(database: Database) -> None:
    workspace = await add_workspace(database)
    account = await add_mastodon(database, workspace)
    for minute in range(5):
        await add_post(
            database,
            workspace,
            {account: queued(NOW + minute * MINUTE)},
            platform_content=MISSPELT,
        )
    context = write_context(workspace)

    assert await check_posts_of_account(database, context, account, limit=3, batch_size=2) == 3

    assert await content_errors(database) == [MESSAGE] * 3 + [None] * 2


async def test_each_account_of_a_post_has_its_content_error(database: Database) -> None:
    workspace = await add_workspace(database)
    accounts = [await add_mastodon(database, workspace) for _ in range(3)]
    post = await add_post(
        database, workspace, dict.fromkeys(accounts, queued()), platform_content=MISSPELT
    )
    await uncheck_contents(database)

    await check_waiting_posts(database, NOW)

    stored = (await load_posts(database.reader(workspace), [PostId(post.id)]))[post.id]
    assert [each.state.content_error for each in stored.destinations] == [MESSAGE] * 3


def test_changed_schemas_need_another_version() -> None:
    """Update the names here together with CONTENT_SCHEMA_VERSION."""
    names = {
        platform: (
            schema.content_types,
            tuple((setting.name, setting.values) for setting in schema.settings),
            tuple(member.name for member in schema.media_members),
        )
        for platform, schema in CONTENT_SCHEMAS.items()
    }
    media = ("url", "alt")
    assert (CONTENT_SCHEMA_VERSION, names) == (
        2,
        {
            "bluesky": (("post",), (("langs", ()),), media),
            "mastodon": (
                ("post",),
                (
                    ("visibility", ("public", "unlisted", "private")),
                    ("spoiler_text", ()),
                    ("sensitive", ("true", "false")),
                    ("language", ()),
                ),
                media,
            ),
            "threads": (
                ("post",),
                (
                    (
                        "reply_control",
                        (
                            "everyone",
                            "accounts_you_follow",
                            "mentioned_only",
                            "parent_post_author_only",
                            "followers_only",
                        ),
                    ),
                ),
                media,
            ),
            "instagram": (("post", "feed"), (), media),
        },
    )
