"""Every event of any history has a short sentence without terms of the API."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from app.domain.change_sentences import change_sentence
from app.domain.events import Event, EventKind, StoredEvent, account_events, post_events
from app.domain.ids import AccountId
from app.domain.posts import Post
from tests.domain.destination_states import make_account, make_post, post_strategy
from tests.domain.post_commands import PostCommand, command_result, post_commands
from tests.domain.test_change_sentences import (
    DESTINATION_CHANGES,
    POST_CHANGES,
    PUBLISHED,
    UNKNOWN,
    WAITING,
    as_stored,
)
from tests.domain.test_publishing_invariants import (
    COMMANDS,
    Command,
    StoredDestination,
    apply_command,
    settle_expired,
)
from tests.factories import draft, queued

OPERATIONS = st.sampled_from(
    [*(operation for operation, *_ in (*DESTINATION_CHANGES, *POST_CHANGES)), "later operation"]
)
TEXTS = st.text(
    st.characters(categories=["L", "N", "P", "Z"], exclude_characters="_"), max_size=400
)


def check_sentence(event: StoredEvent) -> None:
    sentence = change_sentence(event)
    assert len(sentence) <= 300
    assert sentence.endswith(".")
    assert not {"_", "None", "destination", "lease", "fence"} & {*sentence, *sentence.split()}


@settings(max_examples=300)
@given(st.lists(st.tuples(COMMANDS, OPERATIONS), max_size=15), TEXTS)
def test_every_event_of_a_random_history_has_a_sentence(
    commands: Sequence[tuple[Command, str]], error: str
) -> None:
    stored, post = StoredDestination(), make_post([queued()])
    for command, drawn in commands:
        apply_command(stored, command)
        operation = "loseLease" if command is settle_expired else drawn
        before, post = post, post.with_state(post.destinations[0].id, stored.state, stored.now)
        for event in post_events(before, post):
            texts = {"error": error} if event.values.get("error") else {}
            values = {**event.values, **texts}
            check_sentence(replace(as_stored(event, operation), values=values))


@settings(max_examples=200)
@given(post_strategy(), st.lists(post_commands(), min_size=1, max_size=4), OPERATIONS)
def test_every_event_of_a_command_has_a_sentence(
    before: Post, commands: list[PostCommand], operation: str
) -> None:
    for command in commands:
        after = command_result(command, before)
        if isinstance(after, Post):
            for event in post_events(before, after):
                check_sentence(as_stored(event, operation))
            before = after


VALUES: Mapping[str, Any] = {
    name: value
    for state in (draft(), WAITING, UNKNOWN, PUBLISHED)
    for event in (*post_events(None, make_post([state])), *account_events(None, make_account(3)))
    for name, value in event.values.items()
}
"""Values of events by field, each with a value that is not null if any of the states has one."""


@given(
    st.sampled_from(EventKind),
    OPERATIONS,
    st.sets(st.sampled_from(sorted(VALUES))),
    TEXTS,
    st.booleans(),
)
def test_event_with_some_values_and_without_previous_ones_has_a_sentence(
    kind: EventKind, operation: str, names: set[str], name: str, is_null: bool
) -> None:
    values = {**VALUES, "account_name": name}
    some = {name: None if is_null else values[name] for name in names}
    check_sentence(as_stored(Event(kind=kind, account_id=AccountId(3), values=some), operation))
