"""Generates queries from a schema: one for each position of an argument value."""

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from graphql import (
    GraphQLField,
    GraphQLInputObjectType,
    GraphQLInputType,
    GraphQLList,
    GraphQLObjectType,
    GraphQLOutputType,
    GraphQLSchema,
    OperationType,
    get_named_type,
    get_nullable_type,
    is_abstract_type,
    is_required_argument,
    is_required_input_field,
)

ValueFactory = Callable[[str, GraphQLInputType], object]
"""Creates another required value of a query from its name and type."""


class GeneratedQuery(NamedTuple):
    document: str
    variables: dict[str, object]


class PathStep(NamedTuple):
    """Field on the path from the root; `type_condition` narrows an abstract parent type."""

    name: str
    field: GraphQLField
    type_condition: str | None = None


@dataclass(frozen=True)
class ArgumentPosition:
    """Argument of a field, or an input field within one."""

    operation: OperationType
    steps: tuple[PathStep, ...]
    """Path from the root to the field."""
    owner: str
    """Name of the type that has the field."""
    names: tuple[str, ...]
    """Name of the argument, then names of the nested input fields."""
    type: GraphQLInputType

    def __str__(self) -> str:
        return f"{self.owner}.{self.steps[-1].name}({'.'.join(self.names)})"

    @property
    def name(self) -> str:
        return self.names[-1]

    @property
    def takes_list(self) -> bool:
        return isinstance(get_nullable_type(self.type), GraphQLList)


def argument_positions(schema: GraphQLSchema) -> Iterator[ArgumentPosition]:
    """Yield every argument position of every reachable field once."""
    seen: set[str] = set()
    for operation in OperationType:
        for owner, steps in _reachable_fields(schema, schema.get_root_type(operation), seen):
            for name, argument in steps[-1].field.args.items():
                for names, type_ in _leaf_paths((name,), argument.type, ()):
                    yield ArgumentPosition(operation, steps, owner, names, type_)


def build_query(
    schema: GraphQLSchema, position: ArgumentPosition, value: object, make_value: ValueFactory
) -> GeneratedQuery:
    """Build a query that passes the value and selects everything below the field."""
    variables: dict[str, tuple[GraphQLInputType, object]] = {}
    body = _select_all(schema, position.steps[-1].field.type)
    for step in reversed(position.steps):
        path = position.names if step is position.steps[-1] else ()
        argument_texts = []
        for name, argument in step.field.args.items():
            if path[:1] == (name,):
                content = _wrap_in_inputs(argument.type, path[1:], value, make_value)
            elif is_required_argument(argument):
                content = _required_value(name, argument.type, make_value)
            else:
                continue
            argument_texts.append(f"{name}: $v{len(variables)}")
            variables[f"v{len(variables)}"] = argument.type, content
        arguments = f"({', '.join(argument_texts)})" if argument_texts else ""
        body = f"{step.name}{arguments} {body}"
        body = (
            f"{{ {body} }}"
            if step.type_condition is None
            else f"{{ ... on {step.type_condition} {{ {body} }} }}"
        )
    declared = ", ".join(f"${name}: {type_}" for name, (type_, _) in variables.items())
    return GeneratedQuery(
        f"{position.operation.value} ({declared}) {body}",
        {name: content for name, (_, content) in variables.items()},
    )


def build_argumentless_query(schema: GraphQLSchema) -> GeneratedQuery:
    """Build a query that selects everything that needs no argument."""
    assert schema.query_type is not None
    return GeneratedQuery(_select_all(schema, schema.query_type), {})


def _reachable_fields(
    schema: GraphQLSchema, root: GraphQLObjectType | None, visited: set[str]
) -> Iterator[tuple[str, tuple[PathStep, ...]]]:
    """Yield the fields of each unvisited type with the type's name and the shortest path."""
    if root is None:
        return
    pending: deque[tuple[GraphQLObjectType, tuple[PathStep, ...], str | None]] = deque(
        [(root, (), None)]
    )
    while pending:
        parent, steps_to_parent, type_condition = pending.popleft()
        for name, field in parent.fields.items():
            steps = (*steps_to_parent, PathStep(name, field, type_condition))
            yield parent.name, steps
            is_open = is_abstract_type(get_named_type(field.type))
            for type_ in _object_types(schema, field.type):
                if type_.name not in visited:
                    visited.add(type_.name)
                    pending.append((type_, steps, type_.name if is_open else None))


def _object_types(schema: GraphQLSchema, type_: GraphQLOutputType) -> list[GraphQLObjectType]:
    """Return the object types of a field; none for a scalar or an enum."""
    named = get_named_type(type_)
    if isinstance(named, GraphQLObjectType):
        return [named]
    return list(schema.get_possible_types(named)) if is_abstract_type(named) else []


def _leaf_paths(
    names: tuple[str, ...], type_: GraphQLInputType, inside: tuple[str, ...]
) -> Iterator[tuple[tuple[str, ...], GraphQLInputType]]:
    named = get_named_type(type_)
    if not isinstance(named, GraphQLInputObjectType):
        yield names, type_
    elif named.name not in inside:
        for name, field in named.fields.items():
            yield from _leaf_paths((*names, name), field.type, (*inside, named.name))


def _wrap_in_inputs(
    type_: GraphQLInputType, names: tuple[str, ...], value: object, make_value: ValueFactory
) -> object:
    """Wrap the value in the input objects on its path, with their other required fields."""
    if not names:
        return value
    named = get_named_type(type_)
    assert isinstance(named, GraphQLInputObjectType)
    inner = _wrap_in_inputs(named.fields[names[0]].type, names[1:], value, make_value)
    return _wrap_in_list(type_, {**_required_fields(named, make_value), names[0]: inner})


def _required_value(name: str, type_: GraphQLInputType, make_value: ValueFactory) -> object:
    named = get_named_type(type_)
    if isinstance(named, GraphQLInputObjectType):
        return _wrap_in_list(type_, _required_fields(named, make_value))
    return _wrap_in_list(type_, make_value(name, type_))


def _required_fields(type_: GraphQLInputObjectType, make_value: ValueFactory) -> dict[str, object]:
    return {
        name: _required_value(name, field.type, make_value)
        for name, field in type_.fields.items()
        if is_required_input_field(field)
    }


def _wrap_in_list(type_: GraphQLInputType, content: object) -> object:
    return [content] if isinstance(get_nullable_type(type_), GraphQLList) else content


def _select_all(
    schema: GraphQLSchema, type_: GraphQLOutputType, inside: tuple[str, ...] = ()
) -> str:
    """Select everything that needs no argument; a type is not selected within itself."""
    objects = _object_types(schema, type_)
    if not objects:
        return ""
    is_open = is_abstract_type(get_named_type(type_))
    selections = ["__typename"]
    for object_type in objects:
        if object_type.name in inside:
            continue
        # Aliases prevent conflicts between fields of equal name and different type.
        alias = f"{object_type.name}_{{}}: " if is_open else ""
        fields = [
            f"{alias.format(name)}{name} {_select_all(schema, field.type, (*inside, object_type.name))}"
            for name, field in object_type.fields.items()
            if not any(is_required_argument(argument) for argument in field.args.values())
            # A connection returns its objects twice; one selection is enough.
            and not (name == "nodes" and "edges" in object_type.fields)
        ]
        selections += [f"... on {object_type.name} {{ {' '.join(fields)} }}"] if is_open else fields
    return f"{{ {' '.join(selections)} }}"
