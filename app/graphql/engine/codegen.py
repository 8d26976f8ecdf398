"""The text of a function that completes one selection, and how it is made into a function. Chooses no values.

Values of types without fields are checked in place; what no check lets pass makes the function fail.
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
    GraphQLNonNull,
    GraphQLObjectType,
    GraphQLOutputType,
    GraphQLScalarType,
    GraphQLString,
    get_nullable_type,
)

from app.graphql.ast.selections import SelectedField, Unsupported

_NULL_REJECTING_TYPES = (GraphQLString, GraphQLID, GraphQLInt, GraphQLBoolean)
"""Types whose expressions fail for None by themselves."""


@dataclass(slots=True)
class FunctionBuilder:
    """The text of a function that returns a dictionary, and the constants that it uses."""

    compile_completer: Callable[[GraphQLObjectType, Sequence[FieldNode]], Callable[..., object]]
    """Makes the function of an object, from its type and what is selected of it."""
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
        """A name for a value that is used more than once."""
        self._name_count += 1
        name = f"v{self._name_count}"
        self._pending.append(f"{name} = {expression}")
        return name

    def add_field(self, key: str, selected_field: SelectedField, expression: str) -> None:
        """What stands under a response key, after what was computed for it."""
        self._fields.append((key, selected_field, self._pending, expression))
        self._pending = []

    def build(self, parameters: str) -> Callable[..., object]:
        """The text is made of names of ours and of quoted keys of a document that was validated."""
        lines = [*self._lines]
        if all(selected.is_unconditional for _, selected, _, _ in self._fields):
            for _, _, before, _ in self._fields:
                lines += before
            entries = ((key, selected, value) for key, selected, _, value in self._fields)
            lines.append(f"return {dict_literal(entries)}")
        else:
            lines.append("answer = {}")
            for key, selected, before, value in self._fields:
                tests = " and ".join(
                    f"{self.add_constant(each)}(given)" for each in selected.conditions
                )
                lines.append(f"if {tests or 'True'}:")
                lines += [f"    {each}" for each in (*before, f"answer[{key!r}] = {value}")]
            lines.append("return answer")
        text = f"def complete({parameters}):\n" + "".join(f"    {each}\n" for each in lines)
        space: dict[str, Any] = {**self._constants, "fail": _raise_unsupported}
        exec(text, space)  # noqa: S102
        return cast("Callable[..., object]", space["complete"])

    def complete_expression(
        self, declared_type: GraphQLOutputType, selected_field: SelectedField, expression: str
    ) -> str:
        """What is answered for the value of an expression."""
        return self.complete_variable(declared_type, selected_field, self.add_variable(expression))

    def complete_variable(
        self, declared_type: GraphQLOutputType, selected_field: SelectedField, variable: str
    ) -> str:
        """What is answered for the value of a name."""
        named = get_nullable_type(declared_type)
        expression = self._complete_non_null(named, selected_field, variable)
        if isinstance(declared_type, GraphQLNonNull) and named in _NULL_REJECTING_TYPES:
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
            return f"{complete}({variable}, given)"
        return self._complete_leaf(nullable_type, variable)

    def _complete_list(
        self, list_type: GraphQLList[Any], selected_field: SelectedField, variable: str
    ) -> str:
        item = list_type.of_type
        named = get_nullable_type(item)
        if isinstance(named, GraphQLList):
            raise Unsupported
        each = add_null_check(item, "x", self._complete_non_null(named, selected_field, "x"))
        return f"([{each} for x in {variable}] if type({variable}) is list else fail())"

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
            names = {each.value: name for name, each in leaf_type.values.items()}
            return f"{self.add_constant(names)}[{variable}]"
        if isinstance(leaf_type, GraphQLScalarType):
            return f"{self.add_constant(leaf_type.serialize)}({variable})"
        raise Unsupported


def dict_literal(entries: Iterable[tuple[str, SelectedField, str]]) -> str:
    return "{" + ", ".join(f"{key!r}: {expression}" for key, _, expression in entries) + "}"


def add_null_check(declared_type: GraphQLOutputType, variable: str, expression: str) -> str:
    """Null where it may be; where it may not, the expression must fail for None by itself."""
    if isinstance(declared_type, GraphQLNonNull):
        return f"({expression} if {variable} is not None else fail())"
    return f"(None if {variable} is None else {expression})"


def _raise_unsupported() -> object:
    raise Unsupported
