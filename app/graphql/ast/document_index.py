"""Flat index of a parsed document, built in one pass and shared by all static analyses.

Limits, query cost, root field names and variable uses are read from the index. Building it needs
neither a schema nor a valid document, does not recurse and takes linear time.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from graphql import (
    ArgumentNode,
    DirectiveNode,
    DocumentNode,
    ExecutableDefinitionNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    InlineFragmentNode,
    ListValueNode,
    ObjectValueNode,
    OperationDefinitionNode,
    SelectionNode,
    ValueNode,
    VariableNode,
)


class ArgumentPath(NamedTuple):
    """Path of a value inside an argument, as a linked list.

    The text is only built on demand, since its length grows with the depth.
    """

    name: str
    parent: "ArgumentPath | None" = None

    def __str__(self) -> str:
        """Return the names from the argument inwards, as in `filter.accountId`."""
        names = []
        path: ArgumentPath | None = self
        while path is not None:
            names.append(path.name)
            path = path.parent
        return ".".join(reversed(names))


def walk_values(path: ArgumentPath, value: object) -> Iterator[tuple[ArgumentPath, object]]:
    """Yield a literal or coerced value and everything inside it, each with its path.

    Items of a list share the path of their list. The walk is lazy and does not recurse.
    """
    pending = [(path, value)]
    while pending:
        path, value = pending.pop()
        yield path, value
        if isinstance(value, ListValueNode):
            pending.extend((path, item) for item in value.values)
        elif isinstance(value, ObjectValueNode):
            pending.extend(
                (ArgumentPath(field.name.value, path), field.value) for field in value.fields
            )
        elif isinstance(value, list):
            pending.extend((path, item) for item in value)
        elif isinstance(value, dict):
            pending.extend((ArgumentPath(str(name), path), item) for name, item in value.items())


@dataclass(frozen=True, slots=True)
class IndexedSelection:
    """Field, fragment spread or inline fragment of a definition."""

    node: SelectionNode
    parent: int | None
    """Index of the enclosing selection in the definition's `selections`; None at its top level."""
    is_root: bool
    """True if no field encloses the selection."""
    argument_values: Sequence[tuple[ArgumentPath, ValueNode]]
    """Variables, lists and objects in the arguments of a field, at any depth."""


@dataclass(frozen=True, slots=True)
class IndexedDefinition:
    """Operation or fragment with all its selections, fragments not expanded."""

    node: ExecutableDefinitionNode
    directive_count: int
    """Number of directives of the definition itself and of its variables."""
    selections: Sequence[IndexedSelection]
    """Selections in document order, so that every selection follows the one that encloses it."""

    def spread_names(self) -> Iterator[str]:
        return (
            selection.node.name.value
            for selection in self.selections
            if isinstance(selection.node, FragmentSpreadNode)
        )


class DocumentIndex:
    """Operations and fragments of a document."""

    def __init__(self, document: DocumentNode) -> None:
        self.document = document
        self.operations: list[IndexedDefinition] = []
        self.fragments: dict[str, list[IndexedDefinition]] = {}
        """Fragments by name; several share a name only in a document that validation will reject."""
        self.variable_uses: Counter[str] = Counter()
        """Number of uses of each variable in the whole document, without its definition."""
        for node in document.definitions:
            if isinstance(node, OperationDefinitionNode):
                self.operations.append(self._index_definition(node))
            elif isinstance(node, FragmentDefinitionNode):
                self.fragments.setdefault(node.name.value, []).append(self._index_definition(node))
        self.fragment_order = topological_order(
            {
                name: [inner for definition in definitions for inner in definition.spread_names()]
                for name, definitions in self.fragments.items()
            }
        )
        """Names of all fragments, each after the fragments that it spreads."""

    def find_operation(self, name: str | None) -> IndexedDefinition | None:
        """Return the operation with this name, or the only one if `name` is None; else None."""
        if name is None:
            return self.operations[0] if len(self.operations) == 1 else None
        for operation in self.operations:
            if operation.node.name and operation.node.name.value == name:
                return operation
        return None

    def root_field_names(self, operation: IndexedDefinition) -> set[str]:
        """Return the names (not aliases) of the operation's root fields, also those inside fragments."""
        names: set[str] = set()
        spread: set[str] = set()
        pending = [operation]
        while pending:
            for selection in pending.pop().selections:
                node = selection.node
                if not selection.is_root:
                    continue
                if isinstance(node, FieldNode):
                    names.add(node.name.value)
                elif isinstance(node, FragmentSpreadNode) and node.name.value not in spread:
                    spread.add(node.name.value)
                    pending += self.fragments.get(node.name.value, ())
        return names

    def _index_definition(self, definition: ExecutableDefinitionNode) -> IndexedDefinition:
        directives = [*(definition.directives or ())]
        self._read_directives(directives)
        for variable in definition.variable_definitions or ():
            directives += variable.directives or ()
        selections: list[IndexedSelection] = []
        pending: list[tuple[SelectionNode, int | None, bool]] = [
            (node, None, True) for node in reversed(definition.selection_set.selections)
        ]
        while pending:
            node, parent, is_root = pending.pop()
            position = len(selections)
            self._read_directives(node.directives or ())
            arguments = node.arguments or () if isinstance(node, FieldNode) else ()
            selections.append(
                IndexedSelection(node, parent, is_root, self._read_arguments(arguments))
            )
            if isinstance(node, (FieldNode, InlineFragmentNode)) and node.selection_set:
                is_inner_root = is_root and isinstance(node, InlineFragmentNode)
                pending.extend(
                    (inner, position, is_inner_root)
                    for inner in reversed(node.selection_set.selections)
                )
        return IndexedDefinition(definition, len(directives), selections)

    def _read_directives(self, directives: Iterable[DirectiveNode]) -> None:
        for directive in directives:
            self._read_arguments(directive.arguments or ())

    def _read_arguments(
        self, arguments: Iterable[ArgumentNode]
    ) -> list[tuple[ArgumentPath, ValueNode]]:
        values: list[tuple[ArgumentPath, ValueNode]] = []
        for argument in arguments:
            for path, value in walk_values(ArgumentPath(argument.name.value), argument.value):
                if isinstance(value, (VariableNode, ListValueNode, ObjectValueNode)):
                    values.append((path, value))
                if isinstance(value, VariableNode):
                    self.variable_uses[value.name.value] += 1
        return values


def topological_order(spreads: Mapping[str, Iterable[str]]) -> list[str]:
    """Order fragments so that each follows those it spreads, which `spreads` lists by name.

    Linear, and without recursion: a chain of fragments may be as long as the document. Unknown
    names are left out; in a cycle, one fragment precedes another that it spreads.
    """
    ordered: list[str] = []
    opened: set[str] = set()
    closed: set[str] = set()
    pending = list(spreads)
    while pending:
        name = pending[-1]
        if name not in opened:
            opened.add(name)
            pending.extend(inner for inner in spreads[name] if inner in spreads)
            continue
        pending.pop()
        if name not in closed:
            closed.add(name)
            ordered.append(name)
    return ordered
