"""Collects the fields of a selection set by response key, and memoizes values derived from fields."""

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import NamedTuple, TypeVar, cast
from weakref import WeakValueDictionary

from graphql import (
    BooleanValueNode,
    DirectiveNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLInterfaceType,
    GraphQLObjectType,
    GraphQLSchema,
    GraphQLUnionType,
    InlineFragmentNode,
    NamedTypeNode,
    OperationDefinitionNode,
    SelectionSetNode,
    VariableNode,
)

T = TypeVar("T")


class NotCompilable(Exception):
    """Sign that only graphql-core can execute an operation; the caller falls back to graphql-core."""


Variables = Mapping[str, object]
"""Values of an operation's variables by name; coerced unless a docstring says otherwise."""


class Condition(NamedTuple):
    """@skip or @include by a variable."""

    variable: str
    included_value: bool
    """Value of the variable with which the selection is included."""

    def is_satisfied(self, variables: Variables) -> bool:
        """Evaluate the condition; raises NotCompilable unless the variable is a Boolean."""
        value = variables.get(self.variable)
        if not isinstance(value, bool):  # graphql-core reports the error
            raise NotCompilable
        return value is self.included_value


@dataclass(slots=True)
class SelectedField:
    """Response key with its field nodes, and the conditions under which it is included."""

    nodes: list[FieldNode] = field(default_factory=list)
    conditions: tuple[Condition, ...] = ()

    @property
    def name(self) -> str:
        return self.nodes[0].name.value

    @property
    def is_unconditional(self) -> bool:
        return not self.conditions


@dataclass(frozen=True, slots=True)
class FieldCollector:
    """Collector of the selected fields of one operation."""

    schema: GraphQLSchema
    fragments: Mapping[str, FragmentDefinitionNode]

    def collect_fields(
        self, parent: GraphQLObjectType, selection_sets: Sequence[SelectionSetNode | None]
    ) -> dict[str, SelectedField]:
        """Return the selected fields by response key, in response order.

        Raises NotCompilable for a key that several nodes select under conditions: its content and
        position would depend on them.
        """
        fields: dict[str, SelectedField] = {}
        for node, conditions in self.iter_fields(parent, selection_sets):
            key = (node.alias or node.name).value
            selected = fields.get(key)
            if selected is None:
                fields[key] = SelectedField([node], conditions)
            elif conditions or not selected.is_unconditional:
                raise NotCompilable
            else:
                selected.nodes.append(node)
        return fields

    def iter_fields(
        self,
        parent: GraphQLObjectType,
        selection_sets: Iterable[SelectionSetNode | None],
        conditions: tuple[Condition, ...] = (),
    ) -> Iterator[tuple[FieldNode, tuple[Condition, ...]]]:
        """Yield each selected field node with all its conditions, including the given ones."""
        for selection in chain.from_iterable(
            selection_set.selections for selection_set in selection_sets if selection_set
        ):
            own = read_conditions(selection.directives or ())
            if own is None:
                continue
            inner = (*conditions, *own)
            match selection:
                case FieldNode():
                    yield selection, inner
                case FragmentSpreadNode():
                    fragment = self.fragments[selection.name.value]
                    if self._type_condition_applies(fragment.type_condition, parent):
                        yield from self.iter_fields(parent, [fragment.selection_set], inner)
                case InlineFragmentNode(type_condition=condition):
                    if condition is None or self._type_condition_applies(condition, parent):
                        yield from self.iter_fields(parent, [selection.selection_set], inner)
                case _:
                    raise NotCompilable

    def _type_condition_applies(self, condition: NamedTypeNode, parent: GraphQLObjectType) -> bool:
        condition_type = self.schema.get_type(condition.name.value)
        if isinstance(condition_type, GraphQLInterfaceType | GraphQLUnionType):
            return self.schema.is_sub_type(condition_type, parent)
        return condition_type is parent


def count_fields(
    selection_sets: Iterable[SelectionSetNode | None],
    fragments: Mapping[str, FragmentDefinitionNode],
) -> int:
    """Count the fields at all levels, at least one, with fragments expanded; limits keep them few."""
    count = 0
    pending = [selection_set for selection_set in selection_sets if selection_set]
    while pending:
        for selection in pending.pop().selections:
            count += isinstance(selection, FieldNode)
            inner = (
                fragments[selection.name.value].selection_set
                if isinstance(selection, FragmentSpreadNode)
                else cast("FieldNode | InlineFragmentNode", selection).selection_set
            )
            if inner is not None:
                pending.append(inner)
    return max(count, 1)


def read_conditions(directives: Iterable[DirectiveNode]) -> tuple[Condition, ...] | None:
    """Read the conditions of a selection; return None if a literal @skip or @include excludes it.

    Raises NotCompilable for any other directive or value.
    """
    conditions: list[Condition] = []
    for directive in directives:
        included_value = _INCLUDED_VALUES.get(directive.name.value)
        if included_value is None or not directive.arguments:
            raise NotCompilable
        match directive.arguments[0].value:
            case BooleanValueNode(value=value):
                if value is not included_value:
                    return None
            case VariableNode(name=name):
                conditions.append(Condition(name.value, included_value))
            case _:
                raise NotCompilable
    return tuple(conditions)


_INCLUDED_VALUES = {"include": True, "skip": False}


class OperationMemo:
    """Values memoized for one operation; lives as long as its owner keeps a reference."""

    def __init__(self, definition: OperationDefinitionNode, max_entries: int) -> None:
        """Set the limit of entries, which matters for selections under conditions: they have many keys."""
        self.definition = definition
        self._max_entries = max_entries
        self._values: dict[Hashable, object] = {}
        _MEMOS_BY_DEFINITION_ID[id(definition)] = self

    def get_or_compute(self, key: Hashable, compute: Callable[[], T]) -> T:
        """Return the stored value, or compute and store it. A full memo is cleared first."""
        if key not in self._values:
            if len(self._values) >= self._max_entries:
                self._values.clear()
            self._values[key] = compute()
        return cast("T", self._values[key])


# By id, since hashing an AST node hashes its whole subtree.
_MEMOS_BY_DEFINITION_ID: WeakValueDictionary[int, OperationMemo] = WeakValueDictionary()


def memoize(definition: OperationDefinitionNode, key: Hashable, compute: Callable[[], T]) -> T:
    """Return the operation's memoized value; computed each time for an operation without a memo.

    `key` must identify fields of this operation only.
    """
    memo = _MEMOS_BY_DEFINITION_ID.get(id(definition))
    if memo is None or memo.definition is not definition:
        return compute()
    return memo.get_or_compute(key, compute)
