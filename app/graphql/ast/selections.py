"""What a selection set selects: response keys with their fields, fragments and conditions resolved."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

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
    SelectionNode,
    SelectionSetNode,
    VariableNode,
)


class Unsupported(Exception):
    """Something that only graphql-core can answer."""


Variables = Mapping[str, object]
"""The coerced values of an operation's variables."""

Condition = Callable[[Variables], bool]


@dataclass(slots=True)
class SelectedField:
    """A response key: the nodes that ask for it, and what has to hold for it to be there."""

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
    """Of one operation, whose named fragments are known."""

    schema: GraphQLSchema
    fragments: Mapping[str, FragmentDefinitionNode]

    def collect_fields(
        self, parent: GraphQLObjectType, selection_sets: Sequence[SelectionSetNode | None]
    ) -> dict[str, SelectedField]:
        """By response key, in the order of the answer.

        Surprise for a key that several nodes ask for under conditions: what it holds, and where it stands,
        would depend on them.
        """
        found: dict[str, SelectedField] = {}
        for selection_set in selection_sets:
            for node, conditions in self.iter_fields(parent, selection_set):
                key = (node.alias or node.name).value
                known = found.get(key)
                if known is None:
                    found[key] = SelectedField([node], conditions)
                elif conditions or not known.is_unconditional:
                    raise Unsupported
                else:
                    known.nodes.append(node)
        return found

    def iter_fields(
        self,
        parent: GraphQLObjectType,
        selection_set: SelectionSetNode | None,
        conditions: tuple[Condition, ...] = (),
    ) -> Iterator[tuple[FieldNode, tuple[Condition, ...]]]:
        """Each place where one is selected, and what has to hold for it, besides these conditions."""
        for selection in selection_set.selections if selection_set else ():
            own = _conditions(selection)
            if own is None:
                continue
            match selection:
                case FieldNode():
                    yield selection, (*conditions, *own)
                case FragmentSpreadNode():
                    fragment = self.fragments[selection.name.value]
                    if self._type_condition_applies(fragment.type_condition, parent):
                        yield from self.iter_fields(
                            parent, fragment.selection_set, (*conditions, *own)
                        )
                case InlineFragmentNode(type_condition=condition):
                    if condition is None or self._type_condition_applies(condition, parent):
                        yield from self.iter_fields(
                            parent, selection.selection_set, (*conditions, *own)
                        )
                case _:
                    raise Unsupported

    def _type_condition_applies(self, condition: NamedTypeNode, parent: GraphQLObjectType) -> bool:
        wanted = self.schema.get_type(condition.name.value)
        if isinstance(wanted, GraphQLInterfaceType | GraphQLUnionType):
            return self.schema.is_sub_type(wanted, parent)
        return wanted is parent


def _conditions(selection: SelectionNode) -> tuple[Condition, ...] | None:
    """What has to hold for the selection; None for one that is never there."""
    conditions: list[Condition] = []
    for directive in selection.directives or ():
        wanted = {"include": True, "skip": False}.get(directive.name.value)
        if wanted is None:
            raise Unsupported
        match _condition_value(directive):
            case BooleanValueNode(value=value):
                if value is not wanted:
                    return None
            case VariableNode(name=name):
                conditions.append(_variable_condition(name.value, expected=wanted))
            case _:
                raise Unsupported
    return tuple(conditions)


def _condition_value(directive: DirectiveNode) -> object:
    return next((each.value for each in directive.arguments or () if each.name.value == "if"), None)


def _variable_condition(variable: str, *, expected: bool) -> Condition:
    def is_satisfied(variables: Variables) -> bool:
        value = variables.get(variable)
        if not isinstance(value, bool):  # an error, and graphql-core's to tell
            raise Unsupported
        return value is expected

    return is_satisfied
