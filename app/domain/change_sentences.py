"""Sentences for people about changes of the feed, each built from its event alone.

They use no terms of the API. An event of a change has only the fields that changed, so a name, a platform or
an error that stayed the same is left out.
"""

from collections.abc import Callable, Mapping

from app.domain.accounts import AccountPublisher, LostAccessPolicy
from app.domain.destinations import Outcome
from app.domain.diagnosis import CANCELLED, NOT_PUBLISHED
from app.domain.events import EventKind, StoredEvent
from app.domain.operations import (
    CANCEL,
    CLAIM_DESTINATIONS,
    CLAIM_VERIFICATIONS,
    DELETE,
    FAIL_WITHOUT_ACCESS,
    FAIL_WITHOUT_SERVER,
    IMPORT,
    LOSE_LEASE,
    RECONCILE,
    RELEASE_CLAIM,
    REPORT_VERIFIED,
    RETRY,
    UPDATE_POST,
)
from app.domain.platform_names import platform_name
from app.domain.posts import PostStatus
from app.domain.webhooks.endpoints import DISABLE_AFTER, DisabledReason

_MAX_ERROR_LENGTH = 160
"""Characters of an error in a sentence."""

_MAX_NAME_LENGTH = 60

_RETRIED = "Retried manually. The post is queued to be published again."
_CANCELLED = "Cancelled before it was published."
_DELETED = "The post was deleted. It will not be published from here."


def change_sentence(event: StoredEvent) -> str:
    """Return one or two sentences, about 300 characters at most, that say what happened."""
    return _SENTENCES[event.kind](event)


def _post_created(event: StoredEvent) -> str:
    match event.values:
        case {"imported_at": str()}:
            return "The post was imported."
        case {"is_draft": True}:
            return "The post was created as a draft."
        case {"scheduled_for": str(scheduled_for)}:
            return f"The post was created and scheduled for {scheduled_for}."
        case {"submitted_now": True}:
            return "The post was created to be published immediately."
    return "The post was created."


def _post_changed(event: StoredEvent) -> str:
    status = str(event.values.get("status"))
    result = _POST_RESULTS.get(status)
    if event.operation.startswith(CANCEL):
        if event.values.get("is_draft"):
            return f"{_CANCELLED} The post is a draft again."
        return "Cancelled. Nothing of the post that was still waiting will be published."
    if event.operation.startswith(RETRY):
        return _RETRIED
    if event.operation == IMPORT:
        return f"The post was imported again. {result or ''}".strip()
    change = result or _post_edit(event) or _UNFINISHED_POSTS.get(status)
    return change or "The result on one of the post's accounts changed."


def _post_edit(event: StoredEvent) -> str:
    """Return what a person changed, or an empty text."""
    schedule = ""
    match event.values:
        case {"submitted_now": True}:
            schedule = "The post was submitted to be published immediately."
        case {"scheduled_for": str(scheduled_for)}:
            previous = (event.previous or {}).get("scheduled_for")
            instead = f" instead of {previous}" if previous else ""
            schedule = f"The post was scheduled for {scheduled_for}{instead}."
        case {"scheduled_for": None}:
            schedule = "The time of the post was removed."
        case {"is_draft": False}:
            schedule = "The post was scheduled."
    contents = _changed_names(event, _POST_FIELDS, "The ")
    if not (schedule or contents) and event.operation == UPDATE_POST:
        return "The accounts of the post were changed."
    return f"{schedule} {contents}".strip()


def _destination_added(event: StoredEvent) -> str:
    return f"An account{_on_platform(event)} was added to the post."


def _destination_changed(event: StoredEvent) -> str:
    sentences = (describe(event) for describe in _DESTINATION_STEPS)
    return next(filter(None, sentences), "A detail of the post on one account changed.")


def _imported_plan(event: StoredEvent) -> str | None:
    """Describe a failure or a plan at the source, without saying what happens next on this server."""
    if event.operation != IMPORT:
        return None
    match event.values:
        case {"status": "failed"}:
            return _failure(event)
        case {"next_retry_at": str(retry_at)}:
            return f"{_failure(event)} The service that publishes the post planned a retry at {retry_at}."
        case {"status": "queued"}:
            return "The post is queued in the service that publishes it."
        case {"due_at": str(due_at)} if "status" not in event.values:
            return f"The service that publishes the post planned it for {due_at}."
    return None


def _settlement(event: StoredEvent) -> str | None:
    """Describe a final result on the platform."""
    match event.values.get("outcome"):
        case Outcome.PUBLISHED:
            return _publication(event)
        case Outcome.UNKNOWN:
            is_lost = event.operation == LOSE_LEASE
            cause = ": the publisher reported no result in time." if is_lost else _error(event)
            return (
                f"It is unknown whether the post was published{cause} It will not be tried again before"
                " someone has checked the platform."
            )
        case Outcome.FAILED if event.values.get("error_code") == CANCELLED:
            return _CANCELLED
        case Outcome.FAILED:
            return f"{_failure(event)} It will not be tried again automatically."
    return None


def _publication(event: StoredEvent) -> str:
    subject = "A check found that the post" if _is_check(event) else "The post"
    return f"{subject} was published{_on_platform(event)}."


def _next_attempt(event: StoredEvent) -> str | None:
    """Describe a return to the queue: by hand, by the publisher, or after a failure."""
    is_queued = event.values.get("status") == "queued"
    if is_queued and event.operation.startswith(RETRY):
        return _RETRIED
    if is_queued and event.operation == RELEASE_CLAIM:
        return "The publisher released the post without an attempt. It is queued again."
    if is_queued and event.operation == LOSE_LEASE:
        return "The publisher did not start an attempt in time. The post is queued again."
    if retry_at := event.values.get("next_retry_at"):
        return f"{_failure(event)} It will be tried again at {retry_at}."
    return "The post is queued to be published again." if is_queued else None


def _publisher_step(event: StoredEvent) -> str | None:
    """Describe what a publisher does with the post before the result."""
    match event.values:
        case {"started_at": str(), "attempts": int(number)}:
            return f"Attempt {number} to publish the post started."
        case {"fence": _, "lease_expires_at": str()}:
            return "A publisher took the post and will now try to publish it."
        case {"lease_expires_at": str(expires_at)}:
            return f"The publisher has time until {expires_at} to publish the post."
        case {"status": "publishing"}:
            return "The post is being published."
    return None


def _verification(event: StoredEvent) -> str | None:
    """Describe a check of an unknown result."""
    if (next_at := event.values.get("verifiable_at")) is None:
        return None
    if event.operation == CLAIM_VERIFICATIONS:
        return "A publisher started to check whether the post was published."
    return (
        "A check could not find out whether the post was published. The platform can be checked again at"
        f" {next_at}."
    )


def _schedule_change(event: StoredEvent) -> str | None:
    """Describe a change of the time, or the end of all plans."""
    match event.values:
        case {"due_at": str(due_at)}:
            return f"The post will be published at {due_at}."
        case {"due_at": None}:
            return _CANCELLED if event.operation.startswith(CANCEL) else "The time was removed."
        case {"claimable_at": None} if event.operation.startswith(DELETE):
            return _DELETED
    return None


def _other_change(event: StoredEvent) -> str | None:
    match event.values:
        case {"position": _}:
            return "The order of the post's accounts changed."
        case {"content_error": str(error)}:
            return f"The post will fail when it is due: {_truncate(error, _MAX_ERROR_LENGTH)}"
        case {"content_error": None}:
            return "The content of the post fits its platform now."
        case {"error": str()}:
            return "The recorded error was changed."
        case {"platform_post_id": str()} | {"platform_post_url": str()}:
            return "A further report named the place of the published post on its platform."
    return None


def _account_connected(event: StoredEvent) -> str:
    match event.values:
        case {"platform": str(platform)}:
            names = (event.values.get(field) for field in _NAME_FIELDS)
            name = next(filter(None, names), None)
            account = f"Account {_truncate(str(name), _MAX_NAME_LENGTH)}" if name else "An account"
            return f"{account} was connected on {platform_name(platform)}."
    return "An account was connected."


def _account_changed(event: StoredEvent) -> str:
    access = ""
    match event.values:
        case {"needs_reconnection_since": str()}:
            access = "The platform rejected the account's access. The account must be reconnected."
        case {"is_active": False}:
            access = "The account was disconnected. Nothing is published on it."
        case {"is_active": True} | {"needs_reconnection_since": None} | {"connected_at": _}:
            access = "The account was connected again."
        case {"token_expires_at": str(expires_at)}:
            access = f"The account's access now expires at {expires_at}."
        case {"token_expires_at": None}:
            access = "It is no longer known when the account's access expires."
        case {"token_refreshed_at": _}:
            access = "The account's access was renewed."
    publisher = _PUBLISHER_SENTENCES.get(str(event.values.get("publisher")), "")
    policy = _LOST_ACCESS_SENTENCES.get(str(event.values.get("on_lost_access")), "")
    access = " ".join(filter(None, (access, publisher, policy)))
    names = _changed_names(event, _ACCOUNT_FIELDS, "Its " if access else "The account's ")
    return f"{access} {names}".strip() or "A detail of the account changed."


def _webhook_disabled(event: StoredEvent) -> str:
    name = event.values.get("name")
    webhook = f"Webhook {_truncate(str(name), _MAX_NAME_LENGTH)}" if name else "A webhook"
    if event.values.get("disabled_reason") == DisabledReason.GONE:
        return f"{webhook} was disabled: its receiver answered that it no longer exists."
    return f"{webhook} was disabled: every delivery to it has failed for {DISABLE_AFTER.days} days."


def _failure(event: StoredEvent) -> str:
    if _is_check(event) or event.values.get("error_code") == NOT_PUBLISHED:
        return "A check found that the post is not on the platform."
    is_attempt = event.operation not in _FAILURES_WITHOUT_ATTEMPT
    return f"{'The attempt failed' if is_attempt else 'The post was not published'}{_error(event)}"


_FAILURES_WITHOUT_ATTEMPT = (FAIL_WITHOUT_ACCESS, FAIL_WITHOUT_SERVER, CLAIM_DESTINATIONS)


def _is_check(event: StoredEvent) -> bool:
    """Return whether the event is the result of a check on the platform."""
    return event.operation.startswith((REPORT_VERIFIED, RECONCILE))


def _error(event: StoredEvent) -> str:
    """Return the end of a sentence: a colon and the error, or a full stop if the error stayed the same."""
    error = event.values.get("error")
    if not isinstance(error, str) or not error.strip():
        return "."
    text = _truncate(error, _MAX_ERROR_LENGTH)
    return f": {text}" if text.endswith((".", "!", "?")) else f": {text}."


def _truncate(text: str, max_length: int) -> str:
    line = " ".join(text.split())
    return line if len(line) <= max_length else f"{line[: max_length - 3]}..."


def _on_platform(event: StoredEvent) -> str:
    platform = event.values.get("platform")
    return f" on {platform_name(str(platform))}" if platform else ""


def _changed_names(event: StoredEvent, names: Mapping[str, str], start: str) -> str:
    """Return the sentence "The text and the media were changed.", or an empty text if none of them was."""
    changed = list(dict.fromkeys(name for key, name in names.items() if key in event.values))
    if not changed:
        return ""
    *others, last = changed
    listed = f"{', '.join(others)} and {last}" if others else last
    return f"{start}{listed} {'were' if others else 'was'} changed."


_DESTINATION_STEPS: tuple[Callable[[StoredEvent], str | None], ...] = (
    _imported_plan,
    _settlement,
    _next_attempt,
    _publisher_step,
    _verification,
    _schedule_change,
    _other_change,
)
"""Functions that describe a change of a destination, or return None for a change of another kind."""


_SENTENCES: Mapping[EventKind, Callable[[StoredEvent], str]] = {
    EventKind.POST_CREATED: _post_created,
    EventKind.POST_CHANGED: _post_changed,
    EventKind.POST_DELETED: lambda _event: _DELETED,
    EventKind.DESTINATION_ADDED: _destination_added,
    EventKind.DESTINATION_CHANGED: _destination_changed,
    EventKind.DESTINATION_REMOVED: lambda _event: "An account was removed from the post.",
    EventKind.DESTINATION_DUPLICATED: lambda _event: (
        "The post was reported as published once more. It is probably on the platform twice."
    ),
    EventKind.ACCOUNT_CONNECTED: _account_connected,
    EventKind.ACCOUNT_CHANGED: _account_changed,
    EventKind.WEBHOOK_DISABLED: _webhook_disabled,
    EventKind.PUBLISHER_MISUSED: lambda _event: (
        "The post was reported as published by a publisher that had not announced its attempt."
    ),
}

_UNFINISHED_POSTS: Mapping[str, str] = {
    PostStatus.DRAFT: "The post is a draft.",
    PostStatus.SCHEDULED: "The post is scheduled.",
    PostStatus.PUBLISHING: "The post is being published.",
}
_POST_RESULTS: Mapping[str, str] = {
    PostStatus.PUBLISHED: "The post is published on all its accounts.",
    PostStatus.PARTIALLY_FAILED: (
        "The post is published on some of its accounts. On others it failed, or its result is unknown."
    ),
    PostStatus.FAILED: "On each of its accounts, the post failed or its result is unknown.",
}

_POST_FIELDS: Mapping[str, str] = {
    "content": "text",
    "platform_content": "text for single platforms",
    "media": "media",
    "media_ids": "media",
    "timezone": "time zone",
    "reference": "reference",
}
_NAME_FIELDS = ("account_name", "display_name", "platform_username")
_PUBLISHER_SENTENCES: Mapping[str, str] = {
    AccountPublisher.EXTERNAL: "Posts on the account are now published by a client of the API.",
    **dict.fromkeys(
        [publisher for publisher in AccountPublisher if publisher is not AccountPublisher.EXTERNAL],
        "Posts on the account are now published by the worker of this server.",
    ),
}
_LOST_ACCESS_SENTENCES: Mapping[str, str] = {
    LostAccessPolicy.FAIL: "Posts on the account now fail while it needs a reconnection.",
    LostAccessPolicy.WAIT: "Posts on the account now wait while it needs a reconnection.",
}
_ACCOUNT_FIELDS: Mapping[str, str] = {
    **dict.fromkeys(_NAME_FIELDS, "name"),
    "platform_user_id": "id on the platform",
    "avatar_url": "picture",
}
