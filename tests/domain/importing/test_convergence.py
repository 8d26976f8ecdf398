"""Answers of a whole history, imported in order, in any order and twice: the same is known in the end."""

from collections import Counter
from collections.abc import Iterable
from datetime import timedelta
from itertools import chain
from random import Random
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from app.domain.destinations import Destination, DestinationStatus
from app.domain.ids import PostId
from app.domain.importing.importer import ImportResult, ImportState, import_record
from app.domain.importing.json_stream import JsonText
from app.domain.importing.records import PostRecord, parse_records
from app.domain.posts import Post
from app.domain.workspaces import WorkspaceKind
from tests.domain.importing.simulated_service import COMMANDS, POST, START, SimulatedService

NOW = START + timedelta(days=1)


@st.composite
def histories(draw: st.DrawFn) -> list[dict[str, Any]]:
    """The answers that were taken in the course of one, in order; the last is a full one."""
    source = SimulatedService(attempts_change_posts=draw(st.booleans()))
    answers = []
    for move in draw(st.lists(st.sampled_from(COMMANDS) | LIKELY, min_size=1, max_size=25)):
        source.apply_command(move, draw(st.integers(0, 3)))
        take = draw(
            st.sampled_from(
                [
                    None,
                    SimulatedService.list_response,
                    SimulatedService.post_response,
                    SimulatedService.results_response,
                ]
            )
        )
        if take is not None:
            answers.append(take(source))
    return [*answers, source.list_response()]


LIKELY = st.sampled_from(
    ["schedule", "publish now", "start", "start", "wait", "fail", "publish", "retry"]
)


def records(answers: Iterable[dict[str, Any]]) -> list[PostRecord]:
    found = chain.from_iterable(parse_records(JsonText(1, answer)) for answer in answers)
    return [each for each in found if isinstance(each, PostRecord)]


def nothing_known() -> ImportState:
    return ImportState(kind=WorkspaceKind.LOCAL, accounts={}, posts={}, post_ids_by_destination={})


def imported(answers: list[dict[str, Any]], into: ImportState | None = None) -> Post:
    known = into or nothing_known()
    for record in records(answers):
        import_record(record, known, now=NOW)
        assert_nothing_can_be_claimed(known.posts[PostId(POST)])
    return known.posts[PostId(POST)]


def assert_nothing_can_be_claimed(post: Post) -> None:
    for each in post.destinations:
        assert (each.state.claimable_at, each.state.fence, each.state.lease_token) == (
            None,
            0,
            None,
        )
    assert [each.position for each in post.destinations] == list(range(len(post.destinations)))


def told(post: Post) -> tuple[object, ...]:
    """All that answers say of a post."""
    return (
        post.status,
        post.content,
        post.scheduled_for,
        post.created_at,
        post.updated_at,
        [(each.id, each.account_id, *told_of_destination(each)) for each in post.destinations],
    )


def told_of_destination(destination: Destination) -> tuple[object, ...]:
    state = destination.state
    return (
        state.status,
        state.due_at,
        state.published_at,
        state.platform_post_id,
        state.platform_post_url,
        state.error,
        state.attempts,
        state.next_retry_at,
        state.lateness_ms,
        state.due_day,
    )


def happened(post: Post) -> dict[int, tuple[object, ...]]:
    """What can never be taken back."""
    return {
        each.account_id: (
            each.state.published_at,
            each.state.platform_post_url,
            each.state.attempts,
        )
        for each in post.destinations
        if each.state.attempts
    }


@settings(max_examples=400)
@given(histories())
def test_all_answers_in_order_tell_what_the_last_one_tells(answers: list[dict[str, Any]]) -> None:
    assert told(imported(answers)) == told(imported(answers[-1:]))


@settings(max_examples=400)
@given(histories(), st.randoms(use_true_random=False))
def test_in_any_order_the_post_and_whatever_was_tried_come_out_alike(
    answers: list[dict[str, Any]], random: Random
) -> None:
    in_order = imported(answers)
    shuffled = random.sample(answers, len(answers))

    post = imported(shuffled)

    assert happened(post) == happened(in_order)
    assert (post.content, post.scheduled_for, post.created_at, post.updated_at) == (
        in_order.content,
        in_order.scheduled_for,
        in_order.created_at,
        in_order.updated_at,
    )
    final = {
        each.account_id: each for each in post.destinations if each.state.status == "published"
    }
    for each in in_order.destinations:
        if each.account_id in final:
            assert told_of_destination(final[each.account_id]) == told_of_destination(each)


@settings(max_examples=400)
@given(histories(), st.randoms(use_true_random=False), st.integers(1, 6))
def test_whichever_answers_come_the_most_attempts_and_every_publication_are_known(
    answers: list[dict[str, Any]], random: Random, count: int
) -> None:
    some = random.sample(answers, min(count, len(answers)))
    most: dict[int, tuple[bool, int]] = {}
    for each in chain.from_iterable(record.destinations for record in records(some)):
        tried = (each.status is DestinationStatus.PUBLISHED, each.attempts)
        most[each.account_id] = max(tried, most.get(each.account_id, tried))

    post = imported(some)

    known = {
        each.account_id: (each.state.published_at is not None, each.state.attempts)
        for each in post.destinations
    }
    assert {key: tried for key, tried in known.items() if tried[1]} == {
        key: tried for key, tried in most.items() if tried[1]
    }


@settings(max_examples=400)
@given(histories())
def test_the_second_time_nothing_is_new(answers: list[dict[str, Any]]) -> None:
    known = nothing_known()
    once = imported(answers, known)

    again = [
        import_record(record, known, now=NOW + timedelta(days=1)) for record in records(answers)
    ]

    assert Counter(again) == {ImportResult.UNCHANGED: len(answers)}
    assert known.posts == {PostId(POST): once}
