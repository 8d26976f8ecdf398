"""The fragments of a document, and what is read through them. Counts nothing, validates nothing."""

from collections.abc import Iterable, Mapping

from graphql import (
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    InlineFragmentNode,
    OperationDefinitionNode,
)


def fragments_by_name(document: DocumentNode) -> dict[str, list[FragmentDefinitionNode]]:
    """Every fragment; a name has several only in a document that validation will refuse."""
    fragments: dict[str, list[FragmentDefinitionNode]] = {}
    for definition in document.definitions:
        if isinstance(definition, FragmentDefinitionNode):
            fragments.setdefault(definition.name.value, []).append(definition)
    return fragments


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


def root_field_names(document: DocumentNode, operation: OperationDefinitionNode) -> set[str]:
    """The fields of the operation itself, whatever they are called in the answer; linear."""
    fragments = fragments_by_name(document)
    names: set[str] = set()
    spread: set[str] = set()
    pending = [operation.selection_set]
    while pending:
        for selection in pending.pop().selections:
            if isinstance(selection, FieldNode):
                names.add(selection.name.value)
            elif isinstance(selection, InlineFragmentNode):
                pending.append(selection.selection_set)
            elif isinstance(selection, FragmentSpreadNode) and selection.name.value not in spread:
                spread.add(selection.name.value)
                pending += [each.selection_set for each in fragments.get(selection.name.value, ())]
    return names
