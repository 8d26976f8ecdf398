"""There is an end to what followers' documents take in memory; those who send the same one share it."""

from contextlib import ExitStack

import pytest
from graphql import parse

from app.domain.errors import ServiceUnavailable
from app.graphql.document_budget import DocumentMemoryBudget
from app.graphql.engine.executable_schema import create_schema
from app.graphql.engine.prepared import PreparedOperation
from app.settings import GraphQLLimits
from tests.graphql.random_documents import get_operation

SCHEMA = create_schema(GraphQLLimits())


def make_operation(name: str) -> PreparedOperation:
    text = f"subscription {name} {{ changes {{ type }} }}"
    document = parse(text)
    return PreparedOperation(SCHEMA, text, document, get_operation(document), use_fast_path=True)


def test_so_many_different_ones_may_be_open_and_any_number_of_followers_of_each() -> None:
    one, other, third = make_operation("A"), make_operation("B"), make_operation("C")
    documents = DocumentMemoryBudget(max_bytes=2 * one.estimated_bytes)
    with ExitStack() as stack:
        for _ in range(5):
            stack.enter_context(documents.reserve(one))
        with documents.reserve(other):
            for take in (documents.check, lambda each: documents.reserve(each).__enter__()):
                with pytest.raises(ServiceUnavailable) as refusal:
                    take(third)
            assert refusal.value.retry_after == 60
            documents.check(one)
        with documents.reserve(third), pytest.raises(ServiceUnavailable):
            documents.check(other)
    with documents.reserve(other), documents.reserve(third), pytest.raises(ServiceUnavailable):
        documents.check(one)
