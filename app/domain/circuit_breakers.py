"""Circuit breakers of accounts and of servers: after repeated failures, one call at a time tries again.

A breaker opens when calls fail repeatedly because a server does not answer, or answers 5xx. While it is open,
no post is published through it but one at a time, the probe, after waits that grow up to five minutes. The
first probe that succeeds closes it.

The breaker of an account counts the failures of its own calls. A single login suffices: without one, nothing
can be sent. The breaker of a server is for all accounts on it, so it opens only by failures that no single
account or workspace can cause, see `shows_outage`.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import NamedTuple

from app.domain.accounts import AccountPublisher
from app.domain.ids import AccountId, WorkspaceId
from app.domain.retry_policy import RetryPolicy
from app.domain.times import format_minute

FAILURES_TO_OPEN = 3
"""Failures in a row after which the breaker of an account opens."""

ACCOUNTS_TO_OPEN = 3
"""Accounts whose calls fail after which the breaker of their server opens."""

_FAILURES_OF_OTHER_WORKSPACES = 2
"""Failures that must not be those of the workspace with most of them; a single one may be a coincidence."""

FAILURE_WINDOW = timedelta(minutes=10)
"""Time after which a failure no longer counts while its breaker is closed."""

PROBE_TIMEOUT = timedelta(minutes=1)
"""Time after which a probe without a result is followed by another one."""

_PROBE_BACKOFF = RetryPolicy(
    base=timedelta(seconds=15), cap=timedelta(minutes=5), counts_attempts=False
)
"""Waits before the probes."""


class ServerFailure(StrEnum):
    """Way in which a server failed to answer a call."""

    UNREACHABLE = "unreachable"
    """No connection: its name, its port or TLS failed, before anything was sent."""
    NO_ANSWER = "no_answer"
    """No complete answer within the time, or a status of 500 or more. The account may be the cause."""


class ServerKey(NamedTuple):
    """Server of a platform, for which one breaker exists."""

    publisher: AccountPublisher
    origin: str
    """Scheme, host and, unless it is the default, port."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Breaker:
    """State of the breaker of an account or of a server."""

    failures: int = 0
    """Failures in a row; 0 after a success."""
    failing_since: datetime | None = None
    """Time of the first of them; None without any."""
    last_failed_at: datetime | None = None
    is_open: bool = False
    open_until: datetime | None = None
    """Time of the next probe; of a closed breaker, the time at which it closed. None before it opens."""
    failed_probes: int = 0
    """Probes that failed since the breaker opened."""

    def failed(
        self,
        now: datetime,
        random: Callable[[], float],
        *,
        is_probe: bool,
        is_login: bool = False,
    ) -> "Breaker":
        """Return the state after a call has failed; a failed login opens the breaker of its account.

        The failure of a call that began before the breaker opened does not postpone the probe. `random`
        returns a number from 0 to below 1.
        """
        if self.is_open:
            return self._probe_failed(now, random) if is_probe else self
        has_lapsed = self.last_failed_at is None or self.last_failed_at <= now - FAILURE_WINDOW
        failures, since = (1, now) if has_lapsed else (self.failures + 1, self.failing_since or now)
        failing = replace(self, failures=failures, failing_since=since, last_failed_at=now)
        return failing.opened(now, random) if is_login or failures >= FAILURES_TO_OPEN else failing

    def opened(self, now: datetime, random: Callable[[], float]) -> "Breaker":
        """Return the state that forbids calls until the first probe."""
        wait = _PROBE_BACKOFF.draw_backoff(1, random())
        return replace(self, is_open=True, open_until=now + wait, failed_probes=0)

    def succeeded(self, now: datetime) -> "Breaker":
        """Return the closed state after a success."""
        return Breaker(open_until=now if self.is_open else self.open_until)

    def _probe_failed(self, now: datetime, random: Callable[[], float]) -> "Breaker":
        failed_probes = self.failed_probes + 1
        wait = _PROBE_BACKOFF.draw_backoff(failed_probes + 1, random())
        return replace(
            self,
            failures=self.failures + 1,
            last_failed_at=now,
            failed_probes=failed_probes,
            open_until=now + wait,
        )


class AccountServer(NamedTuple):
    """Server of an account, and the breakers that a claim on the account has passed."""

    key: ServerKey | None
    """Server of the last call; None for a publisher of the user's own."""
    login_origin: str | None
    """Server that renewed the access of the account last; None if no other one did."""
    is_failing: bool
    """True if the last call of the account failed."""
    account_is_open: bool
    """True if the claim is the probe of the account's breaker, which is open."""
    server_is_open: bool
    """True if the claim is the probe of the server's breaker, which is open."""
    probe_until: datetime | None = None
    """Time after which another probe may begin; None unless the claim is one."""

    @property
    def needs_probe(self) -> bool:
        return self.account_is_open or self.server_is_open


class FailingAccount(NamedTuple):
    """Account whose calls of a server fail now."""

    workspace_id: WorkspaceId
    account_id: AccountId
    failure: ServerFailure
    """Way in which the last call failed."""
    failures: int
    failing_since: datetime
    worker: str
    """Worker of the last failure."""
    is_of_several_workers: bool
    """True if another worker has failed too, in the same way, without another result in between."""


class OpenBreakers(NamedTuple):
    """Numbers of open breakers of all workspaces for which posts wait."""

    accounts: int
    servers: int


def shows_outage(
    failing: Sequence[FailingAccount], *, live_workers: int, workspaces_on_server: int
) -> bool:
    """Return whether the failures since the last answer of a server are its own, not those of an account.

    Without a connection, FAILURES_TO_OPEN failures suffice, of two workers where two run: the network of one
    may be interrupted. Failures to answer must be those of ACCOUNTS_TO_OPEN accounts. Where two workspaces
    have an account on the server, no workspace may have all failures, or all but one: what a post contains
    may be the cause, and one workspace must not stop the others.
    """
    unreachable = [each for each in failing if each.failure is ServerFailure.UNREACHABLE]
    workers = {each.worker for each in unreachable}
    several_workers = len(workers) > 1 or any(each.is_of_several_workers for each in unreachable)
    if sum(each.failures for each in unreachable) >= FAILURES_TO_OPEN and (
        several_workers or live_workers < 2
    ):
        return True
    if len(failing) < ACCOUNTS_TO_OPEN:
        return False
    failures = Counter[WorkspaceId]()
    for each in failing:
        failures[each.workspace_id] += each.failures
    ((_, most),) = failures.most_common(1)
    return workspaces_on_server < 2 or failures.total() - most >= _FAILURES_OF_OTHER_WORKSPACES


@dataclass(frozen=True, slots=True)
class ServerOutage:
    """Open breaker for which an account waits, its own or that of its server."""

    origin: str | None
    """Server that does not answer; None for a publisher of the user's own."""
    since: datetime
    last_failed_at: datetime
    next_probe_at: datetime

    def has_lasted(self, duration: timedelta, now: datetime) -> bool:
        """Return whether the server has not answered for a duration, by its start and by a recent call."""
        return self.since + duration <= now < self.last_failed_at + FAILURE_WINDOW

    @property
    def sentence(self) -> str:
        """What does not answer, and since when."""
        server = self.host or "The publisher of the account"
        return f"{server} has not answered since {format_minute(self.since)}."

    @property
    def sentence_with_next_probe(self) -> str:
        """What does not answer, since when, and when it is called again."""
        return f"{self.sentence} The server is tried again at {format_minute(self.next_probe_at)}."

    @property
    def host(self) -> str | None:
        """Name of the server, with its port unless it is the default."""
        return None if self.origin is None else self.origin.rpartition("/")[2]
