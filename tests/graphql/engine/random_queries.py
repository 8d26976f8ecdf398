"""Random queries and subscriptions for any schema, with variables."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from graphql import (
    GraphQLArgument,
    GraphQLEnumType,
    GraphQLField,
    GraphQLInputObjectType,
    GraphQLInterfaceType,
    GraphQLList,
    GraphQLNamedType,
    GraphQLNonNull,
    GraphQLObjectType,
    GraphQLSchema,
    get_named_type,
    is_abstract_type,
    is_composite_type,
    is_required_argument,
    is_required_input_field,
)
from hypothesis import strategies as st

MAX_DEPTH = 5
MAX_SELECTIONS = 4
FRAGMENTS = 3
FREQUENT_FIELDS = {
    *("posts", "post", "nodes", "edges", "node"),
    *("destinations", "destination", "account", "change", "changes"),
}
"""Fields that are drawn more often, because most other fields are below them."""
OMITTED = object()
WRONG_VALUES: tuple[object, ...] = (None, {}, [], "nope", 1.5, 2**31, True)


@dataclass(frozen=True, slots=True)
class QueryCase:
    """A document with values for its variables."""

    document: str
    variables: Mapping[str, object]


@dataclass(slots=True)
class _DocumentState:
    """The parts of a document drawn so far."""

    schema: GraphQLSchema
    values: Mapping[str, Sequence[object]]
    variables: dict[str, tuple[str, object]] = field(default_factory=dict)
    fragments: dict[str, tuple[str, str]] = field(default_factory=dict)
    """Type condition and selection set by name."""
    count: int = 0

    def next_number(self) -> int:
        self.count += 1
        return self.count


@st.composite
def query_cases(
    draw: st.DrawFn, schema: GraphQLSchema, values: Mapping[str, Sequence[object]]
) -> QueryCase:
    """A query that is nearly always valid; `values` gives the values of each scalar by its name."""
    drawn = _DocumentState(schema, values)
    query_type = schema.query_type
    assert query_type is not None
    selection = _selection_set(draw, drawn, query_type, MAX_DEPTH)
    return _build_case(drawn, "query", "", selection)


def _build_case(
    drawn: _DocumentState, operation: str, own_variables: str, selection: str
) -> QueryCase:
    variables = own_variables + ", ".join(
        f"${name}: {kind}" for name, (kind, _) in drawn.variables.items()
    )
    fragments = "".join(
        f" fragment {name} on {kind} {text}" for name, (kind, text) in drawn.fragments.items()
    )
    variable_values = {
        name: value for name, (_, value) in drawn.variables.items() if value is not OMITTED
    }
    return QueryCase(
        f"{operation}{f' ({variables})' if variables else ''} {selection}{fragments}",
        variable_values,
    )


@st.composite
def subscription_cases(
    draw: st.DrawFn,
    schema: GraphQLSchema,
    values: Mapping[str, Sequence[object]],
    root_fields: Sequence[str],
) -> QueryCase:
    """A subscription to one of the root fields, with its arguments, that starts after `$after`."""
    drawn = _DocumentState(schema, values)
    root_field = draw(st.sampled_from(root_fields))
    subscription_type = schema.subscription_type
    assert subscription_type is not None
    payload = get_named_type(subscription_type.fields[root_field.partition("(")[0]].type)
    selection = _selection_set(draw, drawn, payload, MAX_DEPTH - 1)
    alias = draw(st.sampled_from(["", "", "change: "]))
    return _build_case(
        drawn, "subscription", "$after: String, ", f"{{ {alias}{root_field} {selection} }}"
    )


def _selection_set(
    draw: st.DrawFn, drawn: _DocumentState, parent: GraphQLNamedType, levels: int
) -> str:
    entries = [_field(draw, drawn, parent, levels)]
    for _ in range(draw(st.integers(0, MAX_SELECTIONS))):
        kind = draw(st.sampled_from(["field"] * 6 + ["inline", "new spread", "spread"]))
        if kind == "field" or levels == 0:
            entries.append(_field(draw, drawn, parent, levels))
        elif kind == "inline":
            entries.append(_inline(draw, drawn, parent, levels))
        else:
            entries.append(_spread(draw, drawn, parent, levels, is_new=kind == "new spread"))
    return "{ " + " ".join(entries) + " }"


def _field(draw: st.DrawFn, drawn: _DocumentState, parent: GraphQLNamedType, levels: int) -> str:
    fields = getattr(parent, "fields", {})
    names = ["__typename"] + [
        name
        for name, definition in fields.items()
        if levels > 0 or not is_composite_type(get_named_type(definition.type))
    ]
    frequent = [name for name in names if name in FREQUENT_FIELDS]
    name = draw(st.sampled_from(frequent * 4 + names[1:] * 2 + names))
    definition: GraphQLField | None = fields.get(name)
    arguments = _arguments(draw, drawn, definition.args if definition else {})
    alias = draw(st.sampled_from(["", "", "", f"{name}1: ", f"{name}2: "]))
    if arguments:  # fields with one key must have equal arguments
        alias = f"a{drawn.next_number()}: "
    inner = get_named_type(definition.type) if definition else None
    body = ""
    if inner is not None and is_composite_type(inner):
        body = " " + _selection_set(draw, drawn, inner, levels - 1)
    return f"{alias}{name}{arguments}{_directives(draw, drawn)}{body}"


def _inline(draw: st.DrawFn, drawn: _DocumentState, parent: GraphQLNamedType, levels: int) -> str:
    condition = draw(st.sampled_from([None, *_conditions(drawn.schema, parent)]))
    on = "" if condition is None else f" on {condition.name}"
    inner = _selection_set(draw, drawn, condition or parent, levels - 1)
    return f"...{on}{_directives(draw, drawn)} {inner}"


def _spread(
    draw: st.DrawFn, drawn: _DocumentState, parent: GraphQLNamedType, levels: int, *, is_new: bool
) -> str:
    conditions = _conditions(drawn.schema, parent)
    spreadable = [
        name
        for name, (kind, _) in drawn.fragments.items()
        if kind in {condition.name for condition in conditions}
    ]
    if spreadable and not is_new:
        name = draw(st.sampled_from(spreadable))
    elif len(drawn.fragments) < FRAGMENTS:
        condition = draw(st.sampled_from(conditions))
        text = _selection_set(draw, drawn, condition, levels - 1)
        name = f"F{drawn.next_number()}"
        drawn.fragments[name] = (condition.name, text)
    else:
        return "__typename"
    return f"...{name}{_directives(draw, drawn)}"


def _conditions(schema: GraphQLSchema, parent: GraphQLNamedType) -> list[GraphQLNamedType]:
    """Possible type conditions of a fragment inside this type."""
    if isinstance(parent, GraphQLInterfaceType) or is_abstract_type(parent):
        return [parent, *schema.get_possible_types(parent)]
    assert isinstance(parent, GraphQLObjectType)
    return [parent, *parent.interfaces]


def _directives(draw: st.DrawFn, drawn: _DocumentState) -> str:
    kinds = draw(st.sampled_from([[]] * 8 + [["include"], ["skip"], ["skip", "include"]]))
    return "".join(f" @{kind}(if: {_condition(draw, drawn)})" for kind in kinds)


def _condition(draw: st.DrawFn, drawn: _DocumentState) -> str:
    value = draw(st.booleans())
    if draw(st.booleans()):
        return json.dumps(value)
    name = draw(st.sampled_from(["b1", "b2"]))
    drawn.variables.setdefault(name, ("Boolean!", value))
    return f"${name}"


def _arguments(
    draw: st.DrawFn, drawn: _DocumentState, arguments: Mapping[str, GraphQLArgument]
) -> str:
    entries = []
    for name, argument in arguments.items():
        if is_required_argument(argument) or draw(st.integers(0, 3)) == 0:
            value = _value(draw, drawn, argument.type, 2)
            if draw(st.integers(0, 2)) == 0:
                entries.append(f"{name}: ${_variable(draw, drawn, argument, value)}")
            else:
                entries.append(f"{name}: {_literal(argument.type, value)}")
    return f"({', '.join(entries)})" if entries else ""


def _variable(draw: st.DrawFn, drawn: _DocumentState, argument: GraphQLArgument, value: Any) -> str:
    """Declare a variable, possibly with a default; its value is valid, omitted or invalid."""
    name, kind = f"v{drawn.next_number()}", str(argument.type)
    kind_of_value = draw(
        st.sampled_from(["valid"] * 6 + ["omitted", "invalid", "default", "valid over default"])
    )
    if kind_of_value.endswith("default") and value is not None:
        kind = f"{kind} = {_literal(argument.type, value)}"
    replacements = {
        "omitted": OMITTED,
        "default": OMITTED,
        "invalid": draw(st.sampled_from(WRONG_VALUES)),
    }
    drawn.variables[name] = (kind, replacements.get(kind_of_value, value))
    return name


def _value(draw: st.DrawFn, drawn: _DocumentState, kind: Any, levels: int) -> Any:
    """A JSON value; sometimes null if the type is nullable."""
    if isinstance(kind, GraphQLNonNull):
        return _value_of(draw, drawn, kind.of_type, levels)
    return None if draw(st.integers(0, 9)) == 0 else _value_of(draw, drawn, kind, levels)


def _value_of(draw: st.DrawFn, drawn: _DocumentState, kind: Any, levels: int) -> Any:
    if isinstance(kind, GraphQLList):
        count = draw(st.integers(0, 3))
        return [_value(draw, drawn, kind.of_type, levels) for _ in range(count)]
    if isinstance(kind, GraphQLInputObjectType):
        return {
            name: _value(draw, drawn, input_field.type, levels - 1)
            for name, input_field in kind.fields.items()
            if is_required_input_field(input_field) or (levels and draw(st.integers(0, 4)) == 0)
        }
    if isinstance(kind, GraphQLEnumType):
        return draw(st.sampled_from(list(kind.values)))
    return draw(st.sampled_from(drawn.values[kind.name]))


def _literal(kind: Any, value: Any) -> str:
    if isinstance(kind, GraphQLNonNull):
        kind = kind.of_type
    if value is None:
        return "null"
    if isinstance(value, list):
        item_kind = kind.of_type if isinstance(kind, GraphQLList) else kind  # within JSON
        return f"[{', '.join(_literal(item_kind, item) for item in value)}]"
    if isinstance(value, dict):
        fields = kind.fields if isinstance(kind, GraphQLInputObjectType) else {}
        entries = (
            f"{name}: {_literal(fields[name].type if fields else kind, inner)}"
            for name, inner in value.items()
        )
        return "{" + ", ".join(entries) + "}"
    return value if isinstance(kind, GraphQLEnumType) else json.dumps(value)
