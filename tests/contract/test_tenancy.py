"""What belongs to somebody else is answered like what does not exist."""

from uuid import uuid4

import httpx
import pytest

from app.db.core.database import Database
from app.domain.events import Event, EventKind
from app.domain.ids import WorkspaceId
from app.rest.endpoints import ENDPOINTS, PREFIXES
from tests.clients import app_client
from tests.db.repositories.event_rows import append_test_events, numbered_events
from tests.factories import add_account, add_api_key, add_post, add_workspace, published
from tests.rest.envelope import failure_error, success_data

PATHS_WITH_ID = [call.path for call in ENDPOINTS if call.method == "GET" and "{" in call.path]
FOREIGN_ACCOUNT = 2280


async def add_other_workspace(database: Database) -> tuple[WorkspaceId, str]:
    """A workspace with a post on an account, of which something is told; the post's id."""
    workspace = await add_workspace(database)
    account = await add_account(database, workspace, id=FOREIGN_ACCOUNT)
    post = await add_post(
        database, workspace, {account: published()}, content="Theirs", reference="theirs"
    )
    event = Event(kind=EventKind.POST_CREATED, post_id=post.id, account_id=account, changes={})
    await append_test_events(database, workspace, [event])
    return workspace, str(post.id)


def without_meta(response: httpx.Response) -> bytes:
    body, separator, _ = response.content.rpartition(b',"meta":')
    assert separator
    return body


@pytest.mark.parametrize("prefix", PREFIXES)
@pytest.mark.parametrize("path", PATHS_WITH_ID)
async def test_a_foreign_id_is_answered_like_a_missing_one(
    database: Database, path: str, prefix: str
) -> None:
    their_workspace, their_post = await add_other_workspace(database)
    their_key = await add_api_key(database, their_workspace)
    key = await add_api_key(database, await add_workspace(database))
    foreign = prefix + path.format(post_id=their_post, account_id=FOREIGN_ACCOUNT)
    missing = prefix + path.format(post_id=uuid4(), account_id=FOREIGN_ACCOUNT + 1)
    async with app_client(database, token=key.token) as client:
        answers = [await client.get(foreign), await client.get(missing)]
        success_data(await client.with_token(their_key.token).get(foreign))
    for answer in answers:
        assert failure_error(answer, 404)["code"] == "not_found"
    assert without_meta(answers[0]) == without_meta(answers[1])
    assert answers[0].headers.keys() == answers[1].headers.keys()


async def test_lists_and_counts_stay_in_the_workspace(database: Database) -> None:
    await add_other_workspace(database)
    key = await add_api_key(database, await add_workspace(database))
    async with app_client(database, token=key.token) as client:
        posts = success_data(await client.get("/v1/posts"))
        accounts = success_data(await client.get("/v1/accounts"))
        me = success_data(await client.get("/v1/me"))
        summary = success_data(await client.get("/v1/analytics/summary?period=all"))
        changes = success_data(await client.get("/v1/changes"))
    assert (posts["posts"], posts["total"]) == ([], 0)
    assert (accounts["accounts"], accounts["total"]) == ([], 0)
    assert me["quota"]["accounts"]["used"] == 0
    assert me["stats"] == {"posts_last_30d": 0, "total_posts": 0}
    assert (summary["posts"]["total"], summary["by_platform"]) == (0, [])
    assert (changes["changes"], changes["has_more"]) == ([], False)


@pytest.mark.parametrize(
    ("foreign", "missing"),
    [
        (f"account_id={FOREIGN_ACCOUNT}", f"account_id={FOREIGN_ACCOUNT + 1}"),
        ("reference=theirs", "reference=nobodys"),
        ("search=Theirs", "search=nobodys"),
        ("status=published", "status=failed"),
    ],
)
async def test_a_filter_finds_nothing_foreign(
    database: Database, foreign: str, missing: str
) -> None:
    await add_other_workspace(database)
    key = await add_api_key(database, await add_workspace(database))
    async with app_client(database, token=key.token) as client:
        answers = [await client.get(f"/v1/posts?{query}") for query in (foreign, missing)]
    for answer in answers:
        assert success_data(answer)["total"] == 0
    assert without_meta(answers[0]) == without_meta(answers[1])
    assert answers[0].headers["ETag"] == answers[1].headers["ETag"]


async def test_the_changes_of_a_foreign_post_are_those_of_a_missing_one(
    database: Database,
) -> None:
    their_workspace, their_post = await add_other_workspace(database)
    their_key = await add_api_key(database, their_workspace)
    workspace = await add_workspace(database)
    await append_test_events(database, workspace, numbered_events(2))
    key = await add_api_key(database, workspace)
    async with app_client(database, token=key.token) as client:
        answers = [
            await client.get(f"/v1/changes?post_id={post}") for post in (their_post, uuid4())
        ]
        theirs = await client.with_token(their_key.token).get(f"/v1/changes?post_id={their_post}")
    assert len(success_data(theirs)["changes"]) == 1
    for answer in answers:
        assert success_data(answer)["changes"] == []
    assert without_meta(answers[0]) == without_meta(answers[1])
    assert answers[0].headers["ETag"] == answers[1].headers["ETag"]


async def test_a_foreign_cursor_is_answered_like_one_that_nobody_made(database: Database) -> None:
    their_workspace, _ = await add_other_workspace(database)
    their_key = await add_api_key(database, their_workspace)
    workspace = await add_workspace(database)
    await append_test_events(
        database, workspace, numbered_events(1)
    )  # at the same time and with the same number
    key = await add_api_key(database, workspace)
    async with app_client(database, token=key.token) as client:
        theirs = success_data(await client.with_token(their_key.token).get("/v1/changes"))
        own = success_data(await client.get("/v1/changes"))
        answers = [
            await client.get(f"/v1/changes?after={cursor}")
            for cursor in (theirs["cursor"], theirs["changes"][0]["cursor"], "made-up")
        ]
    assert own["cursor"] != theirs["cursor"]
    for answer in answers:
        assert failure_error(answer, 400)["code"] == "bad_cursor"
        assert without_meta(answer) == without_meta(answers[0])
