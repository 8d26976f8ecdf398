"""The npm SDK of the documented API, unmodified: it gives its caller what the API answers."""

import json
import re
from typing import Any

from tests.programs import run
from tests.servers import DEMO_KEY, DEMO_POST, Server

Call = tuple[str, str] | tuple[str, str, Any]

READS: list[tuple[Call, str]] = [
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


def call(server: Server, *calls: Call, key: str = DEMO_KEY) -> list[Any]:
    """What the SDK gives for each call, or what it raises."""
    answers: list[Any] = json.loads(
        run("node", "sdk.mjs", server.url, key, stdin=json.dumps(calls))
    )
    return answers


def test_every_read_gives_what_the_api_answers(demo_server: Server) -> None:
    answers = call(demo_server, *(each for each, _ in READS))

    for (_, path), answer in zip(READS, answers, strict=True):
        assert answer == demo_server.get(f"/v1{path}", DEMO_KEY).json()["data"], path


def test_me_and_the_summary_of_a_month_are_given(demo_server: Server) -> None:
    me, month = call(demo_server, ("me", "get"), ("analytics", "summary", {"period": "month"}))

    assert me["workspace"]["name"] == "Demo"
    assert me["stats"]["total_posts"] > 200
    assert month["period"] == "month"
    counts = month["posts"]
    assert 0 < counts["total"] == sum(counts.values()) - counts["total"]


def test_errors_become_the_exceptions_of_the_sdk(demo_server: Server) -> None:
    unknown = DEMO_POST.replace("f47", "000")
    missing, malformed, unserved = call(
        demo_server, ("posts", "get", unknown), ("posts", "get", "x"), ("media", "list")
    )
    (refused,) = call(demo_server, ("me", "get"), key="pe_live_" + "0" * 32)

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
