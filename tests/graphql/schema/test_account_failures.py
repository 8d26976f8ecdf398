"""Failures and statistics of accounts, compared with a plain computation over random destinations."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from random import Random
from typing import Any

import pytest

from app import services
from app.db import repositories
from app.domain.destinations import DestinationState, ErrorCategory, Outcome
from app.domain.diagnosis import CANCELLED
from app.domain.ids import AccountId, DestinationId
from app.domain.times import format_instant
from tests.clients import Tenant
from tests.factories import (
    NOW,
    add_account,
    add_post,
    claimed,
    failed,
    published,
    queued,
    unknown,
    waiting_for_retry,
)
from tests.graphql.outcome_histories import (
    COUNTS,
    LATENESS,
    HistoryWriter,
    Query,
    expected_buckets,
)
from tests.graphql.tenant_objects import add_post_in_states, add_tenant, client_with_settings
from tests.recording_driver import record_statements

HOUR, MINUTE = timedelta(hours=1), timedelta(minutes=1)
FAILURES = """
accountId openFailures { count capped } unknownCount { count capped }
lastFailure { destinationId accountId failedAt errorCode post { postId } }
"""


@dataclass(frozen=True, slots=True)
class Stored:
    """A destination of a post that is not deleted."""

    id: DestinationId
    account_id: AccountId
    state: DestinationState


def random_state(random: Random) -> DestinationState:
    at = NOW - random.randint(0, 5) * MINUTE  # with ties
    cancelled = failed(category=ErrorCategory.PERMANENT, code=CANCELLED, settled_at=at)
    states = [cancelled, published(at), queued(), claimed(), waiting_for_retry(), unknown()]
    return random.choice([*states, *[failed(settled_at=at)] * 3])


async def add_random_destinations(
    acme: Tenant, random: Random, accounts: Sequence[AccountId]
) -> list[Stored]:
    stored = []
    for _ in range(60):
        chosen = random.sample(accounts, 2)
        states = {account: random_state(random) for account in chosen}
        can_be_deleted = all(state.claimable_at is None for state in states.values()) and all(
            state.outcome is not Outcome.UNKNOWN for state in states.values()
        )
        is_deleted = can_be_deleted and random.random() < 0.5
        deleted_at = NOW if is_deleted else None
        post = await add_post(acme.database, acme.workspace, states, deleted_at=deleted_at)
        if not is_deleted:
            stored += [
                Stored(key, *item)
                for key, item in zip(post.destinations, states.items(), strict=True)
            ]
    return stored


def expected_failures(account: AccountId, stored: Sequence[Stored]) -> dict[str, Any]:
    on_account = [each for each in stored if each.account_id == account]
    is_unknown = [each.state.outcome is Outcome.UNKNOWN for each in on_account]
    open_failures = [
        each
        for each in on_account
        if each.state.outcome is Outcome.FAILED and each.state.error_code != CANCELLED
    ]
    last = max(open_failures, key=lambda each: (each.state.settled_at, str(each.id)), default=None)
    return {
        "openFailures": {"count": len(open_failures), "capped": False},
        "unknownCount": {"count": sum(is_unknown), "capped": False},
        "lastFailure": None if last is None else str(last.id),
    }


async def read_failures(acme: Tenant) -> dict[int, dict[str, Any]]:
    """Return the values of each account by number, with the id of the last failure."""
    data = await acme.client.query(f"{{ accounts {{ {FAILURES} }} }}")
    for account in data["accounts"]:
        if (last := account["lastFailure"]) is not None:
            assert last["accountId"] == account["accountId"]
            account["lastFailure"] = last["destinationId"]
    return {account.pop("accountId"): account for account in data["accounts"]}


async def test_failures_equal_a_plain_computation(acme: Tenant) -> None:
    random, other = Random(7), await add_tenant(acme)
    for tenant in (acme, other):
        accounts = [await add_account(acme.database, tenant.workspace) for _ in range(5)]
        stored = await add_random_destinations(tenant, random, accounts[:4])
        assert await read_failures(tenant) == {
            account: expected_failures(account, stored) for account in accounts
        }


NO_FAILURES = {
    "openFailures": {"count": 0, "capped": False},
    "unknownCount": {"count": 0, "capped": False},
    "lastFailure": None,
}


@pytest.mark.parametrize(
    ("state", "post", "expected"),
    [
        (failed(), {}, {"openFailures": {"count": 1, "capped": False}}),
        (failed(), {"deleted_at": NOW}, {}),
        (failed(category=ErrorCategory.PERMANENT, code=CANCELLED), {}, {}),
        (unknown(), {}, {"unknownCount": {"count": 1, "capped": False}}),
        (waiting_for_retry(), {}, {}),
        (published(), {}, {}),
    ],
)
async def test_state_decides_which_failure_counts(
    acme: Tenant, state: DestinationState, post: dict[str, Any], expected: dict[str, Any]
) -> None:
    added = await add_post_in_states(acme, state, **post)
    if "openFailures" in expected:
        expected = {**expected, "lastFailure": str(added.destinations[0])}
    assert await read_failures(acme) == {1: {**NO_FAILURES, **expected}}


async def test_last_failure_is_a_whole_destination(acme: Tenant) -> None:
    account = await add_account(acme.database, acme.workspace)
    for hours in (2, 0, 1):
        state = failed(code=f"CODE_{hours}", settled_at=NOW - hours * HOUR)
        await add_post(acme.database, acme.workspace, {account: state}, content=f"{hours} h ago")
    await add_post(acme.database, acme.workspace, {account: unknown(settled_at=NOW + HOUR)})
    document = """
    { account(accountId: 1) {
        lastFailure { accountId status failedAt errorCode diagnosis { nextAction } post { content } }
    } }
    """
    data = await acme.client.query(document)
    assert data["account"]["lastFailure"] == {
        "accountId": 1,
        "status": "FAILED",
        "failedAt": format_instant(NOW),
        "errorCode": "CODE_0",
        "diagnosis": {"nextAction": "EDIT_POST"},
        "post": {"content": "0 h ago"},
    }


async def test_numbers_above_the_limit_are_capped(
    acme: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (repositories.account_failures, services.board_counts):
        monkeypatch.setattr(module, "MAX_BOARD_COUNT", 2)
    account = await add_account(acme.database, acme.workspace)
    for state in [failed(), unknown()] * 2 + [failed(), failed()]:
        await add_post(acme.database, acme.workspace, {account: state})
    numbers = (await read_failures(acme))[account]
    assert numbers["openFailures"] == {"count": 2, "capped": True}
    assert numbers["unknownCount"] == {"count": 2, "capped": False}


# Statistics

STATS = f"""
query ($from: DateTime!, $to: DateTime!, $since: DateTime!) {{
  accounts {{
    accountId
    stats(from: $from, to: $to) {{ {COUNTS} {LATENESS} }}
    longer: stats(from: $since, to: $to) {{ {COUNTS} {LATENESS} }}
  }}
}}
"""


async def test_stats_equal_those_of_outcome_stats_computed_plainly(acme: Tenant) -> None:
    random = Random(11)
    writer = HistoryWriter(acme, random, NOW)
    await writer.add_accounts()
    histories = [history for _ in range(60) for history in await writer.add_post()]
    unused = await add_account(acme.database, acme.workspace)
    for _ in range(6):
        start = NOW - random.randint(1, 4 * 24 * 60) * MINUTE
        since, end = start - 9 * HOUR, start + random.randint(1, 2 * 24 * 60) * MINUTE
        data = await acme.client.query(
            STATS,
            **{"from": format_instant(start), "since": format_instant(since)},
            to=format_instant(end),
        )
        for account in data["accounts"]:
            for name, first in (("stats", start), ("longer", since)):
                query = Query(
                    start=first,
                    end=end,
                    interval=None,
                    timezone="UTC",
                    group_by=[],
                    filter={"accountId": [account["accountId"]]},
                )
                (bucket,) = expected_buckets(query, histories)
                assert account[name] == bucket["counts"], query
        assert data["accounts"][-1]["accountId"] == unused


@pytest.mark.parametrize("end", ["2026-04-01", "2026-03-31T23:59:59.999Z"])
async def test_empty_period_is_refused(acme: Tenant, end: str) -> None:
    await add_account(acme.database, acme.workspace)
    answer = await acme.client.execute(
        f'{{ account(accountId: 1) {{ stats(from: "2026-04-01", to: "{end}") {{ failed }} }} }}'
    )
    assert answer["data"] == {"account": {"stats": None}}
    (error,) = answer["errors"]
    assert (error["path"], error["message"], error["extensions"]) == (
        ["account", "stats"],
        "to must be later than from.",
        {"code": "VALIDATION_ERROR", "field": "to"},
    )


async def test_each_statistic_is_an_entry_of_the_response(acme: Tenant) -> None:
    for _ in range(3):
        await add_account(acme.database, acme.workspace)
    period = 'from: "2026-04-01", to: "2026-04-02"'
    async with client_with_settings(acme, GRAPHQL_MAX_LIST_ENTRIES="6") as client:
        data = await client.query(f"{{ accounts {{ stats({period}) {{ failed }} }} }}")
        assert data == {"accounts": [{"stats": {"failed": 0}}] * 3}
        assert await client.expect_error(
            f"{{ accounts {{ a: stats({period}) {{ failed }} b: stats({period}) {{ failed }} }} }}"
        ) == (
            "LIMIT_EXCEEDED",
            None,
            "The lists in the response have at least 7 entries; at most 6 are allowed. Request smaller"
            " pages or fewer lists.",
        )


async def test_number_of_statements_does_not_depend_on_the_number_of_accounts(
    acme: Tenant,
) -> None:
    """After one account, three more are added, on two platforms as before."""
    numbers = []
    for count in (2, 6):
        for _ in range(count):
            for platform in ("instagram", "x"):
                account = await add_account(acme.database, acme.workspace, platform=platform)
                await add_post(acme.database, acme.workspace, {account: failed()})
        with record_statements(acme.database) as statements:
            await acme.client.query(
                f'{{ accounts {{ {FAILURES} stats(from: "2026-04-01", to: "2026-05-01") {{ failed }} }} }}'
            )
        numbers.append(len(statements))
    # The accounts, three numbers, the posts of the last failures; outcomes of deleted posts, of all
    # platforms, and the lookups of three platforms.
    assert numbers == [5 + 1 + 1 + 3] * 2
