"""Constraints of the tables: invariants of the domain, foreign keys inside a workspace, unique keys."""

from collections.abc import AsyncIterator, Mapping
from dataclasses import asdict, fields
from datetime import date, timedelta
from typing import Any, cast
from uuid import UUID, uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import CheckConstraint, insert
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from app.db.core.database import Database
from app.db.models import Base, Destination, IdempotencyKey
from app.domain.destinations import (
    DestinationState,
    DestinationStatus,
    ErrorCategory,
    Outcome,
    broken_invariants,
)
from tests.db.all_tables import add_row_in_every_table
from tests.db.core.test_database import INTEGRITY_ERRORS
from tests.domain.test_destinations import VIOLATIONS
from tests.factories import (
    NOW,
    add_account,
    add_attempt,
    add_post,
    add_workspace,
    being_verified,
    claimed,
    draft,
    failed,
    published,
    queued,
    started,
    unknown,
    waiting_for_retry,
)

LATER = NOW + timedelta(hours=1)
VALID_STATES = [
    draft(),
    queued(),
    waiting_for_retry(),
    claimed(),
    started(),
    published(),
    failed(),
    unknown(),
    being_verified(),
]


class RolledBackInsert:
    """Inserts a destination and always rolls back."""

    def __init__(self, connection: AsyncConnection, key: Mapping[str, object]) -> None:
        self._connection = connection
        self._key = key

    async def violated_constraint(self, state: Mapping[str, object]) -> str | None:
        """Return the error of the violated constraint, or None if the insert succeeds."""
        savepoint = await self._connection.begin_nested()
        try:
            await self._connection.execute(
                insert(Destination).values(
                    id=uuid4(), **self._key, **state, **derived_values(state)
                )
            )
        except IntegrityError as error:
            return str(error.orig)
        else:
            return None
        finally:
            await savepoint.rollback()


def derived_values(state: Mapping[str, object]) -> Mapping[str, object]:
    """Values of the columns that follow from a state, valid or not."""
    has_failed = state["status"] == DestinationStatus.FAILED
    return {
        "failed_at": NOW if has_failed else None,
        "failure_group": "1-0" if has_failed else None,
    }


@pytest.fixture
async def rolled_back_insert(database: Database) -> AsyncIterator[RolledBackInsert]:
    workspace_id = await add_workspace(database)
    account_id = await add_account(database, workspace_id)
    post = await add_post(database, workspace_id)
    key = {
        "workspace_id": workspace_id,
        "post_id": post.id,
        "account_id": account_id,
        "platform": "instagram",
        "position": 0,
        "created_at": NOW,
        "updated_at": NOW,
    }
    async with database.write_engine.connect() as connection:
        yield RolledBackInsert(connection, key)
        await connection.rollback()


def is_valid_state(state: Mapping[str, Any]) -> bool:
    try:
        DestinationState(**state)
    except ValueError:
        return False
    return True


class _Unchecked:
    """Attributes of a state without its checks."""

    def __init__(self, state: Mapping[str, object]) -> None:
        self.__dict__.update(state)


def violated_invariants(state: Mapping[str, object]) -> list[str]:
    return list(broken_invariants(cast("DestinationState", _Unchecked(state))))


INVARIANT_CHECKS = {
    str(constraint.name).removeprefix("ck_destination_")
    for constraint in Base.metadata.tables["destination"].constraints
    if isinstance(constraint, CheckConstraint)
} - {
    *("status_word", "outcome_word", "error_category_word", "position"),
    *("failed_at", "failure_group", "is_duplicated"),
}


def test_violations_cover_every_check_of_an_invariant() -> None:
    assert {name for name, _, _ in VIOLATIONS} == INVARIANT_CHECKS


@pytest.mark.parametrize(
    ("name", "state", "changes"),
    VIOLATIONS,
    ids=[f"{name}-{state.status}" for name, state, _ in VIOLATIONS],
)
async def test_invalid_state_is_refused_by_the_same_invariant_in_domain_and_database(
    rolled_back_insert: RolledBackInsert,
    name: str,
    state: DestinationState,
    changes: Mapping[str, object],
) -> None:
    valid = asdict(state)
    invalid = valid | dict(changes)

    assert await rolled_back_insert.violated_constraint(valid) is None
    assert violated_invariants(invalid) == [name]
    with pytest.raises(ValueError, match=f"impossible destination state: {name}$"):
        DestinationState(**invalid)
    violation = await rolled_back_insert.violated_constraint(invalid)
    assert violation is not None
    assert f"ck_destination_{name}" in violation.replace('"', " ").split()


def mirrored_state(status: DestinationStatus, **values: Any) -> DestinationState:
    """State as an importer stores it: never claimed, without logged attempts."""
    return DestinationState(
        status=status, due_at=NOW, round_started_at=NOW, claimable_at=None, attempts=3, **values
    )


MISSING_ERROR_FIELDS = {
    "error": "The mirrored service gives no reason.",
    "error_category": ErrorCategory.UNCLASSIFIED,
    "error_code": "UNCLASSIFIED",
}


@pytest.mark.parametrize(
    "state",
    [
        mirrored_state(DestinationStatus.QUEUED),
        mirrored_state(DestinationStatus.QUEUED, next_retry_at=LATER, **MISSING_ERROR_FIELDS),
        mirrored_state(DestinationStatus.PUBLISHING),
        mirrored_state(
            DestinationStatus.PUBLISHED,
            outcome=Outcome.PUBLISHED,
            published_at=LATER,
            settled_at=LATER,
            due_day=NOW.date(),
            lateness_ms=3_600_000,
        ),
        mirrored_state(
            DestinationStatus.FAILED,
            outcome=Outcome.FAILED,
            settled_at=LATER,
            due_day=NOW.date(),
            **MISSING_ERROR_FIELDS,
        ),
    ],
    ids=["queued", "retrying", "publishing", "published", "failed"],
)
async def test_mirror_can_store_incomplete_states(
    rolled_back_insert: RolledBackInsert, state: DestinationState
) -> None:
    assert await rolled_back_insert.violated_constraint(asdict(state)) is None


optional_times = st.sampled_from([None, NOW, LATER])
field_strategies: dict[str, st.SearchStrategy[object]] = {
    "status": st.sampled_from(DestinationStatus),
    "outcome": st.sampled_from(Outcome),
    "due_at": optional_times,
    "claimable_at": optional_times,
    "attempts": st.integers(-1, 3),
    "round_attempts": st.integers(-1, 3),
    "round_started_at": optional_times,
    "forced_rounds": st.integers(-1, 3),
    "next_retry_at": optional_times,
    "fence": st.integers(-1, 2),
    "lease_token": st.sampled_from([None, UUID(int=7)]),
    "lease_expires_at": optional_times,
    "started_at": optional_times,
    "published_at": optional_times,
    "platform_post_id": st.sampled_from([None, "1"]),
    "platform_post_url": st.sampled_from([None, "https://example.com/1"]),
    "error": st.sampled_from([None, "No."]),
    "error_category": st.none() | st.sampled_from(ErrorCategory),
    "error_code": st.sampled_from([None, "REFUSED"]),
    "not_sent": st.booleans(),
    "settled_at": optional_times,
    "verifiable_at": optional_times,
    "verification_token": st.sampled_from([None, UUID(int=8)]),
    "due_day": st.sampled_from([None, date(2026, 4, 15)]),
    "lateness_ms": st.sampled_from([None, -1, 0, 2**40]),
    "content_error": st.sampled_from([None, "It does not fit."]),
}

state_changes = st.lists(
    st.sampled_from(sorted(field_strategies)), max_size=3, unique=True
).flatmap(lambda names: st.fixed_dictionaries({name: field_strategies[name] for name in names}))
states = st.one_of(
    st.builds(
        lambda state, changes: asdict(state) | changes, st.sampled_from(VALID_STATES), state_changes
    ),
    st.fixed_dictionaries(field_strategies),
)


@settings(max_examples=400, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(state=states)
async def test_domain_and_database_accept_the_same_states(
    rolled_back_insert: RolledBackInsert, state: dict[str, object]
) -> None:
    assert is_valid_state(state) == (await rolled_back_insert.violated_constraint(state) is None)
    assert set(violated_invariants(state)) <= INVARIANT_CHECKS


def test_random_states_cover_every_column() -> None:
    assert set(field_strategies) == {field.name for field in fields(DestinationState)}


@pytest.mark.parametrize(
    ("column", "changes"),
    [
        ("status", "status = 'lost'"),
        ("outcome", "outcome = 'maybe', due_day = '2026-04-15', settled_at = created_at"),
        ("error_category", "error = 'No.', error_code = 'REFUSED', error_category = 'moody'"),
    ],
)
async def test_value_outside_the_enum_is_refused(
    database: Database, column: str, changes: str
) -> None:
    workspace_id = await add_workspace(database)
    account_id = await add_account(database, workspace_id)
    await add_post(database, workspace_id, {account_id: draft()})

    async with database.write_engine.connect() as connection:
        with pytest.raises(IntegrityError, match=f"ck_destination_{column}_word"):
            await connection.exec_driver_sql(f"UPDATE destination SET {changes}")


def test_every_foreign_key_starts_with_the_workspace_on_both_sides() -> None:
    links = [
        (table.name, link)
        for table in Base.metadata.sorted_tables
        for link in table.foreign_key_constraints
    ]

    assert len(links) > 10
    for table_name, link in links:
        first = link.elements[0]
        own, other = first.parent.name, first.column.name
        assert (own, other) == (
            "workspace_id",
            "id" if link.referred_table.name == "workspace" else "workspace_id",
        ), table_name


def test_every_primary_key_starts_with_the_workspace() -> None:
    for table in Base.metadata.sorted_tables:
        if table.name not in (
            "deployment",
            "live_worker",
            "server_breaker",
            "worker_key",
            "workspace",
        ):
            assert next(iter(table.primary_key.columns)).name == "workspace_id", table.name


async def test_foreign_key_into_another_workspace_is_refused(database: Database) -> None:
    workspace, other = await add_workspace(database), await add_workspace(database)
    own_account = await add_account(database, workspace, id=1)
    other_account = await add_account(database, other, id=2)
    own_post = await add_post(database, workspace, {own_account: published()})
    other_post = await add_post(database, other, {other_account: published()})
    destination = asdict(queued()) | {"position": 1, "platform": "x", "id": uuid4()}
    times = {"created_at": NOW, "updated_at": NOW}

    async def assert_refused(row: Mapping[str, object]) -> None:
        async with database.write_engine.connect() as connection:
            with pytest.raises(IntegrityError):
                await connection.execute(insert(Destination).values(**row, **times))

    await assert_refused(
        destination
        | {"workspace_id": workspace, "post_id": other_post.id, "account_id": own_account}
    )
    await assert_refused(
        destination
        | {"workspace_id": workspace, "post_id": own_post.id, "account_id": other_account}
    )
    with pytest.raises(INTEGRITY_ERRORS):
        await add_attempt(database, workspace, other_post.destinations[0])


@pytest.mark.parametrize("same", ["fence", "attempt_key"])
async def test_attempt_is_unique_by_fence_and_by_key(database: Database, same: str) -> None:
    workspace_id = await add_workspace(database)
    account_id = await add_account(database, workspace_id)
    post = await add_post(database, workspace_id, {account_id: published()})
    first = {"fence": 1, "attempt_key": "key-1"}
    second = {"fence": 2, "attempt_key": "key-2"} | {same: first[same]}

    await add_attempt(database, workspace_id, post.destinations[0], **cast("Any", first))
    with pytest.raises(INTEGRITY_ERRORS):
        await add_attempt(database, workspace_id, post.destinations[0], **cast("Any", second))


async def test_operations_have_separate_idempotency_keys(database: Database) -> None:
    workspace_id = await add_workspace(database)
    values = {"fingerprint": bytes(32), "outcome": {}, "created_at": NOW, "expires_at": LATER}
    body_key = f"body:{'ab' * 32}"
    rows = [
        {"workspace_id": workspace_id, "operation": operation, "key": key, **values}
        for operation in ("createPost", "retryPost")
        for key in ("given:" + "k" * 255, body_key)
    ]

    async with database.write_engine.begin() as connection:
        await connection.execute(insert(IdempotencyKey), rows)

    async with database.write_engine.connect() as connection:
        with pytest.raises(IntegrityError):
            await connection.execute(insert(IdempotencyKey), rows[:1])


@pytest.mark.parametrize(
    ("check", "change"),
    [
        (
            "ck_webhook_delivery_lease",
            "UPDATE webhook_delivery SET next_attempt_at = NULL, delivered_at = created_at",
        ),
        ("ck_webhook_delivery_status", "UPDATE webhook_delivery SET delivered_at = created_at"),
        (
            "ck_webhook_delivery_status",
            "UPDATE webhook_delivery SET next_attempt_at = NULL, lease_token = NULL",
        ),
        ("ck_webhook_delivery_attempts", "UPDATE webhook_delivery SET round_attempts = 2"),
        ("ck_webhook_feed_seq", "UPDATE webhook SET feed_seq = -1"),
        ("ck_webhook_failing_since", "UPDATE webhook SET consecutive_failures = 1"),
        (
            "ck_webhook_disabled_reason_word",
            "UPDATE webhook"
            " SET disabled_reason = 'x', auto_disabled_at = created_at, is_active = NOT is_active",
        ),
        (
            "ck_webhook_auto_disabled_at",
            "UPDATE webhook SET auto_disabled_at = created_at, disabled_reason = 'gone'",
        ),
        (
            "ck_webhook_disabled_reason",
            "UPDATE webhook SET auto_disabled_at = created_at, is_active = NOT is_active",
        ),
        ("ck_webhook_deleted_at", "UPDATE webhook SET deleted_at = created_at"),
        ("ck_webhook_previous_secret", "UPDATE webhook SET encrypted_previous_secret = 'e'"),
    ],
)
async def test_impossible_webhooks_and_deliveries_are_refused(
    database: Database, check: str, change: str
) -> None:
    await add_row_in_every_table(database)

    async with database.write_engine.connect() as connection:
        with pytest.raises(IntegrityError, match=check):
            await connection.exec_driver_sql(change)
