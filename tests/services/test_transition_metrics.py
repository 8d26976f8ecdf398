"""Metrics of attempts and publications: what a committed transition counts, and what counts nothing."""

from collections.abc import Iterator
from datetime import timedelta
from uuid import uuid4

import asyncpg
import pytest

from app.db.core.database import Database
from app.domain import reports as report_rules
from app.domain.attempts import Publication
from app.domain.destinations import Outcome
from app.domain.external_attempts import ExternalAttempt
from app.observability.metrics import Metrics
from app.services import reports
from app.services.claims import Claim
from app.services.expirations import settle_expired_leases
from app.services.unit_of_work import UnitOfWork, run_in_transaction
from tests.db.core.test_database import only_on_postgresql
from tests.domain.attempt_histories import RETRY_DECIDER, make_failure
from tests.factories import NOW, add_account, add_post, add_workspace, queued
from tests.services.publishing_calls import (
    MINUTE,
    PUBLICATION,
    add_due,
    claim,
    error_code,
    report_failed,
    report_published,
    report_service,
    start_attempt,
    write_context,
)


@pytest.fixture
def metrics(database: Database) -> Iterator[Metrics]:
    """Metrics of the transitions in the database."""
    counted = Metrics()
    with database.on_transition(counted.transition_committed):
        yield counted


def counts(metrics: Metrics) -> dict[str, float]:
    """Attempts by platform and outcome, and other counts by platform, without zeros."""
    names = {
        "post_results_attempts_total": "{platform} {outcome}",
        "post_results_duplicate_publications_total": "{platform} duplicate",
        "post_results_publication_lateness_seconds_count": "{platform} late",
    }
    return {
        names[sample.name].format(**sample.labels): sample.value
        for family in metrics.registry.collect()
        for sample in family.samples
        if sample.name in names and sample.value
    }


async def add_started(database: Database, *platforms: str) -> list[Claim]:
    """Add a due post on each platform, claim it and start its attempt."""
    workspace = await add_workspace(database)
    for platform in platforms:
        await add_due(database, workspace, platform=platform)
    claims = {item.destination.platform: item for item in await claim(database)}
    for started in claims.values():
        await start_attempt(database, started.lease)
    return [claims[platform] for platform in platforms]


async def test_reports_are_counted_once_by_platform_and_outcome(
    database: Database, metrics: Metrics
) -> None:
    first, second, third = await add_started(database, "x", "mastodon", "bluesky")
    assert counts(metrics) == {}
    unknown = {"platform": "bluesky", "outcome": "unknown"}
    assert metrics.registry.get_sample_value("post_results_attempts_total", unknown) == 0
    for _ in range(2):
        await report_published(database, first.lease)
    await report_failed(database, second.lease)
    assert await error_code(report_published(database, second.lease)) is None
    await report_service(database).report_unknown(third.lease, make_failure())

    assert counts(metrics) == {
        "x published": 1,
        "x late": 1,
        "mastodon failed": 1,
        "mastodon late": 1,
        "bluesky unknown": 1,
    }


async def test_publication_is_observed_with_its_lateness(
    database: Database, metrics: Metrics
) -> None:
    started = await add_started(database, "x", "x2", "x3")
    for item, lateness in zip(started, (90, 0, -30), strict=True):
        due_at = item.destination.state.due_at
        assert due_at is not None
        await report_service(database).report_published(
            item.lease,
            Publication(
                platform_post_id="1",
                platform_post_url=None,
                published_at=due_at + timedelta(seconds=lateness),
            ),
        )

    def sample(suffix: str, platform: str, **labels: str) -> float | None:
        name = f"post_results_publication_lateness_seconds_{suffix}"
        return metrics.registry.get_sample_value(name, {"platform": platform, **labels})

    assert [sample("sum", platform) for platform in ("x", "x2", "x3")] == [90, 0, 0]
    assert [sample("bucket", "x", le=le) for le in ("60.0", "300.0")] == [0, 1]
    assert [sample("bucket", platform, le="1.0") for platform in ("x2", "x3")] == [1, 1]


async def test_expired_lease_is_counted_once_and_its_late_reports_are_not_attempts(
    database: Database, metrics: Metrics
) -> None:
    (lost,) = await add_started(database, "x")
    for _ in range(2):
        await settle_expired_leases(database, NOW + MINUTE)
    assert counts(metrics) == {"x unknown": 1}

    await report_failed(database, lost.lease, now=NOW + MINUTE)
    assert counts(metrics) == {"x unknown": 1}
    await report_published(database, lost.lease, now=NOW + MINUTE)
    assert counts(metrics) == {"x unknown": 1, "x late": 1}


async def test_second_publication_is_counted_as_duplicate(
    database: Database, metrics: Metrics
) -> None:
    workspace = await add_workspace(database)
    account = await add_account(database, workspace, platform="x")
    post = await add_post(database, workspace, {account: queued()})
    for key in ("first", "second", "second"):
        attempt = ExternalAttempt(
            attempt_key=key,
            worker=None,
            started_at=NOW,
            outcome=Outcome.PUBLISHED,
            details=PUBLICATION,
        )
        await reports.record_external_attempt(
            database,
            write_context(workspace),
            post.id,
            account,
            attempt,
            RETRY_DECIDER,
            new_id=uuid4,
        )

    assert counts(metrics) == {"x published": 1, "x late": 1, "x duplicate": 1}


async def test_rolled_back_transition_is_not_counted(database: Database, metrics: Metrics) -> None:
    (started,) = await add_started(database, "x")

    async def publish_and_fail(uow: UnitOfWork) -> None:
        await save_publication(uow, started)
        raise LookupError

    with pytest.raises(LookupError):
        await run_in_transaction(
            database, write_context(started.lease.workspace_id), publish_and_fail
        )
    assert counts(metrics) == {}


@only_on_postgresql
async def test_retried_transaction_is_counted_once(database: Database, metrics: Metrics) -> None:
    (started,) = await add_started(database, "x")
    runs = []

    async def publish_at_third_run(uow: UnitOfWork) -> None:
        runs.append(uow)
        await save_publication(uow, started)
        if len(runs) < 3:
            raise asyncpg.SerializationError("")

    await run_in_transaction(
        database, write_context(started.lease.workspace_id), publish_at_third_run
    )
    assert len(runs) == 3
    assert counts(metrics) == {"x published": 1, "x late": 1}


async def save_publication(uow: UnitOfWork, claimed: Claim) -> None:
    """Save the transition of a publication by the claim."""
    posts = await uow.load_posts_for_update([claimed.post.id])
    locked = await reports.load_locked_destination(
        uow, posts[claimed.post.id], claimed.destination.id
    )
    context = report_rules.ReportContext(claimed.lease, uuid4, NOW)
    transition = report_rules.report_published(locked.state, locked.history, context, PUBLICATION)
    await reports.save_transition(uow, locked, transition)
