"""Model of publishing: commands of publishers and expiry of leases, without the domain functions.

Each command returns the error code or the receipt.
"""

from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, TypeAlias
from uuid import UUID

from tests.stateful.model import ModelDestination, ModelPost, WorkspaceModel

VERIFICATION_INTERVAL = timedelta(minutes=5)
EARLY_VERIFICATIONS = (timedelta(seconds=15), timedelta(minutes=1), timedelta(minutes=5))
MAX_RETRY_AGES = {"RATE_LIMITED": timedelta(hours=72)}
DEFAULT_MAX_RETRY_AGE = timedelta(hours=24)
NOT_SENT = "NOT_SENT"
"""Error code of a temporary failure before anything was sent."""
UNCOUNTED_CODES = ("RATE_LIMITED", NOT_SENT)
"""Failures that only their age limits."""


ModelRow: TypeAlias = tuple[ModelPost, int, ModelDestination]
"""A destination with its post and account id."""


@dataclass(frozen=True)
class GrantedLease:
    """A lease to publish or to verify."""

    lease: Any
    post: ModelPost
    account: int
    destination: ModelDestination

    @property
    def fence(self) -> int:
        return int(self.lease.fence)

    @property
    def is_removed(self) -> bool:
        """The account was removed from the post."""
        return self.post.destinations.get(self.account) is not self.destination

    @property
    def is_held(self) -> bool:
        is_current = self.destination.is_busy and self.destination.fence == self.fence
        return is_current and not self.is_removed


@dataclass
class PublishingModel(WorkspaceModel):
    """Model of a workspace, its leases and its clock."""

    leases: list[GrantedLease] = field(default_factory=list)
    verification_leases: list[GrantedLease] = field(default_factory=list)

    def all_destinations(self) -> Iterator[ModelRow]:
        for post in self.posts.values():
            for account, destination in post.destinations.items():
                yield post, account, destination

    def claim(self, claimed_ids: Collection[UUID], limit: int, duration: timedelta) -> None:
        """Claim due destinations on accounts that can post; raises AssertionError if others are claimed."""
        due = [
            (row, row[2].claimable_at)
            for row in self.all_destinations()
            if self.accounts[row[1]] and _is_past(row[2].claimable_at, self.now)
        ]
        for _, _, destination in _fair_claims(due, claimed_ids, limit):
            destination.next_retry_at = None
            destination.phase = "claimed"
            destination.fence += 1
            destination.lease_expires_at = self.now + duration

    def fail_blocked(self) -> None:
        for _, account, destination in self.all_destinations():
            is_due = destination.phase == "queued" and _is_past(destination.claimable_at, self.now)
            if is_due and not self.accounts[account]:
                destination.phase, destination.error_code = "failed", "AUTH"
                destination.next_retry_at = None

    def claim_verifications(
        self, claimed_ids: Collection[UUID], limit: int, duration: timedelta
    ) -> None:
        """Claim unknown outcomes; raises AssertionError if others are claimed."""
        ready = [
            (row, row[2].verifiable_at)
            for row in self.all_destinations()
            if row[2].phase == "unknown" and _is_past(row[2].verifiable_at, self.now)
        ]
        for _, _, destination in _fair_claims(ready, claimed_ids, limit):
            destination.verifiable_at = self.now + duration

    def start(self, lease: GrantedLease) -> str:
        if self._is_lease_lost(lease):
            return "lease_lost"
        if lease.destination.phase == "started":
            return "repeated"
        if not self.accounts[lease.account]:
            return "lease_lost"
        self._start_attempt(lease.destination)
        return "recorded"

    def extend(self, lease: GrantedLease, duration: timedelta) -> str | None:
        if self._is_lease_lost(lease):
            return "lease_lost"
        lease.destination.lease_expires_at = self.now + duration
        return None

    def release(self, lease: GrantedLease) -> str:
        if self._is_lease_lost(lease):
            return "lease_lost"
        if lease.destination.phase == "started":
            return "conflict"
        self._requeue(lease.destination)
        return "recorded"

    def settle_expired_leases(self) -> None:
        for _, _, destination in self.all_destinations():
            if not destination.is_busy or not _is_past(destination.lease_expires_at, self.now):
                continue
            if destination.phase == "claimed":
                self._requeue(destination)
            else:
                self._mark_unknown(destination)

    def report_published(self, lease: GrantedLease) -> str:
        destination = lease.destination
        if lease.is_removed:
            return "lease_lost"
        if lease.fence in destination.evidence_fences:
            return "repeated"
        if lease.post.is_draft:
            self._submit_draft(lease.post, destination)
        if lease.is_held and destination.phase == "claimed":
            self._start_attempt(destination)
        return self._publish(destination, lease.fence, by_holder=lease.is_held)

    def report_failed(self, lease: GrantedLease, code: str) -> str:
        destination = lease.destination
        if lease.is_removed or not lease.is_held:
            return self._report_late(lease, "failed")
        if destination.phase == "claimed":
            self._start_attempt(destination)
        if code == "AUTH":
            self.accounts[lease.account] = False
        destination.reported_outcomes[destination.fence].add("failed")
        self._fail(destination, code, destination.started_at or self.now)
        return "recorded"

    def report_unknown(self, lease: GrantedLease) -> str:
        if lease.is_removed or not lease.is_held:
            return self._report_late(lease, "unknown")
        if lease.destination.phase == "claimed":
            return "conflict"
        self._mark_unknown(lease.destination)
        return "recorded"

    def report_verified(self, lease: GrantedLease, finding: str) -> str:
        destination = lease.destination
        is_held = (
            destination.phase == "unknown" and destination.verification_token == lease.lease.token
        )
        if lease.is_removed:
            return "lease_lost"
        if finding == "published":
            if lease.fence in destination.evidence_fences:
                return "repeated"
            return self._publish(destination, lease.fence, by_holder=is_held)
        if not is_held or _is_past(destination.verifiable_at, self.now):
            return "lease_lost"
        destination.verification_token = None
        if finding == "still_unknown":
            destination.verifiable_at = self._next_verification_at(destination)
        elif destination.counted_attempts >= 5 or self._is_older(
            destination, DEFAULT_MAX_RETRY_AGE
        ):
            destination.phase, destination.error_code = "failed", "NOT_PUBLISHED"
        else:
            destination.phase, destination.error_code = "queued", "NOT_PUBLISHED"
            destination.next_retry_at = self.now
        return "recorded"

    def reconcile(
        self, post: ModelPost, destination: ModelDestination, *, is_published: bool
    ) -> str:
        if post.is_deleted:
            return "not_found"
        if destination.phase != "unknown":
            return "conflict"
        if is_published:
            return self._publish(destination, destination.fence, by_holder=True)
        destination.phase, destination.error_code = "failed", "NOT_PUBLISHED"
        return "recorded"

    def record_result(  # noqa: PLR0911
        self, post: ModelPost, account: int, key: str, code: str | None
    ) -> str:
        """Record an attempt of a publisher with its own queue; `code` is None if it published."""
        if (post.is_deleted and code) or account not in post.destinations:
            return "not_found"
        destination, outcome = post.destinations[account], "failed" if code else "published"
        if key in destination.attempt_keys:
            return "repeated" if destination.attempt_keys[key] == outcome else "conflict"
        if post.is_draft and code:
            return "conflict"
        if post.is_draft:
            self._submit_draft(post, destination)
        if destination.is_busy and not _is_past(destination.lease_expires_at, self.now):
            return "leased"
        if code and destination.phase in ("published", "failed", "unknown"):
            return "conflict"
        if destination.phase == "started":
            destination.reported_outcomes[destination.fence].add("unknown")
        destination.attempt_keys[key] = outcome
        destination.fence += 1
        if destination.phase == "published":
            destination.evidence_fences.add(destination.fence)
            return "duplicate"
        self._start_attempt(destination)
        if code is None:
            return self._publish(destination, destination.fence, by_holder=True)
        if code == "AUTH":
            self.accounts[account] = False
        destination.reported_outcomes[destination.fence].add("failed")
        self._fail(destination, code, self.now)
        return "recorded"

    def _submit_draft(self, post: ModelPost, destination: ModelDestination) -> None:
        """Submit a draft because one of its destinations was published; cancel the others."""
        post.is_draft, post.submitted_now = False, post.scheduled_for is None
        post.reschedule(post.scheduled_for or self.now)
        for other in post.destinations.values():
            if other is not destination:
                other.phase, other.error_code = "failed", "CANCELLED"

    def _is_lease_lost(self, lease: GrantedLease) -> bool:
        return not lease.is_held or _is_past(lease.destination.lease_expires_at, self.now)

    def _start_attempt(self, destination: ModelDestination) -> None:
        destination.phase, destination.started_at = "started", self.now
        destination.attempts += 1
        destination.counted_attempts += 1
        destination.reported_outcomes[destination.fence] = set()

    def _requeue(self, destination: ModelDestination) -> None:
        destination.phase = "queued"
        destination.next_retry_at = self.now if destination.error_code else None

    def _mark_unknown(self, destination: ModelDestination) -> None:
        destination.reported_outcomes[destination.fence].add("unknown")
        destination.phase, destination.error_code = "unknown", "OUTCOME_UNKNOWN"
        destination.verifiable_at, destination.verification_token = self.now, None
        destination.unknown_since = self.now

    def _next_verification_at(self, destination: ModelDestination) -> datetime:
        assert destination.unknown_since is not None
        age = self.now - destination.unknown_since
        waits = [each - age for each in EARLY_VERIFICATIONS if each > age]
        return self.now + (waits or [VERIFICATION_INTERVAL])[0]

    def _report_late(self, lease: GrantedLease, outcome: str) -> str:
        destination = lease.destination
        if not lease.is_removed and lease.fence in destination.evidence_fences:
            return "conflict"
        if lease.is_removed or lease.fence not in destination.reported_outcomes:
            return "lease_lost"
        if outcome in destination.reported_outcomes[lease.fence]:
            return "repeated"
        destination.reported_outcomes[lease.fence].add(outcome)
        return "late"

    def _publish(self, destination: ModelDestination, fence: int, *, by_holder: bool) -> str:
        destination.evidence_fences.add(fence)
        if destination.phase == "published":
            return "duplicate"
        if destination.phase == "started" and not by_holder:
            destination.reported_outcomes[destination.fence].add("unknown")
        destination.phase = "published"
        destination.error_code = destination.next_retry_at = None
        return "recorded"

    def _fail(self, destination: ModelDestination, code: str, started_at: datetime) -> None:
        """Apply the retry policies of the contract, with a jitter of half of the longest wait."""
        if code in UNCOUNTED_CODES:
            destination.counted_attempts = max(destination.counted_attempts - 1, 0)
        round_start = destination.round_started_at or destination.due_at
        earlier_failures = sum(
            round_start is not None and time >= round_start for time in destination.failure_times
        )
        destination.failure_times.append(started_at)
        wait = timedelta(seconds=min(30 * 2**earlier_failures, 3600) / 2)
        max_age = MAX_RETRY_AGES.get(code, DEFAULT_MAX_RETRY_AGE) - wait
        has_attempts = code == "TRANSIENT" and destination.counted_attempts < 5
        is_retryable = has_attempts or code in UNCOUNTED_CODES
        will_retry = is_retryable and not self._is_older(destination, max_age)
        destination.phase, destination.error_code = "queued" if will_retry else "failed", code
        next_retry_at = max(self.now + wait, destination.due_at or self.now)
        destination.next_retry_at = next_retry_at if will_retry else None

    def _is_older(self, destination: ModelDestination, age: timedelta) -> bool:
        """The round started more than `age` ago."""
        round_start = destination.round_started_at or destination.due_at
        return round_start is not None and self.now > round_start + age


def _fair_claims(
    ready: Sequence[tuple[ModelRow, datetime | None]], claimed_ids: Collection[UUID], limit: int
) -> list[ModelRow]:
    """The claimed rows: as many as possible, of each account the earliest, in equal shares of the accounts.

    The first account is random, so it can have one more than another one that has more to claim.
    """
    claimed: list[ModelRow] = []
    by_account: defaultdict[int, list[tuple[ModelRow, datetime | None]]] = defaultdict(list)
    for each in ready:
        by_account[each[0][1]].append(each)
    counts: dict[int, int] = {}
    for account, rows in by_account.items():
        rows.sort(key=lambda each: (each[1], each[0][2].id))
        first = [row for row, _ in rows if row[2].id in claimed_ids]
        assert first == [row for row, _ in rows[: len(first)]]
        counts[account] = len(first)
        claimed += first
    assert len(claimed) == len(claimed_ids) == min(limit, len(ready))
    unsatisfied = [
        counts[account] for account in counts if counts[account] < len(by_account[account])
    ]
    assert all(max(counts.values()) - count <= 1 for count in unsatisfied)
    return claimed


def _is_past(time: datetime | None, now: datetime) -> bool:
    return time is not None and time <= now
