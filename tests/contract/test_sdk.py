"""The npm SDK of the documented API, unmodified: it gives its caller what the API answers."""

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from app.domain.times import format_instant
from tests.external_programs import run_program
from tests.servers import DEMO_KEY, DEMO_POST, ServerProcess

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
    """A process that serves demo data which a test may change."""
    settings = {"DATABASE_URL": f"sqlite:///{tmp_path / 'demo.db'}", "RATE_LIMIT": "off"}
    server = ServerProcess(tmp_path, settings, "--demo")
    try:
        server.wait_until_ready()
        yield server
        server.stop()
    finally:
        server.kill()


def run_sdk(server: ServerProcess, *calls: Call, key: str = DEMO_KEY) -> list[Any]:
    """What the SDK gives for each call, or what it raises."""
    answers: list[Any] = json.loads(
        run_program("node", "sdk.mjs", server.url, key, stdin=json.dumps(calls))
    )
    return answers


def test_every_read_gives_what_the_api_answers(demo_server: ServerProcess) -> None:
    answers = run_sdk(demo_server, *(each for each, _ in READ_CALLS))

    for (_, path), answer in zip(READ_CALLS, answers, strict=True):
        assert answer == demo_server.get(f"/v1{path}", DEMO_KEY).json()["data"], path


def test_me_and_the_summary_of_a_month_are_given(demo_server: ServerProcess) -> None:
    me, month = run_sdk(demo_server, ("me", "get"), ("analytics", "summary", {"period": "month"}))

    assert me["workspace"]["name"] == "Demo"
    assert me["stats"]["total_posts"] > 200
    assert month["period"] == "month"
    counts = month["posts"]
    assert 0 < counts["total"] == sum(counts.values()) - counts["total"]


def test_errors_become_the_exceptions_of_the_sdk(demo_server: ServerProcess) -> None:
    unknown = DEMO_POST.replace("f47", "000")
    missing, malformed, unserved = run_sdk(
        demo_server, ("posts", "get", unknown), ("posts", "get", "x"), ("media", "list")
    )
    (refused,) = run_sdk(demo_server, ("me", "get"), key="pe_live_" + "0" * 32)

    assert (missing["error"], missing["status"], missing["code"]) == (
        "PostEverywhereError",
        404,
        "not_found",
    )
    assert (malformed["error"], malformed["status"]) == ("ValidationError", 400)
    assert [each["field"] for each in malformed["details"]["validation_errors"]] == ["post_id"]
    assert (unserved["error"], unserved["status"], unserved["code"]) == (
        "PostEverywhereError",
        404,
        "not_found",
    )
    assert (refused["error"], refused["status"]) == ("AuthenticationError", 401)
    assert refused["message"] == "The API key is unknown, revoked or expired. Use another key."
    for error in (missing, malformed, unserved, refused):
        assert re.fullmatch("[0-9a-f]{8}", error["requestId"])


def fetch_data(server: ServerProcess, path: str) -> Any:
    return server.get(f"/v1{path}", DEMO_KEY).json()["data"]


def test_a_post_is_created_changed_and_deleted(server: ServerProcess) -> None:
    tomorrow = format_instant(datetime.now(UTC) + timedelta(days=1))
    params = {"content": "Hello", "account_ids": [2280, 2282], "timezone": "Europe/Berlin"}
    scheduled, again, old_name, now = run_sdk(
        server,
        ("posts", "create", {**params, "scheduled_for": tomorrow}),
        ("posts", "create", {**params, "scheduled_for": tomorrow}),
        ("posts", "create", {**params, "scheduled_at": tomorrow}),
        ("posts", "create", {**params, "publish_now": True}),
    )
    assert scheduled == again
    assert (scheduled["status"], scheduled["scheduled_for"]) == ("scheduled", tomorrow)
    assert (scheduled["accounts_count"], scheduled["post_group_id"]) == (2, scheduled["id"])
    assert old_name["scheduled_for"] == tomorrow
    assert (now["status"], now["scheduled_for"]) == ("publishing", None)

    post_id = scheduled["post_id"]
    found = fetch_data(server, f"/posts/{post_id}")
    updated, returned, deleted, missing = run_sdk(
        server,
        ("posts", "update", post_id, {"content": "Hello again", "scheduled_at": tomorrow}),
        ("posts", "update", post_id, {**found, "content": "Hello again"}),
        ("posts", "delete", post_id),
        ("posts", "get", post_id),
    )
    assert updated == {**found, "content": "Hello again", "updated_at": updated["updated_at"]}
    assert returned == updated
    assert (deleted["post_id"], deleted["id"], deleted["deleted"]) == (post_id, post_id, True)
    assert (missing["status"], missing["code"]) == (404, "not_found")


def test_posts_are_created_in_bulk_with_a_result_for_each(server: ServerProcess) -> None:
    right = {"content": "Hello", "account_ids": [2280]}
    answers = run_sdk(
        server,
        ("posts", "bulkCreate", [right, {"content": "No accounts"}]),
        ("posts", "bulkCreate", [{"content": "No accounts"}]),
        ("posts", "bulkCreate", [right] * 51),
    )
    some, none, too_many = answers

    assert some["summary"] == {"total": 2, "succeeded": 1, "failed": 1}
    assert [(each["index"], each["ok"]) for each in some["results"]] == [(0, True), (1, False)]
    assert some["results"][0]["post"]["content"] == "Hello"
    assert some["results"][1]["error"]["code"] == "validation_error"
    assert (none["error"], none["status"]) == ("PostEverywhereError", 422)  # it shows no results
    assert (too_many["error"], too_many["status"]) == ("ValidationError", 400)
    assert too_many["message"] == "There are 51 posts; at most 50 are allowed."


def test_what_failed_is_retried_one_by_one_and_all_together(server: ServerProcess) -> None:
    failed = fetch_data(server, "/posts?status=failed,partially_failed&limit=100")["posts"]
    ids = [each["id"] for each in failed]
    answers = run_sdk(server, *(("posts", "retry", each) for each in ids))
    retried = [each for each in answers if each["retried_count"]]
    assert retried
    for answer in answers:
        assert answer["retried"] == answer["retried_count"] == len(answer["destinations"])
        assert {each["new_status"] for each in answer["destinations"]} <= {"queued"}
        queued = [
            each["account_id"]
            for each in fetch_data(server, f"/posts/{answer['post_id']}/results")["results"]
            if each["status"] == "queued"
        ]
        assert {each["account_id"] for each in answer["destinations"]} <= set(queued)
    (kept,) = (each for each in answers if each["post_id"] == DEMO_POST)
    assert kept["skipped"] == [
        {"account_id": 2280, "reason": "already_published"},
        {"account_id": 2282, "reason": "already_published"},
        {"account_id": 2285, "reason": "account_needs_reconnection"},
    ]

    nothing, unknown, refused = run_sdk(
        server,
        ("posts", "retryFailed", {"post_ids": ids}),
        ("posts", "retryFailed", {"account_id": 1, "max_attempts": 5}),
        ("posts", "retryFailed", {}),
    )
    reasons = [skipped["reason"] for answer in answers for skipped in answer["skipped"]]
    blocked = reasons.count("account_needs_reconnection")
    assert unknown == {"retried_count": 0, "destinations": [], "message": "Nothing was retried."}
    assert nothing == {
        **unknown,
        "message": f"Nothing was retried. {blocked} were refused: their accounts need to be reconnected"
        " first.",
    }
    assert (refused["error"], refused["status"]) == ("ValidationError", 400)


def test_whatever_failed_and_matches_is_retried_by_one_call(server: ServerProcess) -> None:
    (answer,) = run_sdk(server, ("posts", "retryFailed", {"failed_after": "2020-01-01T00:00:00Z"}))

    assert answer["retried_count"] == len(answer["destinations"]) > 0
    for each in answer["destinations"]:
        assert list(each) == ["destination_id", "post_id", "platform", "new_status"]
        results = fetch_data(server, f"/posts/{each['post_id']}/results")["results"]
        (result,) = (one for one in results if one["id"] == each["destination_id"])
        assert (result["status"], result["error"]) == ("queued", None)
