"""The Mutation type, put together from one file for each noun. Each field takes one input."""

import strawberry

from app.graphql.mutations.posts import PostMutations
from app.graphql.mutations.retries import RetryMutations


@strawberry.type(description="Everything that can be changed. Each field sees one workspace only.")
class Mutation(PostMutations, RetryMutations):
    pass
