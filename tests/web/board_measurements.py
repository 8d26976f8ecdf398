"""Measures the board in Chromium: `python -m tests.web.board_measurements`.

Sizes, times under a slow processor and network, and the cost of live changes. A machine that does other work
meanwhile has longer times.
"""

import asyncio
import json
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import click
import httpx
import orjson
import websockets
from playwright.async_api import CDPSession

from app.web.static_files import STATIC_DIR
from tests.bench import linux_processes
from tests.bench.seeding import Dataset, seed
from tests.command_processes import spawn
from tests.servers import TIMEOUT_SECONDS, ServerProcess, run_server
from tests.web.chromium import open_chromium
from tests.web.measured_board import Board, Measurement, slow_down

POSTS = 100_000
"""Each has three destinations."""
RUNS = 5
"""Runs of a measurement whose median counts."""
NETWORK = {
    "offline": False,
    "latency": 100,
    "downloadThroughput": 9_000_000 / 8,
    "uploadThroughput": 3_000_000 / 8,
}
CHANGES_PER_SECOND = 20
CHANGED_POSTS = 3
BOARDS = 50
REFRESH_SECONDS = 5
"""Interval at which an open board reads changed numbers, as `live/refresh-scheduler.ts` has it."""
TODAY_GROUPS, TODAY_ACCOUNTS = 10 + 1, 50 + 1
"""Rows that Today reads: those that it shows and one more, as `routes/today/today.tsx` has it."""
SCROLLED_ROWS = 10_000

PAGES = ("Results", "Accounts", "Calendar")

_CHANGE_PAGE = """
(name) => new Promise((resolve) => {
    const startedAt = performance.now();
    const check = () => {
        const isShown = document.querySelector("h1")?.textContent !== "Today";
        if (isShown && !document.querySelector(".skeleton")) resolve(performance.now() - startedAt);
        else requestAnimationFrame(check);
    };
    [...document.querySelectorAll(".navigation a")].find((link) => link.textContent === name).click();
    requestAnimationFrame(check);
})
"""

_PAINTS = """
new Promise((resolve) => {
    const first = performance.getEntriesByName("first-contentful-paint")[0].startTime;
    new PerformanceObserver((list) => resolve([first, list.getEntries().at(-1).startTime]))
        .observe({ type: "largest-contentful-paint", buffered: true });
})
"""

_INP = """
() => {
    const durations = [...window.interactions.values()].sort((a, b) => b - a);
    return durations[Math.min(durations.length - 1, Math.floor(performance.interactionCount / 50))];
}
"""
"""The longest interaction, of which the highest of every 50 are ignored: https://web.dev/articles/inp."""

_WATCH_CHANGES = """
window.shownAt = {};
const watch = () => {
    for (const [, number] of document.body.textContent.matchAll(/change (\\d+)\\./g)) {
        window.shownAt[number] ??= Date.now();
    }
};
new MutationObserver(watch).observe(document.body, { subtree: true, childList: true, characterData: true });
"""


async def measure_first_load(board: Board) -> list[Measurement]:
    """Requests and bytes until the page is live, with an empty cache."""
    async with board.page() as (page, session):
        transferred: dict[str, float] = {}
        urls: dict[str, str] = {}
        await session.send("Network.enable")
        session.on(
            "Network.responseReceived",
            lambda e: urls.update({e["requestId"]: e["response"]["url"]}),
        )
        session.on(
            "Network.loadingFinished",
            lambda e: transferred.update({e["requestId"]: e["encodedDataLength"]}),
        )
        await board.open(page, "")
        scripts = sum(
            size for request, size in transferred.items() if urls[request].endswith(".js")
        )
        foreign = [url for url in urls.values() if not url.startswith(board.server.url)]
    return [
        Measurement("first load: JavaScript, compressed", scripts / 1000, 200, "kB"),
        Measurement("first load: requests", len(urls), 6, ""),
        Measurement("first load: requests to other servers", len(foreign), 0, ""),
    ]


async def measure_paints(board: Board) -> list[Measurement]:
    """First and largest paint of Today, with a slow processor and network; medians."""
    paints = []
    for _ in range(RUNS):
        async with board.page() as (page, session):
            await session.send("Network.emulateNetworkConditions", NETWORK)
            await slow_down(page, session)
            await board.open(page, "")
            paints.append(await page.evaluate(_PAINTS))
    first, largest = (statistics.median(times) / 1000 for times in zip(*paints, strict=True))
    return [
        Measurement("first contentful paint, slow", first, 1.0, "s"),
        Measurement("largest contentful paint, slow", largest, 1.5, "s"),
    ]


async def measure_pages(board: Board) -> list[Measurement]:
    """Change from Today to pages about all posts until they show their data; medians."""
    results = []
    for name in PAGES:
        times = []
        for _ in range(RUNS):
            async with board.page() as (page, _session):
                await board.open(page, "")
                times.append(await page.evaluate(_CHANGE_PAGE, name))
        results.append(Measurement(f"change to {name}", statistics.median(times), 250, "ms"))
    return results


async def measure_interactions(board: Board) -> list[Measurement]:
    """Interaction to Next Paint (INP) of 50 interactions with the list, with a slow processor; median."""
    inps = [await _interaction_to_next_paint(board) for _ in range(RUNS)]
    return [Measurement("interaction to next paint, slow", statistics.median(inps), 100, "ms")]


async def _interaction_to_next_paint(board: Board) -> float:
    async with board.page() as (page, session):
        await board.open(page, "/results")
        await slow_down(page, session)
        for key in ["j"] * 30 + ["x", "j"] * 5 + ["k"] * 10:
            await page.keyboard.press(key)
            await page.evaluate(
                "() => new Promise((done) => requestAnimationFrame(() => setTimeout(done)))"
            )
        await page.wait_for_function("() => window.interactions.size > 0")
        return float(await page.evaluate(_INP))


_SCROLL = """
async ([rows, maxSeconds]) => {
    const PIXELS_PER_FRAME = 200;
    const deadline = performance.now() + 1000 * maxSeconds;
    window.longFrames = [];
    let [elements, row] = [0, 0];
    while (row < rows && performance.now() < deadline) {
        window.scrollBy(0, PIXELS_PER_FRAME);
        await new Promise(requestAnimationFrame);
        elements = Math.max(elements, document.getElementsByTagName("*").length);
        row = Number(document.querySelector(".results-table tbody tr:last-child").ariaRowIndex);
    }
    return [elements, row, window.longFrames];
}
"""
"""Scrolls about 200 rows a second, in the page, because the commands of a driver would delay its frames."""


async def measure_scrolling(board: Board) -> list[Measurement]:
    """Scroll through many rows; the largest number of elements, and the median of the longest frames."""
    runs = [await _scroll(board) for _ in range(RUNS)]
    elements, rows, longest_frames = zip(*runs, strict=True)
    return [
        Measurement(
            f"scrolling: rows not reached of {SCROLLED_ROWS:,}",
            max(0, SCROLLED_ROWS - min(rows)),
            0,
            "",
        ),
        Measurement("scrolling: elements", max(elements), 1_500, ""),
        Measurement("scrolling: longest frame", statistics.median(longest_frames), 100, "ms"),
    ]


async def _scroll(board: Board) -> tuple[int, int, float]:
    """Return the largest number of elements, the last row, and the longest frame in milliseconds.

    Browsers report no frames of less than 50 ms; without a longer one, that is 0.
    """
    async with board.page() as (page, _session):
        await board.open(page, "/results")
        elements, rows, frames = await page.evaluate(_SCROLL, [SCROLLED_ROWS, 10 * TIMEOUT_SECONDS])
    return elements, rows, max(frames, default=0)


async def measure_live_changes(board: Board, seconds: float) -> list[Measurement]:
    """Change posts of the visible rows, and measure when the page shows that, and what it costs."""
    async with board.page() as (page, session), _api(board) as client:
        await board.open(page, "/results?status=QUEUED&order=SCHEDULED_FOR")
        posts = await _first_queued_posts(client)
        await page.evaluate(_WATCH_CHANGES)
        await session.send("Performance.enable")
        await slow_down(page, session)
        heap_before = await _heap_bytes(session)
        busy_before, started_at = await _busy_seconds(session), time.monotonic()
        committed_at = await _change_posts(client, posts, seconds)
        await page.wait_for_function(
            "(last) => window.shownAt[last] !== undefined", arg=str(max(committed_at))
        )
        busy = (await _busy_seconds(session) - busy_before) / (time.monotonic() - started_at)
        heap = await _heap_bytes(session) - heap_before
        shown_at: dict[str, float] = await page.evaluate("window.shownAt")
    delays = _delays(committed_at, {int(number): at for number, at in shown_at.items()}, len(posts))
    return [
        Measurement(
            "live: shown after commit, 95 %", statistics.quantiles(delays, n=20)[-1], 400, "ms"
        ),
        Measurement("live: main thread, slow", 100 * busy, 25, "%"),
        Measurement("live: growth of the heap", heap / 1e6, 5, "MB"),
    ]


def _delays(
    committed_at: Mapping[int, float], shown_at: Mapping[int, float], posts: int
) -> list[float]:
    """Milliseconds from each commit until the page showed it, or a later change of the same post."""
    last = max(committed_at)
    return [
        min(shown_at[later] for later in range(number, last + 1, posts) if later in shown_at) - at
        for number, at in committed_at.items()
        if any(later in shown_at for later in range(number, last + 1, posts))
    ]


async def _first_queued_posts(client: httpx.AsyncClient) -> list[str]:
    """Ids of posts that are due last, whose rows are at the top of the list."""
    response = await client.post(
        "/graphql",
        json={
            "query": "{ destinations(first: 20, filter: {status: [QUEUED]}, orderBy:"
            " {field: SCHEDULED_FOR, direction: DESC}) { nodes { postId } } }"
        },
    )
    nodes = response.raise_for_status().json()["data"]["destinations"]["nodes"]
    return list(dict.fromkeys(node["postId"] for node in nodes))[:CHANGED_POSTS]


async def _change_posts(
    client: httpx.AsyncClient, posts: list[str], seconds: float
) -> dict[int, float]:
    """Change one post after the other on a schedule; returns the time of each response by number."""
    committed_at: dict[int, float] = {}
    started_at = time.monotonic()
    for number in range(round(seconds * CHANGES_PER_SECOND)):
        await asyncio.sleep(started_at + number / CHANGES_PER_SECOND - time.monotonic())
        post = posts[number % len(posts)]
        response = await client.patch(f"/v1/posts/{post}", json={"content": f"change {number}."})
        response.raise_for_status()
        committed_at[number] = time.time() * 1000
    return committed_at


async def measure_open_boards(board: Board, seconds: float) -> list[Measurement]:
    """CPU time that open boards cost the server, in addition to that of the changes."""
    async with _api(board) as client:
        posts = await _first_queued_posts(client)
        alone = await _server_load(board, lambda: _change_posts(client, posts, seconds))
        async with asyncio.TaskGroup() as group:
            boards = [group.create_task(_follow_board(board)) for _ in range(BOARDS)]
            with_boards = await _server_load(board, lambda: _change_posts(client, posts, seconds))
            for each in boards:
                each.cancel()
    return [
        Measurement(
            f"{BOARDS} boards: CPU of the server", 100 * (with_boards - alone), 15, "% core"
        )
    ]


async def _server_load(board: Board, work: Callable[[], Awaitable[object]]) -> float:
    """CPU seconds of the server per second of the work."""
    pid = board.server.process.pid
    before, started_at = linux_processes.cpu_seconds(pid), time.monotonic()
    await work()
    return (linux_processes.cpu_seconds(pid) - before) / (time.monotonic() - started_at)


async def _follow_board(board: Board) -> None:
    """Do what an open page of Today does: follow the changes, and read its numbers again after some."""
    headers = {"Cookie": "; ".join(f"{each['name']}={each['value']}" for each in board.cookies)}
    documents = _board_documents()
    today = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    origin = board.server.url
    async with (
        httpx.AsyncClient(base_url=origin, headers={**headers, "Origin": origin}) as client,
        websockets.connect(
            f"{origin.replace('http', 'ws')}/graphql",
            subprotocols=[websockets.Subprotocol("graphql-transport-ws")],
            origin=websockets.Origin(origin),
            additional_headers=headers,
        ) as socket,
    ):
        await socket.send(json.dumps({"type": "connection_init"}))
        await socket.recv()
        payload = {"documentId": documents["changesSubscription"], "variables": {}}
        await socket.send(json.dumps({"id": "1", "type": "subscribe", "payload": payload}))
        refreshed_at = time.monotonic()
        async for _message in socket:
            if time.monotonic() - refreshed_at < REFRESH_SECONDS:
                continue
            refreshed_at = time.monotonic()
            now = datetime.now(UTC)
            variables = {
                "since": today.isoformat(),
                "until": (today + timedelta(days=1)).isoformat(),
                "outagesFrom": (now - timedelta(hours=1)).isoformat(),
                "outagesTo": now.isoformat(),
                "hasOutages": False,
                "groupCount": TODAY_GROUPS,
                "accountCount": TODAY_ACCOUNTS,
            }
            response = await client.post(
                "/graphql", json={"documentId": documents["todayQuery"], "variables": variables}
            )
            assert "errors" not in response.json(), response.text


def _board_documents() -> dict[str, str]:
    """Ids of the documents of the board by the name of their operation."""
    texts: dict[str, str] = orjson.loads((STATIC_DIR / "board" / "documents.json").read_bytes())
    return {text.split("(")[0].split()[1]: identifier for identifier, text in texts.items()}


@asynccontextmanager
async def _api(board: Board) -> AsyncIterator[httpx.AsyncClient]:
    headers = {"Authorization": f"Bearer {board.token}"}
    async with httpx.AsyncClient(base_url=board.server.url, headers=headers, timeout=30) as client:
        yield client


async def _busy_seconds(session: CDPSession) -> float:
    metrics = (await session.send("Performance.getMetrics"))["metrics"]
    return float(next(each["value"] for each in metrics if each["name"] == "TaskDuration"))


async def _heap_bytes(session: CDPSession) -> float:
    await session.send("HeapProfiler.collectGarbage")
    return float((await session.send("Runtime.getHeapUsage"))["usedSize"])


async def measure_all(server: ServerProcess, token: str, seconds: float) -> list[Measurement]:
    """Print and return all measurements."""
    results: list[Measurement] = []
    async with open_chromium() as browser:
        board = Board(browser, server, token)
        await board.sign_in()
        for measure in (
            measure_first_load,
            measure_paints,
            measure_pages,
            measure_interactions,
            measure_scrolling,
            lambda each: measure_live_changes(each, seconds),
            lambda each: measure_open_boards(each, min(seconds, 30)),
        ):
            for result in await measure(board):
                click.echo(result)
                results.append(result)
    return results


@click.command()
@click.option("--posts", default=POSTS, show_default=True, help="Number of posts.")
@click.option("--seconds", default=300.0, show_default=True, help="Duration of the live changes.")
def main(posts: int, seconds: float) -> None:
    """Print each value with its goal; exit with 1 if one is missed."""
    with tempfile.TemporaryDirectory() as name:
        url = f"sqlite+aiosqlite:///{name}/board.db"
        dataset = Dataset(posts, datetime.now(UTC))
        asyncio.run(seed([url], dataset))
        settings = {"DATABASE_URL": url, "RATE_LIMIT": "off", "BOARD_RATE_LIMIT": "off"}
        with run_server(Path(name), settings, start=spawn) as server:
            results = asyncio.run(measure_all(server, dataset.api_key.token, seconds))
    sys.exit(not all(result.meets_goal for result in results))


if __name__ == "__main__":
    main()
