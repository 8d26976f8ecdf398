"""Makes the functions that complete objects of a type, for tests of what they do."""

from typing import cast

from graphql import FieldNode, GraphQLObjectType, GraphQLSchema, OperationDefinitionNode, parse

from app.graphql.execution.completion import Complete, completion
from app.graphql.execution.selections import Selections


def complete(core: GraphQLSchema, parent: str, selection: str) -> Complete:
    (operation,) = parse(f"{{ x {selection} }}").definitions
    assert isinstance(operation, OperationDefinitionNode)
    nodes = cast("list[FieldNode]", list(operation.selection_set.selections))
    named = cast("GraphQLObjectType", core.get_type(parent))
    return completion(Selections(core, {}), named, nodes)
