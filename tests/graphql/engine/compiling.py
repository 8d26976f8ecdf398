"""Compiles completion functions for tests."""

from typing import cast

from graphql import FieldNode, GraphQLObjectType, GraphQLSchema, OperationDefinitionNode, parse

from app.graphql.ast.selections import FieldCollector
from app.graphql.engine.compiler import Completer, compile_completer


def compile_object(schema: GraphQLSchema, parent: str, selection: str) -> Completer:
    (operation,) = parse(f"{{ x {selection} }}").definitions
    assert isinstance(operation, OperationDefinitionNode)
    nodes = cast("list[FieldNode]", list(operation.selection_set.selections))
    named = cast("GraphQLObjectType", schema.get_type(parent))
    return compile_completer(FieldCollector(schema, {}), named, nodes)
