"""Maps a publishing error to its cause, fix and next action: one table by code, or else by category."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum

from app.domain.destinations import ErrorCategory, Outcome

OUTCOME_UNKNOWN = "OUTCOME_UNKNOWN"
"""Code of a started attempt whose outcome is unknown."""

CANCELLED = "CANCELLED"
"""Code of a destination that a client cancelled before it was published."""

NOT_PUBLISHED = "NOT_PUBLISHED"
"""Code of an unknown outcome that a check found not to be on the platform."""

PLATFORM_UNAVAILABLE = "PLATFORM_UNAVAILABLE"
"""Code of a destination that has waited too long for a server that does not answer."""

INVALID_SETTING = "INVALID_SETTING"
"""Code of content that the schema of its platform does not have, so that nothing was sent."""


class ErrorSource(StrEnum):
    """Party that can resolve a failure: the user, the platform, or the publishing system."""

    USER = "user"
    PLATFORM = "platform"
    SYSTEM = "system"


class NextAction(StrEnum):
    """Recommended next step, for a button or a support reply."""

    WAIT = "wait"
    RETRY = "retry"
    EDIT_POST = "edit_post"
    RECONNECT_ACCOUNT = "reconnect_account"
    CHECK_PLATFORM = "check_platform"
    CONTACT_PLATFORM = "contact_platform"


@dataclass(frozen=True, slots=True)
class Advice:
    """Cause and fix of one publishing error."""

    code: str
    category: ErrorCategory
    source: ErrorSource
    next_action: NextAction
    fix: str

    @property
    def retryable(self) -> bool:
        """True if a retry of the unchanged post can succeed, immediately or after the fix."""
        return self.next_action in (NextAction.RETRY, NextAction.RECONNECT_ACCOUNT)


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """Advice for an error; `will_retry` if an automatic retry is scheduled, in a mirror at the source."""

    category: ErrorCategory
    code: str
    source: ErrorSource
    retryable: bool
    will_retry: bool
    fix: str
    next_action: NextAction


def diagnose_destination(
    *,
    category: ErrorCategory | None,
    code: str | None,
    outcome: Outcome,
    next_retry_at: datetime | None,
    awaits_outcome: bool,
    is_mirrored: bool,
) -> Diagnosis | None:
    """Return the advice for the error of a destination; None without an error.

    None too without an outcome that is known or awaited: what was imported unfinished into a local workspace
    has the last state at its source, and the next step there is not known.
    """
    if category is None or code is None or (outcome is Outcome.NONE and not awaits_outcome):
        return None
    diagnosis = diagnose(category=category, code=code, outcome=outcome)
    if next_retry_at is None:
        return diagnosis
    return replace(
        diagnosis,
        will_retry=True,
        fix=_MIRRORED_RETRY_FIX if is_mirrored else _RETRY_FIX,
        next_action=NextAction.WAIT,
    )


def diagnose(*, category: ErrorCategory, code: str, outcome: Outcome) -> Diagnosis:
    """Return the advice for an error without an automatic retry.

    A publisher's own code gets the advice of its category. The advice for an unknown outcome is always to
    check the platform.
    """
    advice = _OUTCOME_UNKNOWN_ADVICE if outcome is Outcome.UNKNOWN else _find_advice(category, code)
    return Diagnosis(
        category=category,
        code=code,
        source=advice.source,
        retryable=advice.retryable,
        will_retry=False,
        fix=advice.fix,
        next_action=advice.next_action,
    )


def matching_errors(
    matches: Callable[[Advice], bool],
) -> tuple[list[tuple[ErrorCategory, str]], list[ErrorCategory]]:
    """Return the known errors with a matching advice, and the categories whose other errors have one."""
    errors = [(advice.category, advice.code) for advice in ADVICE if matches(advice)]
    return errors, [category for category in ErrorCategory if matches(_BY_CODE[category.name])]


def known_errors() -> list[tuple[ErrorCategory, str]]:
    """Return the errors with an advice of their own; all others have that of their category."""
    return [(advice.category, advice.code) for advice in ADVICE]


def _find_advice(category: ErrorCategory, code: str) -> Advice:
    advice = _BY_CODE.get(code)
    return advice if advice and advice.category is category else _BY_CODE[category.name]


_RETRY_FIX = "Nothing to do: it is retried automatically."
_MIRRORED_RETRY_FIX = "Nothing to do: the mirrored service has planned a retry."

_OUTCOME_UNKNOWN_ADVICE = Advice(
    OUTCOME_UNKNOWN,
    ErrorCategory.UNCLASSIFIED,
    ErrorSource.SYSTEM,
    NextAction.CHECK_PLATFORM,
    "Check whether the post is on the platform, then record the result."
    " A retry without a check could publish it twice.",
)


def _advice(
    kind: tuple[ErrorCategory, ErrorSource, NextAction], **fix_by_code: str
) -> Iterator[Advice]:
    """Return the advice for codes that differ in nothing but the fix."""
    return (Advice(code, *kind, fix) for code, fix in fix_by_code.items())


ADVICE: tuple[Advice, ...] = (  # a code named like a category is the fallback for the category
    *_advice(
        (ErrorCategory.TRANSIENT, ErrorSource.PLATFORM, NextAction.RETRY),
        TRANSIENT="A temporary fault. Retry the post; if it fails again, read the error.",
        PLATFORM_UNAVAILABLE="The platform had an outage. Retry the post; if it fails again,"
        " check the platform's status page first.",
    ),
    *_advice(
        (ErrorCategory.TRANSIENT, ErrorSource.SYSTEM, NextAction.RETRY),
        NETWORK_ERROR="The platform could not be reached. Retry the post; if it fails again,"
        " check the publisher's network.",
    ),
    *_advice(
        (ErrorCategory.TRANSIENT, ErrorSource.PLATFORM, NextAction.RETRY),
        MEDIA_PROCESSING="The platform did not finish processing the media in time."
        " Retry the post.",
    ),
    *_advice(
        (ErrorCategory.RATE_LIMITED, ErrorSource.PLATFORM, NextAction.RETRY),
        RATE_LIMITED="The account has used up the platform's allowance. Retry after some"
        " hours, or spread the posts over more time.",
        DAILY_QUOTA_EXCEEDED="The account has used up the platform's allowance for the day."
        " Retry tomorrow.",
    ),
    *_advice(
        (ErrorCategory.AUTH, ErrorSource.USER, NextAction.RECONNECT_ACCOUNT),
        TOKEN_EXPIRED="Reconnect the account, then retry the post.",
        PERMISSION_MISSING="Reconnect the account and grant the permission to publish,"
        " then retry the post.",
        AUTH="The account's access is missing or was refused. Reconnect the account,"
        " then retry the post.",
    ),
    *_advice(
        (ErrorCategory.CONTENT_REJECTED, ErrorSource.USER, NextAction.EDIT_POST),
        TEXT_TOO_LONG="Shorten the text for this platform and post it again.",
        MEDIA_UNSUPPORTED="Convert the media to a format and size that this platform accepts"
        " and post it again.",
        DUPLICATE_CONTENT="The platform has recently received the same text from this"
        " account. Change it and post it again.",
        POLICY_VIOLATION="The platform refused the content under its rules. Change it, or"
        " appeal to the platform.",
        INVALID_SETTING="The post has a name or a value that the platform would not get. Correct what the"
        " error names and retry the post.",
        CONTENT_REJECTED="The platform refused the content. Change what the error names and"
        " post it again.",
    ),
    *_advice(
        (ErrorCategory.PERMANENT, ErrorSource.PLATFORM, NextAction.CONTACT_PLATFORM),
        ACCOUNT_SUSPENDED="The platform has suspended the account. Resolve this with the"
        " platform, then retry the post.",
    ),
    *_advice(
        (ErrorCategory.PERMANENT, ErrorSource.PLATFORM, NextAction.EDIT_POST),
        FEATURE_UNAVAILABLE="The platform does not offer this kind of post to the account."
        " Choose another kind.",
    ),
    *_advice(
        (ErrorCategory.PERMANENT, ErrorSource.USER, NextAction.RETRY),
        CANCELLED="The post was cancelled. Retry it to publish it after all.",
    ),
    *_advice(
        (ErrorCategory.PERMANENT, ErrorSource.PLATFORM, NextAction.CONTACT_PLATFORM),
        PERMANENT="The platform refused the post permanently. Read the error; what it names"
        " has to change first.",
    ),
    *_advice(
        (ErrorCategory.UNCLASSIFIED, ErrorSource.SYSTEM, NextAction.RETRY),
        NOT_PUBLISHED="A check found that the post is not on the platform. Retry it.",
        UNCLASSIFIED="The publisher did not recognise the platform's response. Read the error"
        " and retry the post.",
    ),
    _OUTCOME_UNKNOWN_ADVICE,
)

_BY_CODE = {advice.code: advice for advice in ADVICE}
