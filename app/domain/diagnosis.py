"""From an error to what to do about it: one table, by code and else by category. No states, no storage."""

from dataclasses import dataclass
from enum import StrEnum

from app.domain.destinations import ErrorCategory, Outcome

OUTCOME_UNKNOWN = "OUTCOME_UNKNOWN"
"""The code of an attempt that started and whose end nobody knows."""

CANCELLED = "CANCELLED"
"""The code of what somebody cancelled before it went out."""

NOT_PUBLISHED = "NOT_PUBLISHED"
"""The code of an unknown outcome of which somebody found out that the post is not there."""


class ErrorSource(StrEnum):
    """Who can end the failure: the user, the platform, or the publishing system itself."""

    USER = "user"
    PLATFORM = "platform"
    SYSTEM = "system"


class NextAction(StrEnum):
    """The one next step, for a button or a support answer."""

    WAIT = "wait"
    RETRY = "retry"
    EDIT_POST = "edit_post"
    RECONNECT_ACCOUNT = "reconnect_account"
    CHECK_PLATFORM = "check_platform"
    CONTACT_PLATFORM = "contact_platform"


@dataclass(frozen=True, slots=True)
class Advice:
    """One row of the table: what a publishing error means and what helps."""

    code: str
    category: ErrorCategory
    source: ErrorSource
    retryable: bool
    """Whether a retry of the unchanged post can succeed, at once or after the fix."""
    fix: str
    next_action: NextAction


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """The advice for one destination's error, and whether a retry comes by itself."""

    category: ErrorCategory
    code: str
    source: ErrorSource
    retryable: bool
    will_retry: bool
    fix: str
    next_action: NextAction


def diagnose(
    *, category: ErrorCategory, code: str, outcome: Outcome, will_retry: bool
) -> Diagnosis:
    """Look the error up; a code of a publisher's own is kept and gets its category's advice.

    Of an unknown outcome nothing is advised but to look, whatever its code and category.
    """
    advice = _OUTCOME_UNKNOWN_ADVICE if outcome is Outcome.UNKNOWN else _find_advice(category, code)
    return Diagnosis(
        category=category,
        code=code,
        source=advice.source,
        retryable=advice.retryable,
        will_retry=will_retry,
        fix=_WILL_RETRY_FIX if will_retry else advice.fix,
        next_action=NextAction.WAIT if will_retry else advice.next_action,
    )


def _find_advice(category: ErrorCategory, code: str) -> Advice:
    advice = _BY_CODE.get(code)
    return advice if advice and advice.category is category else _BY_CODE[category.name]


_WILL_RETRY_FIX = "Nothing to do: it is retried by itself at the time in nextRetryAt."

_PLATFORM, _USER, _SYSTEM = ErrorSource.PLATFORM, ErrorSource.USER, ErrorSource.SYSTEM

_OUTCOME_UNKNOWN_ADVICE = Advice(
    OUTCOME_UNKNOWN,
    ErrorCategory.UNCLASSIFIED,
    _SYSTEM,
    False,
    "Look on the platform whether the post is there, then record what you found."
    " A blind retry could publish it twice.",
    NextAction.CHECK_PLATFORM,
)

ADVICE: tuple[Advice, ...] = (  # the row named like a category stands for the whole of it
    Advice(
        "TRANSIENT",
        ErrorCategory.TRANSIENT,
        _PLATFORM,
        True,
        "A passing fault. Retry the post; if it fails again, read the error.",
        NextAction.RETRY,
    ),
    Advice(
        "PLATFORM_UNAVAILABLE",
        ErrorCategory.TRANSIENT,
        _PLATFORM,
        True,
        "The platform had an outage. Retry the post; if it fails again, look at the platform's"
        " status page first.",
        NextAction.RETRY,
    ),
    Advice(
        "NETWORK_ERROR",
        ErrorCategory.TRANSIENT,
        _SYSTEM,
        True,
        "The platform could not be reached. Retry the post; if it fails again, check the"
        " publisher's network.",
        NextAction.RETRY,
    ),
    Advice(
        "MEDIA_PROCESSING",
        ErrorCategory.TRANSIENT,
        _PLATFORM,
        True,
        "The platform did not finish processing the media in time. Retry the post.",
        NextAction.RETRY,
    ),
    Advice(
        "RATE_LIMITED",
        ErrorCategory.RATE_LIMITED,
        _PLATFORM,
        True,
        "The account has used up the platform's allowance. Retry after some hours, or spread the"
        " posts over more time.",
        NextAction.RETRY,
    ),
    Advice(
        "DAILY_QUOTA_EXCEEDED",
        ErrorCategory.RATE_LIMITED,
        _PLATFORM,
        True,
        "The account has used up the platform's allowance for the day. Retry tomorrow.",
        NextAction.RETRY,
    ),
    Advice(
        "TOKEN_EXPIRED",
        ErrorCategory.AUTH,
        _USER,
        True,
        "Reconnect the account, then retry the post.",
        NextAction.RECONNECT_ACCOUNT,
    ),
    Advice(
        "PERMISSION_MISSING",
        ErrorCategory.AUTH,
        _USER,
        True,
        "Reconnect the account and grant the permission to publish, then retry the post.",
        NextAction.RECONNECT_ACCOUNT,
    ),
    Advice(
        "AUTH",
        ErrorCategory.AUTH,
        _USER,
        True,
        "The account's access is missing or was refused. Reconnect the account, then retry the post.",
        NextAction.RECONNECT_ACCOUNT,
    ),
    Advice(
        "TEXT_TOO_LONG",
        ErrorCategory.CONTENT_REJECTED,
        _USER,
        False,
        "Shorten the text for this platform and post it again.",
        NextAction.EDIT_POST,
    ),
    Advice(
        "MEDIA_UNSUPPORTED",
        ErrorCategory.CONTENT_REJECTED,
        _USER,
        False,
        "Convert the media to a format and size that this platform accepts and post it again.",
        NextAction.EDIT_POST,
    ),
    Advice(
        "DUPLICATE_CONTENT",
        ErrorCategory.CONTENT_REJECTED,
        _USER,
        False,
        "The platform has seen the same text from this account lately. Change it and post it again.",
        NextAction.EDIT_POST,
    ),
    Advice(
        "POLICY_VIOLATION",
        ErrorCategory.CONTENT_REJECTED,
        _USER,
        False,
        "The platform refused the content under its rules. Change it, or appeal with the platform.",
        NextAction.EDIT_POST,
    ),
    Advice(
        "CONTENT_REJECTED",
        ErrorCategory.CONTENT_REJECTED,
        _USER,
        False,
        "The platform refused the content. Change what the error names and post it again.",
        NextAction.EDIT_POST,
    ),
    Advice(
        "ACCOUNT_SUSPENDED",
        ErrorCategory.PERMANENT,
        _PLATFORM,
        False,
        "The platform has suspended the account. Settle it with the platform, then retry the post.",
        NextAction.CONTACT_PLATFORM,
    ),
    Advice(
        "FEATURE_UNAVAILABLE",
        ErrorCategory.PERMANENT,
        _PLATFORM,
        False,
        "The platform does not offer this kind of post to the account. Choose another kind.",
        NextAction.EDIT_POST,
    ),
    Advice(
        CANCELLED,
        ErrorCategory.PERMANENT,
        _USER,
        True,
        "Somebody cancelled the post. Retry it if it should go out after all.",
        NextAction.RETRY,
    ),
    Advice(
        "PERMANENT",
        ErrorCategory.PERMANENT,
        _PLATFORM,
        False,
        "The platform refused the post for good. Read the error; what it names has to change first.",
        NextAction.CONTACT_PLATFORM,
    ),
    Advice(
        NOT_PUBLISHED,
        ErrorCategory.UNCLASSIFIED,
        _SYSTEM,
        True,
        "Somebody looked: the post is not on the platform. Retry it.",
        NextAction.RETRY,
    ),
    Advice(
        "UNCLASSIFIED",
        ErrorCategory.UNCLASSIFIED,
        _SYSTEM,
        True,
        "The publisher did not recognise the platform's answer. Read the error and retry the post.",
        NextAction.RETRY,
    ),
    _OUTCOME_UNKNOWN_ADVICE,
)

_BY_CODE = {advice.code: advice for advice in ADVICE}
