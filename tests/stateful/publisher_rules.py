"""Commands of publishers: claim, report and verify, in time, late and repeated."""

from collections.abc import Awaitable, Callable, Collection, Coroutine
from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from app.domain.accounts import AccountPublisher
from app.domain.attempts import Failure, Publication
from app.domain.destinations import ErrorCategory, Outcome
from app.domain.external_attempts import ExternalAttempt
from app.domain.ids import AccountId, DestinationId
from app.domain.leases import Lease
from app.domain.retry_policy import DEFAULT_POLICIES
from app.domain.settlement import Receipt
from app.domain.verification import VerificationFinding
from app.services import reports as service
from app.services.claims import Claim, ClaimRequest, ClaimService
from app.services.expirations import fail_due_on_blocked_accounts, settle_expired_leases
from app.services.reports import ReportResult, ReportService
from app.services.unit_of_work import Publisher, WriteContext
from tests.domain.attempt_histories import RETRY_DECIDER, make_failure
from tests.stateful.machine import ModelMachine, post_indexes
from tests.stateful.publishing_model import NOT_SENT, GrantedLease

lease_durations = st.sampled_from([timedelta(minutes=1), timedelta(minutes=5), timedelta(hours=1)])
claim_limits = st.sampled_from([1, 2, 2, 9])
COMMAND_SEQUENCES = (
    "claim release claim start fail",
    "claim start fail wait claim release settle",
    "claim start wait settle claim_verifications verify claim",
    "claim start report_unknown claim_verifications verify wait claim start",
    "claim wait settle claim wait claim start",
)
error_codes = st.sampled_from(
    ["TRANSIENT", "TRANSIENT", NOT_SENT, "RATE_LIMITED", "AUTH", "PERMANENT"]
)


class PublisherRules(ModelMachine):
    """Commands of an API key and of the operator's worker, alternately."""

    def next_publisher(self, operation: str) -> tuple[Publisher, WriteContext]:
        context = self.write_context(operation)
        scope = None if context.actor is None else self.workspace
        return Publisher(scope, context.actor), context

    def next_id(self) -> UUID:
        """The same ids in each run of a sequence, so that the same accounts are claimed from first."""
        return UUID(int=self._random.getrandbits(128))

    def pick_lease(self, index: int) -> GrantedLease:
        """Pick one of the last four leases."""
        return self.model.leases[-1 - index % min(len(self.model.leases), 4)]

    def has_leases(self) -> bool:
        return bool(self.model.leases)

    def has_verification_leases(self) -> bool:
        return bool(self.model.verification_leases)

    @rule(limit=claim_limits, duration=lease_durations)
    def claim(self, limit: int, duration: timedelta) -> None:
        request = ClaimRequest(
            limit=limit,
            lease_duration=duration,
            publishers=[AccountPublisher.EXTERNAL],
            platforms=None if limit == 2 else ["x"],
        )
        self.model.leases += self._claim(
            "claimDestinations", ClaimService.claim_destinations, request, self.model.claim
        )

    @rule(limit=claim_limits, duration=lease_durations)
    def claim_verifications(self, limit: int, duration: timedelta) -> None:
        request = ClaimRequest(
            limit=limit, lease_duration=duration, publishers=[AccountPublisher.EXTERNAL]
        )
        for granted in self._claim(
            "claimVerifications",
            ClaimService.claim_verifications,
            request,
            self.model.claim_verifications,
        ):
            granted.destination.verification_token = granted.lease.token
            self.model.verification_leases.append(granted)

    def _claim(
        self,
        operation: str,
        claim: Callable[[ClaimService, ClaimRequest], Coroutine[Any, Any, list[Claim]]],
        request: ClaimRequest,
        run_model: Callable[[Collection[UUID], int, timedelta], None],
    ) -> list[GrantedLease]:
        """Expect claims that the model allows."""
        before, (publisher, context) = self.post_views(), self.next_publisher(operation)
        service = ClaimService(
            database=self._database,
            publisher=publisher,
            key_ids=None,
            policies=DEFAULT_POLICIES,
            new_id=self.next_id,
            clock=lambda: self.model.now,
        )
        claims = self.run(claim(service, request))
        claimed_ids = {claimed.destination.id for claimed in claims}
        assert len(claimed_ids) == len(claims)
        run_model(claimed_ids, request.limit, request.lease_duration)
        self.assert_matches_model(context, before)
        return [*map(self._granted_lease, claims)]

    def _granted_lease(self, claim: Claim) -> GrantedLease:
        account = claim.destination.account_id
        post = self.model.posts[claim.post.id]
        destination = post.destinations[account]
        assert claim.expires_at in (destination.lease_expires_at, destination.verifiable_at)
        return GrantedLease(claim.lease, post, account, destination)

    def check_command(
        self,
        operation: str,
        run_service: Callable[[ReportService], Awaitable[ReportResult | Receipt]],
        run_model: Callable[[], str],
    ) -> None:
        """Expect the receipt or error code of the model, and then the posts of the model."""
        before, (publisher, context) = self.post_views(), self.next_publisher(operation)
        accounts = dict(self.model.accounts)
        code, result = self.result_or_code(run_service(self._reports(publisher)))
        expected = run_model()
        receipt = result.receipt if isinstance(result, ReportResult) else result
        assert (code or receipt) == expected
        lost_access = accounts != self.model.accounts
        self.assert_matches_model(
            context, before, expects_events=lost_access or expected == "duplicate"
        )

    def _reports(self, publisher: Publisher) -> ReportService:
        return ReportService(
            database=self._database,
            publisher=publisher,
            retry_decider=RETRY_DECIDER,
            new_id=uuid4,
            clock=lambda: self.model.now,
        )

    @precondition(has_leases)
    @rule(index=post_indexes)
    def start(self, index: int) -> None:
        granted = self.pick_lease(index)
        self.check_command(
            "startAttempt",
            lambda reports: self._start_attempt(reports, granted.lease),
            lambda: self.model.start(granted),
        )

    async def _start_attempt(self, reports: ReportService, lease: Lease) -> ReportResult:
        result, attempt = await reports.start_attempt(lease, "w")
        assert (attempt.fence, attempt.number) == (lease.fence, result.destination.state.attempts)
        return result

    @precondition(has_leases)
    @rule(index=post_indexes, duration=lease_durations)
    def extend(self, index: int, duration: timedelta) -> None:
        granted = self.pick_lease(index)
        before, (publisher, context) = self.post_views(), self.next_publisher("extendLease")
        code, expires_at = self.result_or_code(
            self._reports(publisher).extend_lease(granted.lease, duration)
        )
        assert code == self.model.extend(granted, duration)
        assert expires_at in (None, self.model.now + duration)
        self.assert_matches_model(context, before)

    @precondition(has_leases)
    @rule(index=post_indexes)
    def release(self, index: int) -> None:
        granted = self.pick_lease(index)
        self.check_command(
            "releaseClaim",
            lambda reports: reports.release_claim(granted.lease),
            lambda: self.model.release(granted),
        )

    @precondition(has_leases)
    @rule(index=post_indexes, times=st.sampled_from([1, 1, 2]))
    def publish(self, index: int, times: int) -> None:
        granted = self.pick_lease(index)
        for _ in range(times):
            self.check_command(
                "reportPublished",
                lambda reports: reports.report_published(granted.lease, self._publication()),
                lambda: self.model.report_published(granted),
            )

    @precondition(has_leases)
    @rule(index=post_indexes, code=error_codes, times=st.sampled_from([1, 1, 2]))
    def fail(self, index: int, code: str, times: int) -> None:
        granted = self.pick_lease(index)
        for _ in range(times):
            self.check_command(
                "reportFailed",
                lambda reports: reports.report_failed(granted.lease, failure_with_code(code)),
                lambda: self.model.report_failed(granted, code),
            )

    @precondition(has_leases)
    @rule(index=post_indexes)
    def report_unknown(self, index: int) -> None:
        granted = self.pick_lease(index)
        self.check_command(
            "reportFailed",
            lambda reports: reports.report_unknown(granted.lease, make_failure()),
            lambda: self.model.report_unknown(granted),
        )

    @precondition(has_verification_leases)
    @rule(index=post_indexes, finding=st.sampled_from(VerificationFinding))
    def verify(self, index: int, finding: VerificationFinding) -> None:
        leases = self.model.verification_leases[-3:]
        granted = leases[-1 - index % len(leases)]
        publication = self._publication() if finding is VerificationFinding.PUBLISHED else None
        self.check_command(
            "reportVerified",
            lambda reports: reports.report_verified(granted.lease, finding, publication),
            lambda: self.model.report_verified(granted, finding.value),
        )

    @rule(index=post_indexes, account_index=post_indexes, is_published=st.booleans())
    def reconcile(self, index: int, account_index: int, is_published: bool) -> None:
        picked = self.pick_post(index, "unknown")
        if picked is None or not picked[1].destinations:
            return
        post = picked[1]
        destinations = list(post.destinations.values())
        unknown = [each for each in destinations if each.phase == "unknown"] or destinations
        destination = unknown[account_index % len(unknown)]
        publication = self._publication() if is_published else None
        self.check_command(
            "reconcileDestination",
            lambda reports: service.reconcile_destination(
                self._database,
                reports.publisher.write_context(
                    self.workspace, "reconcileDestination", self.model.now
                ),
                DestinationId(destination.id),
                publication,
                request=None,
                idempotency_key=None,
            ),
            lambda: self.model.reconcile(post, destination, is_published=is_published),
        )

    @rule(
        index=post_indexes,
        account=st.sampled_from([1, 2, 3]),
        key=st.sampled_from(["a", "b", "c"]),
        code=st.none() | error_codes,
    )
    def record(self, index: int, account: int, key: str, code: str | None) -> None:
        if (picked := self.pick_post(index)) is None:
            return
        post_id, post = picked
        result = ExternalAttempt(
            attempt_key=key,
            worker="cron",
            started_at=self.model.now,
            outcome=Outcome.FAILED if code else Outcome.PUBLISHED,
            details=failure_with_code(code) if code else self._publication(),
        )
        self.check_command(
            "recordResult",
            lambda reports: service.record_external_attempt(
                self._database,
                reports.publisher.write_context(self.workspace, "recordResult", self.model.now),
                post_id,
                AccountId(account),
                result,
                RETRY_DECIDER,
                new_id=uuid4,
            ),
            lambda: self.model.record_result(post, account, key, code),
        )

    @rule(
        commands=st.sampled_from(COMMAND_SEQUENCES),
        code=error_codes,
        duration=lease_durations,
        wait_duration=lease_durations,
    )
    def run_sequence(
        self, commands: str, code: str, duration: timedelta, wait_duration: timedelta
    ) -> None:
        """Run several commands on the destinations that are claimed next."""
        for command in commands.split():
            match command:
                case "claim":
                    self.claim(2, duration)
                case "claim_verifications":
                    self.claim_verifications(2, duration)
                case "wait":
                    self.wait(wait_duration)
                case "settle":
                    self.settle_expired_leases()
                case "verify" if self.model.verification_leases:
                    self.verify(0, VerificationFinding.NOT_PUBLISHED)
                case "fail" if self.model.leases:
                    self.fail(0, code, 1)
                case "start" | "release" | "report_unknown" if self.model.leases:
                    getattr(self, command)(0)

    @rule()
    def settle_expired_leases(self) -> None:
        before = self.post_views()
        self.run(settle_expired_leases(self._database, self.model.now))
        self.model.settle_expired_leases()
        self.assert_matches_model(self._maintenance_context("loseLease"), before)

    @rule()
    def fail_due_on_blocked_accounts(self) -> None:
        before = self.post_views()
        self.run(fail_due_on_blocked_accounts(self._database, self.model.now))
        self.model.fail_blocked()
        self.assert_matches_model(self._maintenance_context("failWithoutAccess"), before)

    def _maintenance_context(self, operation: str) -> WriteContext:
        return WriteContext.without_actor(self.workspace, operation, self.model.now)

    def _publication(self) -> Publication:
        return Publication(
            platform_post_id="1", platform_post_url="https://x.com/1", published_at=self.model.now
        )


def failure_with_code(code: str) -> Failure:
    """A failure of the category that the code names, or a transient one before anything was sent."""
    if code == NOT_SENT:
        return replace(make_failure(), code=code, not_sent=True)
    return make_failure(ErrorCategory[code])
