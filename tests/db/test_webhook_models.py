"""Constraints of the tables of webhooks, which agree with the invariants of the domain."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from itertools import product
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from app.db.core.database import Database
from app.db.models import Webhook, WebhookDelivery
from app.domain.webhooks.deliveries import DeliveryState
from app.domain.webhooks.endpoints import DisabledReason
from tests.db.all_tables import add_row_in_every_table
from tests.domain.webhooks.test_deliveries import ALL_STATES, VIOLATIONS
from tests.factories import NOW

TOKEN = UUID(int=7)


async def is_accepted(
    connection: AsyncConnection, model: type[Webhook | WebhookDelivery], values: Mapping[str, Any]
) -> bool:
    """Return whether the only row of a table can have these values; rolls back."""
    savepoint = await connection.begin_nested()
    try:
        await connection.execute(update(model).values(**values))
    except IntegrityError:
        return False
    else:
        return True
    finally:
        await savepoint.rollback()


def is_valid(values: Mapping[str, Any]) -> bool:
    try:
        DeliveryState(**values)
    except ValueError:
        return False
    return True


async def test_table_accepts_the_delivery_states_of_the_domain_only(database: Database) -> None:
    await add_row_in_every_table(database)
    combinations: Sequence[dict[str, Any]] = [
        {
            "attempts": attempts,
            "round_attempts": round_attempts,
            "next_attempt_at": next_attempt_at,
            "lease_token": lease_token,
            "delivered_at": delivered_at,
            "given_up_at": given_up_at,
        }
        for attempts, round_attempts, next_attempt_at, lease_token, delivered_at, given_up_at in product(
            (-1, 0, 1), (-1, 0, 1), (None, NOW), (None, TOKEN), (None, NOW), (None, NOW)
        )
    ]
    states = [
        *(asdict(state) for state in ALL_STATES.values()),
        *({**asdict(state), **changes} for state, changes, _ in VIOLATIONS),
        *combinations,
    ]
    async with database.write_engine.connect() as connection:
        accepted = [
            state for state in states if await is_accepted(connection, WebhookDelivery, state)
        ]
    assert accepted == [state for state in states if is_valid(state)]
    assert len(accepted) == len(ALL_STATES) + 3 * 4


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"feed_seq": -1}, False),
        ({"consecutive_failures": -1, "failing_since": NOW}, False),
        ({"consecutive_failures": 1}, False),
        ({"failing_since": NOW}, False),
        ({"consecutive_failures": 1, "failing_since": NOW}, True),
        ({"disabled_reason": DisabledReason.GONE, "is_active": False}, False),
        ({"auto_disabled_at": NOW, "is_active": False}, False),
        ({"disabled_reason": DisabledReason.GONE, "auto_disabled_at": NOW}, False),
        (
            {"disabled_reason": DisabledReason.GONE, "auto_disabled_at": NOW, "is_active": False},
            True,
        ),
        ({"deleted_at": NOW}, False),
        ({"deleted_at": NOW, "is_active": False}, True),
        ({"encrypted_previous_secret": "e"}, False),
        ({"previous_secret_expires_at": NOW}, False),
        ({"encrypted_previous_secret": "e", "previous_secret_expires_at": NOW}, True),
    ],
    ids=str,
)
async def test_table_accepts_the_endpoints_of_the_domain_only(
    database: Database, values: Mapping[str, Any], expected: bool
) -> None:
    await add_row_in_every_table(database)
    async with database.write_engine.connect() as connection:
        assert await is_accepted(connection, Webhook, values) == expected
