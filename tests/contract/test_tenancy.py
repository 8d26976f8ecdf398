"""What belongs to somebody else is answered like what does not exist."""

from uuid import uuid4

import httpx
import pytest

from app.db.engine import Database
from app.domain.ids import WorkspaceId
from app.rest.routes import CALLS, PREFIXES
from tests.clients import serving
from tests.factories import add_account, add_api_key, add_post, add_workspace, published
from tests.rest.envelopes import data_of, error_of

BY_ID = [call.path for call in CALLS if call.method == "GET" and "{" in call.path]
FOREIGN_ACCOUNT = 2280


async def other_workspace(database: Database) -> tuple[WorkspaceId, str]:
    """A workspace with a post on an account; the post's id."""
    workspace = await add_workspace(database)
    account = await add_account(database, workspace, id=FOREIGN_ACCOUNT)
    post = await add_post(
        database, workspace, {account: published()}, content="Theirs", reference="theirs"
    )
    return workspace, str(post.id)


def without_meta(response: httpx.Response) -> bytes:
    body, separator, _ = response.content.rpartition(b',"meta":')
    assert separator
    return body


@pytest.mark.parametrize("prefix", PREFIXES)
@pytest.mark.parametrize("path", BY_ID)
async def test_a_foreign_id_is_answered_like_a_missing_one(
    database: Database, path: str, prefix: str
) -> None:
    their_workspace, their_post = await other_workspace(database)
    their_key = await add_api_key(database, their_workspace)
    key = await add_api_key(database, await add_workspace(database))
    foreign = prefix + path.format(post_id=their_post, account_id=FOREIGN_ACCOUNT)
    missing = prefix + path.format(post_id=uuid4(), account_id=FOREIGN_ACCOUNT + 1)
    async with serving(database, token=key.token) as client:
        answers = [await client.get(foreign), await client.get(missing)]
        data_of(await client.with_token(their_key.token).get(foreign))
    for answer in answers:
        assert error_of(answer, 404)["code"] == "not_found"
    assert without_meta(answers[0]) == without_meta(answers[1])
    assert answers[0].headers.keys() == answers[1].headers.keys()


async def test_lists_and_counts_stay_in_the_workspace(database: Database) -> None:
    await other_workspace(database)
    key = await add_api_key(database, await add_workspace(database))
    async with serving(database, token=key.token) as client:
        posts = data_of(await client.get("/v1/posts"))
        accounts = data_of(await client.get("/v1/accounts"))
        me = data_of(await client.get("/v1/me"))
        summary = data_of(await client.get("/v1/analytics/summary?period=all"))
    assert (posts["posts"], posts["total"]) == ([], 0)
    assert (accounts["accounts"], accounts["total"]) == ([], 0)
    assert me["quota"]["accounts"]["used"] == 0
    assert me["stats"] == {"posts_last_30d": 0, "total_posts": 0}
    assert (summary["posts"]["total"], summary["by_platform"]) == (0, [])


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
    await other_workspace(database)
    key = await add_api_key(database, await add_workspace(database))
    async with serving(database, token=key.token) as client:
        answers = [await client.get(f"/v1/posts?{query}") for query in (foreign, missing)]
    for answer in answers:
        assert data_of(answer)["total"] == 0
    assert without_meta(answers[0]) == without_meta(answers[1])
    assert answers[0].headers["ETag"] == answers[1].headers["ETag"]
