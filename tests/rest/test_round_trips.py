"""Responses may be sent back: as a new post, or as an update that changes nothing."""

from collections import Counter
from typing import Any

from app.domain.times import format_instant
from app.rest.operations import omit
from tests.clients import Tenant
from tests.db.all_tables import all_rows
from tests.factories import NOW, add_account, add_post, draft
from tests.rest.envelope import failure_error, ordered_json, success_data
from tests.rest.write_requests import create_post, expect_success, send_json, uncached_data

WRITABLE_FIELDS = (
    *("content", "account_ids", "scheduled_for"),
    *("timezone", "media_ids", "platform_content"),
)
NOW_TEXT = format_instant(NOW)


async def demo_posts(tenant: Tenant) -> list[dict[str, object]]:
    """All unpublished posts and some published ones."""
    limits = dict.fromkeys(("draft", "scheduled", "publishing", "failed"), 100)
    limits |= dict.fromkeys(("published", "partially_failed"), 25)
    responses = [
        await tenant.client.get(f"/v1/posts?limit={limit}&status={status}")
        for status, limit in limits.items()
    ]
    return [post for response in responses for post in success_data(response)["posts"]]


async def rows_without_keys(tenant: Tenant) -> dict[str, Any]:
    """All rows except API keys, whose last use changes."""
    return {
        name: rows for name, rows in (await all_rows(tenant.database)).items() if name != "api_key"
    }


async def test_patch_with_own_response_changes_nothing(demo_tenant: Tenant) -> None:
    posts = await demo_posts(demo_tenant)
    before = await rows_without_keys(demo_tenant)
    statuses: Counter[int] = Counter()
    for post in posts:
        response = await send_json(demo_tenant, "PATCH", f"/v1/posts/{post['id']}", post)
        statuses[response.status_code] += 1
        if response.status_code == 409:
            assert failure_error(response, 409)["code"] == "conflict"
        else:
            data = omit(uncached_data(response, 200), "warnings")
            assert ordered_json(data) == ordered_json(post)
    assert await rows_without_keys(demo_tenant) == before
    assert statuses[200] > 10
    assert statuses[409] > 10


async def test_post_with_own_response_creates_copy(demo_tenant: Tenant) -> None:
    posts = await demo_posts(demo_tenant)
    before = success_data(await demo_tenant.client.get("/v1/posts"))["total"]
    created: Counter[str] = Counter()
    for post in posts:
        response = await send_json(demo_tenant, "POST", "/v1/posts", post)
        if post["scheduled_for"] is not None and str(post["scheduled_for"]) <= NOW_TEXT:
            assert failure_error(response, 400)["code"] == "past_schedule_time"
            created["past"] += 1
            continue
        copy = uncached_data(response, 201)
        assert copy["id"] != post["id"]
        assert ordered_json([copy[key] for key in WRITABLE_FIELDS]) == ordered_json(
            [post[key] for key in WRITABLE_FIELDS]
        )
        assert (copy["status"] == "draft") is (post["status"] == "draft")
        created[copy["status"]] += 1
    assert set(created) == {"past", "draft", "scheduled", "publishing"}
    total = success_data(await demo_tenant.client.get("/v1/posts"))["total"]
    assert total == before + len(posts) - created["past"]


async def test_copy_of_draft_stays_draft_unless_requested(acme: Tenant) -> None:
    account = await add_account(acme.database, acme.workspace)
    added = await add_post(acme.database, acme.workspace, {account: draft()}, is_draft=True)
    post = success_data(await acme.client.get(f"/v1/posts/{added.id}"))

    copy = await create_post(acme, post)
    submitted = await create_post(acme, {**post, "draft": False})

    published = await create_post(acme, {**post, "publish_now": True})

    assert (copy["status"], submitted["status"]) == ("draft", "publishing")
    assert published["status"] == "publishing"


async def test_copy_does_not_inherit_media(acme: Tenant) -> None:
    added = await add_post(
        acme.database, acme.workspace, is_draft=True, media=[{"url": "https://example.com/1.png"}]
    )
    post = success_data(await acme.client.get(f"/v1/posts/{added.id}"))

    assert await expect_success(acme, "PATCH", f"/v1/posts/{added.id}", post) == post
    copy = await create_post(acme, post)

    assert copy["media"] == []


async def test_creation_response_may_be_sent_back(acme: Tenant) -> None:
    first = await create_post(acme, {"content": "Idea", "draft": True})

    second = await create_post(acme, first)
    changed = await expect_success(acme, "PATCH", f"/v1/posts/{second['id']}", first)

    assert (second["content"], second["status"]) == ("Idea", "draft")
    assert changed["id"] == second["id"] != first["id"]
