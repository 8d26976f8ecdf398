"""Settling of unknown outcomes: by verifications of publishers, and by people.

As in `reports`, each function returns the transition to store, or raises an error.
"""

from datetime import datetime, timedelta
from enum import StrEnum

from app.domain.attempts import Failure, Publication
from app.domain.destinations import DestinationState, ErrorCategory, Outcome
from app.domain.diagnosis import NOT_PUBLISHED
from app.domain.errors import Conflict
from app.domain.reports import ReportContext
from app.domain.settlement import (
    History,
    RetryDecider,
    Transition,
    end_superseded_attempts,
    lease_lost_error,
    settle_published,
    settle_repeated_publication,
)
from app.domain.transitions import failed, retry_scheduled, verification_inconclusive

_EARLY_VERIFICATIONS = (timedelta(seconds=15), timedelta(minutes=1), timedelta(minutes=5))
"""Times after an unknown outcome at which it may be verified again: most answers are only late."""

_VERIFICATION_RETRY_INTERVAL = timedelta(minutes=5)
"""Wait between a later inconclusive verification and the next one."""


class VerificationFinding(StrEnum):
    """Result of a verification."""

    PUBLISHED = "published"
    NOT_PUBLISHED = "not_published"
    STILL_UNKNOWN = "still_unknown"


def report_verified(
    state: DestinationState,
    history: History,
    context: ReportContext,
    finding: VerificationFinding,
    publication: Publication | None,
    retry_decider: RetryDecider,
) -> Transition:
    """Settle an unknown outcome by a verification; `publication` is set if and only if PUBLISHED.

    A post that was not published is retried immediately, unless its attempts are exhausted. Raises
    LeaseLost if the verification lease was lost or has expired, except for a publication.
    """
    if (finding is VerificationFinding.PUBLISHED) != (publication is not None):
        raise ValueError("a publication is required for, and only for, PUBLISHED")
    holds_lease = state.verification_token == context.lease.token
    is_expired = state.verifiable_at is None or state.verifiable_at <= context.now
    if publication is not None:
        known = history.evidence_by_fence(context.lease.fence)
        if known is not None:
            return settle_repeated_publication(
                state, history, known, publication, new_id=context.new_id, now=context.now
            )
        ended_attempts = [] if holds_lease else end_superseded_attempts(state, history, context.now)
        return settle_published(
            state,
            publication,
            fence=context.lease.fence,
            ended_attempts=ended_attempts,
            now=context.now,
        )
    if not holds_lease or is_expired:
        raise lease_lost_error()
    if finding is VerificationFinding.STILL_UNKNOWN:
        return Transition(
            state=verification_inconclusive(state, _next_verification_at(state, context.now))
        )
    policy = retry_decider.policies.policy_for(
        history.platform, ErrorCategory.UNCLASSIFIED, not_sent=False
    )
    is_too_old = (
        state.round_started_at is not None and context.now > state.round_started_at + policy.max_age
    )
    if is_too_old or policy.is_exhausted(state.round_attempts):
        return Transition(state=failed(state, _NOT_PUBLISHED_FAILURE, context.now))
    return Transition(state=retry_scheduled(state, _NOT_PUBLISHED_FAILURE, context.now))


def _next_verification_at(state: DestinationState, now: datetime) -> datetime:
    """Return the time of the verification after one that is inconclusive now."""
    since = state.settled_at or now
    early = (since + delay for delay in _EARLY_VERIFICATIONS)
    return next((each for each in early if each > now), now + _VERIFICATION_RETRY_INTERVAL)


def reconcile(
    state: DestinationState, publication: Publication | None, now: datetime
) -> Transition:
    """Settle an unknown outcome by a person's check; without a publication, as failed.

    A failed destination may then be retried. Raises Conflict if the outcome is known.
    """
    if state.outcome is not Outcome.UNKNOWN:
        raise Conflict(
            f"Only an unknown outcome can be reconciled; this destination is {state.status}."
        )
    if publication is None:
        return Transition(state=failed(state, _NOT_PUBLISHED_FAILURE, now))
    return settle_published(state, publication, fence=state.fence, ended_attempts=[], now=now)


_NOT_PUBLISHED_FAILURE = Failure(
    category=ErrorCategory.UNCLASSIFIED,
    code=NOT_PUBLISHED,
    message="A check found that the post is not on the platform.",
)
