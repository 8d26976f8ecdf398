"""Which questions about changes are refused, and in which words. Where feeds end is tested in tests.db."""

from app.domain.api_keys import Scope
from app.domain.events import EventKind
from tests.clients import Tenant
from tests.db.repositories.event_rows import append_test_events, numbered_events
from tests.factories import add_api_key, add_post, add_workspace

TYPES = ", ".join(kind.name for kind in EventKind)
UUID_MESSAGE = (
    "The id must be a UUID in its 36-character form, such as f47ac10b-58cc-4372-a567-0e02b2c3d479."
)
BAD_CURSOR = (
    "after is not a cursor of this list in this order."
    " Pass one that an earlier page returned, unchanged, or leave it out."
)
INVALID_QUERIES = {
    "first: 0": ("VALIDATION_ERROR", "first", "first must be from 1 to 100; it is 0."),
    "first: 101": ("VALIDATION_ERROR", "first", "first must be from 1 to 100; it is 101."),
    "first: -1": ("VALIDATION_ERROR", "first", "first must be from 1 to 100; it is -1."),
    "types: [POST_PUBLISHED]": (
        "VALIDATION_ERROR",
        "types",
        f"types[0]: Value 'POST_PUBLISHED' does not exist in 'ChangeType' enum. Use one of {TYPES}.",
    ),
    'types: [POST_CREATED, "POST_CREATED"]': (
        "VALIDATION_ERROR",
        "types",
        "types[1]: Enum 'ChangeType' cannot represent non-enum value: \"POST_CREATED\"."
        f" Use one of {TYPES}.",
    ),
    "types: [null]": (
        "VALIDATION_ERROR",
        "types",
        "types[0]: Expected value of non-null type 'ChangeType!' not to be null.",
    ),
    'postId: "x"': ("INVALID_ID", "postId", f"postId: {UUID_MESSAGE}"),
    'after: "x"': ("BAD_CURSOR", "after", BAD_CURSOR),
    'after: ""': ("BAD_CURSOR", "after", BAD_CURSOR),
    'after: "\\u0000"': ("BAD_CURSOR", "after", BAD_CURSOR),
}


async def test_what_cannot_be_asked_is_refused_by_its_argument(acme: Tenant) -> None:
    await append_test_events(acme.database, acme.workspace, numbered_events(1))
    for arguments, refusal in INVALID_QUERIES.items():
        document = f"{{ changes({arguments}) {{ endCursor }} }}"
        assert await acme.client.expect_error(document) == refusal
    unknown = await acme.client.expect_error(
        "query ($types: [ChangeType!]) { changes(types: $types) { endCursor } }", types=["X"]
    )
    assert unknown[:2] == ("VALIDATION_ERROR", "types")


async def test_cursors_of_other_lists_and_workspaces_are_none_of_this_one(acme: Tenant) -> None:
    await add_post(acme.database, acme.workspace)
    other = await add_workspace(acme.database)
    for workspace in (acme.workspace, other):
        await append_test_events(acme.database, workspace, numbered_events(1))
    ask = "query ($after: String) { changes(after: $after) { endCursor nodes { cursor } } }"
    key = await add_api_key(acme.database, other)
    theirs = (await acme.client.with_token(key.token).query(ask))["changes"]
    posts = (await acme.client.query("{ posts { pageInfo { endCursor } } }"))["posts"]
    own = (await acme.client.query(ask))["changes"]
    assert own["nodes"][0]["cursor"] == own["endCursor"]
    for bad in (
        theirs["endCursor"],
        theirs["nodes"][0]["cursor"],
        posts["pageInfo"]["endCursor"],
        own["endCursor"][1:],
        own["endCursor"] + "=",
    ):
        refusal = await acme.client.expect_error(ask, after=bad)
        assert refusal == ("BAD_CURSOR", "after", BAD_CURSOR)
    of_posts = "query ($after: String) { posts(after: $after) { totalCount } }"
    assert (await acme.client.expect_error(of_posts, after=own["endCursor"]))[:2] == (
        "BAD_CURSOR",
        "after",
    )


async def test_a_key_that_may_not_read_gets_no_changes(acme: Tenant) -> None:
    scopes = [scope for scope in Scope if scope is not Scope.READ]
    key = await add_api_key(acme.database, acme.workspace, scopes=scopes)
    code, _, _ = await acme.client.with_token(key.token).expect_error("{ changes { endCursor } }")
    assert code == "INSUFFICIENT_SCOPE"
