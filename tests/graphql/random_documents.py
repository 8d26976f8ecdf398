"""Random documents over a small test schema with connections."""

from graphql import GraphQLNamedType, build_schema, get_named_type, is_composite_type
from hypothesis import strategies as st

SCHEMA = build_schema(
    """
    type Query {
      posts(first: Int, last: Int, filter: PostFilter): PostConnection
      accounts(first: Int = 5, last: Int): AccountConnection!
      node(id: ID!): Node
      nodes(ids: [ID!]!): [Node]!
      looseConnection(first: Int): LooseConnection
      version: String
    }
    input PostFilter { account: [Int!], status: String, any: [PostFilter!] }
    interface Node { id: ID! }
    interface Owner { posts(first: Int, last: Int): PostConnection! }
    type Post implements Node {
      id: ID!
      title: String
      account: Account
      comments: [Comment!]!
      related(first: Int, last: Int): PostConnection
    }
    type Comment { id: ID!, author: Account }
    type Account implements Node & Owner {
      id: ID!
      posts(first: Int, last: Int): PostConnection!
    }
    type PostConnection { edges: [PostEdge!]!, nodes: [Post!]!, pageInfo: PageInfo!, totalCount: Int }
    type PostEdge { cursor: String!, node: Post! }
    type AccountConnection { edges: [AccountEdge!]!, pageInfo: PageInfo! }
    type AccountEdge { node: Account! }
    type PageInfo { hasNextPage: Boolean! }
    type LooseConnection { version: String }
    """
)

FRAGMENTS = ("A", "B", "C", "D")
VARIABLES = ("$n: Int", "$m: Int = 7", "$ids: [ID!] = []", "$on: Boolean!", "$off: Boolean!")

_TYPE_CONDITIONS = ("Query", "Post", "Account", "Node", "PostConnection", "__Type", "Nowhere")
_PAGE_SIZES = ("0", "1", "3", "100", "101", "-1", "null", "$n", "$m", "$missing", '"3"')
_IDS = ('["a", "b"]', "[]", '"a"', "$ids", '["a", $n]')
_DIRECTIVES = (
    "",
    "",
    "",
    " @skip(if: true)",
    " @include(if: $on)",
    " @include(if: $off)",
    " @skip(if: $off) @include(if: false)",
    " @unknown",
)


@st.composite
def document_strategy(draw: st.DrawFn, *, with_cycles: bool) -> str:
    """A document that parses, with an operation and four fragments; rarely valid.

    Without cycles, a fragment only spreads later fragments and an unknown one.
    """
    root = SCHEMA.query_type
    operation = draw(_selection_sets(root, 4, FRAGMENTS))
    texts = [f"query ({', '.join(VARIABLES)}){draw(_directives)} {operation}"]
    for index, name in enumerate(FRAGMENTS):
        spreadable = FRAGMENTS if with_cycles else FRAGMENTS[index + 1 :]
        condition = draw(st.sampled_from(_TYPE_CONDITIONS))
        body = draw(_selection_sets(SCHEMA.get_type(condition), 3, spreadable))
        texts.append(f"fragment {name} on {condition}{draw(_directives)} {body}")
    return "\n".join(texts)


_directives = st.sampled_from(_DIRECTIVES)


@st.composite
def _selection_sets(
    draw: st.DrawFn, parent: GraphQLNamedType | None, levels: int, spreadable: tuple[str, ...]
) -> str:
    kinds = draw(st.lists(st.sampled_from(("field", "field", "inline", "spread")), max_size=3))
    selections = []
    for kind in kinds:
        if kind == "spread":
            name = draw(st.sampled_from((*spreadable, "Unknown")))
            selections.append(f"...{name}{draw(_directives)}")
        elif kind == "inline" and levels > 0:
            condition = draw(st.sampled_from((None, *_TYPE_CONDITIONS)))
            narrowed = parent if condition is None else SCHEMA.get_type(condition)
            on = "" if condition is None else f" on {condition}"
            body = draw(_selection_sets(narrowed, levels - 1, spreadable))
            selections.append(f"...{on}{draw(_directives)} {body}")
        else:
            selections.append(draw(_fields(parent, levels, spreadable)))
    return "{ " + " ".join(selections) + " }"


@st.composite
def _fields(
    draw: st.DrawFn, parent: GraphQLNamedType | None, levels: int, spreadable: tuple[str, ...]
) -> str:
    definitions = getattr(parent, "fields", {})
    introspection = ("__schema", "__type") if parent is SCHEMA.query_type else ()
    name = draw(
        st.sampled_from((*definitions, *introspection, "__typename", "undefined", "fields"))
    )
    alias = draw(st.sampled_from(("", "", "other: ")))
    arguments = []
    if name == "nodes":
        arguments = [f"ids: {draw(st.sampled_from(_IDS))}"]
    else:
        for argument in draw(st.sampled_from(((), ("first",), ("last",), ("first", "last")))):
            arguments.append(f"{argument}: {draw(st.sampled_from(_PAGE_SIZES))}")
    argument_list = f"({', '.join(arguments)})" if arguments else ""
    type_ = (
        get_named_type(definitions[name].type) if name in definitions else SCHEMA.get_type("__Type")
    )
    body = ""
    if levels > 0 and is_composite_type(type_):
        body = " " + draw(_selection_sets(type_, levels - 1, spreadable))
    return f"{alias}{name}{argument_list}{draw(_directives)}{body}"
