"""Objects of another workspace have the same responses as objects that do not exist."""

from uuid import uuid4

import httpx
import pytest

from app.db.core.database import Database
from app.domain.api_keys import DEFAULT_SCOPES, Scope
from app.domain.events import Event, EventKind
from app.domain.failure_groups import failure_group
from app.domain.ids import WorkspaceId
from app.rest.endpoints import ENDPOINTS, PREFIXES
from app.rest.exports import FILTERS as EXPORT_PARAMETERS
from tests.clients import Client, Tenant, app_client
from tests.db.repositories.event_rows import append_test_events, numbered_events
from tests.factories import add_account, add_api_key, add_post, add_workspace, failed, published
from tests.graphql.tenants import (
    SHARED_ACCOUNT,
    SHARED_DESTINATIONS,
    SHARED_POST,
    add_foreign_workspace,
    add_own_workspace,
)
from tests.graphql.test_tenancy import disable_tenancy
from tests.rest.envelope import failure_error, success_data
from tests.webhook_rows import add_webhook

PATHS_WITH_ID = [
    endpoint.path for endpoint in ENDPOINTS if endpoint.method == "GET" and "{" in endpoint.path
]
FOREIGN_ACCOUNT = 2280
FOREIGN_WEBHOOK = uuid4()


async def add_other_workspace(database: Database) -> tuple[WorkspaceId, str]:
    """Add another workspace with a post, an account, a change and a webhook; return the post's id too."""
    workspace = await add_workspace(database)
    account = await add_account(database, workspace, id=FOREIGN_ACCOUNT)
    post = await add_post(
        database, workspace, {account: published()}, content="Theirs", reference="theirs"
    )
    event = Event(kind=EventKind.POST_CREATED, post_id=post.id, account_id=account, values={})
    await append_test_events(database, workspace, [event])
    await add_webhook(database, workspace, id=FOREIGN_WEBHOOK)
    return workspace, str(post.id)


async def client_of(acme: Tenant, workspace: WorkspaceId) -> Client:
    scopes = (*DEFAULT_SCOPES, Scope.ADMIN)
    key = await add_api_key(acme.database, workspace, scopes=scopes)
    return acme.client.with_token(key.token)


def without_meta(response: httpx.Response) -> bytes:
    body, separator, _ = response.content.rpartition(b',"meta":')
    assert separator
    return body


@pytest.mark.parametrize("prefix", PREFIXES)
@pytest.mark.parametrize("path", PATHS_WITH_ID)
async def test_foreign_id_has_the_response_of_a_missing_one(
    acme: Tenant, path: str, prefix: str
) -> None:
    their_workspace, their_post = await add_other_workspace(acme.database)
    foreign = prefix + path.format(
        post_id=their_post, account_id=FOREIGN_ACCOUNT, webhook_id=FOREIGN_WEBHOOK
    )
    missing = prefix + path.format(
        post_id=uuid4(), account_id=FOREIGN_ACCOUNT + 1, webhook_id=uuid4()
    )
    client = await client_of(acme, acme.workspace)
    responses = [await client.get(foreign), await client.get(missing)]
    success_data(await (await client_of(acme, their_workspace)).get(foreign))
    for response in responses:
        assert failure_error(response, 404)["code"] == "not_found"
    assert without_meta(responses[0]) == without_meta(responses[1])
    assert responses[0].headers.keys() == responses[1].headers.keys()


async def test_lists_and_counts_stay_in_the_workspace(acme: Tenant) -> None:
    await add_other_workspace(acme.database)
    client = await client_of(acme, acme.workspace)
    posts, accounts, me, summary, changes, webhooks = [
        success_data(await client.get(f"/v1/{path}"))
        for path in (
            "posts",
            "accounts",
            "me",
            "analytics/summary?period=all",
            "changes",
            "webhooks",
        )
    ]
    assert (posts["posts"], posts["total"]) == ([], 0)
    assert (accounts["accounts"], accounts["total"]) == ([], 0)
    assert me["quota"]["accounts"]["used"] == 0
    assert me["stats"] == {"posts_last_30d": 0, "total_posts": 0}
    assert (summary["posts"]["total"], summary["by_platform"]) == (0, [])
    assert (changes["changes"], changes["has_more"]) == ([], False)
    assert webhooks == {"webhooks": []}


@pytest.mark.parametrize(
    ("foreign", "missing"),
    [
        (f"account_id={FOREIGN_ACCOUNT}", f"account_id={FOREIGN_ACCOUNT + 1}"),
        ("reference=theirs", "reference=missing"),
        ("search=Theirs", "search=missing"),
        ("status=published", "status=failed"),
    ],
)
async def test_filters_match_nothing_foreign(acme: Tenant, foreign: str, missing: str) -> None:
    await add_other_workspace(acme.database)
    responses = [await acme.client.get(f"/v1/posts?{query}") for query in (foreign, missing)]
    for response in responses:
        assert success_data(response)["total"] == 0
    assert without_meta(responses[0]) == without_meta(responses[1])
    assert responses[0].headers["ETag"] == responses[1].headers["ETag"]


async def test_changes_of_a_foreign_post_are_those_of_a_missing_one(acme: Tenant) -> None:
    their_workspace, their_post = await add_other_workspace(acme.database)
    await append_test_events(acme.database, acme.workspace, numbered_events(2))
    path = f"/v1/changes?post_id={their_post}"
    responses = [
        await acme.client.get(path),
        await acme.client.get(f"/v1/changes?post_id={uuid4()}"),
    ]
    theirs = await (await client_of(acme, their_workspace)).get(path)
    assert len(success_data(theirs)["changes"]) == 1
    for response in responses:
        assert success_data(response)["changes"] == []
    assert without_meta(responses[0]) == without_meta(responses[1])
    assert responses[0].headers["ETag"] == responses[1].headers["ETag"]


async def test_foreign_cursor_has_the_response_of_an_invalid_one(acme: Tenant) -> None:
    their_workspace, _ = await add_other_workspace(acme.database)
    # With the same time and sequence number as the foreign event.
    await append_test_events(acme.database, acme.workspace, numbered_events(1))
    theirs = success_data(await (await client_of(acme, their_workspace)).get("/v1/changes"))
    own = success_data(await acme.client.get("/v1/changes"))
    assert own["cursor"] != theirs["cursor"]
    responses = [
        await acme.client.get(f"/v1/changes?after={cursor}")
        for cursor in (theirs["cursor"], theirs["changes"][0]["cursor"], "made-up")
    ]
    for response in responses:
        assert failure_error(response, 400)["code"] == "bad_cursor"
        assert without_meta(response) == without_meta(responses[0])


EXPORT_FILTERS = {
    "destination_id": ",".join(map(str, SHARED_DESTINATIONS)),
    "status": "published",
    "platform": "instagram",
    "account_id": str(SHARED_ACCOUNT),
    "post_id": str(SHARED_POST),
    "platform_post_url": "https://own.example,https://foreign.example",
    "error_category": "content_rejected",
    "error_code": "CAPTION_TOO_LONG",
    "outcome": "failed",
    "failure_group": failure_group("instagram", failed()),
    "source": "user",
    "next_action": "wait",
    "max_attempts": "1",
    **{
        f"{event}_{bound}": time
        for event in ("failed", "scheduled", "published", "next_retry", "settled", "updated")
        for bound, time in (("after", "2000-01-01"), ("before", "2100-01-01"))
    },
    "overdue": "false",
    "late_by_seconds": "0",
    "retrying": "true",
    "duplicated": "false",
    "invalid_content": "false",
    "media_warning": "false",
    "cancelled": "false",
    "draft": "false",
    "imported": "false",
    "awaits_outcome": "true",
    "search": "spring",
    "reference": "spring",
}
"""A value of each filter that matches rows of both workspaces."""


async def exports_before_and_after(database: Database) -> tuple[dict[str, str], dict[str, str]]:
    """Exports before and after a workspace with rows of the same ids is added."""
    assert EXPORT_FILTERS.keys() == EXPORT_PARAMETERS.keys()
    queries = ["", *(f"?{name}={value}" for name, value in EXPORT_FILTERS.items())]
    paths = [f"/v1/destinations.{name}{query}" for name in ("csv", "ndjson") for query in queries]
    token = await add_own_workspace(database)
    async with app_client(database, token=token) as client:
        before = {path: (await client.get(path)).text for path in paths}
        await add_foreign_workspace(database)
        after = {path: (await client.get(path)).text for path in paths}
    return before, after


async def test_exports_do_not_change_with_data_of_another_workspace(database: Database) -> None:
    before, after = await exports_before_and_after(database)
    assert after == before
    assert [
        path for path, text in before.items() if text.count("\n") < 2 and "ndjson" not in path
    ] == []


async def test_exports_change_without_workspace_filter(database_url: str) -> None:
    async with disable_tenancy(database_url) as database:
        before, after = await exports_before_and_after(database)
    assert [path for path in before if before[path] == after[path]] == []
