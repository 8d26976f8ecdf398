"""Report use cases: what publishers and people report about destinations, stored as transitions."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Concatenate, ParamSpec, TypeVar

from app.db.core.database import Database
from app.db.repositories.attempts import (
    insert_evidence,
    load_attempts,
    load_evidence,
    update_evidence,
    write_attempts,
)
from app.db.repositories.duplicate_checks import PendingCheck, add_check
from app.db.repositories.posts import post_ids_by_destination_id
from app.domain import external_attempts, reports, verification
from app.domain.account_commands import mark_needs_reconnection
from app.domain.accounts import AccountPublisher, blocking_reason
from app.domain.attempts import Attempt, Evidence, Failure, Publication
from app.domain.destinations import Destination, DestinationState, Outcome
from app.domain.errors import Conflict, NotFound, not_found_error
from app.domain.events import duplicate_event, misuse_event
from app.domain.external_attempts import ExternalAttempt
from app.domain.idempotency import IdempotencyKey
from app.domain.ids import AccountId, DestinationId, IdFactory, PostId
from app.domain.leases import Lease
from app.domain.operations import RELEASE_CLAIM, REPORT_VERIFIED
from app.domain.posts import Post
from app.domain.reports import ReportContext
from app.domain.settlement import (
    DUPLICATE_CHECK_DELAY,
    History,
    Receipt,
    RetryDecider,
    Transition,
    first_attempt_to_check,
    lease_lost_error,
)
from app.domain.times import Clock
from app.domain.transitions import extended
from app.domain.verification import VerificationFinding
from app.services.accounts import get_account_for_update
from app.services.idempotency import StoredOutcome, run_idempotently
from app.services.posts import get_post_for_update, get_post_for_update_including_deleted
from app.services.unit_of_work import Publisher, UnitOfWork, WriteContext, run_in_transaction

P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class ReportResult:
    """The receipt of a report, with its post and destination afterwards."""

    receipt: Receipt
    post: Post
    destination: Destination


@dataclass(frozen=True, slots=True)
class LockedDestination:
    """A destination of a locked post, with the history that decides its transitions."""

    post: Post
    destination: Destination
    history: History

    @property
    def state(self) -> DestinationState:
        return self.destination.state


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportService:
    """Reports of one publisher. All raise LeaseLost for a lease that is not the publisher's."""

    database: Database
    publisher: Publisher
    retry_decider: RetryDecider
    new_id: IdFactory
    clock: Clock

    async def start_attempt(self, lease: Lease, worker: str | None) -> tuple[ReportResult, Attempt]:
        """Log that the publisher is about to call the platform; it must not call unless this succeeds."""

        async def work(uow: UnitOfWork) -> tuple[ReportResult, Attempt]:
            locked = await _lock_claimed_destination(uow, lease)
            account_id = locked.destination.account_id
            account = (await uow.load_accounts([account_id]))[account_id]
            transition, attempt = reports.start_attempt(
                locked.state,
                locked.history,
                self._context(uow, lease),
                worker=worker,
                blocking_reason=blocking_reason(account.access, uow.write_context.now),
            )
            return await save_transition(uow, locked, transition), attempt

        return await self._run("startAttempt", lease, work)

    async def extend_lease(self, lease: Lease, lease_duration: timedelta) -> datetime:
        """Set the remaining duration of a lease, longer or shorter; return when it expires."""

        async def work(uow: UnitOfWork) -> datetime:
            locked = await lock_leased_destination(uow, lease)
            expires_at = uow.write_context.now + lease_duration
            await save_transition(uow, locked, Transition(state=extended(locked.state, expires_at)))
            return expires_at

        return await self._run("extendLease", lease, work)

    async def release_claim(self, lease: Lease) -> ReportResult:
        """Make the destination claimable again; raises Conflict if its attempt was started."""
        return await self._report(RELEASE_CLAIM, lease, reports.release_claim)

    async def report_published(
        self, lease: Lease, publication: Publication, *, may_be_repeated: bool = False
    ) -> ReportResult:
        """Report a publication; `may_be_repeated` plans a check for duplicates, as in `save_transition`."""

        async def work(uow: UnitOfWork) -> ReportResult:
            locked = await _lock_claimed_destination(uow, lease)
            if locked.post.is_draft:  # cancelled before the publisher reported its start
                post = locked.post.resubmitted_for(lease.destination_id, uow.write_context.now)
                locked = LockedDestination(
                    post, post.destination(lease.destination_id), locked.history
                )
            transition = reports.report_published(
                locked.state, locked.history, self._context(uow, lease), publication
            )
            return await save_transition(uow, locked, transition, may_be_repeated=may_be_repeated)

        return await self._run("reportPublished", lease, work)

    async def report_failed(
        self, lease: Lease, failure: Failure, *, waits_for_server: bool = False
    ) -> ReportResult:
        """Report a failure; `waits_for_server` is True if an open breaker decides about the next attempt."""
        retry_decider = replace(self.retry_decider, has_backoff=not waits_for_server)
        return await self._report(
            "reportFailed", lease, reports.report_failed, failure, retry_decider
        )

    async def report_unknown(self, lease: Lease, failure: Failure) -> ReportResult:
        """Report that the platform gave no answer, so that the post may be published or not."""
        return await self._report("reportFailed", lease, reports.report_unknown, failure)

    async def report_verified(
        self,
        lease: Lease,
        finding: VerificationFinding,
        publication: Publication | None,
        *,
        may_be_repeated: bool = False,
    ) -> ReportResult:
        """Report a finding; `may_be_repeated` plans a check for duplicates, as in `save_transition`."""

        async def work(uow: UnitOfWork) -> ReportResult:
            locked = await _lock_claimed_destination(uow, lease)
            transition = verification.report_verified(
                locked.state,
                locked.history,
                self._context(uow, lease),
                finding,
                publication,
                self.retry_decider,
            )
            return await save_transition(uow, locked, transition, may_be_repeated=may_be_repeated)

        return await self._run(REPORT_VERIFIED, lease, work)

    async def _report(
        self,
        operation: str,
        lease: Lease,
        decide: Callable[Concatenate[DestinationState, History, ReportContext, P], Transition],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> ReportResult:
        """Lock the lease's destination, and store the transition that `decide` returns."""

        async def work(uow: UnitOfWork) -> ReportResult:
            locked = await _lock_claimed_destination(uow, lease)
            context = self._context(uow, lease)
            transition = decide(locked.state, locked.history, context, *args, **kwargs)
            return await save_transition(uow, locked, transition)

        return await self._run(operation, lease, work)

    async def _run(
        self, operation: str, lease: Lease, work: Callable[[UnitOfWork], Awaitable[T]]
    ) -> T:
        write_context = self.publisher.write_context(lease.workspace_id, operation, self.clock())
        return await run_in_transaction(self.database, write_context, work)

    def _context(self, uow: UnitOfWork, lease: Lease) -> ReportContext:
        return ReportContext(lease, self.new_id, uow.write_context.now)


async def reconcile_destination(
    database: Database,
    write_context: WriteContext,
    destination_id: DestinationId,
    publication: Publication | None,
    *,
    request: object,
    idempotency_key: IdempotencyKey | None,
) -> Receipt:
    """Settle an unknown outcome as a person found it; no publication means that the post is not there.

    `request` has the values that the client sent, without defaults that depend on the time. Raises NotFound
    if the workspace has no such destination.
    """

    async def work(uow: UnitOfWork) -> StoredOutcome:
        post = await _get_post_of_destination_for_update(uow, destination_id)
        locked = await load_locked_destination(uow, post, destination_id)
        transition = verification.reconcile(locked.state, publication, write_context.now)
        result = await save_transition(uow, locked, transition)
        return {"receipt": result.receipt}

    outcome = await run_idempotently(database, write_context, idempotency_key, request, work)
    return Receipt(outcome["receipt"])


async def record_external_attempt(
    database: Database,
    write_context: WriteContext,
    post_id: PostId,
    account_id: AccountId,
    external_attempt: ExternalAttempt,
    retry_decider: RetryDecider,
    *,
    new_id: IdFactory,
) -> ReportResult:
    """Record an attempt of a publisher that has its own queue.

    Raises NotFound if the post does not go to the account, and Conflict if the post was imported, or if the
    outcome is unknown on an account of the worker, which can verify only its own attempts.
    """

    async def work(uow: UnitOfWork) -> ReportResult:
        is_published = external_attempt.outcome is Outcome.PUBLISHED
        if is_published:
            post = await get_post_for_update_including_deleted(uow, post_id)
        else:
            post = await get_post_for_update(uow, post_id)
        if post.imported_at is not None:
            raise Conflict("The post was imported: its results come from where it is published.")
        destination_ids = {d.account_id: d.id for d in post.destinations}
        if account_id not in destination_ids:
            raise NotFound(f"The post was not found on account {account_id}.")
        destination_id = destination_ids[account_id]
        if is_published and post.is_draft:  # cancelled after the publisher had taken it
            post = post.resubmitted_for(destination_id, write_context.now)
        locked = await load_locked_destination(uow, post, destination_id)
        is_external = locked.destination.publisher is AccountPublisher.EXTERNAL
        if external_attempt.outcome is Outcome.UNKNOWN and not is_external:
            raise Conflict(
                "The worker of this server publishes on this account, and cannot verify the attempts of other"
                " publishers. Record the result when it is known."
            )
        transition = external_attempts.record_external_attempt(
            locked.state,
            locked.history,
            external_attempt,
            retry_decider,
            new_id=new_id,
            now=write_context.now,
        )
        return await save_transition(uow, locked, transition)

    return await run_in_transaction(database, write_context, work)


async def _get_post_of_destination_for_update(
    uow: UnitOfWork, destination_id: DestinationId
) -> Post:
    post_id = (await post_ids_by_destination_id(uow.reader, [destination_id])).get(destination_id)
    if post_id is not None:
        post = (await uow.load_posts_for_update([post_id])).get(post_id)
        if post is not None and post.deleted_at is None and post.has_destination(destination_id):
            return post
    raise not_found_error("destination")


async def load_locked_destination(
    uow: UnitOfWork, post: Post, destination_id: DestinationId
) -> LockedDestination:
    """Load the history of a destination whose post is locked."""
    attempts = await load_attempts(uow.reader, destination_id)
    return await _with_evidence(uow, post, destination_id, attempts)


async def lock_leased_destination(uow: UnitOfWork, lease: Lease) -> LockedDestination:
    """Lock and load the destination of a lease; raises LeaseLost unless it is held and has not expired."""
    locked = await _lock_claimed_destination(uow, lease)
    reports.require_lease(locked.state, lease, uow.write_context.now)
    return locked


async def _lock_claimed_destination(uow: UnitOfWork, lease: Lease) -> LockedDestination:
    """Lock and load the destination of a lease; raises LeaseLost if its account was removed from the post."""
    loaded = await uow.load_post_and_attempts_for_update(lease.post_id, lease.destination_id)
    if loaded is None or not loaded[0].has_destination(lease.destination_id):
        raise lease_lost_error()
    post, attempts = loaded
    return await _with_evidence(uow, post, lease.destination_id, attempts)


async def _with_evidence(
    uow: UnitOfWork, post: Post, destination_id: DestinationId, attempts: Sequence[Attempt]
) -> LockedDestination:
    destination = post.destination(destination_id)
    evidence: Sequence[Evidence] = ()
    if destination.state.may_have_evidence:
        evidence = await load_evidence(uow.reader, destination_id)
    return LockedDestination(post, destination, History(destination.platform, attempts, evidence))


async def save_transition(
    uow: UnitOfWork,
    locked: LockedDestination,
    transition: Transition,
    *,
    may_be_repeated: bool = False,
) -> ReportResult:
    """Save the state, attempts and evidence of a transition, with their effects.

    Plans a check for duplicates, and marks an account without access. `may_be_repeated` is True if the
    platform publishes a post once more when the network repeats the request of an attempt.
    """
    destination, now = locked.destination, uow.write_context.now
    await write_attempts(
        uow.session, destination, transition.attempts, previous=locked.history.attempts
    )
    if transition.evidence is not None:
        await insert_evidence(uow.session, destination.id, transition.evidence)
    if transition.completed_evidence is not None:
        await update_evidence(uow.session, destination.id, transition.completed_evidence)
    first_attempt_at = first_attempt_to_check(
        locked.history, transition, may_be_repeated=may_be_repeated
    )
    if first_attempt_at is not None and destination.publisher.can_publish_twice:
        check = PendingCheck(
            uow.write_context.workspace_id,
            destination.id,
            locked.post.id,
            destination.account_id,
            first_attempt_at,
            check_at=now + DUPLICATE_CHECK_DELAY,
            attempts=0,
        )
        await add_check(uow.session, check)
    post = locked.post.with_state(destination.id, transition.state, now)
    await uow.save_posts([post])
    uow.transitions.append((destination.platform, transition))
    if transition.receipt is Receipt.DUPLICATE and transition.evidence is not None:
        uow.add_event(duplicate_event(post.id, destination, transition.evidence))
    if transition.has_unstarted_attempt and transition.evidence is not None:
        uow.add_event(misuse_event(post.id, destination, transition.evidence))
    if transition.auth_failed_attempt_started_at is not None:
        account = await get_account_for_update(uow, destination.account_id)
        await uow.save_accounts(
            [mark_needs_reconnection(account, transition.auth_failed_attempt_started_at, now)]
        )
    return ReportResult(transition.receipt, post, post.destination(destination.id))
