"""The unmodified npm SDK of the documented API works with this service."""

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from app.db.core.database import Database
from app.domain.api_keys import Scope
from app.domain.ids import DEMO_WORKSPACE_ID
from app.domain.times import format_instant
from app.services.secret_cipher import new_secrets_key
from tests.clients import run_with_database
from tests.external_programs import run_program
from tests.factories import add_api_key
from tests.servers import DEMO_KEY, DEMO_POST, ServerProcess, run_server

Call = tuple[str, str] | tuple[str, str, Any] | tuple[str, str, Any, Any]

READ_CALLS: list[tuple[Call, str]] = [
    (("accounts", "list"), "/accounts"),
    (("accounts", "get", 2280), "/accounts/2280"),
    (("accounts", "health", 2285), "/accounts/2285/health"),
    (("posts", "list"), "/posts"),
    (
        ("posts", "list", {"status": "done", "platform": "x", "limit": 3, "offset": 2}),
        "/posts?status=done&platform=x&limit=3&offset=2",
    ),
    (
        (
            "posts",
            "listAdvanced",
            {"status": "failed,partially_failed", "account_id": 2285, "order": "asc", "limit": 5},
        ),
        "/posts?status=failed,partially_failed&account_id=2285&order=asc&limit=5",
    ),
    (("posts", "get", DEMO_POST), f"/posts/{DEMO_POST}"),
    (("posts", "results", DEMO_POST), f"/posts/{DEMO_POST}/results"),
    (("posts", "getResults", DEMO_POST), f"/posts/{DEMO_POST}/results"),
    (
        (
            "analytics",
            "summary",
            {"period": "custom", "from": "2026-04-01", "to": "2026-05-01T00:00:00Z"},
        ),
        "/analytics/summary?period=custom&from=2026-04-01&to=2026-05-01T00:00:00Z",
    ),
]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ServerProcess]:
    """A server whose demo data a test may change."""
    settings = {"DATABASE_URL": f"sqlite:///{tmp_path / 'demo.db'}", "RATE_LIMIT": "off"}
    with run_server(tmp_path, settings, "--demo") as server:
        yield server


def run_sdk(server: ServerProcess, *calls: Call, key: str = DEMO_KEY) -> list[Any]:
    """Result or exception of each call of the SDK."""
    results: list[Any] = json.loads(
        run_program("node", "sdk.mjs", server.url, key, stdin=json.dumps(calls))
    )
    return results


def test_every_read_returns_the_data_of_the_api(demo_server: ServerProcess) -> None:
    results = run_sdk(demo_server, *(call for call, _ in READ_CALLS))

    for (_, path), result in zip(READ_CALLS, results, strict=True):
        assert result == demo_server.get(f"/v1{path}", DEMO_KEY).json()["data"], path


def test_me_and_the_monthly_summary_are_returned(demo_server: ServerProcess) -> None:
    me, month = run_sdk(demo_server, ("me", "get"), ("analytics", "summary", {"period": "month"}))

    assert me["workspace"]["name"] == "Demo"
    assert me["stats"]["total_posts"] > 200
    assert month["period"] == "month"
    counts = month["posts"]
    assert 0 < counts["total"] == sum(counts.values()) - counts["total"]


def test_errors_raise_the_exceptions_of_the_sdk(demo_server: ServerProcess) -> None:
    unknown = DEMO_POST.replace("f47", "000")
    missing, malformed, unserved = run_sdk(
        demo_server, ("posts", "get", unknown), ("posts", "get", "x"), ("media", "list")
    )
    (rejected,) = run_sdk(demo_server, ("me", "get"), key="pe_live_" + "0" * 32)

    assert (missing["error"], missing["status"], missing["code"]) == (
        "PostEverywhereError",
        404,
        "not_found",
    )
    assert (malformed["error"], malformed["status"]) == ("ValidationError", 400)
    assert [error["field"] for error in malformed["details"]["validation_errors"]] == ["post_id"]
    assert (unserved["error"], unserved["status"], unserved["code"]) == (
        "PostEverywhereError",
        404,
        "not_found",
    )
    assert (rejected["error"], rejected["status"]) == ("AuthenticationError", 401)
    assert rejected["message"] == "The API key is unknown, revoked or expired. Use another key."
    for error in (missing, malformed, unserved, rejected):
        assert re.fullmatch("[0-9a-f]{8}", error["requestId"])


async def add_admin_key(database: Database) -> str:
    key = await add_api_key(database, DEMO_WORKSPACE_ID, scopes=[Scope.ADMIN])
    return key.token


def test_webhook_is_created_read_changed_tested_and_deleted(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'demo.db'}"
    settings = {"DATABASE_URL": url, "SECRETS_KEY": new_secrets_key(), "RATE_LIMIT": "off"}
    with run_server(tmp_path, settings, "--demo") as server:
        async_url = url.replace("sqlite:", "sqlite+aiosqlite:")
        key = run_with_database(async_url, add_admin_key)
        params = {"url": "https://receiver.invalid/hook", "events": ["post.published"]}
        created, repeated = run_sdk(
            server, ("webhooks", "create", params), ("webhooks", "create", params), key=key
        )
        webhook_id = created["id"]
        one, several, updated, tested, deleted, missing = run_sdk(
            server,
            ("webhooks", "get", webhook_id),
            ("webhooks", "list"),
            ("webhooks", "update", webhook_id, {"name": "CRM", "is_active": False}),
            ("webhooks", "test", webhook_id),
            ("webhooks", "delete", webhook_id),
            ("webhooks", "get", webhook_id),
            key=key,
        )

    assert repeated == created
    assert {**created, **one} == created
    assert several == {"webhooks": [one]}
    changed = {"name": "CRM", "is_active": False, "updated_at": updated["updated_at"]}
    assert updated == {**one, **changed}
    assert (tested["ok"], tested["status"]) == (False, 0)
    assert tested["message"] == f"The test failed. {tested['error']}"
    assert deleted == {"id": webhook_id, "deleted": True}
    assert (missing["status"], missing["code"]) == (404, "not_found")


def fetch_data(server: ServerProcess, path: str) -> Any:
    return server.get(f"/v1{path}", DEMO_KEY).json()["data"]


def test_post_is_created_changed_and_deleted(server: ServerProcess) -> None:
    tomorrow = format_instant(datetime.now(UTC) + timedelta(days=1))
    params = {"content": "Hello", "account_ids": [2280, 2282], "timezone": "Europe/Berlin"}
    scheduled, repeated, with_old_name, published = run_sdk(
        server,
        ("posts", "create", {**params, "scheduled_for": tomorrow}),
        ("posts", "create", {**params, "scheduled_for": tomorrow}),
        ("posts", "create", {**params, "scheduled_at": tomorrow}),
        ("posts", "create", {**params, "publish_now": True}),
    )
    assert scheduled == repeated
    assert (scheduled["status"], scheduled["scheduled_for"]) == ("scheduled", tomorrow)
    assert (scheduled["accounts_count"], scheduled["post_group_id"]) == (2, scheduled["id"])
    assert with_old_name["scheduled_for"] == tomorrow
    assert (published["status"], published["scheduled_for"]) == ("publishing", None)

    post_id = scheduled["post_id"]
    stored = fetch_data(server, f"/posts/{post_id}")
    updated, returned, deleted, missing = run_sdk(
        server,
        ("posts", "update", post_id, {"content": "Hello again", "scheduled_at": tomorrow}),
        ("posts", "update", post_id, {**stored, "content": "Hello again"}),
        ("posts", "delete", post_id),
        ("posts", "get", post_id),
    )
    assert updated == {**stored, "content": "Hello again", "updated_at": updated["updated_at"]}
    assert returned == updated
    assert (deleted["post_id"], deleted["id"], deleted["deleted"]) == (post_id, post_id, True)
    assert (missing["status"], missing["code"]) == (404, "not_found")


def test_posts_are_created_in_bulk_with_a_result_for_each(server: ServerProcess) -> None:
    valid = {"content": "Hello", "account_ids": [2280]}
    partial, failed, too_many = run_sdk(
        server,
        ("posts", "bulkCreate", [valid, {"content": "No accounts"}]),
        ("posts", "bulkCreate", [{"content": "No accounts"}]),
        ("posts", "bulkCreate", [valid] * 51),
    )

    assert partial["summary"] == {"total": 2, "succeeded": 1, "failed": 1}
    assert [(result["index"], result["ok"]) for result in partial["results"]] == [
        (0, True),
        (1, False),
    ]
    assert partial["results"][0]["post"]["content"] == "Hello"
    assert partial["results"][1]["error"]["code"] == "validation_error"
    assert (failed["error"], failed["status"]) == (
        "PostEverywhereError",
        422,
    )  # the SDK returns no results
    assert (too_many["error"], too_many["status"]) == ("ValidationError", 400)
    assert too_many["message"] == "There are 51 posts; at most 50 are allowed."


def test_failed_posts_are_retried_singly_and_in_bulk(server: ServerProcess) -> None:
    oldest = (
        "sort=created_at&order=asc&limit=100"  # the demo data may have more, depending on the time
    )
    failed = fetch_data(server, f"/posts?status=failed,partially_failed&{oldest}")["posts"]
    ids = [post["id"] for post in failed]
    retries = run_sdk(server, *(("posts", "retry", post_id) for post_id in ids))
    assert any(retry["retried_count"] for retry in retries)
    for retry in retries:
        assert retry["retried"] == retry["retried_count"] == len(retry["destinations"])
        assert {row["new_status"] for row in retry["destinations"]} <= {"queued"}
        results = fetch_data(server, f"/posts/{retry['post_id']}/results")["results"]
        queued = {result["account_id"] for result in results if result["status"] == "queued"}
        assert {row["account_id"] for row in retry["destinations"]} <= queued
    (of_demo_post,) = (retry for retry in retries if retry["post_id"] == DEMO_POST)
    assert of_demo_post["skipped"] == [
        {"account_id": 2280, "reason": "already_published"},
        {"account_id": 2282, "reason": "already_published"},
        {"account_id": 2285, "reason": "account_needs_reconnection"},
    ]

    all_refused, unmatched, invalid = run_sdk(
        server,
        ("posts", "retryFailed", {"post_ids": ids}),
        ("posts", "retryFailed", {"account_id": 1, "max_attempts": 5}),
        ("posts", "retryFailed", {}),
    )
    reasons = [skipped["reason"] for retry in retries for skipped in retry["skipped"]]
    blocked = reasons.count("account_needs_reconnection")
    assert unmatched == {"retried_count": 0, "destinations": [], "message": "Nothing was retried."}
    assert all_refused == {
        **unmatched,
        "message": f"Nothing was retried. {blocked} were refused: their accounts need to be reconnected"
        " first.",
    }
    assert (invalid["error"], invalid["status"]) == ("ValidationError", 400)


def test_matching_failed_posts_are_retried_by_one_call(server: ServerProcess) -> None:
    (retry,) = run_sdk(server, ("posts", "retryFailed", {"failed_after": "2020-01-01T00:00:00Z"}))

    assert retry["retried_count"] == len(retry["destinations"]) > 0
    for row in retry["destinations"]:
        assert list(row) == ["destination_id", "post_id", "platform", "new_status"]
        results = fetch_data(server, f"/posts/{row['post_id']}/results")["results"]
        (result,) = (item for item in results if item["id"] == row["destination_id"])
        assert (result["status"], result["error"]) == ("queued", None)
