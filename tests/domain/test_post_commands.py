"""What people do with a post: every state and command, by rules that are written out here once more."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import product
from typing import Any, TypeAlias

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.domain.destinations import DestinationState, ErrorCategory
from app.domain.errors import ErrorCode, RequestError
from app.domain.ids import AccountId, PostId
from app.domain.post_commands import (
    NewPost,
    PostChanges,
    Schedule,
    cancel_post,
    change_post,
    check_new_post,
    create_post,
    delete_post,
    schedule_post,
)
from app.domain.posts import MAX_DESTINATIONS, Post, PostStatus
from tests.domain.destination_states import (
    ACCOUNTS,
    ALL_STATES,
    CREATED_AT,
    LATER,
    MINUTE,
    MUCH_LATER,
    NEVER_ATTEMPTED,
    PUBLISHED,
    PUBLISHING,
    RETRY_SCHEDULED,
    SUBMITTED,
    UNKNOWN,
    make_account,
    make_post,
    new_id,
    post_strategy,
)
from tests.factories import NOW, draft, failed, published, queued

Refusal: TypeAlias = tuple[ErrorCode, str | None, str]
Command: TypeAlias = Callable[[Post], Post]

PUBLISHED_MESSAGE = "The post was published on a platform and can no longer be changed."
RUNNING_MESSAGE = "The post is being published. Try again when that has ended."
UNKNOWN_MESSAGE = (
    "It is unknown whether the post was published. Check the platform and record the result."
)
ATTEMPTED_MESSAGE = "The post was already attempted, so its time can no longer be changed."
OMITTED_MESSAGE = "The post was attempted on account 1, which can no longer be removed."
NO_ACCOUNT_MESSAGE = "A post that is not a draft needs at least one account."


def run_change(post: Post, accounts: Sequence[int] | None = None, /, **changes: object) -> Post:
    return change_post(
        post,
        PostChanges(**changes),  # type: ignore[typeddict-item]
        ACCOUNTS,
        account_ids=None if accounts is None else [AccountId(each) for each in accounts],
        expected_version=None,
        new_id=new_id,
        now=NOW,
    )


def run_schedule(
    post: Post,
    scheduled_for: datetime | None = None,
    accounts: Sequence[int] | None = None,
    *,
    publish_now: bool = False,
) -> Post:
    return schedule_post(
        post,
        ACCOUNTS,
        Schedule(scheduled_for=scheduled_for, publish_now=publish_now),
        account_ids=None if accounts is None else [AccountId(each) for each in accounts],
        expected_version=None,
        new_id=new_id,
        now=NOW,
    )


COMMANDS: Mapping[str, Command] = {
    "change the text": lambda post: run_change(post, content="Another text"),
    "change the time": lambda post: run_change(post, scheduled_for=MUCH_LATER),
    "let it go out at once": lambda post: run_change(post, scheduled_for=None),
    "leave the first account out": lambda post: run_change(
        post, [*(each.account_id for each in post.destinations[1:]), 9]
    ),
    "schedule": lambda post: run_schedule(post, MUCH_LATER),
    "cancel": lambda post: cancel_post(post, expected_version=None, now=NOW),
    "delete": lambda post: delete_post(post, expected_version=None, now=NOW),
}


def command_result(command: Command, post: Post) -> Post | Refusal:
    try:
        return command(post)
    except RequestError as error:
        return error.code, error.argument, error.message


@dataclass(frozen=True)
class ExpectedResults:
    """What must come of a submitted post with such destinations, by their names."""

    names: Sequence[str]

    def has_kind(self, *kinds: Mapping[str, DestinationState]) -> bool:
        return any(name in kind for name in self.names for kind in kinds)

    @property
    def was_attempted(self) -> bool:
        return any(SUBMITTED[name].attempts or name in PUBLISHED for name in self.names)

    def running_refusal(self) -> Refusal | None:
        if self.has_kind(PUBLISHING):
            return ErrorCode.CONFLICT, None, RUNNING_MESSAGE
        return (ErrorCode.CONFLICT, None, UNKNOWN_MESSAGE) if self.has_kind(UNKNOWN) else None

    def expected_refusal(  # noqa: PLR0911 - the rules in their order
        self, command: str, status: PostStatus
    ) -> Refusal | None:
        match command:
            case "schedule":
                sentence = f"Only a draft can be scheduled; this post is {status}."
                return ErrorCode.CONFLICT, None, sentence
            case "delete" if self.has_kind(PUBLISHED):
                sentence = "The post was published on a platform and cannot be deleted here."
                return ErrorCode.POST_ALREADY_PUBLISHED, None, sentence
            case "cancel" | "delete" if self.running_refusal():
                return self.running_refusal()
            case "cancel" if self.was_attempted and not self.has_kind(
                NEVER_ATTEMPTED, RETRY_SCHEDULED
            ):
                sentence = f"Nothing of the post is waiting; it is {status}."
                return ErrorCode.CONFLICT, None, sentence
            case "cancel" | "delete":
                return None
        if self.has_kind(PUBLISHED):
            return ErrorCode.CONFLICT, None, PUBLISHED_MESSAGE
        if self.running_refusal():
            return self.running_refusal()
        if command in {"change the time", "let it go out at once"} and self.was_attempted:
            return ErrorCode.CONFLICT, None, ATTEMPTED_MESSAGE
        if command == "leave the first account out" and SUBMITTED[self.names[0]].attempts:
            return ErrorCode.CONFLICT, None, OMITTED_MESSAGE
        return None

    def expected_states(self, command: str) -> list[DestinationState]:  # noqa: PLR0911 - one for each command
        before = [SUBMITTED[name] for name in self.names]
        match command:
            case "change the time":
                return [expected_due_state(state, MUCH_LATER) for state in before]
            case "let it go out at once":
                return [expected_due_state(state, NOW) for state in before]
            case "leave the first account out":
                return [*before[1:], queued(LATER)]
            case "cancel" if not self.was_attempted:
                return [expected_due_state(state, None) for state in before]
            case "cancel":
                waits = [name in NEVER_ATTEMPTED or name in RETRY_SCHEDULED for name in self.names]
                return [
                    expected_cancelled_state(state) if each else state
                    for state, each in zip(before, waits, strict=True)
                ]
            case "delete":
                return [replace(state, claimable_at=None) for state in before]
        return before


def expected_due_state(state: DestinationState, due_at: datetime | None) -> DestinationState:
    return replace(draft() if due_at is None else queued(due_at), fence=state.fence)


def expected_cancelled_state(state: DestinationState) -> DestinationState:
    assert state.due_at is not None
    return replace(
        state,
        status=state.status.FAILED,
        outcome=state.outcome.FAILED,
        claimable_at=None,
        next_retry_at=None,
        error="The post was cancelled before it was published.",
        error_category=ErrorCategory.PERMANENT,
        error_code="CANCELLED",
        settled_at=NOW,
        due_day=state.due_at.date(),
    )


CONTENT_FIELDS: Mapping[str, Mapping[str, object]] = {
    "change the text": {"content": "Another text"},
    "change the time": {"scheduled_for": MUCH_LATER},
    "let it go out at once": {"scheduled_for": None, "submitted_now": True},
    "delete": {"deleted_at": NOW},
}


def assert_expected_result(names: Sequence[str], command: str) -> None:
    rules = ExpectedResults(names)
    before = make_post([SUBMITTED[name] for name in names])
    got = command_result(COMMANDS[command], before)
    refusal = rules.expected_refusal(command, before.status)
    if refusal is not None:
        assert got == refusal, (names, command)
        return
    assert isinstance(got, Post), (names, command, got)
    facts: dict[str, Any] = dict(CONTENT_FIELDS.get(command, {}))
    if command == "cancel" and not rules.was_attempted:
        facts["is_draft"] = True
    assert [each.state for each in got.destinations] == rules.expected_states(command), (
        names,
        command,
    )
    assert [each.position for each in got.destinations] == list(range(len(got.destinations)))
    assert replace(got, destinations=()) == replace(
        before, destinations=(), version=5, updated_at=NOW, **facts
    )
    assert_changes_are_dated(before, got)


def assert_changes_are_dated(before: Post, after: Post) -> None:
    was = {each.id: each for each in before.destinations}
    for each in after.destinations:
        if each.id in was:
            is_same = replace(each, updated_at=CREATED_AT) == was[each.id]
            assert each.updated_at == (CREATED_AT if is_same else NOW)
        else:
            assert each.created_at == each.updated_at == NOW


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("name", SUBMITTED)
def test_every_state_and_command(name: str, command: str) -> None:
    assert_expected_result([name], command)


@pytest.mark.parametrize("command", COMMANDS)
def test_any_two_states_and_every_command(command: str) -> None:
    for names in product(SUBMITTED, repeat=2):
        assert_expected_result(names, command)


@settings(max_examples=300)
@given(
    st.lists(st.sampled_from(sorted(SUBMITTED)), min_size=3, max_size=4),
    st.sampled_from(sorted(COMMANDS)),
)
def test_three_and_four_states_and_every_command(names: list[str], command: str) -> None:
    assert_expected_result(names, command)


DRAFTS: Mapping[str, tuple[Sequence[DestinationState], Mapping[str, object]] | Refusal] = {
    "change the text": ([draft(), draft()], {"content": "Another text"}),
    "change the time": ([draft(), draft()], {"scheduled_for": MUCH_LATER}),
    "let it go out at once": ([draft(), draft()], {"scheduled_for": None}),
    "leave the first account out": ([draft(), draft()], {}),
    "schedule": (
        [queued(MUCH_LATER), queued(MUCH_LATER)],
        {"is_draft": False, "scheduled_for": MUCH_LATER},
    ),
    "cancel": (
        ErrorCode.CONFLICT,
        None,
        "The post is already a draft, so nothing of it will be published.",
    ),
    "delete": ([draft(), draft()], {"deleted_at": NOW}),
}


@pytest.mark.parametrize("command", COMMANDS)
def test_a_draft_and_every_command(command: str) -> None:
    before = make_post([draft(), draft()])
    expected = DRAFTS[command]

    got = command_result(COMMANDS[command], before)

    if isinstance(expected[0], ErrorCode):
        assert got == expected
        return
    states, facts = expected
    assert isinstance(got, Post)
    assert [each.state for each in got.destinations] == states
    assert replace(got, destinations=()) == replace(
        before,
        destinations=(),
        version=5,
        updated_at=NOW,
        **facts,  # type: ignore[arg-type]
    )
    assert_changes_are_dated(before, got)


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("name", ALL_STATES)
def test_a_stale_version_is_refused_before_anything_else(name: str, command: str) -> None:
    post = make_post([ALL_STATES[name]])
    versioned: Mapping[str, Command] = {
        "schedule": lambda post: schedule_post(
            post,
            ACCOUNTS,
            Schedule(scheduled_for=None, publish_now=True),
            account_ids=None,
            expected_version=3,
            new_id=new_id,
            now=NOW,
        ),
        "cancel": lambda post: cancel_post(post, expected_version=3, now=NOW),
        "delete": lambda post: delete_post(post, expected_version=3, now=NOW),
    }
    change_it: Command = lambda post: change_post(  # noqa: E731
        post, {}, ACCOUNTS, account_ids=None, expected_version=3, new_id=new_id, now=NOW
    )
    assert command_result(versioned.get(command, change_it), post) == (
        ErrorCode.STALE_VERSION,
        "expectedVersion",
        "The post is at version 4, not 3: it was changed in the meantime.",
    )


# Of any post.


@st.composite
def commands(draw: st.DrawFn) -> tuple[str, Command]:
    accounts = draw(st.none() | st.lists(st.integers(1, 12), max_size=4))
    when = draw(st.sampled_from([None, CREATED_AT, NOW, LATER, MUCH_LATER]))
    at_once = draw(st.booleans())
    every: Mapping[str, Command] = {
        "text": lambda post: run_change(post, accounts, content="Another text"),
        "time": lambda post: run_change(post, accounts, scheduled_for=when),
        "accounts": lambda post: run_change(post, accounts),
        "schedule": lambda post: run_schedule(post, when, accounts, publish_now=at_once),
        "cancel": COMMANDS["cancel"],
        "delete": COMMANDS["delete"],
    }
    return draw(st.sampled_from(sorted(every.items())))


@settings(max_examples=400)
@given(post_strategy(), st.lists(commands(), min_size=1, max_size=4))
def test_no_commands_make_an_impossible_post(
    before: Post, several: list[tuple[str, Command]]
) -> None:
    for _name, command in several:
        after = command_result(command, before)
        if not isinstance(after, Post):
            continue
        assert all((each.state.due_at is None) == after.is_draft for each in after.destinations)
        assert after.is_draft or after.destinations or not before.destinations
        assert after is before or after.version == before.version + 1
        assert [each.position for each in after.destinations] == [*range(len(after.destinations))]
        assert_changes_are_dated(before, after) if before.updated_at == CREATED_AT else None
        before = after


@given(post_strategy().filter(lambda post: post.is_draft or post.destinations))
def test_what_changes_nothing_gives_the_same_post(before: Post) -> None:
    same = {"content": before.content, "scheduled_for": before.scheduled_for}
    ids = [each.account_id for each in before.destinations]
    got = command_result(lambda post: run_change(post, ids, **same), before)
    if isinstance(got, Post):
        assert got is before


@pytest.mark.parametrize(
    ("stored", "wanted"),
    [
        ({"x": {"settings": {"pinned": 1}}}, {"x": {"settings": {"pinned": True}}}),
        ({"x": {"settings": {"n": 0}}}, {"x": {"settings": {"n": False}}}),
    ],
)
def test_json_that_only_python_takes_for_the_same_is_a_change(
    stored: Mapping[str, object], wanted: Mapping[str, object]
) -> None:
    before = make_post([draft()], platform_content=stored)

    after = run_change(before, platform_content=wanted)

    assert repr(after.platform_content) == repr(wanted)
    assert after.version == 5
    assert after != before


# What was imported.


@pytest.mark.parametrize("name", [*COMMANDS])
@pytest.mark.parametrize("state", [*ALL_STATES])
def test_what_was_imported_is_only_deleted(name: str, state: str) -> None:
    imported = replace(make_post([ALL_STATES[state]]), imported_at=CREATED_AT)
    told = command_result(COMMANDS[name], imported)
    if name == "delete":
        own = command_result(COMMANDS[name], replace(imported, imported_at=None))
        assert told == (replace(own, imported_at=CREATED_AT) if isinstance(own, Post) else own)
    else:
        sentence = "The post was imported: change it in the service that publishes it."
        assert told == (ErrorCode.CONFLICT, None, sentence)


# Creating, and what is refused of each command's own arguments.


def new_post_request(**facts: object) -> NewPost:
    defaults: dict[str, object] = {
        "content": "Spring sale",
        "account_ids": [AccountId(2), AccountId(1)],
        "scheduled_for": LATER,
        "is_draft": False,
        "timezone": "Europe/Berlin",
        "media_ids": ["m1"],
        "media": [],
        "platform_content": {},
        "reference": None,
    }
    return NewPost(**(defaults | facts))  # type: ignore[arg-type]


def create_checked(new: NewPost) -> Post:
    check_new_post(new)
    return create_post(new, ACCOUNTS, post_id=PostId(new_id()), new_id=new_id, now=NOW)


@pytest.mark.parametrize(
    ("facts", "state", "flags"),
    [
        ({}, queued(LATER), (False, False, PostStatus.SCHEDULED)),
        ({"scheduled_for": None}, queued(NOW), (False, True, PostStatus.PUBLISHING)),
        ({"is_draft": True}, draft(), (True, False, PostStatus.DRAFT)),
        ({"is_draft": True, "scheduled_for": None}, draft(), (True, False, PostStatus.DRAFT)),
    ],
)
def test_a_new_post(
    facts: Mapping[str, object], state: DestinationState, flags: tuple[bool, bool, PostStatus]
) -> None:
    post = create_checked(new_post_request(**facts))

    assert (post.is_draft, post.submitted_now, post.status) == flags
    assert [(each.account_id, each.position, each.state) for each in post.destinations] == [
        (2, 0, state),
        (1, 1, state),
    ]
    assert (post.version, post.created_at, post.updated_at) == (1, NOW, NOW)
    assert (post.deleted_at, post.imported_at) == (None, None)


INVALID_NEW_POSTS = {
    "a post without an account": (
        new_post_request(account_ids=[]),
        (ErrorCode.VALIDATION_ERROR, "accountIds", NO_ACCOUNT_MESSAGE),
    ),
    "an account twice": (
        new_post_request(account_ids=[3, 1, 3]),
        (ErrorCode.VALIDATION_ERROR, "accountIds", "Account 3 is listed twice."),
    ),
    "an unknown account": (
        new_post_request(account_ids=[1, 77]),
        (ErrorCode.VALIDATION_ERROR, "accountIds", "There is no account 77 in this workspace."),
    ),
    "too many accounts": (
        new_post_request(account_ids=list(range(1, MAX_DESTINATIONS + 2))),
        (
            ErrorCode.VALIDATION_ERROR,
            "accountIds",
            "There are 501 accounts; at most 500 are allowed.",
        ),
    ),
    "the present": (
        new_post_request(scheduled_for=NOW),
        (ErrorCode.PAST_SCHEDULE_TIME, "scheduledFor", "The time is not in the future."),
    ),
    "a draft's past": (
        new_post_request(scheduled_for=NOW - MINUTE, is_draft=True),
        (ErrorCode.PAST_SCHEDULE_TIME, "scheduledFor", "The time is not in the future."),
    ),
}


@pytest.mark.parametrize(("new", "refusal"), INVALID_NEW_POSTS.values(), ids=INVALID_NEW_POSTS)
def test_a_new_post_is_refused(new: NewPost, refusal: Refusal) -> None:
    assert command_result(lambda _post: create_checked(new), make_post([])) == refusal


NO_TIME_MESSAGE = make_post([draft()], scheduled_for=None)
PAST_TIME_MESSAGE = make_post([draft()], scheduled_for=NOW - MINUTE)
INVALID_CHANGES: Mapping[str, tuple[Post, Command, Refusal]] = {
    "both times": (
        NO_TIME_MESSAGE,
        lambda post: run_schedule(post, LATER, publish_now=True),
        (
            ErrorCode.VALIDATION_ERROR,
            "scheduledFor",
            "Pass either scheduledFor or publishNow, not both.",
        ),
    ),
    "no time": (
        NO_TIME_MESSAGE,
        run_schedule,
        (
            ErrorCode.VALIDATION_ERROR,
            "scheduledFor",
            "The draft has no time yet: pass scheduledFor or publishNow.",
        ),
    ),
    "a time that has passed": (
        PAST_TIME_MESSAGE,
        lambda post: run_schedule(post, NOW),
        (ErrorCode.PAST_SCHEDULE_TIME, "scheduledFor", "The time is not in the future."),
    ),
    "a time of its own that has passed": (
        PAST_TIME_MESSAGE,
        run_schedule,
        (
            ErrorCode.PAST_SCHEDULE_TIME,
            "scheduledFor",
            "The draft's own time has passed: pass another scheduledFor, or publishNow.",
        ),
    ),
    "no account": (
        make_post([]),
        run_schedule,
        (ErrorCode.VALIDATION_ERROR, "accountIds", "The draft has no account: pass accountIds."),
    ),
    "no account any more": (
        make_post([queued(LATER)]),
        lambda post: run_change(post, []),
        (ErrorCode.VALIDATION_ERROR, "accountIds", NO_ACCOUNT_MESSAGE),
    ),
    "a change to the past": (
        make_post([queued(LATER)]),
        lambda post: run_change(post, scheduled_for=NOW),
        (ErrorCode.PAST_SCHEDULE_TIME, "scheduledFor", "The time is not in the future."),
    ),
    "a draft's change to the past": (
        NO_TIME_MESSAGE,
        lambda post: run_change(post, scheduled_for=NOW - MINUTE),
        (ErrorCode.PAST_SCHEDULE_TIME, "scheduledFor", "The time is not in the future."),
    ),
}


@pytest.mark.parametrize(
    ("post", "command", "refusal"), INVALID_CHANGES.values(), ids=INVALID_CHANGES
)
def test_arguments_are_refused(post: Post, command: Command, refusal: Refusal) -> None:
    assert command_result(command, post) == refusal


def test_a_draft_whose_time_has_passed_is_still_edited_and_goes_out_at_once() -> None:
    assert run_change(PAST_TIME_MESSAGE, content="Another text").scheduled_for == NOW - MINUTE

    got = run_schedule(PAST_TIME_MESSAGE, publish_now=True)

    assert [each.state for each in got.destinations] == [queued(NOW)]
    assert (got.submitted_now, got.scheduled_for) == (True, None)


def test_texts_that_were_right_once_stay_while_others_are_changed() -> None:
    stored = make_post([draft()], content="x" * 100_001, timezone="Nowhere/Town", reference="")

    assert run_change(stored, media_ids=["m1"]) is stored
    assert run_change(stored, reference="spring").reference == "spring"
    refusal = command_result(lambda post: run_change(post, media_ids=["m2"]), stored)
    assert refusal == (
        ErrorCode.CONTENT_TOO_LONG,
        "content",
        "The text has 100001 characters; at most 100000 are allowed.",
    )


def test_an_account_that_was_switched_off_may_stay_and_come() -> None:
    accounts = {AccountId(1): make_account(1, is_active=False)}
    post = make_post([failed()])

    got = change_post(
        post,
        {},
        accounts,
        account_ids=[AccountId(1)],
        expected_version=4,
        new_id=new_id,
        now=NOW,
    )

    assert got is post


def test_published_and_failed_parts_are_not_deleted() -> None:
    code = command_result(COMMANDS["delete"], make_post([failed(), published()]))
    assert code == (
        ErrorCode.POST_ALREADY_PUBLISHED,
        None,
        "The post was published on a platform and cannot be deleted here.",
    )
