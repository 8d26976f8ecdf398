"""Estimates from a selection: stored fields take 1 µs, computed ones 8 µs. Large operations use threads."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from threading import current_thread, main_thread
from typing import TypeVar

import pytest
from graphql import FragmentDefinitionNode, OperationDefinitionNode, parse

from app.graphql.ast.selections import FieldCollector
from app.graphql.engine.estimates import estimate_operation_time
from app.graphql.loading.response_limit import ResponseLimit
from tests.graphql.engine.differential import FAST_SCHEMA, POSTS, DifferentialBench, run_query
from tests.graphql.engine.test_events import bench_event, in_document

T = TypeVar("T")


@pytest.mark.parametrize(
    ("document", "stored", "computed"),
    [
        ("{ accounts { accountId platform __typename } }", 3, 1),
        ("{ posts { nodes { destinations { status late: latenessSeconds isOverdue } } } }", 3, 3),
        ("{ posts { nodes { destinations { account { accountId profileUrl } } } } }", 4, 2),
        ("{ node(id: 1) { id ... on Post { content media } ... { id } } }", 1, 4),
        (
            "query ($no: Boolean!) { ...A ...A }"
            " fragment A on Query { posts @skip(if: $no) { nodes { id } } }",
            2,
            4,
        ),
        ("{ __schema { types { name } } }", 1, 0),
        ("subscription { changes { destination { status isOverdue } } }", 2, 2),
    ],
)
def test_time_of_an_operation_is_that_of_its_fields(
    document: str, stored: int, computed: int
) -> None:
    schema = FAST_SCHEMA.graphql_schema
    definitions = parse(document).definitions
    fragments = {
        node.name.value: node for node in definitions if isinstance(node, FragmentDefinitionNode)
    }
    (operation,) = (node for node in definitions if isinstance(node, OperationDefinitionNode))

    estimated = estimate_operation_time(FieldCollector(schema, fragments), operation)

    assert estimated == stored * timedelta(microseconds=1) + computed * timedelta(microseconds=8)


class ThreadRecordingLimit(ResponseLimit):
    """Limit that records whether values were completed in the event loop."""

    def __init__(self) -> None:
        super().__init__(None, None)
        self.is_inline: list[bool] = []

    def rollback_on_error(self, complete: Callable[..., T], *arguments: object) -> T:
        self.is_inline.append(current_thread() is main_thread())
        return super().rollback_on_error(complete, *arguments)

    def for_next_event(self) -> "ThreadRecordingLimit":
        return self


@pytest.mark.parametrize(("copies", "is_inline"), [(1, True), (400, False)])
async def test_many_computed_fields_are_completed_in_a_thread(
    bench: DifferentialBench, copies: int, *, is_inline: bool
) -> None:
    fields = " ".join(f"a{number}: account {{ id profileUrl }}" for number in range(copies))
    selection = f"post {{ destinations {{ {fields} }} }}"
    limit = ThreadRecordingLimit()
    context = replace(bench.context(), response_limit=limit)
    query = f'{{ post(postId: "{POSTS[3]}") {{ destinations {{ {fields} }} }} }}'
    subscription = await bench.subscribe(
        FAST_SCHEMA, in_document(f"changes(after: $after) {{ {selection} }}"), {}
    )

    await run_query(FAST_SCHEMA, query, {}, context)
    event_context = replace(subscription.context, response_limit=limit).for_next_event()
    await subscription.execute(await bench_event(bench), event_context)

    assert limit.is_inline == [is_inline, is_inline]
