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

from app.graphql.execution.selections import Selected, Surprise

_REFUSE_NULL = (GraphQLString, GraphQLID, GraphQLInt, GraphQLBoolean)
"""Types whose expressions fail for None by themselves."""


@dataclass(slots=True)
class Source:
    """The text of a function that returns a dictionary, and the constants that it uses."""

    completion: Callable[[GraphQLObjectType, Sequence[FieldNode]], Callable[..., object]]
    """Makes the function of an object, from its type and what is selected of it."""
    _lines: list[str] = field(default_factory=list)
    _entries: list[tuple[str, Selected, list[str], str]] = field(default_factory=list)
    _pending: list[str] = field(default_factory=list)
    _constants: dict[str, object] = field(default_factory=dict)
    _count: int = 0

    def line(self, text: str) -> None:
        self._lines.append(text)

    def constant(self, value: object) -> str:
        self._count += 1
        name = f"c{self._count}"
        self._constants[name] = value
        return name

    def variable(self, expression: str) -> str:
        """A name for a value that is used more than once."""
        self._count += 1
        name = f"v{self._count}"
        self._pending.append(f"{name} = {expression}")
        return name

    def entry(self, key: str, selected: Selected, expression: str) -> None:
        """What stands under a response key, after what was computed for it."""
        self._entries.append((key, selected, self._pending, expression))
        self._pending = []

    def function(self, parameters: str) -> Callable[..., object]:
        """The text is made of names of ours and of quoted keys of a document that was validated."""
        lines = [*self._lines]
        if all(selected.is_sure for _, selected, _, _ in self._entries):
            for _, _, before, _ in self._entries:
                lines += before
            entries = ((key, selected, value) for key, selected, _, value in self._entries)
            lines.append(f"return {dictionary(entries)}")
        else:
            lines.append("answer = {}")
            for key, selected, before, value in self._entries:
                tests = " and ".join(
                    f"{self.constant(each)}(given)" for each in selected.conditions
                )
                lines.append(f"if {tests or 'True'}:")
                lines += [f"    {each}" for each in (*before, f"answer[{key!r}] = {value}")]
            lines.append("return answer")
        text = f"def complete({parameters}):\n" + "".join(f"    {each}\n" for each in lines)
        space: dict[str, Any] = {**self._constants, "fail": _fail}
        exec(text, space)  # noqa: S102
        return cast("Callable[..., object]", space["complete"])

    def value(self, declared: GraphQLOutputType, selected: Selected, expression: str) -> str:
        """What is answered for the value of an expression."""
        return self.completed(declared, selected, self.variable(expression))

    def completed(self, declared: GraphQLOutputType, selected: Selected, value: str) -> str:
        """What is answered for the value of a name."""
        named = get_nullable_type(declared)
        expression = self._non_null(named, selected, value)
        if isinstance(declared, GraphQLNonNull) and named in _REFUSE_NULL:
            return expression
        return guarded(declared, value, expression)

    def _non_null(self, named: object, selected: Selected, value: str) -> str:
        if isinstance(named, GraphQLList):
            return self._list(named, selected, value)
        if isinstance(named, GraphQLObjectType):
            complete = self.constant(self.completion(named, selected.nodes))
            return f"{complete}({value}, given)"
        return self._leaf(named, value)

    def _list(self, declared: GraphQLList[Any], selected: Selected, value: str) -> str:
        item = declared.of_type
        named = get_nullable_type(item)
        if isinstance(named, GraphQLList):
            raise Surprise
        each = guarded(item, "x", self._non_null(named, selected, "x"))
        return f"([{each} for x in {value}] if type({value}) is list else fail())"

    def _leaf(self, named: object, value: str) -> str:
        if named is GraphQLString or named is GraphQLID:
            return f"({value} if type({value}) is str else fail())"
        if named is GraphQLInt:
            return (
                f"({value} if type({value}) is int and -(1 << 31) <= {value} < 1 << 31 else fail())"
            )
        if named is GraphQLBoolean:
            return f"({value} if {value} is True or {value} is False else fail())"
        if isinstance(named, GraphQLEnumType):
            names = {each.value: name for name, each in named.values.items()}
            return f"{self.constant(names)}[{value}]"
        if isinstance(named, GraphQLScalarType):
            return f"{self.constant(named.serialize)}({value})"
        raise Surprise


def dictionary(entries: Iterable[tuple[str, Selected, str]]) -> str:
    return "{" + ", ".join(f"{key!r}: {expression}" for key, _, expression in entries) + "}"


def guarded(declared: GraphQLOutputType, value: str, expression: str) -> str:
    """Null where it may be; where it may not, the expression must fail for None by itself."""
    if isinstance(declared, GraphQLNonNull):
        return f"({expression} if {value} is not None else fail())"
    return f"(None if {value} is None else {expression})"


def _fail() -> object:
    raise Surprise
