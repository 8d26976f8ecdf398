"""Calls of one mutation by a tenant, and the events that it stored."""

from typing import Any, NamedTuple

from sqlalchemy import select

from app.db.core.database import Database
from app.db.models import Event
from tests.clients import Tenant
from tests.db.all_tables import broken_rules, dump_rows


class StoredEvent(NamedTuple):
    seq: int
    kind: str
    operation: str
    account_id: int | None
    changed: set[str]
    """Names of the changed fields."""


async def run_mutation(tenant: Tenant, document: str, **input_fields: Any) -> dict[str, Any]:
    """Return the field `payload`; the mutation must succeed and break no rule.

    Factories add posts without logged attempts, so some rules may be broken before.
    """
    before = await broken_rules(tenant.database)
    data = await tenant.client.query(document, input=input_fields)
    assert await broken_rules(tenant.database) == before
    return dict(data["payload"])


async def expect_refusal(
    tenant: Tenant, document: str, **input_fields: Any
) -> tuple[str, str | None, str]:
    """Return code, field and message; the mutation must fail and change nothing."""
    before = await dump_rows(tenant.database)
    error = await tenant.client.expect_error(document, input=input_fields)
    assert await dump_rows(tenant.database) == before
    return error


async def stored_events(database: Database) -> list[StoredEvent]:
    columns = Event.seq, Event.kind, Event.payload, Event.account_id
    async with database.read_connection() as connection:
        rows = await connection.execute(select(*columns).order_by(Event.seq))
        return [
            StoredEvent(
                row.seq,
                row.kind,
                row.payload["operation"],
                row.account_id,
                set(row.payload["changes"]),
            )
            for row in rows
        ]
