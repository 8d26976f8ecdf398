"""Sentences of changes, for events that the domain's own functions produce."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from textwrap import fill
from uuid import UUID

from app.domain.account_commands import (
    AccountUpdate,
    NewAccount,
    connect,
    connect_existing,
    disconnect,
    mark_needs_reconnection,
    reconnect,
    update_account,
)
from app.domain.accounts import AccountPublisher, LostAccessPolicy
from app.domain.attempts import Evidence
from app.domain.change_sentences import change_sentence
from app.domain.destinations import DestinationState
from app.domain.events import (
    Event,
    StoredEvent,
    account_events,
    duplicate_event,
    misuse_event,
    post_events,
)
from app.domain.ids import AccountId
from app.domain.posts import Post
from app.domain.transitions import (
    auth_failed,
    cancelled,
    claimed,
    content_checked,
    content_rejected,
    extended,
    failed,
    published,
    released,
    rescheduled,
    retried,
    retry_scheduled,
    started,
    unclaimable,
    unknown,
    verification_claimed,
    verification_inconclusive,
)
from app.domain.webhooks.endpoints import DisabledReason
from tests.domain.attempt_histories import GONE, LEASE_EXPIRED, NOT_PUBLISHED, PUBLICATION, TIMEOUT
from tests.domain.destination_states import (
    LATER,
    MUCH_LATER,
    make_account,
    make_post,
)
from tests.domain.post_commands import (
    POST_COMMANDS,
    PostCommand,
    run_change,
    run_schedule,
)
from tests.domain.test_events import as_change, force_retry
from tests.domain.webhooks.endpoints import make_endpoint
from tests.factories import NOW, draft, queued

TOKEN = UUID(int=9)
QUEUED = queued()
CLAIMED = claimed(QUEUED, TOKEN, LATER)
STARTED = started(CLAIMED, NOW)
WAITING = retry_scheduled(STARTED, TIMEOUT, LATER)
STARTED_AGAIN = started(claimed(WAITING, TOKEN, LATER), NOW)
PUBLISHED = published(STARTED, PUBLICATION, NOW)
UNKNOWN = unknown(STARTED, TIMEOUT, NOW)
FAILED = failed(STARTED, GONE, NOW)
QUEUED_ELSEWHERE, WAITING_ELSEWHERE = unclaimable(QUEUED), unclaimable(WAITING)
PUBLISHING_ELSEWHERE = replace(CLAIMED, lease_token=None, lease_expires_at=None, claimable_at=None)

DESTINATION_CHANGES: Sequence[tuple[str, DestinationState, DestinationState]] = [
    ("claimDestinations", QUEUED, CLAIMED),
    ("claimDestinations", CLAIMED, claimed(CLAIMED, TOKEN, MUCH_LATER)),
    ("extendLease", CLAIMED, extended(CLAIMED, MUCH_LATER)),
    ("releaseClaim", CLAIMED, released(CLAIMED, NOW)),
    ("loseLease", CLAIMED, released(CLAIMED, NOW)),
    ("startAttempt", CLAIMED, STARTED),
    ("startAttempt", claimed(WAITING, TOKEN, LATER), STARTED_AGAIN),
    ("reportPublished", STARTED, PUBLISHED),
    ("reportFailed", STARTED, WAITING),
    ("reportFailed", STARTED_AGAIN, retry_scheduled(STARTED_AGAIN, TIMEOUT, MUCH_LATER)),
    ("reportFailed", STARTED, failed(STARTED, replace(GONE, message=" Page\n gone "), NOW)),
    ("reportFailed", STARTED_AGAIN, failed(STARTED_AGAIN, TIMEOUT, NOW)),
    ("reportFailed", STARTED, UNKNOWN),
    ("failWithoutAccess", QUEUED, auth_failed(QUEUED, "Reconnect the account to post.", NOW)),
    ("claimDestinations", QUEUED, content_rejected(QUEUED, "It does not fit.", NOW)),
    ("checkContents", QUEUED, content_checked(QUEUED, "It does not fit.")),
    ("updatePost", content_checked(QUEUED, "It does not fit."), QUEUED),
    ("loseLease", STARTED, unknown(STARTED, LEASE_EXPIRED, NOW)),
    ("claimVerifications", UNKNOWN, verification_claimed(UNKNOWN, TOKEN, LATER)),
    ("reportVerified", UNKNOWN, verification_inconclusive(UNKNOWN, LATER)),
    ("reportVerified", UNKNOWN, PUBLISHED),
    ("reportVerified", UNKNOWN, retry_scheduled(UNKNOWN, NOT_PUBLISHED, LATER)),
    ("reportVerified", UNKNOWN, failed(UNKNOWN, NOT_PUBLISHED, NOW)),
    ("reconcileDestination", UNKNOWN, PUBLISHED),
    (
        "reconcileDestination",
        unknown(STARTED, NOT_PUBLISHED, NOW),
        failed(UNKNOWN, NOT_PUBLISHED, NOW),
    ),
    ("loadDemo", UNKNOWN, retry_scheduled(UNKNOWN, NOT_PUBLISHED, LATER)),
    ("loadDemo", FAILED, retried(FAILED, NOW)),
    ("retryPost", FAILED, retried(FAILED, NOW)),
    ("retryAfterReconnect", FAILED, retried(FAILED, NOW)),
    ("cancelPost", WAITING, cancelled(WAITING, NOW)),
    ("cancelPost", QUEUED, rescheduled(QUEUED, None)),
    ("reportPublished", QUEUED, cancelled(QUEUED, NOW)),
    ("schedulePost", draft(), queued(LATER)),
    ("updatePost", queued(LATER), draft()),
    ("deletePost", QUEUED, unclaimable(QUEUED)),
    ("import", QUEUED, PUBLISHING_ELSEWHERE),
    ("import", QUEUED_ELSEWHERE, WAITING_ELSEWHERE),
    ("import", WAITING_ELSEWHERE, replace(WAITING_ELSEWHERE, next_retry_at=MUCH_LATER)),
    ("import", PUBLISHING_ELSEWHERE, QUEUED_ELSEWHERE),
    ("import", WAITING_ELSEWHERE, replace(WAITING_ELSEWHERE, next_retry_at=None)),
    ("import", QUEUED_ELSEWHERE, unclaimable(queued(LATER))),
    ("import", QUEUED_ELSEWHERE, draft()),
    ("import", WAITING_ELSEWHERE, failed(WAITING_ELSEWHERE, GONE, NOW)),
    ("import", WAITING_ELSEWHERE, published(WAITING_ELSEWHERE, PUBLICATION, NOW)),
    ("import", FAILED, replace(FAILED, error="Gone.")),
    ("import", FAILED, replace(FAILED, error_code="G")),
]


def test_sentences_of_a_changed_destination() -> None:
    events = []
    for operation, before, after in DESTINATION_CHANGES:
        post = make_post([before])
        events.append((operation, [*post_events(post, with_first(post, after))][-1]))
    assert (
        sentences(events)
        == """\
claimDestinations: A publisher took the post and will now try to publish it.
claimDestinations: A publisher took the post and will now try to publish it.
extendLease: The publisher has time until 2026-04-17T15:00:00.000Z to publish the post.
releaseClaim: The publisher released the post without an attempt. It is queued again.
loseLease: The publisher did not start an attempt in time. The post is queued again.
startAttempt: Attempt 1 to publish the post started.
startAttempt: Attempt 2 to publish the post started.
reportPublished: The post was published.
reportFailed: The attempt failed: The platform did not answer in time. It will be tried again at
  2026-04-15T16:00:00.000Z.
reportFailed: The attempt failed. It will be tried again at 2026-04-17T15:00:00.000Z.
reportFailed: The attempt failed: Page gone. It will not be tried again automatically.
reportFailed: The attempt failed. It will not be tried again automatically.
reportFailed: It is unknown whether the post was published: The platform did not answer in time. It
  will not be tried again before someone has checked the platform.
failWithoutAccess: The post was not published: Reconnect the account to post. It will not be tried
  again automatically.
claimDestinations: The post was not published: It does not fit. It will not be tried again
  automatically.
checkContents: The post will fail when it is due: It does not fit.
updatePost: The content of the post fits its platform now.
loseLease: It is unknown whether the post was published: the publisher reported no result in time.
  It will not be tried again before someone has checked the platform.
claimVerifications: A publisher started to check whether the post was published.
reportVerified: A check could not find out whether the post was published. The platform can be
  checked again at 2026-04-15T16:00:00.000Z.
reportVerified: A check found that the post was published.
reportVerified: A check found that the post is not on the platform. It will be tried again at
  2026-04-15T16:00:00.000Z.
reportVerified: A check found that the post is not on the platform. It will not be tried again
  automatically.
reconcileDestination: A check found that the post was published.
reconcileDestination: A check found that the post is not on the platform. It will not be tried again
  automatically.
loadDemo: A check found that the post is not on the platform. It will be tried again at
  2026-04-15T16:00:00.000Z.
loadDemo: The post is queued to be published again.
retryPost: Retried manually. The post is queued to be published again.
retryAfterReconnect: Retried manually. The post is queued to be published again.
cancelPost: Cancelled before it was published.
cancelPost: Cancelled before it was published.
reportPublished: Cancelled before it was published.
schedulePost: The post will be published at 2026-04-15T16:00:00.000Z.
updatePost: The time was removed.
deletePost: The post was deleted. It will not be published from here.
import: The post is being published.
import: The attempt failed: The platform did not answer in time. The service that publishes the post
  planned a retry at 2026-04-15T16:00:00.000Z.
import: The attempt failed. The service that publishes the post planned a retry at
  2026-04-17T15:00:00.000Z.
import: The post is queued in the service that publishes it.
import: A detail of the post on one account changed.
import: The service that publishes the post planned it for 2026-04-15T16:00:00.000Z.
import: The time was removed.
import: The attempt failed: The page is gone.
import: The post was published.
import: The recorded error was changed.
import: A detail of the post on one account changed.
"""
    )


def sentences(events: Iterable[tuple[str, Event]]) -> str:
    """Return a line for each event, with its operation and its sentence; long lines are wrapped."""
    return "".join(
        fill(
            f"{operation}: {change_sentence(as_stored(event, operation))}",
            100,
            subsequent_indent="  ",
        )
        + "\n"
        for operation, event in events
    )


def as_stored(event: Event, operation: str) -> StoredEvent:
    return replace(as_change(event), operation=operation)


def with_first(post: Post, state: DestinationState) -> Post:
    """Return the post with its first destination in another state."""
    return post.with_state(post.destinations[0].id, state, NOW)


def import_as_published(post: Post) -> Post:
    imported = replace(post, imported_at=NOW, content="Other")
    return with_first(imported, PUBLISHED)


def import_as_waiting(post: Post) -> Post:
    return with_first(replace(post, imported_at=NOW), WAITING_ELSEWHERE)


def import_with_due_time(post: Post) -> Post:
    imported = replace(post, imported_at=NOW, scheduled_for=MUCH_LATER)
    return with_first(imported, unclaimable(queued(MUCH_LATER)))


def publish_cancelled(post: Post) -> Post:
    resubmitted = replace(post, scheduled_for=None).resubmitted_for(post.destinations[0].id, NOW)
    return with_first(resubmitted, PUBLISHED)


POST_CHANGES: Sequence[tuple[str, list[DestinationState], PostCommand]] = [
    ("updatePost", [queued(LATER)], POST_COMMANDS["change text"]),
    (
        "updatePost",
        [draft()],
        lambda post: run_change(post, content="a", media_ids=[], timezone=None),
    ),
    (
        "updatePost",
        [queued(LATER)],
        lambda post: run_change(post, scheduled_for=MUCH_LATER, reference="r"),
    ),
    ("updatePost", [queued(LATER)], POST_COMMANDS["publish immediately"]),
    ("updatePost", [draft()], POST_COMMANDS["publish immediately"]),
    ("updatePost", [queued(LATER)] * 2, lambda post: run_change(post, [9, 1])),
    ("schedulePost", [draft()], run_schedule),
    ("cancelPost", [queued(LATER)], POST_COMMANDS["cancel"]),
    ("cancelPost", [WAITING], POST_COMMANDS["cancel"]),
    ("deletePost", [queued(LATER)], POST_COMMANDS["delete"]),
    ("retryPost", [FAILED], force_retry),
    ("import", [queued(LATER)], lambda post: replace(post, imported_at=NOW)),
    ("import", [queued(LATER)], import_as_published),
    ("import", [QUEUED_ELSEWHERE], import_as_waiting),
    ("import", [QUEUED_ELSEWHERE], import_with_due_time),
    ("reportPublished", [draft(), draft()], publish_cancelled),
    ("claimDestinations", [QUEUED], lambda post: with_first(post, CLAIMED)),
    ("reportFailed", [STARTED, QUEUED], lambda post: with_first(post, WAITING)),
    ("reportFailed", [STARTED], lambda post: with_first(post, UNKNOWN)),
]


def test_sentences_of_a_changed_post() -> None:
    events = []
    for operation, states, command in POST_CHANGES:
        before = make_post(states)
        events += [(operation, event) for event in post_events(before, command(before))]
    assert (
        sentences(events)
        == """\
updatePost: The text was changed.
updatePost: The text, media and time zone were changed.
updatePost: The post was scheduled for 2026-04-17T15:00:00.000Z instead of 2026-04-15T16:00:00.000Z.
  The reference was changed.
updatePost: The post will be published at 2026-04-17T15:00:00.000Z.
updatePost: The post was submitted to be published immediately.
updatePost: The post will be published at 2026-04-15T15:00:00.000Z.
updatePost: The time of the post was removed.
updatePost: The accounts of the post were changed.
updatePost: An account was removed from the post.
updatePost: An account on X was added to the post.
updatePost: The order of the post's accounts changed.
schedulePost: The post was scheduled.
schedulePost: The post will be published at 2026-04-15T16:00:00.000Z.
cancelPost: Cancelled before it was published. The post is a draft again.
cancelPost: Cancelled before it was published.
cancelPost: Cancelled. Nothing of the post that was still waiting will be published.
cancelPost: Cancelled before it was published.
deletePost: The post was deleted. It will not be published from here.
deletePost: The post was deleted. It will not be published from here.
retryPost: Retried manually. The post is queued to be published again.
retryPost: Retried manually. The post is queued to be published again.
import: The post was imported again.
import: The post was imported again. The post is published on all its accounts.
import: The post was published.
import: The post was imported again.
import: The attempt failed: The platform did not answer in time. The service that publishes the post
  planned a retry at 2026-04-15T16:00:00.000Z.
import: The post was imported again.
import: The service that publishes the post planned it for 2026-04-17T15:00:00.000Z.
reportPublished: The post is published on some of its accounts. On others it failed, or its result
  is unknown.
reportPublished: The post was published.
reportPublished: Cancelled before it was published.
claimDestinations: The post is being published.
claimDestinations: A publisher took the post and will now try to publish it.
reportFailed: The result on one of the post's accounts changed.
reportFailed: The attempt failed: The platform did not answer in time. It will be tried again at
  2026-04-15T16:00:00.000Z.
reportFailed: On each of its accounts, the post failed or its result is unknown.
reportFailed: It is unknown whether the post was published: The platform did not answer in time. It
  will not be tried again before someone has checked the platform.
"""
    )


def test_sentences_of_a_new_post_and_of_mistakes() -> None:
    post = replace(make_post([PUBLISHED]), imported_at=None)
    (new, added), destination = post_events(None, post), post.destinations[0]
    evidence = Evidence(fence=2, counted=False, publication=PUBLICATION, reported_at=NOW)
    events = [
        new,
        added,
        *post_events(None, make_post([], is_draft=True)),
        *post_events(None, make_post([], is_draft=False, submitted_now=True, scheduled_for=None)),
        *post_events(None, make_post([], imported_at=NOW)),
        duplicate_event(post.id, destination, evidence),
        misuse_event(post.id, destination, evidence),
    ]
    assert (
        sentences(("createPost", event) for event in events)
        == """\
createPost: The post was created and scheduled for 2026-04-15T16:00:00.000Z.
createPost: An account on X was added to the post.
createPost: The post was created as a draft.
createPost: The post was created to be published immediately.
createPost: The post was imported.
createPost: The post was reported as published once more. It is probably on the platform twice.
createPost: The post was reported as published by a publisher that had not announced its attempt.
"""
    )


def new_account(name: str | None = None) -> NewAccount:
    return NewAccount(
        platform="x",
        account_name=name,
        display_name=None,
        platform_user_id="17",
        platform_username=None,
        avatar_url=None,
        token_expires_at=None,
        publisher=None,
        on_lost_access=None,
    )


def test_sentences_of_accounts() -> None:
    account = make_account(3)
    expiring = make_account(3, token_expires_at=LATER)
    refused = mark_needs_reconnection(account, NOW, NOW)
    names: AccountUpdate = {"display_name": "B", "avatar_url": "https://x.com/1"}
    changes = [
        (None, connect(new_account("@brand"), AccountId(3), NOW)),
        (None, connect(new_account(), AccountId(3), NOW)),
        (account, refused),
        (refused, reconnect(refused, None, NOW)),
        (account, disconnect(account, NOW)),
        (account, reconnect(account, LATER, NOW)),
        (account, connect_existing(account, new_account("@b"), NOW)),
        (account, update_account(account, names, NOW)),
        (account, update_account(account, {"token_expires_at": LATER}, NOW)),
        (expiring, update_account(expiring, {"token_expires_at": None}, NOW)),
        (account, replace(account, token_refreshed_at=NOW)),
        (account, replace(account, publisher=AccountPublisher.SANDBOX, display_name="B")),
        (account, replace(account, publisher=AccountPublisher.SANDBOX, is_active=False)),
        (replace(account, publisher=AccountPublisher.SANDBOX), account),
        (account, replace(account, on_lost_access=LostAccessPolicy.WAIT)),
        (
            replace(account, on_lost_access=LostAccessPolicy.WAIT),
            replace(account, display_name="B"),
        ),
        (account, replace(account, created_at=NOW)),
    ]
    events = [event for before, after in changes for event in account_events(before, after)]
    assert (
        sentences(("updateAccount", event) for event in events)
        == """\
updateAccount: Account @brand was connected on X.
updateAccount: An account was connected on X.
updateAccount: The platform rejected the account's access. The account must be reconnected.
updateAccount: The account was connected again.
updateAccount: The account was disconnected. Nothing is published on it.
updateAccount: The account was connected again.
updateAccount: The account was connected again. Its name and id on the platform were changed.
updateAccount: The account's name and picture were changed.
updateAccount: The account's access now expires at 2026-04-15T16:00:00.000Z.
updateAccount: It is no longer known when the account's access expires.
updateAccount: The account's access was renewed.
updateAccount: Posts on the account are now published by the worker of this server. Its name was
  changed.
updateAccount: The account was disconnected. Nothing is published on it. Posts on the account are
  now published by the worker of this server.
updateAccount: Posts on the account are now published by a client of the API.
updateAccount: Posts on the account now wait while it needs a reconnection.
updateAccount: Posts on the account now fail while it needs a reconnection. Its name was changed.
updateAccount: A detail of the account changed.
"""
    )


def test_sentences_of_disabled_webhooks() -> None:
    disabled = [
        (make_endpoint(), DisabledReason.GONE),
        (make_endpoint(name="CRM"), DisabledReason.FAILING),
    ]
    events = [endpoint.disabled(reason, NOW).disabled_event() for endpoint, reason in disabled]
    assert (
        sentences(("deliverWebhooks", event) for event in events)
        == """\
deliverWebhooks: A webhook was disabled: its receiver answered that it no longer exists.
deliverWebhooks: Webhook CRM was disabled: every delivery to it has failed for 5 days.
"""
    )
