"""Connections of posts, destinations and accounts."""

import strawberry
from strawberry import field

from app.graphql.schema.connections import KeysetConnection
from app.graphql.schema.types import Account, Destination, Post


@strawberry.type(description="Post in a list.")
class PostEdge:
    cursor: str = field(description="Cursor of the post; pass it as `after` or `before`.")
    node: Post = field(description="The post.")


@strawberry.type(description="Page of posts.")
class PostConnection(KeysetConnection):
    nodes: list[Post] = field(description="Posts of the page.")

    @strawberry.field(description="Posts of the page with their cursors.")
    def edges(self) -> list[PostEdge]:
        return self.page.edges(PostEdge, self.nodes)


@strawberry.type(description="Destination in a list.")
class DestinationEdge:
    cursor: str = field(description="Cursor of the destination; pass it as `after` or `before`.")
    node: Destination = field(description="The destination.")


@strawberry.type(description="Page of destinations.")
class DestinationConnection(KeysetConnection):
    nodes: list[Destination] = field(description="Destinations of the page.")

    @strawberry.field(description="Destinations of the page with their cursors.")
    def edges(self) -> list[DestinationEdge]:
        return self.page.edges(DestinationEdge, self.nodes)


@strawberry.type(description="Account in a list.")
class AccountEdge:
    cursor: str = field(description="Cursor of the account; pass it as `after` or `before`.")
    node: Account = field(description="The account.")


@strawberry.type(description="Page of accounts.")
class AccountConnection(KeysetConnection):
    nodes: list[Account] = field(description="Accounts of the page.")

    @strawberry.field(description="Accounts of the page with their cursors.")
    def edges(self) -> list[AccountEdge]:
        return self.page.edges(AccountEdge, self.nodes)
