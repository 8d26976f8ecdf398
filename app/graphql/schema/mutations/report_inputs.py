"""What publishers tell, as it is given. What is right is the domain's to judge."""

from datetime import datetime
from uuid import UUID

import strawberry
from strawberry import field

from app.domain.attempts import (
    MAX_ATTEMPT_KEY_LENGTH,
    MAX_RETRY_AFTER,
    Failure,
    FailureDetails,
    Publication,
    validate_failure,
    validate_publication,
)
from app.domain.destinations import ErrorCategory
from app.domain.errors import InvalidInput
from app.domain.verification import VerificationFinding
from app.graphql.schema.enums import Reconciliation, ResultOutcome
from app.graphql.schema.mutations.leases import LEASE_TOKEN_DESCRIPTION


@strawberry.input
class PublicationInput:
    """Where a post is: with the fields that a report of a publication has, whatever else it has."""

    platform_post_url: str | None = field(
        default=None, description="Where people see it; this or platformPostId is needed."
    )
    platform_post_id: str | None = field(
        default=None, description="The platform's own id of the post."
    )
    published_at: datetime | None = field(
        default=None, description="When it appeared there; without it, now."
    )

    def to_publication(self, now: datetime) -> Publication:
        """InvalidInput for what cannot be right."""
        return validate_publication(
            self.platform_post_id, self.platform_post_url, self.published_at, now
        )

    def to_publication_if_published(self, finding: str, now: datetime) -> Publication | None:
        """The publication, which belongs to PUBLISHED alone; InvalidInput for one beside another word."""
        if finding == VerificationFinding.PUBLISHED:
            return self.to_publication(now)
        self.reject_publication(finding)
        return None

    def reject_publication(self, finding: str) -> None:
        _reject_arguments(
            f"goes with PUBLISHED, not with {finding.upper()}.",
            platformPostUrl=self.platform_post_url,
            platformPostId=self.platform_post_id,
            publishedAt=self.published_at,
        )


@strawberry.input(description="That the platform has the post.")
class ReportPublishedInput(PublicationInput):
    lease_token: str = field(description=LEASE_TOKEN_DESCRIPTION)


@strawberry.input(
    description="That the platform does not have the post, as far as the publisher knows."
)
class ReportFailedInput:
    lease_token: str = field(description=LEASE_TOKEN_DESCRIPTION)
    category: ErrorCategory = field(
        description="What kind of error it was; it decides whether and when it is tried again."
    )
    message: str = field(
        description="What went wrong, for a person. Secrets are taken out, and what is too long is cut."
    )
    code: str | None = field(
        default=None, description="The publisher's word for the error; without it, the category's."
    )
    http_status: int | None = field(default=None, description="The platform's, 100 to 599.")
    retry_after_seconds: int | None = field(
        default=None,
        description="How long the platform wants to be left alone, 0 to"
        f" {int(MAX_RETRY_AFTER.total_seconds()):,}; more is refused.",
    )
    raw: str | None = field(
        default=None,
        description="The platform's answer, kept as `message` is, for the operator: it is in the database"
        " and in no answer of this API.",
    )
    outcome_unknown: bool = field(
        default=False,
        description="Whether the platform gave no answer, so that the post may be there all the same:"
        " nobody tries again before somebody has looked.",
    )

    def to_failure(self) -> Failure:
        """InvalidInput for what cannot be right."""
        return validate_failure(self.category, self.message, _failure_details(self))


@strawberry.input(description="What was found on the platform.")
class ReportVerifiedInput(PublicationInput):
    verification_token: str = field(description=LEASE_TOKEN_DESCRIPTION)
    finding: VerificationFinding = field(
        description="Whether the post is there. What is not there is tried again."
    )


@strawberry.input(description="What a person found on the platform.")
class ReconcileDestinationInput(PublicationInput):
    destination_id: UUID = field(description="The destination's UUID.")
    finding: Reconciliation = field(
        description="Whether the post is there. What is not there has failed, and can be retried."
    )


@strawberry.input(description="An attempt that was made elsewhere, and how it ended.")
class RecordResultInput(PublicationInput):
    post_id: UUID = field(description="The post's UUID.")
    account_id: int = field(description="The number of one of its accounts.")
    attempt_key: str = field(
        description="The publisher's own name for the attempt, by which it counts once; 1 to"
        f" {MAX_ATTEMPT_KEY_LENGTH} printable characters."
    )
    outcome: ResultOutcome = field(description="How it ended.")
    category: ErrorCategory | None = field(
        default=None, description="What kind of error it was; needed with FAILED."
    )
    message: str | None = field(
        default=None,
        description="What went wrong, for a person, as in reportFailed; needed unless PUBLISHED.",
    )
    code: str | None = field(
        default=None, description="Unless PUBLISHED: the publisher's word for it."
    )
    http_status: int | None = field(default=None, description="Unless PUBLISHED: the platform's.")
    retry_after_seconds: int | None = field(
        default=None, description="Unless PUBLISHED: how long the platform wants to be left alone."
    )
    raw: str | None = field(default=None, description="Unless PUBLISHED: the platform's answer.")
    started_at: datetime | None = field(
        default=None, description="When the platform was called; without it, now."
    )
    worker: str | None = field(
        default=None, description="Who made it, in the publisher's own words, for the log."
    )

    def to_outcome(self, now: datetime) -> Publication | Failure:
        """What belongs to the outcome; InvalidInput for what belongs to another, or is missing."""
        if self.outcome is ResultOutcome.PUBLISHED:
            _reject_arguments(
                "does not go with PUBLISHED.",
                category=self.category,
                message=self.message,
                code=self.code,
                httpStatus=self.http_status,
                retryAfterSeconds=self.retry_after_seconds,
                raw=self.raw,
            )
            return self.to_publication(now)
        self.reject_publication(self.outcome)
        if self.category is None and self.outcome is ResultOutcome.FAILED:
            raise InvalidInput("category is needed with FAILED.", argument="category")
        category = self.category or ErrorCategory.UNCLASSIFIED
        return validate_failure(category, self.message or "", _failure_details(self))


def _failure_details(report: ReportFailedInput | RecordResultInput) -> FailureDetails:
    return FailureDetails(
        code=report.code,
        http_status=report.http_status,
        retry_after_seconds=report.retry_after_seconds,
        raw=report.raw,
    )


def _reject_arguments(problem: str, **arguments: object) -> None:
    for name, value in arguments.items():
        if value is not None:
            raise InvalidInput(f"{name} {problem}", argument=name)
