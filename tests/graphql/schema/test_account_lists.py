"""Lists of accounts: filters and search against a plain computation, pages, and invalid values."""

import unicodedata
from datetime import datetime, timedelta
from itertools import product
from random import Random
from typing import Any, NamedTuple

import pytest

from app.domain.accounts import AccountAccess, blocking_reason
from app.domain.ids import AccountId
from app.domain.validation.text import fold_for_search
from tests.clients import Client, Tenant
from tests.domain.errors import ACCOUNT_ID_MESSAGE
from tests.factories import NOW, add_account
from tests.graphql.schema.test_connections import is_cursor_rejected, page_ends
from tests.graphql.tenant_objects import add_tenant
from tests.recording_driver import record_statements

MINUTE, MILLISECOND = timedelta(minutes=1), timedelta(milliseconds=1)
NAMES = (
    *("Straße 7", unicodedata.normalize("NFD", "Café"), "acme", "ACME Inc.", "@acme", "100% sure"),
    *("snake_case", "İstanbul", "Ǆungla", "日本", "a\\b", None, None, None),
)
SEARCHES = (
    *("STRASSE", "CAFÉ", "cafe", "acme", "@ACME", "@acme", "@", "0% s", "1%s", "e_c", "ecc", "i̇s"),
    *("ǆ", "本", "\\", "@@acme", "sure snake", "", "nothing"),
)
PLATFORMS = ("instagram", "mastodon", "x")
EXPIRY_TIMES = (None, None, NOW - MILLISECOND, NOW, NOW + MILLISECOND)


class Row(NamedTuple):
    """Columns of an account that decide which filters it matches."""

    id: AccountId
    platform: str
    is_active: bool
    needs_reconnection_since: datetime | None
    token_expires_at: datetime | None
    account_name: str | None
    display_name: str | None
    platform_username: str | None

    def matches(self, filters: dict[str, Any]) -> bool:
        values = {
            "accountId": lambda ids: self.id in ids,
            "platform": lambda platforms: self.platform in platforms,
            "isActive": lambda is_active: self.is_active is is_active,
            "canPost": lambda can_post: self.can_post is can_post,
            "search": self.is_found,
        }
        return all(values[name](value) for name, value in filters.items())

    @property
    def can_post(self) -> bool:
        access = AccountAccess(self.is_active, self.needs_reconnection_since, self.token_expires_at)
        return blocking_reason(access, NOW) is None

    def is_found(self, search: str) -> bool:
        searched = {
            *((search, name) for name in (self.account_name, self.display_name)),
            (search.removeprefix("@"), self.platform_username),
        }
        return search == "" or any(
            name is not None and fold_for_search(text) in fold_for_search(name)
            for text, name in searched
        )


async def add_random_accounts(acme: Tenant, random: Random, count: int) -> list[Row]:
    rows = []
    for _ in range(count):
        columns: dict[str, Any] = {
            "platform": random.choice(PLATFORMS),
            "is_active": random.random() < 0.7,
            "needs_reconnection_since": random.choice([None, None, NOW]),
            "token_expires_at": random.choice(EXPIRY_TIMES),
            **{
                name: random.choice(NAMES)
                for name in ("account_name", "display_name", "platform_username")
            },
        }
        rows.append(Row(id=await add_account(acme.database, acme.workspace, **columns), **columns))
    return rows


def random_filters(random: Random, rows: list[Row]) -> dict[str, Any]:
    filters: dict[str, Any] = {
        "accountId": random.sample([row.id for row in rows], random.choice([0, 1, 20])),
        "platform": random.sample(PLATFORMS, random.choice([0, 1, 2])),
        "isActive": random.choice([True, False]),
        "canPost": random.choice([True, False]),
        "search": random.choice(SEARCHES),
    }
    return {name: value for name, value in filters.items() if random.random() < 0.4}


BOTH_LISTS = """
query ($filter: AccountFilter) {
  accounts(filter: $filter) { accountId }
  accountConnection(filter: $filter, first: 100) {
    totalCount totalCountCapped totalCountIsCapped nodes { accountId }
  }
}
"""


async def find_accounts(client: Client, **filters: Any) -> list[int]:
    """Return the numbers of the matching accounts; both lists and the counts must agree."""
    data = await client.query(BOTH_LISTS, filter=filters)
    found = [account["accountId"] for account in data["accounts"]]
    assert data["accountConnection"] == {
        "totalCount": len(found),
        "totalCountCapped": len(found),
        "totalCountIsCapped": False,
        "nodes": data["accounts"],
    }
    return found


async def test_every_filter_matches_what_a_plain_computation_does(acme: Tenant) -> None:
    random = Random(20)
    rows = await add_random_accounts(acme, random, 40)
    await add_random_accounts(await add_tenant(acme), random, 10)
    cases: list[dict[str, Any]] = [
        {},
        *({"search": search} for search in SEARCHES),
        *({"canPost": can_post, "isActive": True} for can_post in (True, False)),
        *(random_filters(random, rows) for _ in range(60)),
    ]
    for filters in cases:
        expected = [row.id for row in rows if row.matches(filters)]
        assert await find_accounts(acme.client, **filters) == expected, filters


@pytest.mark.parametrize(
    ("names", "search", "is_found"),
    [
        ({"account_name": "Acme"}, "CM", True),
        ({"display_name": "Acme"}, "CM", True),
        ({"platform_username": "acme"}, "@AC", True),
        ({"platform_username": "@acme"}, "@ac", True),
        ({"platform_username": "acme"}, "a@", False),
        ({"account_name": "acme"}, "@ac", False),
        ({"display_name": "acme"}, "@ac", False),
        ({"account_name": "Ac", "display_name": "me"}, "acme", False),
        ({"account_name": "Ac", "display_name": "me"}, "c\x1fm", False),
        ({"account_name": "c\x1fm"}, "c m", True),
        ({"platform_username": None}, "@", False),
        ({"platform_username": "a"}, "@", True),
        ({"account_name": "x" * 200}, "X" * 200, True),
    ],
)
async def test_search_finds_a_part_of_one_name(
    acme: Tenant, names: dict[str, Any], search: str, is_found: bool
) -> None:
    account = await add_account(acme.database, acme.workspace, **{"account_name": None, **names})
    assert await find_accounts(acme.client, search=search) == ([account] if is_found else [])


async def test_search_of_an_empty_workspace_finds_nothing(acme: Tenant) -> None:
    assert await find_accounts(acme.client, search="a") == []


async def test_names_are_read_once_for_a_page_with_totals(acme: Tenant) -> None:
    await add_account(acme.database, acme.workspace)
    with record_statements(acme.database) as statements:
        await acme.client.query(
            '{ accountConnection(filter: {search: "a"}) { totalCount nodes { accountId } } }'
        )
    assert len(statements) == 3  # the names, the page and the total


# Pages

TIMES = [NOW + minute * MINUTE for minute in (3, 1, 2, 1, 1, 3, 2, 1, 2)]
"""Times of accounts 1 to 9, with ties."""
PAGE = """
query ($orderBy: AccountOrder, $first: Int, $after: String, $last: Int, $before: String) {
  accountConnection(orderBy: $orderBy, first: $first, after: $after, last: $last, before: $before) {
    nodes { accountId }
    edges { cursor node { accountId } }
    pageInfo { hasNextPage hasPreviousPage startCursor endCursor }
  }
}
"""


async def add_timed_accounts(acme: Tenant, field: str) -> None:
    for at in TIMES:
        times = (NOW, at) if field == "CONNECTED_AT" else (at, NOW)
        await add_account(acme.database, acme.workspace, created_at=times[0], connected_at=times[1])


def expected_order(field: str, direction: str) -> list[int]:
    """Order by the number, or by time and number, all in one direction."""
    by_time = sorted((at, number) for number, at in enumerate(TIMES, start=1))
    numbers = sorted(range(1, len(TIMES) + 1))
    if field != "ACCOUNT_ID":
        numbers = [number for _, number in by_time]
    return numbers if direction == "ASC" else numbers[::-1]


async def query_page(client: Client, **arguments: Any) -> tuple[list[int], dict[str, Any]]:
    page = (await client.query(PAGE, **arguments))["accountConnection"]
    cursors = [edge["cursor"] for edge in page["edges"]]
    assert [edge["node"] for edge in page["edges"]] == page["nodes"]
    assert [page["pageInfo"]["startCursor"], page["pageInfo"]["endCursor"]] == (
        [cursors[0], cursors[-1]] if cursors else [None, None]
    )
    return [node["accountId"] for node in page["nodes"]], page


@pytest.mark.parametrize(
    ("field", "direction"),
    [*product(("ACCOUNT_ID", "CREATED_AT", "CONNECTED_AT"), ("ASC", "DESC"))],
)
async def test_pages_of_any_size_cover_the_list_in_both_directions(
    acme: Tenant, field: str, direction: str
) -> None:
    await add_timed_accounts(acme, field)
    expected, order = expected_order(field, direction), {"field": field, "direction": direction}
    for size in (1, 2, 4, 9, 100):
        after = before = None
        for start in range(0, len(expected), size):
            found, page = await query_page(acme.client, orderBy=order, first=size, after=after)
            assert found == expected[start : start + size]
            assert page_ends(page) == (start > 0, start + size < len(expected))
            after = page["pageInfo"]["endCursor"]
        for stop in range(len(expected), 0, -size):
            found, page = await query_page(acme.client, orderBy=order, last=size, before=before)
            assert found == expected[max(stop - size, 0) : stop]
            assert page_ends(page) == (stop - size > 0, stop < len(expected))
            before = page["pageInfo"]["startCursor"]


async def test_default_page_has_the_first_20_numbers(acme: Tenant) -> None:
    for _ in range(22):
        await add_account(acme.database, acme.workspace)
    for order in (None, {}, {"direction": "ASC"}):
        found, page = await query_page(acme.client, orderBy=order, first=None)
        assert (found, page_ends(page)) == ([*range(1, 21)], (False, True))


async def test_cursor_is_valid_only_in_its_list_order_and_workspace(acme: Tenant) -> None:
    await add_account(acme.database, acme.workspace)
    _, page = await query_page(acme.client)
    cursor = page["pageInfo"]["endCursor"]
    for root, order in (
        ("posts", ""),
        ("accountConnection", "orderBy: {field: CREATED_AT}"),
        ("accountConnection", "orderBy: {direction: DESC}"),
    ):
        assert await is_cursor_rejected(acme.client, root, cursor, order)
    assert await is_cursor_rejected((await add_tenant(acme)).client, "accountConnection", cursor)


INVALID_FILTERS = [
    ("accountId: [1, 0]", "INVALID_ID", "filter.accountId", ACCOUNT_ID_MESSAGE),
    (
        'platform: ["x", "a\\u0000"]',
        "VALIDATION_ERROR",
        "filter.platform",
        "filter.platform must not contain a NUL character.",
    ),
    (
        f'search: "{"x" * 201}"',
        "VALIDATION_ERROR",
        "filter.search",
        "filter.search is 201 characters long; at most 200 are allowed.",
    ),
]


@pytest.mark.parametrize("root", ["accounts", "accountConnection"])
@pytest.mark.parametrize(("values", "code", "field", "message"), INVALID_FILTERS)
async def test_invalid_filter_is_refused_with_its_name(
    acme: Tenant, root: str, values: str, code: str, field: str, message: str
) -> None:
    error = await acme.client.expect_error(f"{{ {root}(filter: {{{values}}}) {{ __typename }} }}")
    assert error == (code, field, message)
