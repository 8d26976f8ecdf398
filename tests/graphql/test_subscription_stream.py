"""The memory budget of open subscriptions."""

from contextlib import ExitStack
from typing import cast
from uuid import UUID, uuid4

import pytest
from graphql import parse

from app.domain.api_keys import Scope
from app.domain.errors import ServiceUnavailable
from app.domain.ids import ApiKeyId, WorkspaceId, WorkspaceKind
from app.graphql.ast.document_index import DocumentIndex
from app.graphql.engine.executable_schema import create_schema
from app.graphql.engine.prepared_operation import Document, PreparedOperation
from app.graphql.subscription_stream import DocumentMemoryBudget, subscription_cache_key
from app.services.api_keys import Viewer
from app.settings import GraphQLLimits
from tests.factories import NOW

SCHEMA = create_schema(GraphQLLimits())


def make_operation(name: str) -> PreparedOperation:
    text = f"subscription {name} {{ changes {{ type }} }}"
    index = DocumentIndex(parse(text))
    return PreparedOperation(
        SCHEMA.graphql_schema,
        SCHEMA.schema_converter,
        Document(text, SCHEMA.limits),
        index,
        index.operations[0],
        use_fast_path=True,
    )


def test_distinct_documents_are_limited_and_equal_ones_share_memory() -> None:
    first, second, third = make_operation("A"), make_operation("B"), make_operation("C")
    budget = DocumentMemoryBudget(max_bytes=2 * first.estimated_bytes)
    with ExitStack() as subscriptions:
        for _ in range(5):
            subscriptions.enter_context(budget.reserve(first))
        with budget.reserve(second):
            for open_third in (budget.check, lambda document: budget.reserve(document).__enter__()):
                with pytest.raises(ServiceUnavailable) as rejection:
                    open_third(third)
            assert rejection.value.retry_after == 60
            budget.check(first)
        with budget.reserve(third), pytest.raises(ServiceUnavailable):
            budget.check(second)
    with budget.reserve(second), budget.reserve(third), pytest.raises(ServiceUnavailable):
        budget.check(first)


class MeasuredOperation:
    """An operation that counts how often its size is read."""

    def __init__(self) -> None:
        self.measured_count = 0

    @property
    def estimated_bytes(self) -> int:
        self.measured_count += 1
        return 1


def test_check_does_not_measure_every_open_document() -> None:
    budget = DocumentMemoryBudget()
    operations = [MeasuredOperation() for _ in range(101)]
    *opened, new = cast("list[PreparedOperation]", operations)
    with ExitStack() as subscriptions:
        for operation in opened:
            subscriptions.enter_context(budget.reserve(operation))
        before = sum(operation.measured_count for operation in operations)
        budget.check(new)
        assert sum(operation.measured_count for operation in operations) == before + 1


def test_responses_are_shared_by_viewers_with_the_same_workspace_and_scopes() -> None:
    operation = make_operation("A")

    def key(workspace: int, *scopes: Scope) -> bytes:
        viewer = Viewer(
            key_id=ApiKeyId(uuid4()),
            key_name="k",
            display_prefix="pe_live_0123",
            created_at=NOW,
            last_used_at=None,
            scopes=scopes,
            expires_at=None,
            workspace_id=WorkspaceId(UUID(int=workspace)),
            workspace_name="Acme",
            workspace_kind=WorkspaceKind.LOCAL,
        )
        return subscription_cache_key(operation, "text", {}, viewer)

    assert key(1, Scope.READ) == key(1, Scope.READ)
    assert len({key(1, Scope.READ), key(2, Scope.READ), key(1, Scope.READ, Scope.RAW)}) == 3
