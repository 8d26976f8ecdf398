"""`checkPost` finds what `createPost` refuses and warns of, and stores nothing."""

from typing import Any

import pytest

from app.domain.accounts import AccountPublisher
from app.domain.ids import AccountId
from tests.clients import Tenant
from tests.db.all_tables import dump_rows
from tests.factories import NOW, add_account, add_api_key, add_post, add_workspace, draft
from tests.graphql.schema.mutations.test_posts import LATER

CHECK = """
query ($input: PostInput!) {
  checkPost(input: $input) {
    accepted
    errors { code message field }
    accounts {
      accountId platform
      errors { code message field }
      warnings { accountId reason message }
      contentWarnings { accountId platform code message }
    }
  }
}
"""
CREATE = """
mutation ($input: CreatePostInput!) {
  createPost(input: $input) {
    warnings { accountId reason message }
    contentWarnings { accountId platform code message }
  }
}
"""
MISSPELT = {"visiblity": "private"}
SETTINGS = "platformContent.mastodon.settings"
MASTODON, BLUESKY, EXTERNAL, BLOCKED, MISSING = 1, 2, 3, 4, 99


@pytest.fixture
async def tenant(acme: Tenant) -> Tenant:
    for publisher in (AccountPublisher.MASTODON, AccountPublisher.BLUESKY):
        await add_account(
            acme.database, acme.workspace, platform=publisher.value, publisher=publisher
        )
    await add_account(acme.database, acme.workspace, platform="x")
    await add_account(acme.database, acme.workspace, needs_reconnection_since=NOW)
    return acme


def post_input(*accounts: int, **fields: object) -> dict[str, object]:
    return {"content": "Sale", "accountIds": [*accounts], **fields}


INPUTS = {
    "accepted": post_input(MASTODON, BLUESKY, EXTERNAL),
    "draft without accounts": post_input(draft=True),
    "no accounts": post_input(),
    "no content": post_input(MASTODON, content=""),
    "unknown account": post_input(MASTODON, MISSING),
    "account twice": post_input(MASTODON, MASTODON),
    "past": post_input(MASTODON, scheduledFor="2020-01-01T00:00:00Z"),
    "later": post_input(MASTODON, scheduledFor=LATER),
    "time zone": post_input(MASTODON, timezone="Europe/Atlantis"),
    "blocked account": post_input(BLOCKED, EXTERNAL),
    "too long for one": post_input(BLUESKY, MASTODON, content="a" * 301),
    "too long for both": post_input(BLUESKY, MASTODON, content="a" * 501),
    "misspelt setting": post_input(
        MASTODON, BLUESKY, platformContent={"mastodon": {"settings": MISSPELT}}
    ),
    "two errors": post_input(
        MASTODON,
        BLUESKY,
        platformContent={"mastodon": {"settings": MISSPELT}},
        media=[{"url": "ftp://example.com/a.png"}],
    ),
    "not checked": post_input(
        EXTERNAL, platformContent={"mastodon": {"settings": MISSPELT}}, media=[{"any": 1}]
    ),
    "unknown platform": post_input(BLUESKY, platformContent={"blusky": {}}),
    "no object": post_input(BLUESKY, platformContent=[1]),
    "copy of nothing": post_input(BLUESKY, copyOf="00000000-0000-4000-8000-000000000000"),
}


async def check(tenant: Tenant, fields: dict[str, object]) -> Any:
    return (await tenant.client.query(CHECK, input=fields))["checkPost"]


@pytest.mark.parametrize("name", INPUTS)
async def test_check_finds_what_creation_finds_and_stores_nothing(
    tenant: Tenant, name: str
) -> None:
    fields = INPUTS[name]
    before = await dump_rows(tenant.database)
    checked = await check(tenant, fields)
    assert await dump_rows(tenant.database) == before

    if checked["accepted"]:
        payload = (await tenant.client.query(CREATE, input=fields))["createPost"]
        assert checked["errors"] == []
        for kind in ("warnings", "contentWarnings"):
            found = [each for account in checked["accounts"] for each in account[kind]]
            assert found == payload[kind]
        assert [each["accountId"] for each in checked["accounts"]] == fields["accountIds"]
    else:
        code, field, message = await tenant.client.expect_error(CREATE, input=fields)
        first = checked["errors"][0]
        assert (first["code"], first["message"]) == (code, message)
        assert field == (first["field"] and f"input.{first['field']}")
        assert await dump_rows(tenant.database) == before


async def test_check_lists_all_errors_with_their_accounts(tenant: Tenant) -> None:
    checked = await check(tenant, INPUTS["two errors"])
    setting, url = checked["errors"]
    assert (setting["field"], url["field"]) == (f"{SETTINGS}.visiblity", "media[0].url")
    assert {each["platform"]: each["errors"] for each in checked["accounts"]} == {
        "mastodon": [setting, url],
        "bluesky": [url],
    }


async def test_copy_may_have_what_the_stored_post_has(tenant: Tenant) -> None:
    contents = {"mastodon": {"settings": MISSPELT}}
    stored = await add_post(
        tenant.database,
        tenant.workspace,
        {AccountId(MASTODON): draft()},
        is_draft=True,
        platform_content=contents,
    )
    copy = post_input(MASTODON, draft=True, platformContent=contents, copyOf=str(stored.id))
    assert (await check(tenant, copy))["accepted"] is True
    assert (await check(tenant, {**copy, "copyOf": None}))["accepted"] is False


async def test_accounts_of_another_workspace_are_unknown(tenant: Tenant) -> None:
    other = await add_workspace(tenant.database)
    await add_account(tenant.database, other, id=MISSING)
    checked = await check(tenant, INPUTS["unknown account"])
    assert (checked["accepted"], checked["accounts"]) == (False, [])


async def test_check_in_a_mirror_fails_as_the_creation_does(tenant: Tenant) -> None:
    mirror = await add_workspace(tenant.database, mirror_of="https://example.com")
    key = await add_api_key(tenant.database, mirror)
    in_mirror = tenant.client.with_token(key.token)
    fields = post_input(draft=True)
    expected = await in_mirror.expect_error(CREATE, input=fields)
    assert expected[0] == "READ_ONLY_MIRROR"
    assert await in_mirror.expect_error(CHECK, input=fields) == expected
