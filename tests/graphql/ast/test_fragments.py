"""The order in which fragments are read."""

from hypothesis import given
from hypothesis import strategies as st

from app.graphql.ast.fragments import topological_order

GRAPHS = st.dictionaries(
    st.sampled_from("abcdef"), st.lists(st.sampled_from("abcdefgh"), max_size=4)
)


def test_a_fragment_follows_those_it_spreads() -> None:
    spreads = {"a": ["b", "c"], "b": ["d"], "c": ["d", "b"], "d": []}
    assert topological_order(spreads) == ["d", "b", "c", "a"]


def test_unknown_fragments_are_left_out() -> None:
    assert topological_order({"a": ["nowhere"]}) == ["a"]


def test_a_cycle_is_ordered_all_the_same() -> None:
    assert sorted(topological_order({"a": ["b"], "b": ["a", "b"]})) == ["a", "b"]


def test_a_chain_may_be_long() -> None:
    spreads = {str(i): [str(i + 1)] for i in range(100_000)}
    assert topological_order(spreads) == [str(i) for i in reversed(range(100_000))]


@given(GRAPHS)
def test_every_fragment_comes_once(spreads: dict[str, list[str]]) -> None:
    assert sorted(topological_order(spreads)) == sorted(spreads)


@given(GRAPHS)
def test_without_cycles_every_fragment_follows_those_it_spreads(
    spreads: dict[str, list[str]],
) -> None:
    acyclic = {
        name: [inner for inner in inners if inner > name] for name, inners in spreads.items()
    }
    ordered = topological_order(acyclic)
    for name, inners in acyclic.items():
        for inner in set(inners) & set(acyclic):
            assert ordered.index(inner) < ordered.index(name)
