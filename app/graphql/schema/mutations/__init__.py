"""The Mutation type, put together from one file for each noun. Each field takes one input."""

import strawberry
from strawberry.types import get_object_definition
from strawberry.utils.str_converters import to_camel_case

from app.graphql.schema.mutations.accounts import AccountMutations
from app.graphql.schema.mutations.claims import ClaimMutations
from app.graphql.schema.mutations.leases import LeaseMutations
from app.graphql.schema.mutations.posts import PostMutations
from app.graphql.schema.mutations.reports import ReconciliationMutations, ReportMutations
from app.graphql.schema.mutations.retries import RetryMutations


@strawberry.type
class PublishingMutations(ClaimMutations, LeaseMutations, ReportMutations):
    """The publishing protocol: what programs call that publish."""


@strawberry.type(
    description="Everything that can be changed. Each field sees one workspace only, but for those that"
    " publishers call with a key over all of them."
)
class Mutation(
    PostMutations, RetryMutations, AccountMutations, PublishingMutations, ReconciliationMutations
):
    pass


PUBLISHING_FIELD_NAMES = frozenset(
    to_camel_case(each.python_name)
    for each in get_object_definition(PublishingMutations, strict=True).fields
)
"""Requests that have no other fields are counted by a limit of their own."""
