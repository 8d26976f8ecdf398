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
from app.services.claims import Claim, ClaimRequest, claim_destinations, claim_verifications
from app.services.expirations import fail_due_on_blocked_accounts, settle_expired_leases
from app.services.reports import Publisher, ReportResult
from app.services.unit_of_work import WriteContext
from tests.stateful.machine import Life, which
from tests.stateful.publishing_model import Given

RULES = RetryDecider(DEFAULT_POLICIES, lambda: 0.5)
lengths = st.sampled_from([timedelta(minutes=1), timedelta(minutes=5), timedelta(hours=1)])
limits = st.sampled_from([1, 2, 2, 9])
COURSES = (
    "claim release claim start fail",
    "claim start fail wait claim release settle",
    "claim start wait settle look found claim",
    "claim start lose_track look found wait claim start",
    "claim wait settle claim wait claim start",
)
codes = st.sampled_from(["TIMEOUT", "TIMEOUT", "RATE_LIMITED", "AUTH", "PERMANENT"])


class Publishers(Life):
    """Of the one workspace, as a key and as the operator's worker in turn."""

    def asking(self, operation: str) -> tuple[Publisher, WriteContext]:
        errand = self.errand(operation)
        scope = None if errand.actor is None else self.workspace
        return Publisher(scope, errand.actor), errand

    def lease(self, place: int) -> Given:
        """One of those given out, mostly of the last ones."""
        return self.model.given[-1 - place % min(len(self.model.given), 4)]

    def has_claimed(self) -> bool:
        return bool(self.model.given)

    def has_looked(self) -> bool:
        return bool(self.model.looks)

    @rule(limit=limits, length=lengths)
    def claim(self, limit: int, length: timedelta) -> None:
        before, (publisher, errand) = self.views(), self.asking("claimDestinations")
        wish = ClaimRequest(
            limit=limit, lease_duration=length, platforms=None if limit == 2 else ["x"]
        )
        claims = self.run(
            claim_destinations(self._database, publisher, wish, new_id=uuid4, now=self.model.now)
        )
        expected = self.model.claim(limit, length)
        assert [each.destination.id for each in claims] == [each[2].id for each in expected]
        self.compare(errand, before)
        self.model.given += map(self._given, claims)

    @rule(limit=limits, length=lengths)
    def look(self, limit: int, length: timedelta) -> None:
        before, (publisher, errand) = self.views(), self.asking("claimVerifications")
        wish = ClaimRequest(limit=limit, lease_duration=length, platforms=None)
        claims = self.run(
            claim_verifications(self._database, publisher, wish, new_id=uuid4, now=self.model.now)
        )
        expected = self.model.verify(limit, length)
        assert [each.destination.id for each in claims] == [each[2].id for each in expected]
        self.compare(errand, before)
        for each in map(self._given, claims):
            each.at.look = each.lease.token
            self.model.looks.append(each)

    def _given(self, claim: Claim) -> Given:
        account = claim.destination.account_id
        post = self.model.posts[claim.post.id]
        assert claim.expires_at in (post.on[account].lease_expires, post.on[account].verifiable)
        return Given(claim.lease, post, account, post.on[account])

    def tell(
        self,
        operation: str,
        ask: Callable[[Publisher], Awaitable[ReportResult]],
        answer: Callable[[], str],
    ) -> None:
        """The receipt or the refusal is the model's, and so is what comes of it."""
        before, (publisher, errand) = self.views(), self.asking(operation)
        access = dict(self.model.accounts)
        code, told = self.outcome(ask(publisher))
        expected = answer()
        assert (code or (told and told.receipt.value)) == expected
        lost = access != self.model.accounts
        self.compare(errand, before, tells=lost or expected == "duplicate")

    @precondition(has_claimed)
    @rule(place=which)
    def start(self, place: int) -> None:
        given = self.lease(place)
        self.tell(
            "startAttempt",
            lambda publisher: self._started(publisher, given.lease),
            lambda: self.model.start(given),
        )

    async def _started(self, publisher: Publisher, lease: Lease) -> ReportResult:
        told, attempt = await service.start_attempt(
            self._database, publisher, lease, worker="w", new_id=uuid4, now=self.model.now
        )
        assert (attempt.fence, attempt.number) == (lease.fence, told.destination.state.attempts)
        return told

    @precondition(has_claimed)
    @rule(place=which, length=lengths)
    def extend(self, place: int, length: timedelta) -> None:
        given = self.lease(place)
        before, (publisher, errand) = self.views(), self.asking("extendLease")
        code, until = self.outcome(
            service.extend_lease(self._database, publisher, given.lease, length, now=self.model.now)
        )
        assert code == self.model.extend(given, length)
        assert until in (None, self.model.now + length)
        self.compare(errand, before)

    @precondition(has_claimed)
    @rule(place=which)
    def release(self, place: int) -> None:
        given = self.lease(place)
        self.tell(
            "releaseClaim",
            lambda publisher: service.release_claim(
                self._database, publisher, given.lease, now=self.model.now
            ),
            lambda: self.model.release(given),
        )

    @precondition(has_claimed)
    @rule(place=which, times=st.sampled_from([1, 1, 2]))
    def publish(self, place: int, times: int) -> None:
        given = self.lease(place)
        for _ in range(times):
            self.tell(
                "reportPublished",
                lambda publisher: service.report_published(
                    self._database,
                    publisher,
                    given.lease,
                    self._here(),
                    new_id=uuid4,
                    now=self.model.now,
                ),
                lambda: self.model.published(given),
            )

    @precondition(has_claimed)
    @rule(place=which, code=codes, times=st.sampled_from([1, 1, 2]))
    def fail(self, place: int, code: str, times: int) -> None:
        given = self.lease(place)
        for _ in range(times):
            self.tell(
                "reportFailed",
                lambda publisher: service.report_failed(
                    self._database,
                    publisher,
                    given.lease,
                    failure(code),
                    RULES,
                    new_id=uuid4,
                    now=self.model.now,
                ),
                lambda: self.model.failed(given, code),
            )

    @precondition(has_claimed)
    @rule(place=which)
    def lose_track(self, place: int) -> None:
        given = self.lease(place)
        self.tell(
            "reportFailed",
            lambda publisher: service.report_unknown(
                self._database,
                publisher,
                given.lease,
                failure("TIMEOUT"),
                new_id=uuid4,
                now=self.model.now,
            ),
            lambda: self.model.unknown(given),
        )

    @precondition(has_looked)
    @rule(place=which, finding=st.sampled_from(VerificationFinding))
    def find(self, place: int, finding: VerificationFinding) -> None:
        given = self.model.looks[-1 - place % min(len(self.model.looks), 3)]
        where = self._here() if finding is VerificationFinding.PUBLISHED else None
        self.tell(
            "reportVerified",
            lambda publisher: service.report_verified(
                self._database,
                publisher,
                given.lease,
                finding,
                where,
                RULES,
                new_id=uuid4,
                now=self.model.now,
            ),
            lambda: self.model.verified(given, finding.value),
        )

    @rule(number=which, place=which, is_there=st.booleans())
    def reconcile(self, number: int, place: int, is_there: bool) -> None:
        picked = self.picked(number, "unknown")
        if picked is None or not picked[1].on:
            return
        post = picked[1]
        places = [each for each in post.on.values() if each.phase == "unknown"]
        at = (places or list(post.on.values()))[place % (len(places) or len(post.on))]
        where = self._here() if is_there else None
        self.tell(
            "reconcileDestination",
            lambda publisher: service.reconcile_destination(
                self._database,
                publisher.write_context(self.workspace, "reconcileDestination", self.model.now),
                DestinationId(at.id),
                where,
            ),
            lambda: self.model.reconcile(post, at, is_there=is_there),
        )

    @rule(
        number=which,
        account=st.sampled_from([1, 2, 3]),
        key=st.sampled_from(["a", "b", "c"]),
        code=st.none() | codes,
    )
    def record(self, number: int, account: int, key: str, code: str | None) -> None:
        if (picked := self.picked(number)) is None:
            return
        post_id, post = picked
        result = ExternalAttempt(
            attempt_key=key,
            worker="cron",
            started_at=self.model.now,
            outcome=Outcome.FAILED if code else Outcome.PUBLISHED,
            details=failure(code) if code else self._here(),
        )
        self.tell(
            "recordResult",
            lambda publisher: service.record_result(
                self._database,
                publisher.write_context(self.workspace, "recordResult", self.model.now),
                post_id,
                AccountId(account),
                result,
                RULES,
                new_id=uuid4,
            ),
            lambda: self.model.record(post, account, key, code),
        )

    @rule(course=st.sampled_from(COURSES), code=codes, length=lengths, by=lengths)
    def go_on(self, course: str, code: str, length: timedelta, by: timedelta) -> None:
        """Several steps with what is claimed next, so that much happens to one destination."""
        for step in course.split():
            match step:
                case "claim":
                    self.claim(2, length)
                case "look":
                    self.look(2, length)
                case "wait":
                    self.wait(by)
                case "settle":
                    self.settle()
                case "found" if self.model.looks:
                    self.find(0, VerificationFinding.NOT_PUBLISHED)
                case "fail" if self.model.given:
                    self.fail(0, code, 1)
                case "start" | "release" | "lose_track" if self.model.given:
                    getattr(self, step)(0)

    @rule()
    def settle(self) -> None:
        before = self.views()
        self.run(settle_expired_leases(self._database, self.model.now))
        self.model.settle()
        self.compare(self._of_the_server("loseLease"), before)

    @rule()
    def fail_without_access(self) -> None:
        before = self.views()
        self.run(fail_due_on_blocked_accounts(self._database, self.model.now))
        self.model.lacks_access()
        self.compare(self._of_the_server("failWithoutAccess"), before)

    def _of_the_server(self, operation: str) -> WriteContext:
        return WriteContext(
            workspace_id=self.workspace, actor=None, operation=operation, now=self.model.now
        )

    def _here(self) -> Publication:
        return Publication(
            platform_post_id="1",
            platform_post_url="https://x.com/1",
            published_at=self.model.now,
        )


def failure(code: str) -> Failure:
    category = {"TIMEOUT": ErrorCategory.TRANSIENT}.get(code) or ErrorCategory(code.lower())
    return Failure(category=category, code=code, message="The platform did not take it.")
