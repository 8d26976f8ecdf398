"""The root Mutation type, assembled from one module per noun."""

import strawberry
from strawberry.types import get_object_definition
from strawberry.utils.str_converters import to_camel_case

from app.graphql.schema.mutations.accounts import AccountMutations
from app.graphql.schema.mutations.cancellations import CancellationMutations
from app.graphql.schema.mutations.claims import ClaimMutations
from app.graphql.schema.mutations.posts import PostMutations
from app.graphql.schema.mutations.reports import ReportMutations
from app.graphql.schema.mutations.retries import RetryMutations
from app.graphql.schema.mutations.verification import (
    ReconciliationMutations,
    VerificationMutations,
)
from app.graphql.schema.mutations.webhooks import WebhookMutations


@strawberry.type
class PublishingMutations(ClaimMutations, ReportMutations, VerificationMutations):
    """Mutations of the publishing protocol, called by publisher programs."""


@strawberry.type(
    description="Write operations. Each field changes the API key's workspace only, except that publishing"
    " with the scope PUBLISH_ALL covers all workspaces."
)
class Mutation(
    PostMutations,
    CancellationMutations,
    RetryMutations,
    AccountMutations,
    PublishingMutations,
    ReconciliationMutations,
    WebhookMutations,
):
    pass


PUBLISHING_FIELD_NAMES = frozenset(
    to_camel_case(field.python_name)
    for field in get_object_definition(PublishingMutations, strict=True).fields
)
"""Fields of the publishing protocol; a request with only these counts for a rate limit of its own."""
