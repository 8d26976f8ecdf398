"""Comparison of platforms with reports, and a short run of the script that kills publishing workers."""

from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any

import pytest

from tests.platform_kills import PlatformResults, compare, publish_while_killing_workers
from tests.platforms.proxied_platforms import PROXIED_PLATFORMS, PlatformPost

TWO = [
    PlatformPost("1", "https://a.test/1", "Post 0"),
    PlatformPost("2", "https://a.test/2", "Post 1"),
]
COPY = PlatformPost("3", "https://a.test/3", "Post 1")


def destination(
    number: int, url: str | None, *, status: str = "PUBLISHED", is_duplicated: bool = False
) -> dict[str, Any]:
    return {
        "status": status,
        "platformPostUrl": url,
        "isDuplicated": is_duplicated,
        "post": {"content": f"Post {number}"},
    }


FIRST, SECOND = destination(0, TWO[0].url), destination(1, TWO[1].url)


@pytest.mark.parametrize(
    ("name", "on_platform", "destinations", "unknown", "failures"),
    [
        ("bluesky", TWO, [FIRST, SECOND], 1, []),
        ("bluesky", TWO, [FIRST, SECOND], 0, ["too few unknown outcomes"]),
        ("bluesky", TWO[:1], [FIRST, SECOND], 2, ["lost posts", "posts without a correct report"]),
        (
            "bluesky",
            [*TWO, COPY],
            [FIRST, destination(1, COPY.url, is_duplicated=True)],
            2,
            ["double posts"],
        ),
        (
            "snac2",
            [*TWO, COPY],
            [FIRST, SECOND],
            2,
            ["double posts", "double posts that are not reported"],
        ),
        (
            "bluesky",
            TWO,
            [FIRST, destination(1, FIRST["platformPostUrl"])],
            2,
            ["posts without a correct report"],
        ),
        (
            "bluesky",
            TWO,
            [FIRST, destination(1, None, status="FAILED")],
            2,
            ["posts without a correct report"],
        ),
    ],
)
def test_results_name_each_limit_that_is_not_met(
    name: str,
    on_platform: Sequence[PlatformPost],
    destinations: Sequence[dict[str, Any]],
    unknown: int,
    failures: list[str],
) -> None:
    assert compare(name, 2, on_platform, destinations, unknown).failures == failures


def test_one_double_post_of_a_hundred_is_allowed_without_keys() -> None:
    results = PlatformResults(
        name="snac2",
        posts=100,
        on_platform=101,
        distinct=100,
        reported=100,
        unknown=50,
        duplicated=1,
    )
    assert results.failures == []


@pytest.mark.slow
async def test_posts_are_published_once_although_workers_are_killed(
    database_url: str, tmp_path: Path
) -> None:
    with PROXIED_PLATFORMS["bluesky"](tmp_path) as platform:
        results, problems = await publish_while_killing_workers(
            database_url,
            tmp_path,
            {"bluesky": platform},
            posts=20,
            kills=2,
            randomness=Random(3),
        )

    assert [result.failures for result in results] == [[]]
    assert problems == []
