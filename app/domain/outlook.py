"""Outlook of a destination: its next attempt, the limits of its retries, and a sentence for people."""

from dataclasses import dataclass
from datetime import datetime

from app.domain.accounts import MAX_AUTOMATIC_DELAY, ReconnectionState
from app.domain.circuit_breakers import ServerOutage
from app.domain.destinations import (
    DestinationStatus,
    ErrorCategory,
    Outcome,
    reconnection_deadline,
)
from app.domain.diagnosis import diagnose
from app.domain.retry_policy import RetryPolicies
from app.domain.times import format_minute


@dataclass(frozen=True, slots=True, kw_only=True)
class Outlook:
    """Next automatic step of a destination; all fields but the sentence are None if there is none."""

    attempt: int | None = None
    """Number of the running or next attempt in the round of automatic retries, from 1."""
    max_attempts: int | None = None
    """Attempts after which a failure like the last one is final; None without a limit or a failure."""
    next_at: datetime | None = None
    """Time of the next attempt, or of the end of the lease while a publisher has the destination."""
    gives_up_at: datetime | None = None
    """Time after which a failure like the last one is not retried.

    None without a failure, or if the next such failure is final at any time.
    """
    sentence: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """Values of a destination that decide its outlook."""

    platform: str
    status: DestinationStatus
    outcome: Outcome
    due_at: datetime | None
    claimable_at: datetime | None
    round_attempts: int
    round_started_at: datetime | None
    started_at: datetime | None
    lease_expires_at: datetime | None
    error_category: ErrorCategory | None
    error_code: str | None
    not_sent: bool
    content_error: str | None
    media_warning: str | None


def outlook(
    progress: Progress,
    policies: RetryPolicies,
    now: datetime,
    *,
    paused_until: datetime | None,
    outage: ServerOutage | None,
    account: ReconnectionState | None,
) -> Outlook:
    """Return the outlook of a destination at a time, by the retry policy for its last error.

    `paused_until` is the end of the last pause of its account, and `outage` the open circuit breaker for
    which it waits. Both may be None if nothing is claimable.
    """
    match progress.status:
        case DestinationStatus.QUEUED:
            waiting = _outlook_of_waiting(progress, account, now)
            return waiting or _outlook_of_queued(progress, policies, paused_until, outage, now)
        case DestinationStatus.PUBLISHING:
            return _outlook_of_publishing(progress)
        case DestinationStatus.PUBLISHED:
            return Outlook(sentence="Nothing more happens: it is published.")
        case DestinationStatus.FAILED:
            return _outlook_of_failed(progress)


def _outlook_of_waiting(
    progress: Progress, account: ReconnectionState | None, now: datetime
) -> Outlook | None:
    """Return the outlook of what waits for a reconnection, or is held after it; None for anything else."""
    claimable_at, round_started_at = progress.claimable_at, progress.round_started_at
    if account is None or claimable_at is None or round_started_at is None:
        return None
    deadline = (
        f"it fails at {format_minute(max(claimable_at, reconnection_deadline(round_started_at)))}"
    )
    if account.holds(claimable_at):
        reason = "it was late for at least an hour when its account was reconnected"
        return Outlook(
            sentence=f"It waits for `retryAfterReconnect`, because {reason}. Without a retry, {deadline}."
        )
    if not account.is_awaited:
        return None
    automatic_until = claimable_at + MAX_AUTOMATIC_DELAY
    follows = (
        f"It is published automatically if that is before {format_minute(automatic_until)}, and by"
        " `retryAfterReconnect` later."
        if now < automatic_until
        else "After that, `retryAfterReconnect` publishes it."
    )
    return Outlook(
        sentence=f"It waits until its account is reconnected. {follows} Otherwise {deadline}."
    )


def _outlook_of_queued(
    progress: Progress,
    policies: RetryPolicies,
    paused_until: datetime | None,
    outage: ServerOutage | None,
    now: datetime,
) -> Outlook:
    if progress.due_at is None:
        return Outlook(sentence="Nothing happens before the draft is scheduled.")
    if progress.claimable_at is None or progress.round_started_at is None:
        return Outlook(sentence="This server does not publish it.")
    attempt = progress.round_attempts + 1
    # A manual retry starts a new round and keeps the past due time.
    next_at = max(progress.claimable_at, progress.round_started_at)
    reason = ""
    if paused_until is not None and paused_until > max(next_at, now):
        next_at, reason = paused_until, " Its platform allows no more requests before that."
    if progress.content_error is not None:
        when = f"at {format_minute(next_at)}" if next_at > now else "when a publisher takes it"
        return Outlook(next_at=next_at, sentence=f"It will fail {when}: {progress.content_error}")
    if outage is not None and next_at <= max(outage.next_probe_at, now):
        gives_up_at = progress.round_started_at + policies.max_wait_for_server(progress.platform)
        return _outlook_in_outage(outage, attempt, gives_up_at, now)
    waits = f"has waited for a publisher since {format_minute(next_at)}"
    if progress.error_category is None:
        will = f"will be published at {format_minute(next_at)}"
        warning = (
            ""
            if progress.media_warning is None
            else f" Its media may prevent that: {progress.media_warning}"
        )
        return Outlook(
            attempt=attempt,
            next_at=next_at,
            sentence=f"It {will}.{reason}{warning}" if next_at > now else f"It {waits}.",
        )
    policy = policies.policy_for(
        progress.platform, progress.error_category, not_sent=progress.not_sent
    )
    max_attempts = policy.max_attempts if policy.counts_attempts else None
    is_last = policy.is_exhausted(attempt)
    gives_up_at = progress.round_started_at + policy.max_age
    limit = f" of {max_attempts}" if max_attempts is not None and attempt <= max_attempts else ""
    subject = f"Attempt {attempt}{limit}" if policy.counts_attempts else "The next attempt"
    follows = f"follows at {format_minute(next_at)}"
    # A failure of another category may be retried, for instance one that is not counted.
    ending = (
        "Another failure like the last one is final."
        if is_last
        else f"There is no automatic retry after {format_minute(gives_up_at)}."
    )
    return Outlook(
        attempt=attempt,
        max_attempts=max_attempts,
        next_at=next_at,
        gives_up_at=None if is_last else gives_up_at,
        sentence=f"{subject} {follows if next_at > now else waits}.{reason} {ending}",
    )


def _outlook_in_outage(
    outage: ServerOutage, attempt: int, gives_up_at: datetime, now: datetime
) -> Outlook:
    next_at = max(outage.next_probe_at, now)
    return Outlook(
        attempt=attempt,
        next_at=next_at,
        gives_up_at=gives_up_at,
        sentence=f"{outage.sentence} The server is tried again at {format_minute(next_at)}, and the post"
        " follows when it answers. It uses no attempt meanwhile. Without an answer, it fails at"
        f" {format_minute(gives_up_at)}.",
    )


def _outlook_of_publishing(progress: Progress) -> Outlook:
    lease_end = progress.lease_expires_at
    if lease_end is None:
        return Outlook(sentence="Another service is publishing it.")
    if progress.started_at is None:
        sentence = (
            "A publisher has claimed it and will start soon. Without a start until"
            f" {format_minute(lease_end)}, another publisher may claim it."
        )
        return Outlook(attempt=progress.round_attempts + 1, next_at=lease_end, sentence=sentence)
    sentence = (
        f"A publisher is publishing it. Without a report until {format_minute(lease_end)}, its outcome is"
        " unknown."
    )
    return Outlook(attempt=progress.round_attempts, next_at=lease_end, sentence=sentence)


def _outlook_of_failed(progress: Progress) -> Outlook:
    assert progress.error_category is not None  # noqa: S101 - invariants of a failed destination
    assert progress.error_code is not None  # noqa: S101
    diagnosis = diagnose(
        category=progress.error_category,
        code=progress.error_code,
        outcome=progress.outcome,
    )
    return Outlook(sentence=f"It is not retried automatically. {diagnosis.fix}")
