"""What publishers do with what they claim, in time, late and again, each step as the model says."""

from collections.abc import Awaitable, Callable
from datetime import timedelta
from uuid import uuid4

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from app.domain.attempts import Failure, Publication
from app.domain.destinations import ErrorCategory, Outcome
from app.domain.ids import AccountId, DestinationId
from app.domain.leases import Lease
from app.domain.retry_policy import DEFAULT_POLICIES
from app.domain.settlement import RetryDecider
from app.domain.verification import ExternalAttempt, VerificationFinding
from app.services import reports as service
from app.services.blocked_accounts import fail_due_on_blocked_accounts
from app.services.claims import Claim, ClaimRequest, claim_destinations, claim_verifications
from app.services.expired_leases import settle_expired_leases
from app.services.reports import Publisher, ReportResult
from app.services.unit_of_work import WriteContext
from tests.stateful.machine import ModelMachine, post_indexes
from tests.stateful.publishing_model import GrantedLease

RETRY_CONTEXT = RetryDecider(DEFAULT_POLICIES, lambda: 0.5)
lease_durations = st.sampled_from([timedelta(minutes=1), timedelta(minutes=5), timedelta(hours=1)])
claim_limits = st.sampled_from([1, 2, 2, 9])
COMMAND_SEQUENCES = (
    "claim release claim start fail",
    "claim start fail wait claim release settle",
    "claim start wait settle look found claim",
    "claim start lose_track look found wait claim start",
    "claim wait settle claim wait claim start",
)
error_codes = st.sampled_from(["TIMEOUT", "TIMEOUT", "RATE_LIMITED", "AUTH", "PERMANENT"])


class PublisherRules(ModelMachine):
    """Of the one workspace, as a key and as the operator's worker in turn."""

    def next_publisher(self, operation: str) -> tuple[Publisher, WriteContext]:
        errand = self.write_context(operation)
        scope = None if errand.actor is None else self.workspace
        return Publisher(scope, errand.actor), errand

    def pick_lease(self, index: int) -> GrantedLease:
        """One of those given out, mostly of the last ones."""
        return self.model.leases[-1 - index % min(len(self.model.leases), 4)]

    def has_leases(self) -> bool:
        return bool(self.model.leases)

    def has_verification_leases(self) -> bool:
        return bool(self.model.verification_leases)

    @rule(limit=claim_limits, duration=lease_durations)
    def claim(self, limit: int, duration: timedelta) -> None:
        before, (publisher, errand) = self.post_views(), self.next_publisher("claimDestinations")
        wish = ClaimRequest(
            limit=limit, lease_duration=duration, platforms=None if limit == 2 else ["x"]
        )
        claims = self.run(
            claim_destinations(self._database, publisher, wish, new_id=uuid4, now=self.model.now)
        )
        expected = self.model.claim(limit, duration)
        assert [each.destination.id for each in claims] == [each[2].id for each in expected]
        self.assert_matches_model(errand, before)
        self.model.leases += map(self._granted_lease, claims)

    @rule(limit=claim_limits, duration=lease_durations)
    def claim_verifications(self, limit: int, duration: timedelta) -> None:
        before, (publisher, errand) = self.post_views(), self.next_publisher("claimVerifications")
        wish = ClaimRequest(limit=limit, lease_duration=duration, platforms=None)
        claims = self.run(
            claim_verifications(self._database, publisher, wish, new_id=uuid4, now=self.model.now)
        )
        expected = self.model.claim_verifications(limit, duration)
        assert [each.destination.id for each in claims] == [each[2].id for each in expected]
        self.assert_matches_model(errand, before)
        for each in map(self._granted_lease, claims):
            each.destination.verification_token = each.lease.token
            self.model.verification_leases.append(each)

    def _granted_lease(self, claim: Claim) -> GrantedLease:
        account = claim.destination.account_id
        post = self.model.posts[claim.post.id]
        assert claim.expires_at in (post.destinations[account].lease_expires_at, post.destinations[account].verifiable_at)
        return GrantedLease(claim.lease, post, account, post.destinations[account])

    def check_command(
        self,
        operation: str,
        run_service: Callable[[Publisher], Awaitable[ReportResult]],
        run_model: Callable[[], str],
    ) -> None:
        """The receipt or the refusal is the model's, and so is what comes of it."""
        before, (publisher, errand) = self.post_views(), self.next_publisher(operation)
        access = dict(self.model.accounts)
        code, told = self.result_or_code(run_service(publisher))
        expected = run_model()
        assert (code or (told and told.receipt.value)) == expected
        lost = access != self.model.accounts
        self.assert_matches_model(errand, before, expects_events=lost or expected == "duplicate")

    @precondition(has_leases)
    @rule(index=post_indexes)
    def start(self, index: int) -> None:
        given = self.pick_lease(index)
        self.check_command(
            "startAttempt",
            lambda publisher: self._start_attempt(publisher, given.lease),
            lambda: self.model.start(given),
        )

    async def _start_attempt(self, publisher: Publisher, lease: Lease) -> ReportResult:
        told, attempt = await service.start_attempt(
            self._database, publisher, lease, worker="w", new_id=uuid4, now=self.model.now
        )
        assert (attempt.fence, attempt.number) == (lease.fence, told.destination.state.attempts)
        return told

    @precondition(has_leases)
    @rule(index=post_indexes, duration=lease_durations)
    def extend(self, index: int, duration: timedelta) -> None:
        given = self.pick_lease(index)
        before, (publisher, errand) = self.post_views(), self.next_publisher("extendLease")
        code, until = self.result_or_code(
            service.extend_lease(self._database, publisher, given.lease, duration, now=self.model.now)
        )
        assert code == self.model.extend(given, duration)
        assert until in (None, self.model.now + duration)
        self.assert_matches_model(errand, before)

    @precondition(has_leases)
    @rule(index=post_indexes)
    def release(self, index: int) -> None:
        given = self.pick_lease(index)
        self.check_command(
            "releaseClaim",
            lambda publisher: service.release_claim(
                self._database, publisher, given.lease, now=self.model.now
            ),
            lambda: self.model.release(given),
        )

    @precondition(has_leases)
    @rule(index=post_indexes, times=st.sampled_from([1, 1, 2]))
    def publish(self, index: int, times: int) -> None:
        given = self.pick_lease(index)
        for _ in range(times):
            self.check_command(
                "reportPublished",
                lambda publisher: service.report_published(
                    self._database,
                    publisher,
                    given.lease,
                    self._publication(),
                    new_id=uuid4,
                    now=self.model.now,
                ),
                lambda: self.model.report_published(given),
            )

    @precondition(has_leases)
    @rule(index=post_indexes, code=error_codes, times=st.sampled_from([1, 1, 2]))
    def fail(self, index: int, code: str, times: int) -> None:
        given = self.pick_lease(index)
        for _ in range(times):
            self.check_command(
                "reportFailed",
                lambda publisher: service.report_failed(
                    self._database,
                    publisher,
                    given.lease,
                    make_failure(code),
                    RETRY_CONTEXT,
                    new_id=uuid4,
                    now=self.model.now,
                ),
                lambda: self.model.report_failed(given, code),
            )

    @precondition(has_leases)
    @rule(index=post_indexes)
    def report_unknown(self, index: int) -> None:
        given = self.pick_lease(index)
        self.check_command(
            "reportFailed",
            lambda publisher: service.report_unknown(
                self._database,
                publisher,
                given.lease,
                make_failure("TIMEOUT"),
                new_id=uuid4,
                now=self.model.now,
            ),
            lambda: self.model.report_unknown(given),
        )

    @precondition(has_verification_leases)
    @rule(index=post_indexes, finding=st.sampled_from(VerificationFinding))
    def verify(self, index: int, finding: VerificationFinding) -> None:
        given = self.model.verification_leases[-1 - index % min(len(self.model.verification_leases), 3)]
        where = self._publication() if finding is VerificationFinding.PUBLISHED else None
        self.check_command(
            "reportVerified",
            lambda publisher: service.report_verified(
                self._database,
                publisher,
                given.lease,
                finding,
                where,
                RETRY_CONTEXT,
                new_id=uuid4,
                now=self.model.now,
            ),
            lambda: self.model.report_verified(given, finding.value),
        )

    @rule(index=post_indexes, account_index=post_indexes, is_published=st.booleans())
    def reconcile(self, index: int, account_index: int, is_published: bool) -> None:
        picked = self.pick_post(index, "unknown")
        if picked is None or not picked[1].destinations:
            return
        post = picked[1]
        places = [each for each in post.destinations.values() if each.phase == "unknown"]
        at = (places or list(post.destinations.values()))[account_index % (len(places) or len(post.destinations))]
        where = self._publication() if is_published else None
        self.check_command(
            "reconcileDestination",
            lambda publisher: service.reconcile_destination(
                self._database,
                publisher.write_context(self.workspace, "reconcileDestination", self.model.now),
                DestinationId(at.id),
                where,
            ),
            lambda: self.model.reconcile(post, at, is_published=is_published),
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
            details=make_failure(code) if code else self._publication(),
        )
        self.check_command(
            "recordResult",
            lambda publisher: service.record_result(
                self._database,
                publisher.write_context(self.workspace, "recordResult", self.model.now),
                post_id,
                AccountId(account),
                result,
                RETRY_CONTEXT,
                new_id=uuid4,
            ),
            lambda: self.model.record_result(post, account, key, code),
        )

    @rule(commands=st.sampled_from(COMMAND_SEQUENCES), code=error_codes, duration=lease_durations, wait_duration=lease_durations)
    def run_sequence(self, commands: str, code: str, duration: timedelta, wait_duration: timedelta) -> None:
        """Several steps with what is claimed next, so that much happens to one destination."""
        for step in commands.split():
            match step:
                case "claim":
                    self.claim(2, duration)
                case "look":
                    self.claim_verifications(2, duration)
                case "wait":
                    self.wait(wait_duration)
                case "settle":
                    self.settle_expired_leases()
                case "found" if self.model.verification_leases:
                    self.verify(0, VerificationFinding.NOT_PUBLISHED)
                case "fail" if self.model.leases:
                    self.fail(0, code, 1)
                case "start" | "release" | "lose_track" if self.model.leases:
                    getattr(self, step)(0)

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
        return WriteContext(
            workspace_id=self.workspace, actor=None, operation=operation, now=self.model.now
        )

    def _publication(self) -> Publication:
        return Publication(
            platform_post_id="1",
            platform_post_url="https://x.com/1",
            published_at=self.model.now,
        )


def make_failure(code: str) -> Failure:
    category = {"TIMEOUT": ErrorCategory.TRANSIENT}.get(code) or ErrorCategory(code.lower())
    return Failure(category=category, code=code, message="The platform did not take it.")
