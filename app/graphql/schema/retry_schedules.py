"""How failures would be retried by themselves, for people who explain it. The policies are the domain's."""

from datetime import timedelta

import strawberry
from strawberry import field

from app.domain.destinations import ErrorCategory
from app.domain.errors import InvalidInput
from app.domain.retry_policy import PlannedWait, preview_schedule
from app.domain.validation.text import MAX_SEARCH_LENGTH, check_text
from app.graphql.schema.context import Info


@strawberry.type(description="How long a retry waits after a failed attempt.")
class RetryWait:
    after_attempt: int = field(description="The failed attempt, counted from 1.")
    earliest_seconds: float = field(
        description="The shortest wait. Waits are drawn by chance, so that not all come back at once."
    )
    latest_seconds: float = field(description="The longest wait.")


@strawberry.type(
    description="How a destination is retried by itself if each attempt fails in the same way. It starts"
    " anew with a manual retry."
)
class RetrySchedule:
    retries: bool = field(
        description="Whether it is retried at all; if not, the first failure is final."
    )
    max_attempts: int | None = field(
        description="After so many attempts, the first included, it is final; null where their number"
        " does not matter."
    )
    gives_up_after_seconds: int | None = field(
        description="No retry comes later than this after the due time or the last manual retry; null"
        " where nothing is retried."
    )
    waits: list[RetryWait] = field(
        description="After the first failed attempt, the second, and so on; empty where nothing is"
        " retried."
    )
    continues: bool = field(
        description="Whether it goes on after the last of these waits, with waits like it or longer,"
        " until it gives up."
    )


def build_retry_schedule(
    info: Info, platform: str, category: ErrorCategory, retry_after_seconds: int | None
) -> RetrySchedule:
    """VALIDATION_ERROR for a text that cannot be a platform, and for a negative number."""
    check_text(platform, "platform", max_length=MAX_SEARCH_LENGTH)
    if retry_after_seconds is not None and retry_after_seconds < 0:
        raise InvalidInput(
            f"retryAfterSeconds must not be negative; it is {retry_after_seconds}.",
            argument="retryAfterSeconds",
        )
    policy = info.context.app_state.retry_policies.policy_for(platform, category)
    planned = preview_schedule(policy, timedelta(seconds=retry_after_seconds or 0))
    retries = bool(planned.waits)
    return RetrySchedule(
        retries=retries,
        max_attempts=policy.max_attempts if policy.counts_attempts else None,
        gives_up_after_seconds=int(policy.max_age.total_seconds()) if retries else None,
        waits=[_to_retry_wait(number, each) for number, each in enumerate(planned.waits, start=1)],
        continues=planned.continues,
    )


def _to_retry_wait(attempt_number: int, planned_wait: PlannedWait) -> RetryWait:
    return RetryWait(
        after_attempt=attempt_number,
        earliest_seconds=planned_wait.earliest.total_seconds(),
        latest_seconds=planned_wait.latest.total_seconds(),
    )
