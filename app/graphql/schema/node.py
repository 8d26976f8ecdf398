"""GraphQL interface Node, which the types that are backed by database rows implement.

Columns of the same row are plain non-null attributes. A field that needs another statement can fail
without its parent and is therefore nullable.
"""

from typing import ClassVar

import strawberry

from app.domain.ids import NodeKind, encode_node_id
from app.graphql.loading.field_sources import FromResolver, RowBacked, sourced_field


@strawberry.interface(description="Object that the query `node` finds by its id.")
class Node(RowBacked):
    kind: ClassVar[NodeKind]

    @sourced_field(
        "Opaque, stable id of the object, for `node` and client caches.",
        FromResolver(columns=("id",)),
    )
    def id(self) -> strawberry.ID:
        return strawberry.ID(encode_node_id(self.kind, self.row.id))
