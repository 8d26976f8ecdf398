"""Webhook events of a post that fails, is retried by a person, and fails again."""

from datetime import datetime, timedelta
from typing import Any

import orjson

from app.db.core.database import Database
from app.domain.destinations import ErrorCategory
from app.services.retries import retry_one_post
from tests.domain.attempt_histories import make_failure
from tests.factories import NOW, add_account, add_post, add_workspace, published, queued
from tests.services.publishing_calls import claim, report_failed, start_attempt
from tests.services.webhook_calls import store_all, webhook_context
from tests.webhook_events import stored_deliveries
from tests.webhook_rows import add_webhook


async def fail_next(database: Database, now: datetime) -> None:
    (claimed,) = await claim(database, now=now)
    await start_attempt(database, claimed.lease, now)
    await report_failed(database, claimed.lease, make_failure(ErrorCategory.PERMANENT), now)


async def test_failure_after_a_manual_retry_is_another_event(database: Database) -> None:
    workspace = await add_workspace(database)
    accounts = [await add_account(database, workspace) for _ in range(2)]
    states = dict(zip(accounts, (published(), queued()), strict=True))
    post = await add_post(database, workspace, states)
    webhook_id = await add_webhook(database, workspace)

    await fail_next(database, NOW)
    later = NOW + timedelta(minutes=1)
    context = webhook_context(workspace, "retryPost", later)
    await retry_one_post(
        database, context, post.id, account_ids=None, force=False, idempotency_key=None
    )
    await fail_next(database, later)
    await store_all(database, later)

    deliveries = await stored_deliveries(database, workspace, webhook_id)
    bodies: list[dict[str, Any]] = [orjson.loads(each.body) for each in deliveries]
    first, second = "2026-04-15T15:00:00.000Z", "2026-04-15T15:01:00.000Z"
    assert [(body["event"], body["created_at"]) for body in bodies] == [
        ("post.publishing", first),
        ("post.partially_failed", first),
        ("post.failed", first),
        ("post.partially_failed", second),
        ("post.failed", second),
    ]
    assert len({body["event_id"] for body in bodies}) == len(bodies)
    assert (
        len({body["data"]["destination_id"] for body in bodies if body["event"] == "post.failed"})
        == 1
    )
    assert {body["data"]["post_id"] for body in bodies} == {str(post.id)}
