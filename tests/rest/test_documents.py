"""The documents behind the routes: valid, named, and within the limits that everybody has."""

import pytest
from graphql import OperationDefinitionNode, OperationType, parse, validate

from app.graphql.limits import measure, refuse_excess
from app.graphql.schema import core_schema, make_schema
from app.rest.routes import READS, Read
from app.settings import GraphQLLimits

SCHEMA = core_schema(make_schema(GraphQLLimits()))


def named(read: Read) -> str:
    return read.path


@pytest.mark.parametrize("read", READS, ids=named)
def test_every_document_is_valid(read: Read) -> None:
    assert validate(SCHEMA, parse(read.document)) == []


@pytest.mark.parametrize("read", READS, ids=named)
def test_every_document_is_one_named_query(read: Read) -> None:
    operations = [
        definition
        for definition in parse(read.document).definitions
        if isinstance(definition, OperationDefinitionNode)
    ]
    assert [each.operation for each in operations] == [OperationType.QUERY]
    assert operations[0].name is not None


@pytest.mark.parametrize("read", READS, ids=named)
def test_every_document_keeps_the_default_limits(read: Read) -> None:
    refuse_excess(measure(parse(read.document)), GraphQLLimits())


def test_no_document_is_used_twice() -> None:
    assert len({read.document for read in READS}) == len(READS)
