"""Commands on posts: every state and command, against rules that are restated here."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.domain.destinations import DestinationState
from app.domain.errors import ErrorCode
from app.domain.ids import AccountId, PostId
from app.domain.post_commands import (
    NewPost,
    cancel_post,
    check_new_post,
    create_post,
    delete_post,
    update_post,
)
from app.domain.posts import MAX_DESTINATIONS, Post, PostStatus
from app.domain.transitions import cancelled
from tests.domain.destination_states import (
    ACCOUNTS,
    ALL_STATES,
    CREATED_AT,
    LATER,
    MINUTE,
    MUCH_LATER,
    PUBLISHED,
    PUBLISHING,
    QUEUED,
    SUBMITTED,
    UNKNOWN,
    make_account,
    make_post,
    new_id,
    post_strategy,
)
from tests.domain.post_commands import (
    POST_COMMANDS,
    CommandError,
    PostCommand,
    command_result,
    new_post_request,
    post_commands,
    run_change,
    run_schedule,
)
from tests.factories import NOW, draft, failed, queued


def conflict_error(message: str) -> CommandError:
    return ErrorCode.CONFLICT, None, message


def validation_error(argument: str, message: str) -> CommandError:
    return ErrorCode.VALIDATION_ERROR, argument, message


def past_time_error(message: str) -> CommandError:
    return ErrorCode.PAST_SCHEDULE_TIME, "scheduledFor", message


NOT_FUTURE = past_time_error("The time is not in the future.")
NO_ACCOUNT = validation_error(
    "accountIds", "A post that is not a draft needs at least one account."
)


@dataclass(frozen=True)
class ExpectedResults:
    """Expected results of commands on a submitted post whose destinations have the named states."""

    names: Sequence[str]

    def has(self, states: Mapping[str, DestinationState]) -> bool:
        return any(name in states for name in self.names)

    @property
    def was_attempted(self) -> bool:
        return any(SUBMITTED[name].attempts or name in PUBLISHED for name in self.names)

    def error(  # noqa: PLR0911 - one return per rule
        self, command: str, status: PostStatus
    ) -> CommandError | None:
        if command == "schedule":
            return conflict_error(f"Only a draft can be scheduled; this post is {status}.")
        if command == "delete" and self.has(PUBLISHED):
            message = "The post was published on a platform and cannot be deleted here."
            return ErrorCode.POST_ALREADY_PUBLISHED, None, message
        if command not in {"cancel", "delete"} and self.has(PUBLISHED):
            return conflict_error(
                "The post was published on a platform and can no longer be changed."
            )
        if self.has(PUBLISHING):
            return conflict_error("The post is being published. Try again when that has ended.")
        if self.has(UNKNOWN):
            return conflict_error(
                "It is unknown whether the post was published."
                " Check the platform and record the result."
            )
        match command:
            case "cancel" if self.was_attempted and not self.has(QUEUED):
                return conflict_error(
                    "Nothing of the post is waiting: it was published or has failed."
                )
            case "change time" | "publish immediately" if self.was_attempted:
                return conflict_error(
                    "The post was already attempted, so its time can no longer be changed."
                )
            case "replace first account" if SUBMITTED[self.names[0]].attempts:
                return conflict_error(
                    "The post was attempted on account 1, which can no longer be removed."
                )
        return None

    def states(self, command: str) -> list[DestinationState]:  # noqa: PLR0911 - one per command
        before = [SUBMITTED[name] for name in self.names]
        match command:
            case "change time":
                return [replace(queued(MUCH_LATER), fence=state.fence) for state in before]
            case "publish immediately":
                return [replace(queued(NOW), fence=state.fence) for state in before]
            case "replace first account":
                return [*before[1:], queued(LATER)]
            case "cancel" if not self.was_attempted:
                return [replace(draft(), fence=state.fence) for state in before]
            case "cancel":
                return [
                    cancelled(state, NOW) if name in QUEUED else state
                    for name, state in zip(self.names, before, strict=True)
                ]
            case "delete":
                return [replace(state, claimable_at=None) for state in before]
        return before


CHANGED_FIELDS: Mapping[str, Mapping[str, Any]] = {
    "change text": {"content": "Another text"},
    "change time": {"scheduled_for": MUCH_LATER},
    "publish immediately": {"scheduled_for": None, "submitted_now": True},
    "delete": {"deleted_at": NOW},
}


def assert_expected_result(names: Sequence[str], command: str) -> None:
    expected = ExpectedResults(names)
    before = make_post([SUBMITTED[name] for name in names])
    result = command_result(POST_COMMANDS[command], before)
    error = expected.error(command, before.status)
    if error is not None:
        assert result == error, (names, command)
        return
    fields = dict(CHANGED_FIELDS.get(command, {}))
    if command == "cancel" and not expected.was_attempted:
        fields["is_draft"] = True
    assert_changed(before, result, expected.states(command), fields)


def assert_changed(
    before: Post,
    after: Post | CommandError,
    states: Sequence[DestinationState],
    fields: Mapping[str, Any],
) -> None:
    assert isinstance(after, Post), after
    assert [destination.state for destination in after.destinations] == states
    assert replace(after, destinations=()) == replace(
        before, destinations=(), version=5, updated_at=NOW, **fields
    )
    assert_destinations_valid(before, after)


def assert_destinations_valid(before: Post, after: Post) -> None:
    """Positions are consecutive, and exactly the changed destinations are updated now."""
    assert [d.position for d in after.destinations] == list(range(len(after.destinations)))
    previous = {destination.id: destination for destination in before.destinations}
    for destination in after.destinations:
        if old := previous.get(destination.id):
            is_same = replace(destination, updated_at=old.updated_at) == old
            assert destination.updated_at == (old.updated_at if is_same else NOW)
        else:
            assert destination.created_at == destination.updated_at == NOW


every_command = pytest.mark.parametrize("command", POST_COMMANDS)


@every_command
def test_every_command_on_one_and_two_destinations(command: str) -> None:
    for count in (1, 2):
        for names in product(SUBMITTED, repeat=count):
            assert_expected_result(names, command)


@settings(max_examples=300)
@given(
    st.lists(st.sampled_from(sorted(SUBMITTED)), min_size=3, max_size=4),
    st.sampled_from(sorted(POST_COMMANDS)),
)
def test_every_command_on_three_and_four_destinations(names: list[str], command: str) -> None:
    assert_expected_result(names, command)


@every_command
def test_every_command_on_draft(command: str) -> None:
    before = make_post([draft(), draft()])
    result = command_result(POST_COMMANDS[command], before)
    if command == "cancel":
        assert result == conflict_error(
            "The post is already a draft, so nothing of it will be published."
        )
        return
    fields: dict[str, Any] = dict(CHANGED_FIELDS.get(command, {})) | {"submitted_now": False}
    if command == "schedule":
        fields |= {"is_draft": False, "scheduled_for": MUCH_LATER}
    state = queued(MUCH_LATER) if command == "schedule" else draft()
    assert_changed(before, result, [state, state], fields)


STALE_COMMANDS: Mapping[str, PostCommand] = {
    "change": lambda post: run_change(post, expected_version=3),
    "schedule": lambda post: run_schedule(post, publish_now=True, expected_version=3),
    "cancel": lambda post: cancel_post(post, expected_version=3, now=NOW),
    "delete": lambda post: delete_post(post, expected_version=3, now=NOW),
}


@pytest.mark.parametrize("command", STALE_COMMANDS.values(), ids=STALE_COMMANDS)
def test_stale_version_is_rejected_before_any_other_error(command: PostCommand) -> None:
    for state in ALL_STATES.values():
        assert command_result(command, make_post([state])) == (
            ErrorCode.STALE_VERSION,
            "expectedVersion",
            "The post is at version 4, not 3: it was changed in the meantime.",
        )


@settings(max_examples=400)
@given(post_strategy(), st.lists(post_commands(), min_size=1, max_size=4))
def test_commands_never_make_an_invalid_post(before: Post, commands: list[PostCommand]) -> None:
    for command in commands:
        after = command_result(command, before)
        if not isinstance(after, Post):
            continue
        assert all((d.state.due_at is None) == after.is_draft for d in after.destinations)
        assert after.is_draft or after.destinations or not before.destinations
        assert after is before or after.version == before.version + 1
        assert_destinations_valid(before, after)
        before = after


@given(post_strategy().filter(lambda post: post.is_draft or post.destinations))
def test_change_to_same_values_returns_same_post(before: Post) -> None:
    account_ids = [destination.account_id for destination in before.destinations]
    result = command_result(
        lambda post: run_change(
            post, account_ids, content=before.content, scheduled_for=before.scheduled_for
        ),
        before,
    )
    if isinstance(result, Post):
        assert result is before


@pytest.mark.parametrize(("stored", "changed"), [(None, "UTC"), ("UTC", None)])
def test_default_timezone_equals_none(stored: str | None, changed: str | None) -> None:
    before = make_post([draft()], timezone=stored)
    assert run_change(before, timezone=changed) is before


@pytest.mark.parametrize(("stored", "changed"), [({"n": 1}, {"n": True}), ({"n": 0}, {"n": False})])
def test_json_that_only_python_considers_equal_is_a_change(stored: object, changed: object) -> None:
    before = make_post([draft()], platform_content={"x": {"settings": stored}})
    after = run_change(before, platform_content={"x": {"settings": changed}})
    assert repr(after.platform_content) == repr({"x": {"settings": changed}})
    assert after.version == 5
    assert after != before


@every_command
def test_imported_post_can_only_be_deleted(command: str) -> None:
    for state in ALL_STATES.values():
        own = make_post([state])
        result = command_result(POST_COMMANDS[command], replace(own, imported_at=CREATED_AT))
        if command == "delete":
            expected = command_result(POST_COMMANDS[command], own)
            if isinstance(expected, Post):
                expected = replace(expected, imported_at=CREATED_AT)
            assert result == expected
        else:
            assert result == conflict_error(
                "The post was imported: change it in the service that publishes it."
            )


# Creation


def create_checked(new: NewPost) -> Post:
    check_new_post(new)
    return create_post(new, ACCOUNTS, post_id=PostId(new_id()), new_id=new_id, now=NOW)


@pytest.mark.parametrize(
    ("fields", "state", "flags"),
    [
        ({}, queued(LATER), (False, False, PostStatus.SCHEDULED)),
        ({"scheduled_for": None}, queued(NOW), (False, True, PostStatus.PUBLISHING)),
        ({"is_draft": True}, draft(), (True, False, PostStatus.DRAFT)),
        ({"is_draft": True, "scheduled_for": None}, draft(), (True, False, PostStatus.DRAFT)),
    ],
)
def test_new_post_has_its_destinations_queued_or_draft(
    fields: Mapping[str, object], state: DestinationState, flags: tuple[bool, bool, PostStatus]
) -> None:
    post = create_checked(new_post_request(**fields))

    assert (post.is_draft, post.submitted_now, post.status) == flags
    assert [(d.account_id, d.position, d.state) for d in post.destinations] == [
        (2, 0, state),
        (1, 1, state),
    ]
    assert (post.version, post.created_at, post.updated_at) == (1, NOW, NOW)
    assert (post.deleted_at, post.imported_at) == (None, None)


INVALID_NEW_POSTS: Mapping[str, tuple[Mapping[str, object], CommandError]] = {
    "no account": ({"account_ids": []}, NO_ACCOUNT),
    "duplicate account": (
        {"account_ids": [3, 1, 3]},
        validation_error("accountIds", "Account 3 is listed twice."),
    ),
    "unknown account": (
        {"account_ids": [1, 77]},
        validation_error("accountIds", "There is no account 77 in this workspace."),
    ),
    "too many accounts": (
        {"account_ids": range(1, MAX_DESTINATIONS + 2)},
        validation_error("accountIds", "There are 501 accounts; at most 500 are allowed."),
    ),
    "present time": ({"scheduled_for": NOW}, NOT_FUTURE),
    "past time of a draft": ({"scheduled_for": NOW - MINUTE, "is_draft": True}, NOT_FUTURE),
}


@pytest.mark.parametrize(("fields", "error"), INVALID_NEW_POSTS.values(), ids=INVALID_NEW_POSTS)
def test_invalid_new_post_is_rejected(fields: Mapping[str, object], error: CommandError) -> None:
    new = new_post_request(**fields)
    assert command_result(lambda _: create_checked(new), make_post([])) == error


# Arguments


UNTIMED_DRAFT = make_post([draft()], scheduled_for=None)
PAST_DRAFT = make_post([draft()], scheduled_for=NOW - MINUTE)
SCHEDULED = make_post([queued(LATER)])
INVALID_ARGUMENTS: Mapping[str, tuple[Post, PostCommand, CommandError]] = {
    "schedule at a time and immediately": (
        UNTIMED_DRAFT,
        lambda post: run_schedule(post, LATER, publish_now=True),
        validation_error("scheduledFor", "Pass either scheduledFor or publishNow, not both."),
    ),
    "schedule without a time": (
        UNTIMED_DRAFT,
        run_schedule,
        validation_error(
            "scheduledFor", "The draft has no time yet: pass scheduledFor or publishNow."
        ),
    ),
    "schedule at the present": (PAST_DRAFT, lambda post: run_schedule(post, NOW), NOT_FUTURE),
    "schedule at the draft's past time": (
        PAST_DRAFT,
        run_schedule,
        past_time_error(
            "The draft's own time has passed: pass another scheduledFor, or publishNow."
        ),
    ),
    "schedule without an account": (
        make_post([]),
        run_schedule,
        validation_error("accountIds", "The draft has no account: pass accountIds."),
    ),
    "change to no account": (SCHEDULED, lambda post: run_change(post, []), NO_ACCOUNT),
    "change to the present": (
        SCHEDULED,
        lambda post: run_change(post, scheduled_for=NOW),
        NOT_FUTURE,
    ),
    "change a draft to the past": (
        UNTIMED_DRAFT,
        lambda post: run_change(post, scheduled_for=NOW - MINUTE),
        NOT_FUTURE,
    ),
}


@pytest.mark.parametrize(
    ("post", "command", "error"), INVALID_ARGUMENTS.values(), ids=INVALID_ARGUMENTS
)
def test_invalid_arguments_are_rejected(
    post: Post, command: PostCommand, error: CommandError
) -> None:
    assert command_result(command, post) == error


def test_draft_with_past_time_can_be_edited_and_published_immediately() -> None:
    assert run_change(PAST_DRAFT, content="Another text").scheduled_for == NOW - MINUTE

    post = run_schedule(PAST_DRAFT, publish_now=True)

    assert [destination.state for destination in post.destinations] == [queued(NOW)]
    assert (post.submitted_now, post.scheduled_for) == (True, None)


def test_stored_invalid_fields_stay_until_they_are_changed() -> None:
    stored = make_post([draft()], content="x" * 100_001, timezone="Nowhere/Town", reference="")

    assert run_change(stored, media_ids=["m1"]) is stored
    assert run_change(stored, reference="spring").reference == "spring"
    assert command_result(lambda post: run_change(post, media_ids=["m2"]), stored) == (
        ErrorCode.CONTENT_TOO_LONG,
        "content",
        "The text has 100001 characters; at most 100000 are allowed.",
    )


def test_inactive_account_of_post_may_stay() -> None:
    accounts = {AccountId(1): make_account(1, is_active=False)}
    post = make_post([failed()])
    assert (
        update_post(
            post,
            {},
            accounts,
            account_ids=[AccountId(1)],
            expected_version=4,
            new_id=new_id,
            now=NOW,
        )
        is post
    )
