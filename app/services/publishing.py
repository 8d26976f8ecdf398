"""Publishers tell what came of what they claimed. What that means is decided in the domain."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from app.db.attempts import insert_evidence, load_attempts, load_evidence, write_attempts
from app.db.engine import Database
from app.db.post_writes import posts_of_destinations
from app.domain import findings, publishing
from app.domain.accounts import blocking_reason
from app.domain.attempts import Attempt, Failure, Publication
from app.domain.connecting import lost_access
from app.domain.destinations import Destination, DestinationState, Outcome
from app.domain.endings import History, Receipt, Recorded, RetryRules, lease_lost
from app.domain.errors import Conflict, NotFound
from app.domain.events import duplicate_event
from app.domain.findings import Finding, Result
from app.domain.ids import AccountId, ApiKeyId, DestinationId, NewId, PostId, WorkspaceId
from app.domain.leases import Lease
from app.domain.posts import Post
from app.domain.publishing import Report
from app.domain.transitions import extended
from app.services.accounts import locked_account
from app.services.posts import locked_post, locked_record
from app.services.writing import Errand, Writing, write

Decide = Callable[[DestinationState, History], Recorded]


@dataclass(frozen=True, slots=True)
class Publisher:
    """Who publishes, and where."""

    workspace_id: WorkspaceId | None
    """The only one; None for all."""
    actor: ApiKeyId | None
    """None for a worker of the operator's own."""

    def errand(self, workspace_id: WorkspaceId, operation: str, now: datetime) -> Errand:
        """LeaseLost in a workspace that is not its own: of others it learns nothing."""
        if self.workspace_id not in (None, workspace_id):
            raise lease_lost()
        return Errand(workspace_id=workspace_id, actor=self.actor, operation=operation, now=now)


@dataclass(frozen=True, slots=True)
class Told:
    """What became of a report, and of its destination."""

    receipt: Receipt
    destination: Destination


async def start_attempt(
    database: Database,
    publisher: Publisher,
    lease: Lease,
    *,
    worker: str | None,
    new_id: NewId,
    now: datetime,
) -> tuple[Told, Attempt]:
    """The publisher is about to call the platform; it must not, unless this succeeds."""
    errand = publisher.errand(lease.workspace_id, "startAttempt", now)
    report = Report(lease, new_id, errand.now)

    async def work(writing: Writing) -> tuple[Told, Attempt]:
        post = await _claimed_post(writing, lease)
        account_id = post.destination(lease.destination_id).account_id
        account = (await writing.accounts([account_id]))[account_id]
        obstacle = blocking_reason(account.connection, errand.now)
        started: list[Attempt] = []

        def decide(state: DestinationState, history: History) -> Recorded:
            recorded, attempt = publishing.start_attempt(
                state, history, report, worker=worker, obstacle=obstacle
            )
            started.append(attempt)
            return recorded

        decided = await decide_about(writing, post, lease.destination_id, decide)
        return _told(decided, lease.destination_id), started[-1]

    return await write(database, errand, work)


async def extend_lease(
    database: Database, publisher: Publisher, lease: Lease, length: timedelta, *, now: datetime
) -> datetime:
    """When it ends now; it may be cut short too."""
    errand = publisher.errand(lease.workspace_id, "extendLease", now)
    expires_at = errand.now + length

    def decide(state: DestinationState, _history: History) -> Recorded:
        publishing.require_lease(state, lease, errand.now)
        return Recorded(state=extended(state, expires_at))

    await _record(database, errand, lease, decide)
    return expires_at


async def release_claim(
    database: Database, publisher: Publisher, lease: Lease, *, now: datetime
) -> Told:
    errand = publisher.errand(lease.workspace_id, "releaseClaim", now)

    def decide(state: DestinationState, _history: History) -> Recorded:
        return Recorded(state=publishing.release_claim(state, lease, errand.now))

    return await _record(database, errand, lease, decide)


async def report_published(
    database: Database,
    publisher: Publisher,
    lease: Lease,
    where: Publication,
    *,
    new_id: NewId,
    now: datetime,
) -> Told:
    errand = publisher.errand(lease.workspace_id, "reportPublished", now)
    report = Report(lease, new_id, errand.now)

    def decide(state: DestinationState, history: History) -> Recorded:
        return publishing.report_published(state, history, report, where)

    async def work(writing: Writing) -> Told:
        post = await _claimed_post(writing, lease)
        if post.is_draft:  # taken back before the publisher said that it had started
            post = post.sent_after_all(lease.destination_id, errand.now)
        decided = await decide_about(writing, post, lease.destination_id, decide)
        return _told(decided, lease.destination_id)

    return await write(database, errand, work)


async def report_failed(
    database: Database,
    publisher: Publisher,
    lease: Lease,
    failure: Failure,
    rules: RetryRules,
    *,
    new_id: NewId,
    now: datetime,
) -> Told:
    def decide(state: DestinationState, history: History, report: Report) -> Recorded:
        return publishing.report_failed(state, history, report, failure, rules)

    errand = publisher.errand(lease.workspace_id, "reportFailed", now)
    return await _reported(database, errand, lease, decide, new_id)


async def report_unknown(
    database: Database,
    publisher: Publisher,
    lease: Lease,
    failure: Failure,
    *,
    new_id: NewId,
    now: datetime,
) -> Told:
    """The publisher got no answer: the post may be published all the same."""

    def decide(state: DestinationState, history: History, report: Report) -> Recorded:
        return publishing.report_unknown(state, history, report, failure)

    errand = publisher.errand(lease.workspace_id, "reportFailed", now)
    return await _reported(database, errand, lease, decide, new_id)


async def report_verified(
    database: Database,
    publisher: Publisher,
    lease: Lease,
    finding: Finding,
    where: Publication | None,
    rules: RetryRules,
    *,
    new_id: NewId,
    now: datetime,
) -> Told:
    def decide(state: DestinationState, history: History, report: Report) -> Recorded:
        return findings.report_verified(state, history, report, finding, where, rules)

    errand = publisher.errand(lease.workspace_id, "reportVerified", now)
    return await _reported(database, errand, lease, decide, new_id)


async def reconcile_destination(
    database: Database, errand: Errand, destination_id: DestinationId, where: Publication | None
) -> Told:
    """A person has looked; without a place, the post is not there. NotFound for no such destination."""

    def decide(state: DestinationState, _history: History) -> Recorded:
        return findings.reconcile(state, where, errand.now)

    async def work(writing: Writing) -> Told:
        post = await _post_of(writing, destination_id)
        if post is None or post.deleted_at is not None:
            raise NotFound("The destination was not found: this workspace has none with that id.")
        return _told(await decide_about(writing, post, destination_id, decide), destination_id)

    return await write(database, errand, work)


async def record_result(
    database: Database,
    errand: Errand,
    post_id: PostId,
    account_id: AccountId,
    result: Result,
    rules: RetryRules,
    *,
    new_id: NewId,
) -> Told:
    """For a publisher with a queue of its own; NotFound for a post that does not go to the account."""

    def decide(state: DestinationState, history: History) -> Recorded:
        return findings.record_result(state, history, result, rules, new_id=new_id, now=errand.now)

    async def work(writing: Writing) -> Told:
        is_published = result.outcome is Outcome.PUBLISHED
        post = await (locked_record if is_published else locked_post)(writing, post_id)
        if post.imported_at is not None:
            raise Conflict("The post was imported: its results come from where it is published.")
        on = {each.account_id: each.id for each in post.destinations}
        if account_id not in on:
            raise NotFound(f"The post was not found on account {account_id}.")
        if is_published and post.is_draft:  # taken back when its publisher had it already
            post = post.sent_after_all(on[account_id], errand.now)
        return _told(await decide_about(writing, post, on[account_id], decide), on[account_id])

    return await write(database, errand, work)


async def _reported(
    database: Database,
    errand: Errand,
    lease: Lease,
    decide: Callable[[DestinationState, History, Report], Recorded],
    new_id: NewId,
) -> Told:
    report = Report(lease, new_id, errand.now)
    return await _record(
        database, errand, lease, lambda state, history: decide(state, history, report)
    )


async def _record(database: Database, errand: Errand, lease: Lease, decide: Decide) -> Told:
    async def work(writing: Writing) -> Told:
        post = await _claimed_post(writing, lease)
        decided = await decide_about(writing, post, lease.destination_id, decide)
        return _told(decided, lease.destination_id)

    return await write(database, errand, work)


async def _claimed_post(writing: Writing, lease: Lease) -> Post:
    """Locked; LeaseLost where the account was taken off the post."""
    post = await _post_of(writing, lease.destination_id)
    if post is None:
        raise lease_lost()
    return post


async def _post_of(writing: Writing, destination_id: DestinationId) -> Post | None:
    """Locked, as it has the destination; None if it has it no more."""
    post_id = (await posts_of_destinations(writing.reader, [destination_id])).get(destination_id)
    if post_id is None:
        return None
    await writing.lock_posts([post_id])
    post = (await writing.posts([post_id])).get(post_id)
    if post is None or all(each.id != destination_id for each in post.destinations):
        return None
    return post


async def decide_about(
    writing: Writing, post: Post, destination_id: DestinationId, decide: Decide
) -> tuple[Post, Receipt]:
    """Store what was decided about a destination of a locked post; the post as it is then."""
    destination = post.destination(destination_id)
    attempts = await load_attempts(writing.reader, destination_id)
    evidence = await load_evidence(writing.reader, destination_id)
    recorded = decide(destination.state, History(destination.platform, attempts, evidence))
    where = (writing.session, writing.errand.workspace_id, destination_id)
    await write_attempts(*where, recorded.attempts, before=attempts)
    if recorded.evidence is not None:
        await insert_evidence(*where, recorded.evidence)
    after = post.with_state(destination_id, recorded.state, writing.errand.now)
    await writing.save_posts([after])
    if recorded.receipt is Receipt.DUPLICATE and recorded.evidence is not None:
        writing.tell_of(duplicate_event(post.id, destination, recorded.evidence))
    if recorded.lost_access is not None:
        account = await locked_account(writing, destination.account_id)
        refused = lost_access(account, recorded.lost_access, writing.errand.now)
        await writing.save_accounts([refused])
    return after, recorded.receipt


def _told(decided: tuple[Post, Receipt], destination_id: DestinationId) -> Told:
    post, receipt = decided
    return Told(receipt, post.destination(destination_id))
