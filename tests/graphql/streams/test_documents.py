"""There is an end to what followers' documents take in memory; those who send the same one share it."""

from contextlib import ExitStack

import pytest
from graphql import parse

from app.domain.errors import ServiceUnavailable
from app.graphql.execution.operations import Operation
from app.graphql.schema import make_schema
from app.graphql.streams.documents import OpenDocuments
from app.settings import GraphQLLimits
from tests.graphql.documents import operation_of

SCHEMA = make_schema(GraphQLLimits())


def operation(name: str) -> Operation:
    text = f"subscription {name} {{ changes {{ type }} }}"
    document = parse(text)
    return Operation(SCHEMA, text, document, operation_of(document), is_fast=True)


def test_so_many_different_ones_may_be_open_and_any_number_of_followers_of_each() -> None:
    one, other, third = operation("A"), operation("B"), operation("C")
    documents = OpenDocuments(max_bytes=2 * one.bytes)
    with ExitStack() as stack:
        for _ in range(5):
            stack.enter_context(documents.open(one))
        with documents.open(other):
            for take in (documents.check, lambda each: documents.open(each).__enter__()):
                with pytest.raises(ServiceUnavailable) as refusal:
                    take(third)
            assert refusal.value.retry_after == 60
            documents.check(one)
        with documents.open(third), pytest.raises(ServiceUnavailable):
            documents.check(other)
    with documents.open(other), documents.open(third), pytest.raises(ServiceUnavailable):
        documents.check(one)
