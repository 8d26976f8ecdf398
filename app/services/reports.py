"""Publishers tell what came of what they claimed. What that means is decided in the domain."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from app.db.core.database import Database
from app.db.repositories.attempts import (
    insert_evidence,
    load_attempts,
    load_evidence,
    write_attempts,
)
from app.db.repositories.posts import post_ids_by_destination_id
from app.domain import reports, verification
from app.domain.account_commands import mark_needs_reconnection
from app.domain.accounts import blocking_reason
from app.domain.attempts import Attempt, Failure, Publication
from app.domain.destinations import Destination, DestinationState, Outcome
from app.domain.errors import Conflict, NotFound
from app.domain.events import duplicate_event
from app.domain.ids import AccountId, ApiKeyId, DestinationId, IdFactory, PostId, WorkspaceId
from app.domain.leases import Lease
from app.domain.posts import Post
from app.domain.reports import ReportContext
from app.domain.settlement import History, Receipt, RetryDecider, Transition, lease_lost_error
from app.domain.transitions import extended
from app.domain.verification import ExternalAttempt, VerificationFinding
from app.services.accounts import get_account_for_update
from app.services.posts import get_post_for_update, get_post_for_update_including_deleted
from app.services.unit_of_work import UnitOfWork, WriteContext, run_in_transaction

TransitionFn = Callable[[DestinationState, History], Transition]


@dataclass(frozen=True, slots=True)
class Publisher:
    """Who publishes, and where."""

    workspace_id: WorkspaceId | None
    """The only one; None for all."""
    actor: ApiKeyId | None
    """None for a worker of the operator's own."""

    def write_context(
        self, workspace_id: WorkspaceId, operation: str, now: datetime
    ) -> WriteContext:
        """LeaseLost in a workspace that is not its own: of others it learns nothing."""
        if self.workspace_id not in (None, workspace_id):
            raise lease_lost_error()
        return WriteContext(
            workspace_id=workspace_id, actor=self.actor, operation=operation, now=now
        )


@dataclass(frozen=True, slots=True)
class ReportResult:
    """What became of a report, and of its destination."""

    receipt: Receipt
    destination: Destination


async def start_attempt(
    database: Database,
    publisher: Publisher,
    lease: Lease,
    *,
    worker: str | None,
    new_id: IdFactory,
    now: datetime,
) -> tuple[ReportResult, Attempt]:
    """The publisher is about to call the platform; it must not, unless this succeeds."""
    errand = publisher.write_context(lease.workspace_id, "startAttempt", now)
    report = ReportContext(lease, new_id, errand.now)

    async def work(uow: UnitOfWork) -> tuple[ReportResult, Attempt]:
        post = await _get_claimed_post(uow, lease)
        account_id = post.destination(lease.destination_id).account_id
        account = (await uow.load_accounts([account_id]))[account_id]
        obstacle = blocking_reason(account.connection, errand.now)
        started: list[Attempt] = []

        def decide(state: DestinationState, history: History) -> Transition:
            recorded, attempt = reports.start_attempt(
                state, history, report, worker=worker, blocking_reason=obstacle
            )
            started.append(attempt)
            return recorded

        decided = await apply_transition(uow, post, lease.destination_id, decide)
        return _to_report_result(decided, lease.destination_id), started[-1]

    return await run_in_transaction(database, errand, work)


async def extend_lease(
    database: Database,
    publisher: Publisher,
    lease: Lease,
    lease_duration: timedelta,
    *,
    now: datetime,
) -> datetime:
    """When it ends now; it may be cut short too."""
    errand = publisher.write_context(lease.workspace_id, "extendLease", now)
    expires_at = errand.now + lease_duration

    def decide(state: DestinationState, _history: History) -> Transition:
        reports.require_lease(state, lease, errand.now)
        return Transition(state=extended(state, expires_at))

    await _apply_leased_transition(database, errand, lease, decide)
    return expires_at


async def release_claim(
    database: Database, publisher: Publisher, lease: Lease, *, now: datetime
) -> ReportResult:
    errand = publisher.write_context(lease.workspace_id, "releaseClaim", now)

    def decide(state: DestinationState, _history: History) -> Transition:
        return Transition(state=reports.release_claim(state, lease, errand.now))

    return await _apply_leased_transition(database, errand, lease, decide)


async def report_published(
    database: Database,
    publisher: Publisher,
    lease: Lease,
    publication: Publication,
    *,
    new_id: IdFactory,
    now: datetime,
) -> ReportResult:
    errand = publisher.write_context(lease.workspace_id, "reportPublished", now)
    report = ReportContext(lease, new_id, errand.now)

    def decide(state: DestinationState, history: History) -> Transition:
        return reports.report_published(state, history, report, publication)

    async def work(uow: UnitOfWork) -> ReportResult:
        post = await _get_claimed_post(uow, lease)
        if post.is_draft:  # taken back before the publisher said that it had started
            post = post.published_despite_cancel(lease.destination_id, errand.now)
        decided = await apply_transition(uow, post, lease.destination_id, decide)
        return _to_report_result(decided, lease.destination_id)

    return await run_in_transaction(database, errand, work)


async def report_failed(
    database: Database,
    publisher: Publisher,
    lease: Lease,
    failure: Failure,
    retry_decider: RetryDecider,
    *,
    new_id: IdFactory,
    now: datetime,
) -> ReportResult:
    def decide(state: DestinationState, history: History, report: ReportContext) -> Transition:
        return reports.report_failed(state, history, report, failure, retry_decider)

    errand = publisher.write_context(lease.workspace_id, "reportFailed", now)
    return await _apply_report(database, errand, lease, decide, new_id)


async def report_unknown(
    database: Database,
    publisher: Publisher,
    lease: Lease,
    failure: Failure,
    *,
    new_id: IdFactory,
    now: datetime,
) -> ReportResult:
    """The publisher got no answer: the post may be published all the same."""

    def decide(state: DestinationState, history: History, report: ReportContext) -> Transition:
        return reports.report_unknown(state, history, report, failure)

    errand = publisher.write_context(lease.workspace_id, "reportFailed", now)
    return await _apply_report(database, errand, lease, decide, new_id)


async def report_verified(
    database: Database,
    publisher: Publisher,
    lease: Lease,
    finding: VerificationFinding,
    publication: Publication | None,
    retry_decider: RetryDecider,
    *,
    new_id: IdFactory,
    now: datetime,
) -> ReportResult:
    def decide(state: DestinationState, history: History, report: ReportContext) -> Transition:
        return verification.report_verified(
            state, history, report, finding, publication, retry_decider
        )

    errand = publisher.write_context(lease.workspace_id, "reportVerified", now)
    return await _apply_report(database, errand, lease, decide, new_id)


async def reconcile_destination(
    database: Database,
    write_context: WriteContext,
    destination_id: DestinationId,
    publication: Publication | None,
) -> ReportResult:
    """A person has looked; without a place, the post is not there. NotFound for no such destination."""

    def decide(state: DestinationState, _history: History) -> Transition:
        return verification.reconcile(state, publication, write_context.now)

    async def work(uow: UnitOfWork) -> ReportResult:
        post = await _get_destination_post(uow, destination_id)
        if post is None or post.deleted_at is not None:
            raise NotFound("The destination was not found: this workspace has none with that id.")
        return _to_report_result(
            await apply_transition(uow, post, destination_id, decide), destination_id
        )

    return await run_in_transaction(database, write_context, work)


async def record_result(
    database: Database,
    write_context: WriteContext,
    post_id: PostId,
    account_id: AccountId,
    result: ExternalAttempt,
    retry_decider: RetryDecider,
    *,
    new_id: IdFactory,
) -> ReportResult:
    """For a publisher with a queue of its own; NotFound for a post that does not go to the account."""

    def decide(state: DestinationState, history: History) -> Transition:
        return verification.record_external_attempt(
            state, history, result, retry_decider, new_id=new_id, now=write_context.now
        )

    async def work(uow: UnitOfWork) -> ReportResult:
        is_published = result.outcome is Outcome.PUBLISHED
        post = await (
            get_post_for_update_including_deleted if is_published else get_post_for_update
        )(uow, post_id)
        if post.imported_at is not None:
            raise Conflict("The post was imported: its results come from where it is published.")
        on = {each.account_id: each.id for each in post.destinations}
        if account_id not in on:
            raise NotFound(f"The post was not found on account {account_id}.")
        if is_published and post.is_draft:  # taken back when its publisher had it already
            post = post.published_despite_cancel(on[account_id], write_context.now)
        return _to_report_result(
            await apply_transition(uow, post, on[account_id], decide), on[account_id]
        )

    return await run_in_transaction(database, write_context, work)


async def _apply_report(
    database: Database,
    write_context: WriteContext,
    lease: Lease,
    decide: Callable[[DestinationState, History, ReportContext], Transition],
    new_id: IdFactory,
) -> ReportResult:
    report = ReportContext(lease, new_id, write_context.now)
    return await _apply_leased_transition(
        database, write_context, lease, lambda state, history: decide(state, history, report)
    )


async def _apply_leased_transition(
    database: Database, write_context: WriteContext, lease: Lease, decide: TransitionFn
) -> ReportResult:
    async def work(uow: UnitOfWork) -> ReportResult:
        post = await _get_claimed_post(uow, lease)
        decided = await apply_transition(uow, post, lease.destination_id, decide)
        return _to_report_result(decided, lease.destination_id)

    return await run_in_transaction(database, write_context, work)


async def _get_claimed_post(uow: UnitOfWork, lease: Lease) -> Post:
    """Locked; LeaseLost where the account was taken off the post."""
    post = await _get_destination_post(uow, lease.destination_id)
    if post is None:
        raise lease_lost_error()
    return post


async def _get_destination_post(uow: UnitOfWork, destination_id: DestinationId) -> Post | None:
    """Locked, as it has the destination; None if it has it no more."""
    post_id = (await post_ids_by_destination_id(uow.reader, [destination_id])).get(destination_id)
    if post_id is None:
        return None
    await uow.lock_posts([post_id])
    post = (await uow.load_posts([post_id])).get(post_id)
    if post is None or all(each.id != destination_id for each in post.destinations):
        return None
    return post


async def apply_transition(
    uow: UnitOfWork, post: Post, destination_id: DestinationId, decide: TransitionFn
) -> tuple[Post, Receipt]:
    """Store what was decided about a destination of a locked post; the post as it is then."""
    destination = post.destination(destination_id)
    attempts = await load_attempts(uow.reader, destination_id)
    evidence = await load_evidence(uow.reader, destination_id)
    recorded = decide(destination.state, History(destination.platform, attempts, evidence))
    where = (uow.session, uow.errand.workspace_id, destination_id)
    await write_attempts(*where, recorded.attempts, previous=attempts)
    if recorded.evidence is not None:
        await insert_evidence(*where, recorded.evidence)
    after = post.with_state(destination_id, recorded.state, uow.errand.now)
    await uow.save_posts([after])
    if recorded.receipt is Receipt.DUPLICATE and recorded.evidence is not None:
        uow.add_event(duplicate_event(post.id, destination, recorded.evidence))
    if recorded.auth_failed_attempt_started_at is not None:
        account = await get_account_for_update(uow, destination.account_id)
        refused = mark_needs_reconnection(
            account, recorded.auth_failed_attempt_started_at, uow.errand.now
        )
        await uow.save_accounts([refused])
    return after, recorded.receipt


def _to_report_result(
    post_and_receipt: tuple[Post, Receipt], destination_id: DestinationId
) -> ReportResult:
    post, receipt = post_and_receipt
    return ReportResult(receipt, post.destination(destination_id))
