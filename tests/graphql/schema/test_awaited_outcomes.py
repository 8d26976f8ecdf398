"""Destinations that await their outcome: one condition for fields, filters and numbers, also in mirrors."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from app.domain.destinations import (
    DestinationState,
    DestinationStatus,
    awaits_outcome,
)
from app.domain.diagnosis import Diagnosis, ErrorSource, NextAction, diagnose_destination
from app.domain.times import format_instant
from app.domain.transitions import retried, unclaimable
from tests.clients import Tenant
from tests.domain.destination_states import ALL_STATES
from tests.factories import (
    NOW,
    add_account,
    add_api_key,
    add_post,
    add_workspace,
    claimed,
    draft,
    failed,
    published,
    queued,
    started,
    unknown,
    waiting_for_retry,
)

HOUR = timedelta(hours=1)

STATES: Mapping[str, DestinationState] = {
    "draft": draft(),
    "queued": queued(NOW + HOUR),
    "due": queued(NOW - HOUR),
    "retrying": waiting_for_retry(NOW + HOUR, due_at=NOW - HOUR),
    "retried": retried(failed(due_at=NOW - HOUR), NOW),
    "claimed": claimed(),
    "started": started(),
    "published": published(),
    "failed": failed(),
    "unknown": unknown(),
    "queued at the source": unclaimable(queued(NOW + HOUR)),
    "due at the source": unclaimable(queued(NOW - HOUR)),
    "retrying at the source": unclaimable(waiting_for_retry(NOW + HOUR, due_at=NOW - HOUR)),
    "publishing at the source": replace(
        unclaimable(queued(NOW - HOUR)), status=DestinationStatus.PUBLISHING
    ),
}
"""States by the content of their post."""

AT_SOURCE = {name for name in STATES if name.endswith("at the source")}
FIELDS = (
    "post { content } status awaitsOutcome nextRetryAt latenessSeconds pollAfterSeconds"
    " diagnosis { willRetry nextAction source fix } outlook { attempt nextAt givesUpAt sentence }"
)
NUMBERS = f"""
    boardCounts(since: "{format_instant(NOW - HOUR)}") {{
      overdue {{ count }} retrying {{ count }} publishing {{ count }} dueSoon {{ count }}
      willFail {{ count }}
    }}
    accounts {{ health {{ activity {{ queuedCount }} }} }}
"""


@pytest.fixture
async def mirror(acme: Tenant) -> Tenant:
    workspace = await add_workspace(acme.database, mirror_of="https://example.com")
    key = await add_api_key(acme.database, workspace)
    return Tenant(acme.database, workspace, acme.client.with_token(key.token))


async def add_states(tenant: Tenant, names: set[str]) -> None:
    """Add a post in each of these states; all have the same account."""
    account = await add_account(tenant.database, tenant.workspace)
    for name, state in STATES.items():
        if name in names:
            columns: dict[str, Any] = {"imported_at": NOW} if name in AT_SOURCE else {}
            await add_post(
                tenant.database,
                tenant.workspace,
                {account: state},
                content=name,
                is_draft=name == "draft",
                **columns,
            )


async def read_destinations(tenant: Tenant, **filters: object) -> dict[str, dict[str, Any]]:
    """Return the matching destinations by the content of their post."""
    data = await tenant.client.query(
        "query ($filter: DestinationFilter) { destinations(filter: $filter, first: 100)"
        f" {{ totalCount nodes {{ {FIELDS} }} }} }}",
        filter=filters,
    )
    nodes = data["destinations"]["nodes"]
    assert data["destinations"]["totalCount"] == len(nodes)
    return {node.pop("post")["content"]: node for node in nodes}


async def read_numbers(tenant: Tenant) -> dict[str, int]:
    data = await tenant.client.query(f"{{ {NUMBERS} }}")
    (account,) = data["accounts"]
    counts = {name: count["count"] for name, count in data["boardCounts"].items()}
    return {**counts, **account["health"]["activity"]}


@pytest.mark.parametrize("is_mirrored", [False, True])
async def test_fields_and_filters_agree_with_the_rule_of_the_domain(
    acme: Tenant, mirror: Tenant, is_mirrored: bool
) -> None:
    tenant = mirror if is_mirrored else acme
    names = AT_SOURCE | {"draft", "published", "failed"} if is_mirrored else set(STATES)
    await add_states(tenant, names)
    awaited = {
        name
        for name in names
        if awaits_outcome(
            settled_at=STATES[name].settled_at,
            due_at=STATES[name].due_at,
            claimable_at=STATES[name].claimable_at,
            lease_expires_at=STATES[name].lease_expires_at,
            is_mirrored=is_mirrored,
        )
    }
    found = await read_destinations(tenant)

    assert {name for name, node in found.items() if node["awaitsOutcome"]} == awaited
    assert set(await read_destinations(tenant, awaitsOutcome=True)) == awaited
    assert set(await read_destinations(tenant, awaitsOutcome=False)) == names - awaited
    retrying = {name for name in awaited if STATES[name].next_retry_at is not None}
    assert {n for n, node in found.items() if (node["diagnosis"] or {}).get("willRetry")} == (
        retrying
    )
    assert set(await read_destinations(tenant, retrying=True)) == retrying
    assert set(await read_destinations(tenant, retrying=False)) == names - retrying
    late = {
        name
        for name, node in found.items()
        if node["latenessSeconds"] is not None and node["latenessSeconds"] >= 3600
    }
    assert set(await read_destinations(tenant, lateBySeconds=3600)) == late
    waiting_late = {name for name in awaited if STATES[name].due_at == NOW - HOUR}
    assert waiting_late <= late
    assert late.isdisjoint(names - awaited - {"published"})


def at_source(state: DestinationState) -> DestinationState:
    """Return the state as an import stores it: without claim and lease."""
    return replace(
        state, claimable_at=None, lease_token=None, lease_expires_at=None, started_at=None
    )


FAILED_BEFORE = replace(waiting_for_retry(), next_retry_at=None)
STATES_AT_SOURCE: Mapping[str, DestinationState] = {
    name: at_source(state)
    for name, state in {**ALL_STATES, "queued after a failure": FAILED_BEFORE}.items()
}


def has_diagnosis(diagnosis: Diagnosis | None, **values: object) -> bool:
    return diagnosis is not None and all(
        getattr(diagnosis, name) == value for name, value in values.items()
    )


@pytest.mark.parametrize("origin", ["created here", "imported", "mirrored"])
async def test_filters_by_diagnosis_agree_with_the_domain_in_every_state(
    acme: Tenant, mirror: Tenant, origin: str
) -> None:
    is_mirrored = origin == "mirrored"
    tenant = mirror if is_mirrored else acme
    states = ALL_STATES if origin == "created here" else STATES_AT_SOURCE
    imported_at = None if origin == "created here" else NOW
    account = await add_account(tenant.database, tenant.workspace)
    diagnoses: dict[str, Diagnosis | None] = {}
    for name, state in states.items():
        await add_post(
            tenant.database,
            tenant.workspace,
            {account: state},
            content=name,
            is_draft=name == "draft",
            imported_at=imported_at,
        )
        diagnoses[name] = diagnose_destination(
            category=state.error_category,
            code=state.error_code,
            outcome=state.outcome,
            next_retry_at=state.next_retry_at,
            awaits_outcome=awaits_outcome(
                settled_at=state.settled_at,
                due_at=state.due_at,
                claimable_at=state.claimable_at,
                lease_expires_at=state.lease_expires_at,
                is_mirrored=is_mirrored,
            ),
            is_mirrored=is_mirrored,
        )

    found = await read_destinations(tenant)
    assert {name: node["diagnosis"] for name, node in found.items()} == {
        name: diagnosis
        and {
            "willRetry": diagnosis.will_retry,
            "nextAction": diagnosis.next_action.name,
            "source": diagnosis.source.name,
            "fix": diagnosis.fix,
        }
        for name, diagnosis in diagnoses.items()
    }
    assert {name for name, state in states.items() if state.error and not diagnoses[name]} == (
        {name for name, state in states.items() if state.error and not state.settled_at}
        if origin == "imported"
        else set()
    )
    waiting = {name for name, each in diagnoses.items() if has_diagnosis(each, will_retry=True)}
    for action in NextAction:
        matching = {n for n, each in diagnoses.items() if has_diagnosis(each, next_action=action)}
        assert set(await read_destinations(tenant, nextAction=[action.name])) == matching
        either = {action.name, "WAIT"}
        assert set(await read_destinations(tenant, nextAction=[*either])) == matching | waiting
    for source in ErrorSource:
        matching = {n for n, each in diagnoses.items() if has_diagnosis(each, source=source)}
        assert set(await read_destinations(tenant, source=[source.name])) == matching
    assert set(await read_destinations(tenant, retrying=True)) == waiting


async def test_imported_destination_of_a_local_workspace_is_no_work_of_this_server(
    acme: Tenant,
) -> None:
    await add_states(acme, AT_SOURCE)

    assert await read_numbers(acme) == dict.fromkeys(
        ("overdue", "retrying", "publishing", "dueSoon", "willFail", "queuedCount"), 0
    )
    found = await read_destinations(acme)
    assert {name: node["status"] for name, node in found.items()} == {
        "queued at the source": "QUEUED",
        "due at the source": "QUEUED",
        "retrying at the source": "QUEUED",
        "publishing at the source": "PUBLISHING",
    }
    for node in found.values():
        assert node["latenessSeconds"] is None
        assert node["pollAfterSeconds"] is None
        assert node["outlook"]["nextAt"] is None
        assert node["diagnosis"] is None
    assert found["retrying at the source"]["nextRetryAt"] == format_instant(NOW + HOUR)


async def test_mirror_counts_the_states_at_the_source_without_a_promise_of_this_server(
    mirror: Tenant,
) -> None:
    await add_states(mirror, AT_SOURCE)

    assert await read_numbers(mirror) == {
        "overdue": 0,
        "retrying": 1,
        "publishing": 1,
        "dueSoon": 0,
        "willFail": 0,
        "queuedCount": 3,
    }
    found = await read_destinations(mirror)
    assert {name: node["latenessSeconds"] for name, node in found.items()} == {
        "queued at the source": None,
        "due at the source": 3600,
        "retrying at the source": 3600,
        "publishing at the source": 3600,
    }
    assert {name: node["pollAfterSeconds"] for name, node in found.items()} == {
        "queued at the source": 3600,
        "due at the source": 2,
        "retrying at the source": 3600,
        "publishing at the source": 2,
    }
    assert found["retrying at the source"]["diagnosis"] == {
        "willRetry": True,
        "nextAction": "WAIT",
        "source": "PLATFORM",
        "fix": "Nothing to do: the mirrored service has planned a retry.",
    }
    here = {"attempt": None, "nextAt": None, "givesUpAt": None}
    queued_there = {**here, "sentence": "This server does not publish it."}
    assert {name: node["outlook"] for name, node in found.items()} == {
        "queued at the source": queued_there,
        "due at the source": queued_there,
        "retrying at the source": queued_there,
        "publishing at the source": {**here, "sentence": "Another service is publishing it."},
    }


async def test_board_counts_and_filters_have_the_same_destinations(
    acme: Tenant, mirror: Tenant
) -> None:
    for tenant in (acme, mirror):
        await add_states(tenant, AT_SOURCE if tenant is mirror else set(STATES))
        numbers = await read_numbers(tenant)
        awaited = {"awaitsOutcome": True}
        assert numbers["publishing"] == len(
            await read_destinations(tenant, status=["PUBLISHING"], **awaited)
        )
        assert numbers["retrying"] == len(
            await read_destinations(tenant, retrying=True, overdue=False)
        )
        assert numbers["queuedCount"] == len(
            await read_destinations(tenant, status=["QUEUED"], **awaited)
        )
