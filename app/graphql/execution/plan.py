"""How a query runs without graphql-core: its resolvers are called, and one function completes the answer.

Each root field's permissions are asked, and its resolver is called with a real `Info`, as Strawberry
does. Where anything goes wrong, graphql-core's executor goes on with what the resolvers have told.
"""

import asyncio
from collections.abc import Mapping
from typing import Any, NamedTuple

from graphql import (
    FragmentDefinitionNode,
    GraphQLField,
    GraphQLObjectType,
    GraphQLResolveInfo,
    GraphQLSchema,
    OperationDefinitionNode,
)
from graphql.execution.values import VariableValues
from graphql.pyutils import Path, is_awaitable
from graphql.type.definition import GraphQLResolveInfoHelpers
from strawberry.permission import PermissionExtension
from strawberry.schema.schema_converter import GraphQLCoreConverter
from strawberry.types.field import StrawberryField

from app.graphql.context import Context, Info
from app.graphql.execution.arguments import Arguments
from app.graphql.execution.completion import root_completion
from app.graphql.execution.executor import Outcome
from app.graphql.execution.selections import Given, Selected, Selections, Surprise
from app.graphql.permissions import HasScope
from app.graphql.rows import DEFINITION

_HELPERS = GraphQLResolveInfoHelpers(
    gather=lambda awaitables: asyncio.gather(*awaitables), track=lambda _awaitables: None
)


class Incomplete(Exception):
    """Something went wrong; `outcomes` is what the root fields' resolvers told, by response key."""

    def __init__(self, outcomes: Mapping[str, Outcome]) -> None:
        super().__init__()
        self.outcomes = outcomes


class Plan:
    """Of one query, made once."""

    def __init__(
        self,
        schema: GraphQLSchema,
        converter: GraphQLCoreConverter,
        fragments: dict[str, FragmentDefinitionNode],
        operation: OperationDefinitionNode,
    ) -> None:
        """Surprise for a query that only graphql-core can run."""
        root = schema.query_type
        assert root is not None  # noqa: S101 - ours has one
        selections = Selections(schema, fragments)
        selected = selections.of(root, [operation.selection_set])
        self._complete = root_completion(selections, root, selected)
        document = _Document(schema, fragments, root, operation)
        self._fields = [
            _RootField(document, converter, key, each)
            for key, each in selected.items()
            if each.name != "__typename"
        ]

    async def run(self, context: Context, variables: VariableValues) -> dict[str, Any]:
        """The data; Incomplete where graphql-core has to go on."""
        outcomes: dict[str, Outcome] = {}
        try:
            asked = [each for each in self._fields if each.is_asked(variables.coerced)]
        except Surprise:
            raise Incomplete(outcomes) from None
        if len(asked) == 1:
            outcomes[asked[0].key] = await asked[0].outcome(context, variables)
        else:
            told = await asyncio.gather(*(each.outcome(context, variables) for each in asked))
            outcomes.update(zip((each.key for each in asked), told, strict=True))
        if any(isinstance(each, Exception) for each in outcomes.values()):
            raise Incomplete(outcomes)
        try:
            return context.list_entries.unless_failed(self._complete, outcomes, variables.coerced)
        except Exception:  # noqa: BLE001 - whatever it is, graphql-core meets it again
            raise Incomplete(outcomes) from None


class _Document(NamedTuple):
    """What is the same for all fields."""

    schema: GraphQLSchema
    fragments: dict[str, FragmentDefinitionNode]
    root: GraphQLObjectType
    operation: OperationDefinitionNode


class _RootField:
    def __init__(
        self,
        document: _Document,
        converter: GraphQLCoreConverter,
        key: str,
        selected: Selected,
    ) -> None:
        self.key = key
        self._document = document
        self._selected = selected
        self._core: GraphQLField = document.root.fields[selected.name]
        self._field: StrawberryField = self._core.extensions[DEFINITION]
        self._path = Path(None, key, document.root.name)
        self._info_class = converter.config.info_class
        self._permissions = _permissions(self._field)
        self._arguments = Arguments(converter, self._core, self._field, selected.nodes[0])
        resolver = self._field.base_resolver
        if resolver is None or resolver.root_parameter or resolver.parent_parameter:
            raise Surprise
        self._resolve = resolver.wrapped_func
        self._is_async = resolver.is_async
        self._itself = (None,) if resolver.self_parameter else ()
        self._info_name = resolver.info_parameter.name if resolver.info_parameter else None

    def is_asked(self, given: Given) -> bool:
        return all(holds(given) for holds in self._selected.conditions)

    async def outcome(self, context: Context, variables: VariableValues) -> Outcome:
        """What its resolver returns, or why it does not."""
        info = self._info(context, variables)
        try:
            for permission in self._permissions:
                if not permission.has_permission(None, info):
                    permission.on_unauthorized()
            arguments = self._arguments.of(variables)
            if self._info_name is not None:
                arguments[self._info_name] = info
            value = self._resolve(*self._itself, **arguments)
            return await value if self._is_async else value
        except Exception as error:  # noqa: BLE001 - graphql-core is told of it
            return error

    def _info(self, context: Context, variables: VariableValues) -> Info:
        document = self._document
        core = GraphQLResolveInfo(
            self._selected.name,
            self._selected.nodes,
            self._core.type,
            document.root,
            self._path,
            document.schema,
            document.fragments,
            None,
            document.operation,
            variables,
            context,
            is_awaitable,
            None,
            _HELPERS,
        )
        return self._info_class(_raw_info=core, _field=self._field)


def _permissions(field: StrawberryField) -> list[HasScope]:
    """Those of a field that has nothing else around its resolver."""
    found: list[HasScope] = []
    for extension in field.extensions:
        if not isinstance(extension, PermissionExtension) or extension.fail_silently:
            raise Surprise
        for permission in extension.permissions:
            if not isinstance(permission, HasScope):
                raise Surprise
            found.append(permission)
    return found
