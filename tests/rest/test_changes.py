"""`GET /changes`: the documented form of every kind of change."""

from collections.abc import Iterable
from datetime import timedelta
from typing import Any
from uuid import UUID

from app.domain.attempts import Evidence, Publication
from app.domain.events import Event, account_events, duplicate_event, misuse_event, post_events
from app.domain.ids import ApiKeyId, PostId
from app.domain.signing import CursorCodec, KeysetPosition
from app.domain.times import format_instant
from tests.clients import Tenant
from tests.db.repositories.event_rows import append_test_events
from tests.domain.destination_states import LATER, make_account, make_post
from tests.domain.post_commands import POST_COMMANDS, run_change
from tests.factories import NOW, add_account, add_post, queued
from tests.rest.envelope import ordered_json, success_data
from tests.rest.write_requests import send_json, uncached_data

POST = PostId(UUID("f47ac10b-58cc-4372-a567-0e02b2c3d479"))
KEY = ApiKeyId(UUID("0a1b2c3d-0000-4000-8000-000000000001"))
DESTINATIONS = [str(UUID(int=1)), str(UUID(int=2))]
HAPPENED_AT = NOW + timedelta(milliseconds=7)
DAY_BEFORE = "2026-04-14T15:00:00.000Z"
AN_HOUR_LATER = "2026-04-15T16:00:00.000Z"


def all_event_kinds() -> Iterable[Event]:
    """Events of a post on two accounts, and of one account, as the domain creates them."""
    post = make_post([queued(LATER), queued(LATER)], id=POST)
    yield from post_events(None, post)
    yield from post_events(post, run_change(post, [1], content="Wörter 🎉"))
    duplicate = Publication(platform_post_id="2", platform_post_url=None, published_at=NOW)
    evidence = Evidence(fence=2, counted=False, publication=duplicate, reported_at=NOW)
    yield duplicate_event(POST, post.destinations[0], evidence)
    yield misuse_event(POST, post.destinations[0], evidence)
    yield from post_events(post, POST_COMMANDS["delete"](post))
    yield from account_events(None, make_account(2))
    yield from account_events(
        make_account(2), make_account(2, token_refreshed_at=NOW, is_active=False)
    )


def post_entry(type_: str, **values: object) -> dict[str, Any]:
    return change_entry(type_, str(POST), None, None, values)


def destination_entry(type_: str, number: int, **values: object) -> dict[str, Any]:
    return change_entry(type_, str(POST), DESTINATIONS[number - 1], number, values)


def account_entry(type_: str, **values: object) -> dict[str, Any]:
    return change_entry(type_, None, None, 2, values)


def change_entry(
    type_: str,
    post: str | None,
    destination: str | None,
    account_id: int | None,
    values: dict[str, object],
) -> dict[str, Any]:
    """An entry of the feed without its cursor, which comes first."""
    return {
        "type": type_,
        "operation": "createPost",
        "post_id": post,
        "destination_id": destination,
        "account_id": account_id,
        "values": values,
        "api_key_id": str(KEY),
        "happened_at": "2026-04-15T15:00:00.007Z",
    }


def destination_added_entry(number: int) -> dict[str, Any]:
    return destination_entry(
        "destination.added",
        number,
        account_id=number,
        platform="x",
        created_at=DAY_BEFORE,
        updated_at=DAY_BEFORE,
        status="queued",
        outcome="none",
        scheduled_for=AN_HOUR_LATER,
        attempts=0,
        next_retry_at=None,
        published_at=None,
        platform_post_id=None,
        platform_post_url=None,
        error=None,
        error_category=None,
        error_code=None,
    )


ALL_ENTRIES = [
    post_entry(
        "post.created",
        content="Spring sale",
        scheduled_for=AN_HOUR_LATER,
        timezone="Europe/Berlin",
        media_ids=["m1"],
        media=[{"url": "https://example.com/1.png"}],
        platform_content={"x": {"content": "Sale!"}},
        reference="spring",
        version=4,
        deleted_at=None,
        imported_at=None,
        created_at=DAY_BEFORE,
        updated_at=DAY_BEFORE,
        status="scheduled",
    ),
    destination_added_entry(1),
    destination_added_entry(2),
    post_entry("post.changed", content="Wörter 🎉", version=5, updated_at=format_instant(NOW)),
    destination_entry("destination.removed", 2),
    *(
        destination_entry(
            type_,
            1,
            platform_post_id="2",
            platform_post_url=None,
            published_at=format_instant(NOW),
        )
        for type_ in ("destination.duplicated", "publisher.misused")
    ),
    post_entry(
        "post.deleted", version=5, deleted_at=format_instant(NOW), updated_at=format_instant(NOW)
    ),
    destination_entry("destination.changed", 1, updated_at=format_instant(NOW)),
    destination_entry("destination.changed", 2, updated_at=format_instant(NOW)),
    account_entry(
        "account.connected",
        platform="x",
        publisher="external",
        account_name="@acme2",
        display_name=None,
        platform_user_id=None,
        platform_username=None,
        avatar_url=None,
        is_active=True,
        needs_reconnection_since=None,
        token_expires_at=None,
        token_last_refresh=None,
        connected_at=DAY_BEFORE,
        created_at=DAY_BEFORE,
        updated_at=DAY_BEFORE,
        on_lost_access="fail",
    ),
    account_entry("account.changed", is_active=False, token_last_refresh=format_instant(NOW)),
]


async def test_every_kind_of_change_has_documented_keys_in_order(acme: Tenant) -> None:
    for number in (1, 2):
        await add_account(acme.database, acme.workspace, id=number, platform="x")
    await add_post(acme.database, acme.workspace, id=POST)
    await append_test_events(
        acme.database,
        acme.workspace,
        list(all_event_kinds()),
        occurred_at=HAPPENED_AT,
        actor=KEY,
        operation="createPost",
    )
    codec = CursorCodec(bytes(32), acme.workspace, "changes")
    cursors = [
        codec.encode(KeysetPosition(HAPPENED_AT, str(seq)))
        for seq in range(1, len(ALL_ENTRIES) + 1)
    ]

    data = success_data(await acme.client.get("/v1/changes"))

    assert ordered_json(data) == ordered_json(
        {
            "changes": [
                {"cursor": cursor, **entry}
                for cursor, entry in zip(cursors, ALL_ENTRIES, strict=True)
            ],
            "cursor": cursors[-1],
            "has_more": False,
            "latest_cursor": cursors[-1],
        }
    )


async def test_empty_feed_has_start_cursor(acme: Tenant) -> None:
    cursor = CursorCodec(bytes(32), acme.workspace, "changes").encode(KeysetPosition(None, "0"))
    assert ordered_json(success_data(await acme.client.get("/v1/changes"))) == ordered_json(
        {"changes": [], "cursor": cursor, "has_more": False, "latest_cursor": cursor}
    )


async def test_changes_carry_operation_and_api_key(acme: Tenant) -> None:
    account = await add_account(acme.database, acme.workspace)
    key_id = success_data(await acme.client.get("/v1/me"))["api_key"]["id"]
    start = success_data(await acme.client.get("/v1/changes"))["latest_cursor"]
    body = {"content": "Sale", "account_ids": [account]}
    post = uncached_data(await send_json(acme, "POST", "/v1/posts", body), 201)
    uncached_data(
        await send_json(acme, "PATCH", f"/v1/posts/{post['id']}", {"content": "Else"}), 200
    )
    uncached_data(await send_json(acme, "DELETE", f"/v1/posts/{post['id']}"), 200)

    changes = success_data(await acme.client.get(f"/v1/changes?after={start}"))["changes"]

    assert [(change["type"], change["operation"]) for change in changes] == [
        ("post.created", "createPost"),
        ("destination.added", "createPost"),
        ("post.changed", "updatePost"),
        ("post.deleted", "deletePost"),
        ("destination.changed", "deletePost"),
    ]
    assert {change["post_id"] for change in changes} == {post["id"]}
    assert {change["api_key_id"] for change in changes} == {key_id}
    assert {change["happened_at"] for change in changes} == {format_instant(NOW)}
