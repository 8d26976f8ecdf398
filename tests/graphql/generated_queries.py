"""Queries generated from a schema, one for each argument and input field."""

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
"""Makes a value of another required argument from its name and type."""


class GeneratedQuery(NamedTuple):
    document: str
    variables: dict[str, object]


class PathStep(NamedTuple):
    """One field of a path; `type_condition` is set if its parent is abstract."""

    name: str
    field: GraphQLField
    type_condition: str | None = None


@dataclass(frozen=True)
class ArgumentPosition:
    """An argument of a field, or an input field inside an argument."""

    operation: OperationType
    steps: tuple[PathStep, ...]
    """Path from the root to the field."""
    owner: str
    """Name of the type that has the field."""
    names: tuple[str, ...]
    """The argument, then the input fields inside it."""
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
    """Yield each position of each reachable field once, from the first root type that leads to it."""
    visited: set[str] = set()
    for operation in OperationType:
        for owner, steps in _reachable_fields(schema, schema.get_root_type(operation), visited):
            for name, argument in steps[-1].field.args.items():
                for names, type_ in _leaf_paths((name,), argument.type, ()):
                    yield ArgumentPosition(operation, steps, owner, names, type_)


def build_query(
    schema: GraphQLSchema, position: ArgumentPosition, value: object, make_value: ValueFactory
) -> GeneratedQuery:
    """Build a query with the value at the position, selecting everything below its field."""
    variables: dict[str, tuple[GraphQLInputType, object]] = {}
    body = _select_all(schema, position.steps[-1].field.type)
    for step in reversed(position.steps):
        names = position.names if step is position.steps[-1] else ()
        arguments = []
        for name, argument in step.field.args.items():
            if names[:1] == (name,):
                content = _wrap_in_inputs(argument.type, names[1:], value, make_value)
            elif is_required_argument(argument):
                content = _required_value(name, argument.type, make_value)
            else:
                continue
            arguments.append(f"{name}: $v{len(variables)}")
            variables[f"v{len(variables)}"] = argument.type, content
        argument_list = f"({', '.join(arguments)})" if arguments else ""
        body = f"{step.name}{argument_list} {body}"
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
    """Yield type name and shortest path of the fields of each type that was not visited yet.

    Of paths with one length, those through an abstract type come last: their values may be of another type.
    """
    if root is None:
        return
    pending: deque[tuple[GraphQLObjectType, tuple[PathStep, ...], str | None]] = deque(
        [(root, (), None)]
    )
    while pending:
        parent, path, condition = pending.popleft()
        for name, field in sorted(parent.fields.items(), key=_returns_abstract_type):
            steps = (*path, PathStep(name, field, condition))
            yield parent.name, steps
            is_abstract = is_abstract_type(get_named_type(field.type))
            for type_ in _object_types(schema, field.type):
                if type_.name not in visited:
                    visited.add(type_.name)
                    pending.append((type_, steps, type_.name if is_abstract else None))


def _returns_abstract_type(item: tuple[str, GraphQLField]) -> bool:
    return is_abstract_type(get_named_type(item[1].type))


def _object_types(schema: GraphQLSchema, type_: GraphQLOutputType) -> list[GraphQLObjectType]:
    """The object types that a field of this type can return; none for a scalar or an enum."""
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
    """Wrap the value in the input objects that lead to it, with their other required fields."""
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
    """Select everything that needs no argument, without selecting a type inside itself."""
    objects = _object_types(schema, type_)
    if not objects:
        return ""
    is_abstract = is_abstract_type(get_named_type(type_))
    selections = ["__typename"]
    for object_type in objects:
        if object_type.name in inside:
            continue
        # Aliased by type, because fields with one name and different types cannot be merged.
        alias = f"{object_type.name}_{{}}: " if is_abstract else ""
        fields = [
            f"{alias.format(name)}{name} {_select_all(schema, field.type, (*inside, object_type.name))}"
            for name, field in object_type.fields.items()
            if not any(is_required_argument(argument) for argument in field.args.values())
            # A connection returns its objects in `edges` too.
            and not (name == "nodes" and "edges" in object_type.fields)
        ]
        selections += (
            [f"... on {object_type.name} {{ {' '.join(fields)} }}"] if is_abstract else fields
        )
    return f"{{ {' '.join(selections)} }}"
