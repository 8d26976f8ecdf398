"""The memory budget of open subscriptions, and the key of shared responses."""

from contextlib import AbstractContextManager, ExitStack
from uuid import UUID, uuid4

import pytest
from graphql import parse

from app.domain.api_keys import Scope
from app.domain.errors import ServiceUnavailable
from app.domain.ids import ApiKeyId, WorkspaceId, WorkspaceKind
from app.graphql.ast.document_index import DocumentIndex
from app.graphql.engine.executable_schema import create_schema
from app.graphql.engine.limits import collect_stats
from app.graphql.engine.prepared_operation import Document, PreparedOperation
from app.graphql.subscription_stream import create_document_budget, subscription_cache_key
from app.services.api_keys import Viewer
from app.settings import GraphQLLimits
from tests.factories import NOW

SCHEMA = create_schema(GraphQLLimits())
MAX_DOCUMENTS = 100
FIRST_KEY, SECOND_KEY = ApiKeyId(UUID(int=1)), ApiKeyId(UUID(int=2))


def make_operation(name: str) -> PreparedOperation:
    text = f"subscription {name} {{ changes {{ type }} }}"
    index = DocumentIndex(parse(text))
    return PreparedOperation(
        SCHEMA.graphql_schema,
        SCHEMA.schema_converter,
        Document(text, SCHEMA.limits),
        index,
        collect_stats(index),
        index.operations[0],
        use_fast_path=True,
    )


def test_a_key_whose_documents_fill_its_share_leaves_memory_for_those_of_another() -> None:
    documents = [make_operation(f"S{number:03}") for number in range(MAX_DOCUMENTS)]
    size = documents[0].estimated_bytes
    budget = create_document_budget(max_bytes=MAX_DOCUMENTS * size)

    def reserve(key: ApiKeyId, document: PreparedOperation) -> AbstractContextManager[None]:
        return budget.reserve(key, {document: document.estimated_bytes})

    half, quarter = MAX_DOCUMENTS // 2, MAX_DOCUMENTS // 4
    of_first, of_second, new = documents[:half], documents[half : half + quarter], documents[-1]
    with ExitStack() as subscriptions:
        for document in of_first:
            subscriptions.enter_context(reserve(FIRST_KEY, document))
        with pytest.raises(ServiceUnavailable) as refusal, reserve(FIRST_KEY, new):
            pass
        assert refusal.value.retry_after == 60
        for document in of_second:
            subscriptions.enter_context(reserve(SECOND_KEY, document))
        with pytest.raises(ServiceUnavailable), reserve(SECOND_KEY, new):
            pass
        with reserve(FIRST_KEY, of_first[0]), reserve(SECOND_KEY, of_first[0]):
            pass
    with reserve(FIRST_KEY, new):
        pass


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
