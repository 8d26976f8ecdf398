"""Questions generated from a schema: one for each place where a caller gives a value. No rows, no clients."""

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

Fill = Callable[[str, GraphQLInputType], object]
"""A value that is required beside the one a question is about, given its name and type."""


class Question(NamedTuple):
    document: str
    variables: dict[str, object]


class Step(NamedTuple):
    """One field on the way from the root; `on` narrows what it is a field of, where that is open."""

    name: str
    field: GraphQLField
    on: str | None = None


@dataclass(frozen=True)
class Place:
    """An argument of a field, or an input field inside of one."""

    operation: OperationType
    steps: tuple[Step, ...]
    """From the root to the field."""
    owner: str
    """The type that has the field."""
    names: tuple[str, ...]
    """The argument, then the input fields inside of it."""
    type: GraphQLInputType

    def __str__(self) -> str:
        return f"{self.owner}.{self.steps[-1].name}({'.'.join(self.names)})"

    @property
    def name(self) -> str:
        return self.names[-1]

    @property
    def takes_a_list(self) -> bool:
        return isinstance(get_nullable_type(self.type), GraphQLList)


def places(schema: GraphQLSchema) -> Iterator[Place]:
    """Every place of every field that can be reached, once, from the first root that leads there."""
    seen: set[str] = set()
    for operation in OperationType:
        for owner, steps in _reachable_fields(schema, schema.get_root_type(operation), seen):
            for name, argument in steps[-1].field.args.items():
                for names, type_ in _leaves((name,), argument.type, ()):
                    yield Place(operation, steps, owner, names, type_)


def ask(schema: GraphQLSchema, place: Place, value: object, fill: Fill) -> Question:
    """Ask the field for everything below it, with the value in the place."""
    variables: dict[str, tuple[GraphQLInputType, object]] = {}
    body = _everything(schema, place.steps[-1].field.type)
    for step in reversed(place.steps):
        asked = place.names if step is place.steps[-1] else ()
        given = []
        for name, argument in step.field.args.items():
            if asked[:1] == (name,):
                content = _around(argument.type, asked[1:], value, fill)
            elif is_required_argument(argument):
                content = _required(name, argument.type, fill)
            else:
                continue
            given.append(f"{name}: $v{len(variables)}")
            variables[f"v{len(variables)}"] = argument.type, content
        arguments = f"({', '.join(given)})" if given else ""
        body = f"{step.name}{arguments} {body}"
        body = f"{{ {body} }}" if step.on is None else f"{{ ... on {step.on} {{ {body} }} }}"
    declared = ", ".join(f"${name}: {type_}" for name, (type_, _) in variables.items())
    return Question(
        f"{place.operation.value} ({declared}) {body}",
        {name: content for name, (_, content) in variables.items()},
    )


def unconditional(schema: GraphQLSchema) -> Question:
    """Ask for everything that a query can have without giving a single value."""
    assert schema.query_type is not None
    return Question(_everything(schema, schema.query_type), {})


def _reachable_fields(
    schema: GraphQLSchema, root: GraphQLObjectType | None, seen: set[str]
) -> Iterator[tuple[str, tuple[Step, ...]]]:
    """The fields of each type that was not seen yet, with the type's name, by the shortest way."""
    if root is None:
        return
    pending: deque[tuple[GraphQLObjectType, tuple[Step, ...], str | None]] = deque(
        [(root, (), None)]
    )
    while pending:
        parent, way, on = pending.popleft()
        for name, field in parent.fields.items():
            steps = (*way, Step(name, field, on))
            yield parent.name, steps
            is_open = is_abstract_type(get_named_type(field.type))
            for type_ in _objects(schema, field.type):
                if type_.name not in seen:
                    seen.add(type_.name)
                    pending.append((type_, steps, type_.name if is_open else None))


def _objects(schema: GraphQLSchema, type_: GraphQLOutputType) -> list[GraphQLObjectType]:
    """What a field of that type can return; nothing for a scalar or an enum."""
    named = get_named_type(type_)
    if isinstance(named, GraphQLObjectType):
        return [named]
    return list(schema.get_possible_types(named)) if is_abstract_type(named) else []


def _leaves(
    names: tuple[str, ...], type_: GraphQLInputType, inside: tuple[str, ...]
) -> Iterator[tuple[tuple[str, ...], GraphQLInputType]]:
    named = get_named_type(type_)
    if not isinstance(named, GraphQLInputObjectType):
        yield names, type_
    elif named.name not in inside:
        for name, field in named.fields.items():
            yield from _leaves((*names, name), field.type, (*inside, named.name))


def _around(type_: GraphQLInputType, names: tuple[str, ...], value: object, fill: Fill) -> object:
    """The value, inside of the input objects that lead to it and need more than it."""
    if not names:
        return value
    named = get_named_type(type_)
    assert isinstance(named, GraphQLInputObjectType)
    inner = _around(named.fields[names[0]].type, names[1:], value, fill)
    return _in_list(type_, {**_required_fields(named, fill), names[0]: inner})


def _required(name: str, type_: GraphQLInputType, fill: Fill) -> object:
    named = get_named_type(type_)
    if isinstance(named, GraphQLInputObjectType):
        return _in_list(type_, _required_fields(named, fill))
    return _in_list(type_, fill(name, type_))


def _required_fields(type_: GraphQLInputObjectType, fill: Fill) -> dict[str, object]:
    return {
        name: _required(name, field.type, fill)
        for name, field in type_.fields.items()
        if is_required_input_field(field)
    }


def _in_list(type_: GraphQLInputType, content: object) -> object:
    return [content] if isinstance(get_nullable_type(type_), GraphQLList) else content


def _everything(
    schema: GraphQLSchema, type_: GraphQLOutputType, inside: tuple[str, ...] = ()
) -> str:
    """The selection of all that needs no argument; no type is selected inside of itself again."""
    objects = _objects(schema, type_)
    if not objects:
        return ""
    is_open = is_abstract_type(get_named_type(type_))
    selections = ["__typename"]
    for each in objects:
        if each.name in inside:
            continue
        # Fields of one name and different types must not meet: those of each object are renamed.
        alias = f"{each.name}_{{}}: " if is_open else ""
        fields = [
            f"{alias.format(name)}{name} {_everything(schema, field.type, (*inside, each.name))}"
            for name, field in each.fields.items()
            if not any(is_required_argument(argument) for argument in field.args.values())
            # A connection has its objects twice, and once is slow enough.
            and not (name == "nodes" and "edges" in each.fields)
        ]
        selections += [f"... on {each.name} {{ {' '.join(fields)} }}"] if is_open else fields
    return f"{{ {' '.join(selections)} }}"
