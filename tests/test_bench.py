"""The benchmark without measurements: rows, requests, responses, ratios and reports.

The peers that need Node.js are verified by each run of `scripts/bench`.
"""

import asyncio
import os
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest
from graphql import build_schema, parse, validate

from app.db.core.database import Database
from app.db.tools.integrity import find_problems
from app.domain.destinations import DestinationStatus
from app.graphql.ast.document_index import DocumentIndex
from app.graphql.engine.cost import analyze_cost
from app.graphql.engine.limits import collect_stats, enforce_limits
from app.settings import GraphQLLimits, Settings, read_settings
from tests.bench import postgraphile, seeding
from tests.bench.contender_list import (
    ENGINES,
    FIXED_BODY,
    NO_ENGINE,
    POST_RESULTS_BARE,
    POST_RESULTS_SERVER,
    Name,
    contenders,
)
from tests.bench.linux_processes import Memory
from tests.bench.load import LoadResult
from tests.bench.ratio import (
    RATIO_TABLE,
    ExpectedRatios,
    MeasuredRatio,
    best_measurement,
    best_of_runs,
    format_ratios,
    improvements,
    measure_runs,
    parse_ratios,
    regression_message,
    regressions,
)
from tests.bench.report import render_report
from tests.bench.requests import GRAPHQL, POST_RESULTS_QUERY, POSTS_QUERY, QUERIES
from tests.bench.results import Results, Verdict, verdicts
from tests.bench.rounds import ResponseMismatch, start_all, verify_all
from tests.bench.scaling import CostByScale
from tests.bench.servers import run_contender
from tests.bench.startup import DemoStartup, start_demo
from tests.external_programs import ROOT
from tests.factories import NOW

SQLITE, POSTGRESQL = ENGINES

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def dataset() -> seeding.Dataset:
    return seeding.Dataset(120, NOW)


async def test_seeded_posts_have_three_accounts_and_pass_the_integrity_check(
    database_url: str, dataset: seeding.Dataset
) -> None:
    ids = await seeding.seed([database_url], dataset)

    posts = [history.post for history in dataset.histories()]
    assert ids == [post.id for post in posts]
    destinations = [destination for post in posts for destination in post.destinations]
    assert len(destinations) == 3 * len(posts) == 360
    assert {destination.state.status for destination in destinations} == set(DestinationStatus)
    async with Database(database_url) as database:
        assert await find_problems(database) == []


def test_datasets_of_the_same_time_are_equal(dataset: seeding.Dataset) -> None:
    same = seeding.Dataset(dataset.posts, dataset.now)
    assert [*dataset.histories()] == [*same.histories()]


def test_creation_time_of_a_post_follows_from_its_depth(dataset: seeding.Dataset) -> None:
    posts = [history.post for history in dataset.histories()]

    assert posts[-1].created_at == dataset.created_at(0)
    assert posts[0].created_at == dataset.created_at(119)


def test_benchmark_documents_are_valid_and_within_the_default_limits() -> None:
    schema = build_schema((ROOT / "schema.graphql").read_text())
    for text, variables, nodes in (
        (POST_RESULTS_QUERY, {"id": "-"}, 0),
        (POSTS_QUERY, {"n": 100}, 100),
    ):
        document = parse(text)
        index = DocumentIndex(document)
        (operation,) = index.operations

        assert validate(schema, document) == []
        enforce_limits(collect_stats(index), GraphQLLimits())
        cost = analyze_cost(schema, index, operation)
        cost.check_node_limit(variables, GraphQLLimits())
        assert cost.count_nodes(variables) == nodes


def test_python_contenders_return_the_responses_of_post_results(
    engine: str, database_url: str, dataset: seeding.Dataset, tmp_path: Path
) -> None:
    folder = tmp_path / "bodies"
    folder.mkdir()
    all_contenders = contenders({engine: database_url}, folder)
    in_python = [contender for contender in all_contenders if contender.command[0] != "node"]
    ids = asyncio.run(seeding.seed([database_url], dataset))[:25]

    with ExitStack() as stack:
        servers = start_all(
            stack, in_python, folder, dataset.api_key.token, ids, min(os.sched_getaffinity(0))
        )

        assert [server.name for server in servers] == [
            Name(POST_RESULTS_SERVER, engine),
            Name(POST_RESULTS_BARE, engine),
            Name("data-limit", engine),
            Name("naive", engine),
            Name(FIXED_BODY, NO_ENGINE),
        ]
        responses = verify_all(servers[:4], ids)
        assert {query: len(bodies) for query, bodies in responses.items()} == {
            "Q1": 25,
            "Q2": 1,
            "Q3": 1,
            "R1": 25,
        }
        fixed = {file.stem: file.read_bytes() for file in folder.iterdir()}
        assert fixed["Q3"] == responses["Q3"][0]
        assert fixed["Q1"] in responses["Q1"]
        # It returns the same body for every post.
        with pytest.raises(
            ResponseMismatch,
            match=f"^fixed-body and {POST_RESULTS_SERVER} {engine} differ in Q1: at ",
        ):
            verify_all([servers[0], servers[4]], ids)


def test_only_the_bare_server_writes_no_access_log_and_counts_no_requests(
    database_url: str, engine: str, dataset: seeding.Dataset, tmp_path: Path
) -> None:
    (post_id, *_) = asyncio.run(seeding.seed([database_url], dataset))
    token = dataset.api_key.token
    path = f"/v1/posts/{post_id}/results"
    remaining, logged = {}, {}
    for contender in list(contenders({engine: database_url}, tmp_path))[:2]:
        with run_contender(
            contender,
            cpu=min(os.sched_getaffinity(0)),
            token=token,
            post_id=post_id,
            logs=tmp_path,
        ) as server:
            headers = {"Authorization": f"Bearer {token}"}
            response = httpx.get(f"{server.url}{path}", headers=headers)
        remaining[contender.name.server] = response.headers["X-RateLimit-Remaining"]
        lines = server.log.read_text().splitlines()
        logged[contender.name.server] = sum("request finished" in line for line in lines)

    # The first request is that of the start.
    assert remaining == {POST_RESULTS_SERVER: "99999998", POST_RESULTS_BARE: "1000000"}
    assert logged == {POST_RESULTS_SERVER: 2, POST_RESULTS_BARE: 0}


def test_measured_server_logs_at_the_default_level() -> None:
    compared, *_ = contenders({SQLITE: "sqlite+aiosqlite:///bench.db"}, Path())

    assert read_settings(compared.environment).log_level == Settings().log_level
    assert len(read_settings(compared.environment).rate_limit) == len(Settings().rate_limit)


def test_request_contains_the_post_id() -> None:
    assert GRAPHQL["Q1"].with_post_id("17").body == (
        f'{{"query":"{POST_RESULTS_QUERY}","variables":{{"id":"17"}}}}'
    )
    assert not GRAPHQL["Q2"].takes_post_id


def test_postgraphile_responses_are_converted_to_the_schema_of_post_results() -> None:
    destination = {
        "accountId": 7,
        "status": "queued",
        "publishedAt": None,
        "nextRetryAt": "2026-04-15T14:30:05.1+00:00",
        "account": {"accountName": "@brand-7"},
    }
    post = {"postId": "a", "status": "partially_failed", "destinations": {"nodes": [destination]}}

    assert postgraphile.normalize({"data": {"post": post}}) == {
        "data": {
            "post": {
                "postId": "a",
                "status": "PARTIALLY_FAILED",
                "destinations": [
                    {
                        "accountId": 7,
                        "accountName": "@brand-7",
                        "status": "QUEUED",
                        "publishedAt": None,
                        "nextRetryAt": "2026-04-15T14:30:05.100Z",
                    }
                ],
            }
        }
    }


def test_ratio_is_that_of_the_medians() -> None:
    results = _make_results(
        {"Q1": {_post_results_name(POSTGRESQL): [100, 900, 160], YOGA: [20, 10, 90]}}
    )

    assert results.ratio("Q1", _post_results_name(POSTGRESQL), YOGA) == 8
    assert results.ratio("Q2", _post_results_name(POSTGRESQL), YOGA) is None
    assert results.ratio("Q1", _post_results_name(SQLITE), YOGA) is None


def test_goal_is_met_at_its_bound() -> None:
    results = _make_results(
        {
            "Q1": {
                _post_results_name(POSTGRESQL): [60],
                YOGA: [10],
                Name("postgraphile", POSTGRESQL): [12.5],
            },
            "R1": {_post_results_name(SQLITE): [59], Name(FIXED_BODY, NO_ENGINE): [100]},
        },
        {
            _post_results_name(POSTGRESQL): Memory(peak=110, private=40),
            _post_results_name(SQLITE): Memory(peak=111, private=40),
        },
    )

    measured = [verdict for verdict in verdicts(results) if verdict.is_met is not None]

    assert measured == [
        Verdict("Q1 postgresql ≥ 6 × yoga postgresql", "6.00 ×", is_met=True),
        Verdict("Q1 postgresql ≥ 5 × postgraphile postgresql", "4.80 ×", is_met=False),
        Verdict("R1 sqlite ≥ 60% of fixed-body", "59%", is_met=False),
        Verdict("peak memory sqlite ≤ 110 MB", "111 MB", is_met=False),
        Verdict("Q1 postgresql p99 ≤ 1.2 × the best peer", "0.21 ×", is_met=True),
        Verdict("peak memory postgresql ≤ 110 MB", "110 MB", is_met=True),
    ]


def test_report_contains_measured_and_unmeasured_goals() -> None:
    results = _make_results(
        {
            "Q1": {YOGA: [10], _post_results_name(POSTGRESQL): [60, 50, 70]},
            "R1": {
                _post_results_name(POSTGRESQL): [80],
                _post_results_name(SQLITE): [50],
                Name(FIXED_BODY, NO_ENGINE): [100],
            },
        },
        {
            YOGA: Memory(peak=80, private=60.4),
            Name(FIXED_BODY, NO_ENGINE): Memory(peak=30, private=10),
            _post_results_name(SQLITE): Memory(peak=91, private=50),
            _post_results_name(POSTGRESQL): Memory(peak=90.6, private=55),
        },
    )
    all_verdicts = [Verdict("a goal", "7 ×", is_met=False), Verdict("another")]

    assert list(render_report(results, all_verdicts, {"cores": "2"})) == [
        "",
        "### Q1: one post's results",
        "",
        "| server | requests/s | min–max | p50 ms | p99 ms | CPU s/1,000 | PostgreSQL CPU s/1,000 |",
        "| --- | --: | --: | --: | --: | --: | --: |",
        "| **post-results postgresql** | 60 | 50–70 | 16.67 | 16.67 | 0.600 | 0.500 |",
        "| yoga postgresql | 10 | 10–10 | 100.00 | 100.00 | 0.100 | 0.500 |",
        "",
        "### R1: one post's results by REST",
        "",
        "| server | requests/s | min–max | p50 ms | p99 ms | CPU s/1,000 | PostgreSQL CPU s/1,000 |",
        "| --- | --: | --: | --: | --: | --: | --: |",
        "| fixed-body | 100 | 100–100 | 10.00 | 10.00 | 1.000 | 0.500 |",
        "| **post-results postgresql** | 80 | 80–80 | 12.50 | 12.50 | 0.800 | 0.500 |",
        "| **post-results sqlite** | 50 | 50–50 | 20.00 | 20.00 | 0.500 | 0.500 |",
        "",
        "### post-results ÷ server, on the same engine",
        "",
        "`rate`: requests per second. `CPU`: CPU time of a request, without that of PostgreSQL."
        " `p99`: milliseconds of the server itself.",
        "",
        "| server | Q1 rate | Q1 CPU | Q1 p99 | R1 rate | R1 CPU | R1 p99 | peak MB | private MB |",
        "| --- | --: | --: | --: | --: | --: | --: | --: | --: |",
        "| fixed-body |  |  |  | 0.50 / 0.80 | 0.50 / 0.80 | 10.00 | 30 | 10 |",
        "| yoga postgresql | 6.00 | 6.00 | 100.00 |  |  |  | 80 | 60 |",
        "| post-results postgresql | 1.00 | 1.00 | 16.67 | 1.00 | 1.00 | 12.50 | 91 | 55 |",
        "| post-results sqlite |  |  |  | 1.00 | 1.00 | 20.00 | 91 | 50 |",
        "",
        "### Goals",
        "",
        "- a goal · 7 × · **not met**",
        "- another · not measured · –",
        "",
        "### Machine and versions",
        "",
        "- cores 2",
    ]


def test_ratio_is_that_of_the_best_rounds() -> None:
    ours = [LoadResult(rate, 1, 1, cpu, 0) for rate, cpu in ((10, 6), (30, 3), (20, 4))]
    limits = [LoadResult(rate, 1, 1, cpu, 0) for rate, cpu in ((50, 2), (70, 2.5), (60, 4))]

    measured = best_measurement("Q1", ours, limits)

    assert measured == MeasuredRatio("Q1", cpu=(3, 2), rates=(30, 70))
    assert measured.line(expected=1.2) == (
        "Q1   1.50 × the limit's CPU time, expected 1.20"
        "  (3.000 and 2.000 s per 1,000 requests; 30 and 70 requests/s)"
    )


def test_only_queries_that_were_too_slow_in_every_run_are_measured_again() -> None:
    expected = ExpectedRatios("somewhere", dict.fromkeys(QUERIES, 10))
    ratios: dict[str, list[float]] = {
        "Q1": [15, 14, 14.5],
        "Q2": [14, 13],
        "Q3": [10],
        "R1": [13.5],
    }
    measured: list[Sequence[str]] = []

    def measure(queries: Sequence[str]) -> dict[str, MeasuredRatio]:
        run = len(measured)
        measured.append(queries)
        return {query: MeasuredRatio(query, (ratios[query][run], 1), (1, 1)) for query in queries}

    runs = list(measure_runs(measure, expected))

    assert measured == [QUERIES, ["Q1", "Q2"], ["Q1"]]
    best = best_of_runs(runs)
    assert {query: result.ratio for query, result in best.items()} == {
        "Q1": 14,
        "Q2": 13,
        "Q3": 10,
        "R1": 13.5,
    }
    assert regressions(best, expected) == ["Q1"]


def test_ratio_is_not_measured_again_without_a_regression() -> None:
    expected = ExpectedRatios("somewhere", dict.fromkeys(QUERIES, 1))
    run = {query: MeasuredRatio(query, (1, 1), (1, 1)) for query in QUERIES}

    assert list(measure_runs(lambda queries: run, expected)) == [run]


def test_ratio_table_is_read_as_it_was_written() -> None:
    expected = ExpectedRatios('a "quiet" machine', {"Q1": 5.96, "R1": 6.0})

    assert format_ratios(expected) == (
        "# CPU time of a request with access log and rate limits, divided by that of the data limit, on"
        " SQLite.\n"
        "# scripts/ratio compares new measurements with this table; scripts/ratio --renew rewrites it.\n"
        'origin = "a \\"quiet\\" machine"\n'
        "\n"
        "[ratios]\n"
        "Q1 = 5.96\n"
        "R1 = 6.00\n"
    )
    assert parse_ratios(format_ratios(expected)) == expected


def test_ratio_table_contains_every_query() -> None:
    assert tuple(parse_ratios(RATIO_TABLE.read_text()).ratios) == QUERIES


def test_ratio_may_exceed_the_expected_one_by_the_margin() -> None:
    expected = ExpectedRatios("somewhere", {"Q1": 20, "Q2": 20, "Q3": 27, "R1": 27.01})
    ratios = {"Q1": 27, "Q2": 27.01, "Q3": 20, "R1": 20}
    measured = {query: MeasuredRatio(query, (ratio, 1), (1, 1)) for query, ratio in ratios.items()}

    assert regressions(measured, expected) == ["Q2"]
    assert improvements(measured, expected) == ["R1"]


def test_regression_message_contains_the_increase_and_the_next_step() -> None:
    expected = ExpectedRatios("somewhere", {"Q1": 5})

    assert regression_message(MeasuredRatio("Q1", (7, 1), (1, 1)), expected) == (
        "Q1 takes 7.00 times the CPU time of the data limit: 40% more than the expected 5.00; 35%"
        " are allowed. Find the cause. If the change is worth it, or if the machine differs from that of"
        " the table (somewhere), run scripts/ratio --renew and give the reason in the commit."
    )


def test_cost_is_flat_up_to_the_limit() -> None:
    cost = CostByScale("A page", "posts before it")
    for rounds in ((2, 2.5, 9), (3, 3, 1)):
        cost.add(0, rounds[0])
        cost.add(1_000, rounds[1])
        cost.add(20_000, rounds[2])

    assert list(cost.lines()) == [
        "          0 posts before it     2.500 ms    1.00 ×",
        "      1,000 posts before it     2.750 ms    1.10 ×",
        "     20,000 posts before it     5.000 ms    2.00 ×",
    ]
    assert cost.verdict() == (
        "A page is NOT flat: 2.0 times the first size at 20,000 posts before it; the limit is 1.5."
    )
    flat = CostByScale("A page", "posts before it", {0: [2], 1_000: [3]})
    assert flat.verdict() == "A page is flat: at most 1.50 times the first size."


async def test_start_with_demo_data_ends_with_a_graphql_result(
    engine: str, empty_database_url: str, tmp_path: Path
) -> None:
    startup = await asyncio.to_thread(start_demo, engine, empty_database_url, tmp_path)

    assert 0 < startup.live < startup.first_result
    assert startup.cpu > 0


def test_best_start_has_the_lowest_time_of_each_kind() -> None:
    best = DemoStartup(1.234, 1.3, 1).best(DemoStartup(1.25, 1.26, 0.987))

    assert str(best) == "/livez 1.23 s, first GraphQL result 1.26 s, CPU time 0.99 s"


YOGA = Name("yoga", POSTGRESQL)


def _post_results_name(engine: str) -> Name:
    return Name(POST_RESULTS_SERVER, engine)


def _make_results(
    rates: Mapping[str, Mapping[Name, list[float]]], memory: Mapping[Name, Memory] | None = None
) -> Results:
    """Results of servers with these requests per second, and a hundredth as CPU time, in each round."""
    rounds = {
        query: {
            name: [
                LoadResult(rate, 1000 / rate, 1000 / rate, rate / 100, 0.5)
                for rate in rates_of_rounds
            ]
            for name, rates_of_rounds in by_name.items()
        }
        for query, by_name in rates.items()
    }
    return Results(rounds, memory or {})
