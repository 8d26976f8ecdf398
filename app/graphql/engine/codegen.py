"""Generates the source of a function that completes one selection set, and compiles it.

Leaf values are checked inline; a value that fails its check raises NotCompilable.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from graphql import (
    FieldNode,
    GraphQLBoolean,
    GraphQLEnumType,
    GraphQLID,
    GraphQLInt,
    GraphQLList,
    GraphQLNamedType,
    GraphQLNonNull,
    GraphQLObjectType,
    GraphQLOutputType,
    GraphQLScalarType,
    GraphQLString,
    SelectionSetNode,
    get_named_type,
    get_nullable_type,
)

from app.graphql.ast.selections import NotCompilable, SelectedField

_NULL_REJECTING_TYPES = (GraphQLString, GraphQLID, GraphQLInt, GraphQLBoolean)
"""Types whose check rejects None too."""


@dataclass(slots=True)
class FunctionBuilder:
    """Builder of a function that returns a dictionary, with the constants that it uses."""

    compile_completer: Callable[[GraphQLObjectType, Sequence[FieldNode]], Callable[..., object]]
    """Compiler of the function of a nested object, from its type and field nodes."""
    estimate_bytes: Callable[[GraphQLNamedType, Iterable[SelectionSetNode | None]], int]
    """Estimator of the bytes of an item of a list, from its type and selection sets."""
    _lines: list[str] = field(default_factory=list)
    _fields: list[tuple[str, SelectedField, list[str], str]] = field(default_factory=list)
    _pending: list[str] = field(default_factory=list)
    _constants: dict[str, object] = field(default_factory=dict)
    _name_count: int = 0

    def add_line(self, text: str) -> None:
        self._lines.append(text)

    def add_constant(self, value: object) -> str:
        self._name_count += 1
        name = f"c{self._name_count}"
        self._constants[name] = value
        return name

    def add_variable(self, expression: str) -> str:
        """Assign an expression that is used more than once to a new variable; return its name."""
        self._name_count += 1
        name = f"v{self._name_count}"
        self._pending.append(f"{name} = {expression}")
        return name

    def add_field(self, key: str, selected_field: SelectedField, expression: str) -> None:
        """Set the expression of a response key; it may use the variables added before."""
        self._fields.append((key, selected_field, self._pending, expression))
        self._pending = []

    def build(self, parameters: str) -> Callable[..., object]:
        """Compile the function.

        Safe to execute: the source has generated names, and quoted response keys of a valid document.
        """
        lines = [*self._lines]
        if all(selected.is_unconditional for _, selected, _, _ in self._fields):
            for _, _, assignments, _ in self._fields:
                lines += assignments
            entries = ((key, selected, value) for key, selected, _, value in self._fields)
            lines.append(f"return {dict_literal(entries)}")
        else:
            lines.append("data = {}")
            for key, selected, assignments, value in self._fields:
                tests = " and ".join(
                    f"{self.add_constant(condition.is_satisfied)}(variables)"
                    for condition in selected.conditions
                )
                lines.append(f"if {tests or 'True'}:")
                lines += [f"    {line}" for line in (*assignments, f"data[{key!r}] = {value}")]
            lines.append("return data")
        source = f"def complete({parameters}):\n" + "".join(f"    {line}\n" for line in lines)
        namespace: dict[str, Any] = {**self._constants, "fail": _raise_unsupported}
        exec(source, namespace)  # noqa: S102
        return cast("Callable[..., object]", namespace["complete"])

    def complete_expression(
        self, declared_type: GraphQLOutputType, selected_field: SelectedField, expression: str
    ) -> str:
        """Return an expression that completes the value of another expression."""
        return self.complete_variable(declared_type, selected_field, self.add_variable(expression))

    def complete_variable(
        self, declared_type: GraphQLOutputType, selected_field: SelectedField, variable: str
    ) -> str:
        """Return an expression that completes the value of a variable."""
        nullable = get_nullable_type(declared_type)
        expression = self._complete_non_null(nullable, selected_field, variable)
        if isinstance(declared_type, GraphQLNonNull) and nullable in _NULL_REJECTING_TYPES:
            return expression
        return add_null_check(declared_type, variable, expression)

    def _complete_non_null(
        self, nullable_type: object, selected_field: SelectedField, variable: str
    ) -> str:
        if isinstance(nullable_type, GraphQLList):
            return self._complete_list(nullable_type, selected_field, variable)
        if isinstance(nullable_type, GraphQLObjectType):
            complete = self.add_constant(
                self.compile_completer(nullable_type, selected_field.nodes)
            )
            return f"{complete}({variable}, variables, limit)"
        return self._complete_leaf(nullable_type, variable)

    def _complete_list(
        self, list_type: GraphQLList[Any], selected_field: SelectedField, variable: str
    ) -> str:
        item_type = list_type.of_type
        nullable = get_nullable_type(item_type)
        if isinstance(nullable, GraphQLList):
            raise NotCompilable
        item = add_null_check(
            item_type, "x", self._complete_non_null(nullable, selected_field, "x")
        )
        size = self.estimate_bytes(
            get_named_type(nullable), [node.selection_set for node in selected_field.nodes]
        )
        return (
            f"([{item} for x in limit.count_items({variable}, {size})]"
            f" if type({variable}) is list else fail())"
        )

    def _complete_leaf(self, leaf_type: object, variable: str) -> str:
        if leaf_type is GraphQLString or leaf_type is GraphQLID:
            return f"({variable} if type({variable}) is str else fail())"
        if leaf_type is GraphQLInt:
            return (
                f"({variable} if type({variable}) is int"
                f" and -(1 << 31) <= {variable} < 1 << 31 else fail())"
            )
        if leaf_type is GraphQLBoolean:
            return f"({variable} if {variable} is True or {variable} is False else fail())"
        if isinstance(leaf_type, GraphQLEnumType):
            names = {member.value: name for name, member in leaf_type.values.items()}
            return f"{self.add_constant(names)}[{variable}]"
        if is_json(leaf_type):
            return f"limit.encode_json({variable})"
        if isinstance(leaf_type, GraphQLScalarType):
            return f"{self.add_constant(leaf_type.serialize)}({variable})"
        raise NotCompilable


def is_json(leaf_type: object) -> bool:
    """Return whether values of the type are any JSON values."""
    return isinstance(leaf_type, GraphQLScalarType) and leaf_type.name == "JSON"


def dict_literal(entries: Iterable[tuple[str, SelectedField, str]]) -> str:
    return "{" + ", ".join(f"{key!r}: {expression}" for key, _, expression in entries) + "}"


def add_null_check(declared_type: GraphQLOutputType, variable: str, expression: str) -> str:
    """Return an expression that completes None as null if the type is nullable, else fails."""
    if isinstance(declared_type, GraphQLNonNull):
        return f"({expression} if {variable} is not None else fail())"
    return f"(None if {variable} is None else {expression})"


def _raise_unsupported() -> object:
    raise NotCompilable
