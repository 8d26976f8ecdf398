"""Values of arguments in tests of tenancy: of the own workspace, of a foreign one, and of none."""

from datetime import timedelta
from typing import NamedTuple
from uuid import UUID

from graphql import GraphQLEnumType, GraphQLInputType, get_named_type

from app.domain.ids import DestinationId, NodeKind, PostId, encode_node_id
from app.domain.leases import Lease, LeaseCodec, LeaseKind
from app.domain.times import format_instant
from tests.factories import NOW
from tests.graphql.tenants import (
    FOREIGN_ACCOUNT,
    FOREIGN_CODE,
    FOREIGN_DELIVERY,
    FOREIGN_DESTINATION,
    FOREIGN_FAILURE_GROUP,
    FOREIGN_KEY,
    FOREIGN_PERSON,
    FOREIGN_PLATFORM,
    FOREIGN_POST,
    FOREIGN_REFERENCE,
    FOREIGN_WEBHOOK,
    FOREIGN_WORD,
    FOREIGN_WORKSPACE,
    OWN_FAILURE_GROUP,
    OWN_WORKSPACE,
    SHARED_ACCOUNT,
    SHARED_DELIVERY,
    SHARED_DESTINATIONS,
    SHARED_KEY,
    SHARED_PERSON,
    SHARED_POST,
    SHARED_WEBHOOK,
)

NONEXISTENT = UUID("00000000-0000-4000-8000-00000000dead")


class ValueTriple(NamedTuple):
    """Three values of one meaning: of the own workspace, of the foreign one only, and of none."""

    own: object
    foreign: object
    nonexistent: object


FAILURE_GROUPS = (OWN_FAILURE_GROUP, FOREIGN_FAILURE_GROUP, "1-" + "0" * 32)
NODE_IDS = tuple(
    ValueTriple(*(encode_node_id(kind, key) for key in keys))
    for kind, keys in (
        # First, because it is the only kind with a list of its own, and this one has an attempt.
        (NodeKind.DESTINATION, (SHARED_DESTINATIONS[1], FOREIGN_DESTINATION, NONEXISTENT)),
        (NodeKind.POST, (SHARED_POST, FOREIGN_POST, NONEXISTENT)),
        (NodeKind.ACCOUNT, (SHARED_ACCOUNT, FOREIGN_ACCOUNT, 2**31 - 1)),
        (NodeKind.FAILURE_GROUP, FAILURE_GROUPS),
        (NodeKind.WEBHOOK, (SHARED_WEBHOOK, FOREIGN_WEBHOOK, NONEXISTENT)),
        (NodeKind.WEBHOOK_DELIVERY, (SHARED_DELIVERY, FOREIGN_DELIVERY, NONEXISTENT)),
    )
)


def lease_tokens(kind: LeaseKind) -> ValueTriple:
    """Create lease tokens for an own, a foreign and a nonexistent destination."""
    codec = LeaseCodec(bytes(32), kind)
    return ValueTriple(
        *(
            codec.encode(Lease(workspace, PostId(post), DestinationId(destination), 1, UUID(int=1)))
            for workspace, post, destination in (
                (OWN_WORKSPACE, SHARED_POST, SHARED_DESTINATIONS[0]),
                (FOREIGN_WORKSPACE, FOREIGN_POST, FOREIGN_DESTINATION),
                (OWN_WORKSPACE, NONEXISTENT, NONEXISTENT),
            )
        )
    )


KNOWN_VALUES: dict[str, tuple[ValueTriple, ...]] = {
    "id: ID": NODE_IDS,
    "ids: ID": NODE_IDS,
    "postId: UUID": (ValueTriple(str(SHARED_POST), str(FOREIGN_POST), str(NONEXISTENT)),),
    "keyId: UUID": (ValueTriple(str(SHARED_KEY), str(FOREIGN_KEY), str(NONEXISTENT)),),
    "person: String": (ValueTriple(SHARED_PERSON, FOREIGN_PERSON, "nowhere"),),
    "accountId: Int": (ValueTriple(SHARED_ACCOUNT, FOREIGN_ACCOUNT, 2**31 - 1),),
    "platform: String": (ValueTriple("x", FOREIGN_PLATFORM, "nowhere"),),
    "search: String": (ValueTriple("SPRING", FOREIGN_WORD, "nowhere"),),
    "reference: String": (ValueTriple("spring", FOREIGN_REFERENCE, "nowhere"),),
    "failureGroup: String": (ValueTriple(*FAILURE_GROUPS),),
    "platformPostUrl: String": (
        ValueTriple("https://own.example", "https://foreign.example", "-"),
    ),
    "errorCode: String": (ValueTriple("CAPTION_TOO_LONG", FOREIGN_CODE, "NOWHERE"),),
    "destinationId: UUID": (
        ValueTriple(str(SHARED_DESTINATIONS[1]), str(FOREIGN_DESTINATION), str(NONEXISTENT)),
    ),
    "webhookId: UUID": (ValueTriple(str(SHARED_WEBHOOK), str(FOREIGN_WEBHOOK), str(NONEXISTENT)),),
    "deliveryId: UUID": (
        ValueTriple(str(SHARED_DELIVERY), str(FOREIGN_DELIVERY), str(NONEXISTENT)),
    ),
    "leaseToken: String": (lease_tokens(LeaseKind.PUBLISHING),),
    "verificationToken: String": (lease_tokens(LeaseKind.VERIFICATION),),
}
CURSORS = ("after: String", "before: String")
SIGNED = (*CURSORS, "resumeAfter: String", "plan: String")
"""Texts that are signed for one workspace; the tests of their mutations pass those of another one."""

PLAIN_VALUES: dict[str, tuple[object, ...]] = {
    "first: Int": (1, 100),
    "last: Int": (1, 100),
    "offset: Int": (1, 10_000),
    "maxAttempts: Int": (0, 1),
    "lateBySeconds: Int": (0, 60),
    "retryAfterSeconds: Int": (0, 60),
    "httpStatus: Int": (400, 500),
    "leaseSeconds: Int": (60, 3600),
    "limit: Int": (1, 100),
    "waitSeconds: Int": (0,),
    "message: String": ("It failed.",),
    "attemptKey: String": ("1",),
    "excludeOperations: String": ("retryPost",),
    "timezone: String": ("Europe/Berlin",),
    "url: String": ("https://receiver.example/new",),
    "credentials: Credentials": ({"password": "sesame"},),
    "instance: String": ("https://mastodon.example",),
}
"""Values that identify no row. Like enum, Boolean and DateTime values, they are queried before and
after the other workspace exists."""


DAYS_FROM_NOW = {"from": -1, "to": 1}
"""Limits of periods; other times are the current one."""


def value_meaning(name: str, type_: GraphQLInputType) -> str:
    """Return the meaning of an argument: its name and type, regardless of lists."""
    return f"{name}: {get_named_type(type_)}"


def plain_values(name: str, type_: GraphQLInputType) -> tuple[object, ...] | None:
    """Return values that identify no row; None if values of the argument can."""
    named = get_named_type(type_)
    if isinstance(named, GraphQLEnumType):
        return tuple(named.values)
    if named.name == "Boolean":
        return True, False
    if named.name == "DateTime":
        return (format_instant(NOW + DAYS_FROM_NOW.get(name, 0) * timedelta(days=1)),)
    return PLAIN_VALUES.get(value_meaning(name, type_))


def known_values(name: str, type_: GraphQLInputType, position: str) -> tuple[ValueTriple, ...]:
    if (values := KNOWN_VALUES.get(value_meaning(name, type_))) is None:
        raise LookupError(
            f"The tenancy matrix does not know how to fill {position} with a foreign value. Add"
            f" '{value_meaning(name, type_)}' to KNOWN_VALUES, or to PLAIN_VALUES if it identifies no row."
        )
    return values


def own_value(name: str, type_: GraphQLInputType) -> object:
    """Return a value of the own workspace, for other required arguments of a query."""
    plain = plain_values(name, type_)
    return plain[0] if plain else known_values(name, type_, name)[0].own
