"""Post commands with default arguments, their results, and strategies of commands."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import TypeAlias

from hypothesis import strategies as st

from app.domain.errors import ErrorCode, RequestError
from app.domain.ids import AccountId
from app.domain.post_commands import (
    NewPost,
    PostUpdate,
    Schedule,
    cancel_post,
    delete_post,
    schedule_post,
    update_post,
)
from app.domain.posts import Post
from tests.domain.destination_states import ACCOUNTS, CREATED_AT, LATER, MUCH_LATER, new_id
from tests.factories import NOW

CommandError: TypeAlias = tuple[ErrorCode, str | None, str]
"""Code, argument and message."""
PostCommand: TypeAlias = Callable[[Post], Post]


def new_post_request(**fields: object) -> NewPost:
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
    return NewPost(**(defaults | fields))  # type: ignore[arg-type]


def run_change(
    post: Post,
    accounts: Sequence[int] | None = None,
    /,
    *,
    expected_version: int | None = None,
    **changes: object,
) -> Post:
    return update_post(
        post,
        PostUpdate(**changes),  # type: ignore[typeddict-item]
        ACCOUNTS,
        account_ids=None if accounts is None else [AccountId(number) for number in accounts],
        expected_version=expected_version,
        new_id=new_id,
        now=NOW,
    )


def run_schedule(
    post: Post,
    scheduled_for: datetime | None = None,
    accounts: Sequence[int] | None = None,
    *,
    publish_now: bool = False,
    expected_version: int | None = None,
) -> Post:
    return schedule_post(
        post,
        ACCOUNTS,
        Schedule(scheduled_for=scheduled_for, publish_now=publish_now),
        account_ids=None if accounts is None else [AccountId(number) for number in accounts],
        expected_version=expected_version,
        new_id=new_id,
        now=NOW,
    )


POST_COMMANDS: Mapping[str, PostCommand] = {
    "change text": lambda post: run_change(post, content="Another text"),
    "change time": lambda post: run_change(post, scheduled_for=MUCH_LATER),
    "publish immediately": lambda post: run_change(post, scheduled_for=None),
    "replace first account": lambda post: run_change(
        post, [*(destination.account_id for destination in post.destinations[1:]), 9]
    ),
    "schedule": lambda post: run_schedule(post, MUCH_LATER),
    "cancel": lambda post: cancel_post(post, expected_version=None, now=NOW),
    "delete": lambda post: delete_post(post, expected_version=None, now=NOW),
}


def command_result(command: PostCommand, post: Post) -> Post | CommandError:
    try:
        return command(post)
    except RequestError as error:
        return error.code, error.argument, error.message


@st.composite
def post_commands(draw: st.DrawFn) -> PostCommand:
    accounts = draw(st.none() | st.lists(st.integers(1, 12), max_size=4))
    time = draw(st.sampled_from([None, CREATED_AT, NOW, LATER, MUCH_LATER]))
    publish_now = draw(st.booleans())
    choices: Sequence[PostCommand] = (
        lambda post: run_change(post, accounts, content="Another text"),
        lambda post: run_change(post, accounts, scheduled_for=time),
        lambda post: run_change(post, accounts),
        lambda post: run_schedule(post, time, accounts, publish_now=publish_now),
        POST_COMMANDS["cancel"],
        POST_COMMANDS["delete"],
    )
    return draw(st.sampled_from(choices))
