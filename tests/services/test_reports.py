"""Tests of stored reports and of their permissions. The transitions are tested in tests/domain."""

from collections.abc import Callable, Coroutine
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import select

from app.db.core.database import Database
from app.db.models import Account, Destination, Event
from app.db.repositories.attempts import load_attempts, load_evidence
from app.db.tools.integrity import find_problems
from app.domain.attempts import AttemptKind, Publication
from app.domain.destinations import DestinationStatus, ErrorCategory, Outcome
from app.domain.external_attempts import ExternalAttempt
from app.domain.ids import AccountId, DestinationId, PostId, WorkspaceId
from app.domain.leases import Lease
from app.domain.settlement import Receipt
from app.domain.verification import VerificationFinding
from app.services import reports as service
from app.services.claims import Claim
from app.services.expirations import fail_due_on_blocked_accounts, settle_expired_leases
from app.services.posts import cancel_post, delete_post
from app.services.reports import ReportResult, ReportService
from app.services.unit_of_work import Publisher, WriteContext
from tests.clients import Tenant
from tests.db.all_tables import all_rows
from tests.domain.attempt_histories import RETRY_DECIDER, make_failure
from tests.factories import NOW, add_account, add_post, add_workspace, queued
from tests.services.publishing_calls import (
    MINUTE,
    OPERATOR_PUBLISHER,
    PUBLICATION,
    add_due,
    change,
    claim,
    claim_for_verification,
    destination_states,
    error_code,
    report_failed,
    report_published,
    report_service,
    report_verified,
    run_concurrently,
    start_attempt,
    write_context,
)

SECOND = timedelta(seconds=1)


async def add_claim(tenant: Tenant) -> Claim:
    await add_due(tenant.database, tenant.workspace)
    (only,) = await claim(tenant.database)
    return only


async def attempt_log(database: Database, lease: Lease) -> list[tuple[object, ...]]:
    """Kind, number, fence and outcome of each attempt, and which evidence counts."""
    reader = database.reader(lease.workspace_id)
    attempts = await load_attempts(reader, lease.destination_id)
    evidence = await load_evidence(reader, lease.destination_id)
    counted = {item.fence: item.counted for item in evidence}
    return sorted(
        (
            attempt.kind.value,
            attempt.number,
            attempt.fence,
            attempt.outcome.value,
            counted.get(attempt.fence or 0),
        )
        for attempt in attempts
    )


async def test_claimed_post_is_started_extended_and_published(acme: Tenant) -> None:
    claimed = await add_claim(acme)
    first, attempt = await report_service(acme.database, now=NOW + SECOND).start_attempt(
        claimed.lease, "w"
    )
    second, same_attempt = await report_service(acme.database, now=NOW + 2 * SECOND).start_attempt(
        claimed.lease, "other"
    )
    assert (first.receipt, second.receipt) == (Receipt.RECORDED, Receipt.REPEATED)
    assert (attempt, attempt.worker, attempt.started_at) == (same_attempt, "w", NOW + SECOND)
    extended = await report_service(acme.database, now=NOW + 3 * SECOND).extend_lease(
        claimed.lease, 5 * MINUTE
    )
    assert extended == NOW + 3 * SECOND + 5 * MINUTE

    receipts = [
        (await report_published(acme.database, claimed.lease, NOW + seconds * SECOND)).receipt
        for seconds in (4, 5)
    ]

    assert receipts == [Receipt.RECORDED, Receipt.REPEATED]
    assert await attempt_log(acme.database, claimed.lease) == [("regular", 1, 1, "published", True)]
    (state,) = await destination_states(acme.database, acme.workspace, claimed.post.id)
    assert (state.status, state.published_at) == (DestinationStatus.PUBLISHED, NOW)
    assert await find_problems(acme.database) == []


async def test_concurrent_reports_are_recorded_once(acme: Tenant, database_url: str) -> None:
    claimed = await add_claim(acme)
    await start_attempt(acme.database, claimed.lease)
    async with Database(database_url, timeout=MINUTE, pool_size=8) as busy:
        results = await run_concurrently(report_published(busy, claimed.lease) for _ in range(8))
    assert sorted(result.receipt for result in results) == ["recorded", *["repeated"] * 7]
    assert await attempt_log(acme.database, claimed.lease) == [("regular", 1, 1, "published", True)]
    assert await find_problems(acme.database) == []


async def test_second_publication_is_one_duplicate(acme: Tenant) -> None:
    first = await add_claim(acme)
    (second,) = await claim(acme.database, now=NOW + MINUTE)
    await start_attempt(acme.database, second.lease, NOW + MINUTE)

    receipts = [
        (await report_published(acme.database, lease, NOW + MINUTE)).receipt
        for lease in (first.lease, second.lease, first.lease, second.lease)
    ]

    assert receipts == [Receipt.RECORDED, Receipt.DUPLICATE, Receipt.REPEATED, Receipt.REPEATED]
    assert await attempt_log(acme.database, first.lease) == [
        ("late", None, 2, "published", False),
        ("regular", 1, 2, "unknown", False),
        ("unstarted", None, 1, "published", True),
    ]
    kinds = await event_kinds(acme.database)
    assert (kinds.count("destination.duplicated"), kinds.count("publisher.misused")) == (1, 1)
    assert await find_problems(acme.database) == []


async def do_nothing(_database: Database, _lease: Lease) -> None:
    pass


async def release(database: Database, lease: Lease) -> None:
    await report_service(database).release_claim(lease)


async def release_and_claim_again(database: Database, lease: Lease) -> None:
    await release(database, lease)
    assert len(await claim(database)) == 1


async def start(database: Database, lease: Lease) -> None:
    await start_attempt(database, lease)


@pytest.mark.parametrize(
    ("prepare", "entry", "misuses"),
    [
        (start, ("regular", 1, 1, "published", True), 0),
        (do_nothing, ("unstarted", 1, 1, "published", True), 1),
        (release, ("unstarted", None, 1, "published", True), 1),
        (release_and_claim_again, ("unstarted", None, 1, "published", True), 1),
    ],
)
async def test_publication_without_start_is_stored_and_marked(
    acme: Tenant,
    prepare: Callable[[Database, Lease], Coroutine[Any, Any, None]],
    entry: tuple[object, ...],
    misuses: int,
) -> None:
    claimed = await add_claim(acme)
    await prepare(acme.database, claimed.lease)

    receipts = [
        (await report_published(acme.database, claimed.lease, NOW)).receipt for _ in range(2)
    ]

    assert receipts == [Receipt.RECORDED, Receipt.REPEATED]
    assert await attempt_log(acme.database, claimed.lease) == [entry]
    assert (await event_kinds(acme.database)).count("publisher.misused") == misuses
    (state,) = await destination_states(acme.database, acme.workspace, claimed.post.id)
    assert state.status is DestinationStatus.PUBLISHED
    assert await find_problems(acme.database) == []


async def event_kinds(database: Database) -> list[str]:
    async with database.read_connection() as connection:
        return list(await connection.scalars(select(Event.kind).order_by(Event.seq)))


async def test_first_auth_failure_blocks_the_account(acme: Tenant) -> None:
    await add_due(acme.database, acme.workspace, 3)
    claims = await claim(acme.database, 2)
    for c in claims:
        await start_attempt(acme.database, c.lease)
    for seconds, c in enumerate(claims, 1):
        await report_failed(
            acme.database, c.lease, make_failure(ErrorCategory.AUTH), NOW + seconds * SECOND
        )
    async with acme.database.read_connection() as connection:
        since = await connection.scalar(select(Account.needs_reconnection_since))
    assert since == NOW + SECOND
    assert await claim(acme.database, now=NOW + MINUTE) == []
    assert await find_problems(acme.database) == []


async def test_claim_on_a_blocked_account_cannot_be_started(acme: Tenant) -> None:
    await add_due(acme.database, acme.workspace, 2)
    refused, waiting = await claim(acme.database)
    await start_attempt(acme.database, refused.lease)
    await report_failed(acme.database, refused.lease, make_failure(ErrorCategory.AUTH))
    before = await all_rows(acme.database)

    assert await error_code(start_attempt(acme.database, waiting.lease)) == "lease_lost"

    assert await all_rows(acme.database) == before
    later = NOW + MINUTE
    await settle_expired_leases(acme.database, later)
    assert await claim(acme.database, now=later) == []
    await fail_due_on_blocked_accounts(acme.database, later)
    (state,) = await destination_states(acme.database, acme.workspace, waiting.post.id)
    assert (state.status, state.error_category, state.attempts) == (
        DestinationStatus.FAILED,
        ErrorCategory.AUTH,
        0,
    )


@pytest.mark.parametrize("is_deleted", [False, True], ids=["cancelled", "and deleted"])
@pytest.mark.parametrize("is_elsewhere", [False, True], ids=["reported", "recorded"])
async def test_publication_of_a_cancelled_post_is_recorded_and_nothing_else_is_published(
    acme: Tenant, is_elsewhere: bool, is_deleted: bool
) -> None:
    accounts = [await add_account(acme.database, acme.workspace) for _ in range(2)]
    post = await add_post(acme.database, acme.workspace, dict.fromkeys(accounts, queued()))
    claims = await claim(acme.database)
    (lease,) = (c.lease for c in claims if c.account.id == accounts[0])
    later = NOW + MINUTE
    await settle_expired_leases(acme.database, later)
    await cancel_post(
        acme.database,
        write_context(acme.workspace, later),
        post.id,
        expected_version=None,
        idempotency_key=None,
    )
    if is_deleted:
        await delete_post(
            acme.database,
            write_context(acme.workspace, later),
            post.id,
            expected_version=None,
            idempotency_key=None,
        )

    if is_elsewhere:
        context = write_context(acme.workspace, later)
        result = await record_publication(acme.database, context, post.id, accounts[0])
    else:
        result = await report_published(acme.database, lease, later)

    assert result.receipt is Receipt.RECORDED
    first, second = await destination_states(acme.database, acme.workspace, post.id)
    assert (first.outcome, first.platform_post_id) == (
        Outcome.PUBLISHED,
        PUBLICATION.platform_post_id,
    )
    assert (second.outcome, second.error_code) == (Outcome.FAILED, "CANCELLED")
    assert await claim(acme.database, now=later + MINUTE) == []
    assert await find_problems(acme.database) == []


Step = Callable[[ReportService, Lease], Coroutine[Any, Any, object]]
STEPS: dict[str, Step] = {
    "start": lambda reports, lease: reports.start_attempt(lease, None),
    "extend": lambda reports, lease: reports.extend_lease(lease, MINUTE),
    "release": lambda reports, lease: reports.release_claim(lease),
    "publish": lambda reports, lease: reports.report_published(lease, PUBLICATION),
    "fail": lambda reports, lease: reports.report_failed(lease, make_failure()),
    "unknown": lambda reports, lease: reports.report_unknown(lease, make_failure()),
    "verify": lambda reports, lease: reports.report_verified(
        lease, VerificationFinding.PUBLISHED, PUBLICATION
    ),
}


@pytest.mark.parametrize("step", STEPS.values(), ids=STEPS)
async def test_foreign_or_unknown_lease_is_lost(acme: Tenant, step: Step) -> None:
    claimed = await add_claim(acme)
    other = Publisher(await add_workspace(acme.database), None)
    before = await all_rows(acme.database)

    no_destination = DestinationId(UUID(int=77))
    no_workspace = WorkspaceId(UUID(int=78))
    for publisher, lease in (
        (other, claimed.lease),
        (OPERATOR_PUBLISHER, replace(claimed.lease, post_id=PostId(UUID(int=79)))),
        (OPERATOR_PUBLISHER, replace(claimed.lease, destination_id=no_destination)),
        (OPERATOR_PUBLISHER, replace(claimed.lease, workspace_id=no_workspace)),
    ):
        assert (
            await error_code(step(report_service(acme.database, publisher), lease)) == "lease_lost"
        )
    assert await all_rows(acme.database) == before


@pytest.mark.parametrize("step", STEPS.values(), ids=STEPS)
async def test_lease_of_a_removed_account_is_lost(acme: Tenant, step: Step) -> None:
    claimed = await add_claim(acme)
    await report_service(acme.database).release_claim(claimed.lease)
    other = await add_account(acme.database, acme.workspace)
    await change(acme.database, acme.workspace, claimed.post.id, [other])
    before = await all_rows(acme.database)

    assert await error_code(step(report_service(acme.database), claimed.lease)) == "lease_lost"
    assert await all_rows(acme.database) == before


@pytest.mark.parametrize("command", [cancel_post, delete_post])
async def test_cancelled_post_cannot_be_started(
    acme: Tenant, command: Callable[..., Coroutine[Any, Any, object]]
) -> None:
    claimed = await add_claim(acme)
    await report_service(acme.database).release_claim(claimed.lease)
    await command(
        acme.database,
        write_context(acme.workspace),
        claimed.post.id,
        expected_version=None,
        idempotency_key=None,
    )

    assert await error_code(start_attempt(acme.database, claimed.lease)) == "lease_lost"
    assert await claim(acme.database, now=NOW + MINUTE) == []
    if command is delete_post:  # a late publication is still recorded
        assert (await report_published(acme.database, claimed.lease)).receipt is Receipt.RECORDED
    assert await find_problems(acme.database) == []


async def add_unknown_claim(tenant: Tenant) -> Claim:
    claimed = await add_claim(tenant)
    await start_attempt(tenant.database, claimed.lease)
    await STEPS["unknown"](report_service(tenant.database), claimed.lease)
    return claimed


async def test_unknown_outcome_is_verified_and_retried(acme: Tenant) -> None:
    claimed = await add_unknown_claim(acme)
    (verification,) = await claim_for_verification(acme.database)
    assert await claim_for_verification(acme.database) == []
    report = (acme.database, verification.lease, VerificationFinding.NOT_PUBLISHED)

    result = await report_verified(*report)

    assert result.destination.state.claimable_at == NOW
    assert await error_code(report_verified(*report)) == "lease_lost"
    (retried,) = await claim(acme.database)
    assert (retried.post.id, retried.lease.fence) == (claimed.post.id, 2)
    assert await find_problems(acme.database) == []


@pytest.mark.parametrize(
    ("publication", "outcome"), [(PUBLICATION, Outcome.PUBLISHED), (None, Outcome.FAILED)]
)
async def test_unknown_outcome_is_reconciled_once(
    acme: Tenant, publication: Publication | None, outcome: Outcome
) -> None:
    destination_id = (await add_unknown_claim(acme)).destination.id
    reconcile = partial(
        service.reconcile_destination,
        *(acme.database, write_context(acme.workspace), destination_id, publication),
        request=None,
        idempotency_key=None,
    )

    assert await reconcile() is Receipt.RECORDED

    async with acme.database.read_connection() as connection:
        assert await connection.scalar(select(Destination.outcome)) == outcome
    assert await error_code(reconcile()) == "conflict"
    assert await find_problems(acme.database) == []


async def test_reconciling_an_unknown_destination_is_not_found(acme: Tenant) -> None:
    for workspace, destination_id in (
        (acme.workspace, DestinationId(UUID(int=77))),
        (await add_workspace(acme.database), (await add_unknown_claim(acme)).destination.id),
    ):
        work = service.reconcile_destination(
            *(acme.database, write_context(workspace), destination_id, None),
            request=None,
            idempotency_key=None,
        )
        assert await error_code(work) == "not_found"


async def record_publication(
    database: Database,
    context: WriteContext,
    post: PostId,
    account: AccountId,
    publication: Publication = PUBLICATION,
) -> ReportResult:
    """Record the publication of a publisher with its own queue, whose attempt key is job-1."""
    attempt = ExternalAttempt(
        attempt_key="job-1",
        worker="cron",
        started_at=NOW - SECOND,
        outcome=Outcome.PUBLISHED,
        details=publication,
    )
    return await service.record_external_attempt(
        database, context, post, account, attempt, RETRY_DECIDER, new_id=uuid4
    )


async def test_external_attempt_is_recorded_once(acme: Tenant, database_url: str) -> None:
    account = await add_account(acme.database, acme.workspace)
    post = await add_post(acme.database, acme.workspace, {account: queued()})

    async with Database(database_url, timeout=MINUTE, pool_size=8) as busy:
        results = await run_concurrently(
            record_publication(busy, write_context(acme.workspace), post.id, account)
            for _ in range(8)
        )

    assert sorted(result.receipt for result in results) == ["recorded", *["repeated"] * 7]
    reader = acme.database.reader(acme.workspace)
    (attempt,) = await load_attempts(reader, post.destinations[0])
    assert (attempt.kind, attempt.attempt_key, attempt.worker, attempt.started_at) == (
        AttemptKind.REGULAR,
        "job-1",
        "cron",
        NOW - SECOND,
    )
    assert await find_problems(acme.database) == []


async def test_unknown_result_of_another_publisher_is_refused_on_an_account_of_the_worker(
    acme: Tenant,
) -> None:
    account = await add_account(acme.database, acme.workspace, platform="sandbox")
    post = await add_post(acme.database, acme.workspace, {account: queued()})
    context = write_context(acme.workspace)
    before = await all_rows(acme.database)
    attempt = ExternalAttempt(
        attempt_key="job-1",
        worker="cron",
        started_at=NOW - SECOND,
        outcome=Outcome.UNKNOWN,
        details=make_failure(),
    )

    work = service.record_external_attempt(
        acme.database, context, post.id, account, attempt, RETRY_DECIDER, new_id=uuid4
    )

    assert await error_code(work) == "conflict"
    assert await all_rows(acme.database) == before
    result = await record_publication(acme.database, context, post.id, account)
    assert result.receipt == "recorded"


async def test_recorded_result_requires_a_local_post_on_the_account(acme: Tenant) -> None:
    account = await add_account(acme.database, acme.workspace)
    other = await add_workspace(acme.database)
    local = (await add_post(acme.database, acme.workspace, {account: queued()})).id
    deleted = (await add_post(acme.database, acme.workspace, deleted_at=NOW)).id
    imported = (await add_post(acme.database, acme.workspace, imported_at=NOW)).id

    async def record_error(workspace: WorkspaceId, post: PostId, on: int) -> str | None:
        context = write_context(workspace)
        return await error_code(record_publication(acme.database, context, post, AccountId(on)))

    assert await record_error(acme.workspace, local, 9) == "not_found"
    assert await record_error(acme.workspace, deleted, account) == "not_found"
    assert await record_error(acme.workspace, imported, account) == "conflict"
    assert await record_error(other, local, account) == "not_found"
    assert await record_error(acme.workspace, local, account) is None


def published_as(id_: str | None, url: str | None) -> Publication:
    return Publication(platform_post_id=id_, platform_post_url=url, published_at=NOW)


URL = "https://x.example/1"
FURTHER = [
    published_as(None, URL),
    published_as("1", "https://x.example/changed"),
    published_as("2", None),
    published_as("2", None),
    published_as("1", None),
]
"""Reports of one attempt: its URL, its id, another publication twice, and the first again."""

RECEIPTS = ["recorded", "repeated", "duplicate", "repeated", "repeated"]


@pytest.mark.parametrize("is_external", [False, True])
async def test_further_reports_complete_the_publication_or_are_duplicates(
    acme: Tenant, is_external: bool
) -> None:
    if is_external:
        account = await add_account(acme.database, acme.workspace)
        post = (await add_post(acme.database, acme.workspace, {account: queued()})).id
    else:
        claimed = await add_claim(acme)
        post, lease = claimed.post.id, claimed.lease
        await start_attempt(acme.database, lease)
    receipts = []
    for publication in FURTHER:
        if is_external:
            result = await record_publication(
                acme.database, write_context(acme.workspace), post, account, publication
            )
        else:
            result = await report_service(acme.database).report_published(lease, publication)
        receipts.append(result.receipt.value)

    assert receipts == RECEIPTS
    (state,) = await destination_states(acme.database, acme.workspace, post)
    assert (state.platform_post_id, state.platform_post_url) == ("1", URL)
    assert (state.attempts, state.published_at) == (1, NOW)
    reader = acme.database.reader(acme.workspace)
    evidence = await load_evidence(reader, result.destination.id)
    assert [
        (each.counted, each.publication.platform_post_id, each.publication.platform_post_url)
        for each in sorted(evidence, key=lambda each: each.fence)
    ] == [(True, "1", URL), (False, "2", None)]
    async with acme.database.read_connection() as connection:
        rows = await connection.execute(select(Event.kind, Event.payload).order_by(Event.seq))
    events = [
        (kind, payload["changes"]) for kind, payload in rows if kind.startswith("destination.")
    ]
    outcomes = [values["outcome"] for _, values in events if "outcome" in values]
    assert outcomes == ["published"]
    assert [values["platform_post_id"] for _, values in events if "platform_post_id" in values] == [
        "1",
        "2",
    ]
    assert [kind for kind, _ in events].count("destination.duplicated") == 1
    assert await find_problems(acme.database) == []


async def test_late_and_verified_reports_complete_the_publication_too(acme: Tenant) -> None:
    claimed = await add_claim(acme)
    await start_attempt(acme.database, claimed.lease)
    late = NOW + 60 * MINUTE
    await settle_expired_leases(acme.database, late)
    (verification,) = await claim_for_verification(acme.database, now=late)
    found = await report_service(acme.database, now=late).report_verified(
        verification.lease, VerificationFinding.PUBLISHED, published_as(None, URL)
    )
    reports = [
        await report_service(acme.database, now=late).report_published(claimed.lease, publication)
        for publication in (published_as("1", URL), published_as("2", URL))
    ]
    again = await report_service(acme.database, now=late).report_verified(
        verification.lease, VerificationFinding.PUBLISHED, published_as("2", URL)
    )

    assert [each.receipt.value for each in (found, *reports, again)] == RECEIPTS[:4]
    (state,) = await destination_states(acme.database, acme.workspace, claimed.post.id)
    assert (state.platform_post_id, state.platform_post_url) == ("1", URL)
    assert await find_problems(acme.database) == []
