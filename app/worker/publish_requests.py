"""Requests to platform adapters: of a claim, to publish or look up, and of a check for duplicates."""

from datetime import datetime
from functools import partial

from app.domain.destinations import Destination
from app.platforms.protocol import PublishRequest, make_publish_request
from app.services.claims import Claim
from app.services.duplicate_checks import LeasedCheck
from app.worker.context import WorkerContext
from app.worker.lease_renewal import LeaseTimer


def make_claim_request(
    context: WorkerContext,
    claim: Claim,
    destination: Destination,
    attempt_started_at: datetime,
    lease_timer: LeaseTimer,
) -> PublishRequest:
    """Return the request for a claim's adapter; the destination may have changed since the claim."""
    return make_publish_request(
        claim.lease.workspace_id,
        claim.post,
        destination,
        claim.account,
        attempt_started_at=attempt_started_at,
        credentials=context.secrets.credentials(claim),
        checkpoint=context.secrets.checkpoint(claim),
        deadline=lease_timer,
        find_reported=partial(
            context.duplicate_checks.find_reported,
            claim.lease.workspace_id,
            claim.account,
            attempt_started_at,
        ),
    )


def make_check_request(context: WorkerContext, check: LeasedCheck) -> PublishRequest:
    """Return the request for a search, which ends after the lookup timeout."""
    pending, monotonic = check.pending, context.system.monotonic
    return make_publish_request(
        pending.workspace_id,
        check.post,
        check.destination,
        check.account,
        attempt_started_at=pending.first_attempt_at,
        credentials=context.secrets.account_credentials(pending.workspace_id, check.account),
        checkpoint=context.secrets.unleased_checkpoint(
            pending.workspace_id, pending.destination_id
        ),
        deadline=LeaseTimer(context.lookup_timeout, requested_at=monotonic(), monotonic=monotonic),
        find_reported=partial(
            context.duplicate_checks.find_reported,
            pending.workspace_id,
            check.account,
            pending.first_attempt_at,
        ),
    )
