"""The error catalog: the domain's tables, whole and in their order."""

import pytest

from app.db.core.database import Database
from app.domain.diagnosis import ADVICE
from app.domain.errors import concrete_errors
from tests.clients import Tenant, app_client
from tests.factories import add_api_key, add_workspace

CATALOG = """
query ($part: ErrorCatalogPart) {
  errorCatalog(part: $part) {
    code source retryable fix errorCode httpStatus category nextAction
  }
}
"""

REQUEST = [
    {
        "code": error.code.name,
        "source": "SYSTEM" if error.http_status in (500, 503) else "USER",
        "retryable": error.http_status in (429, 500, 503),
        "fix": error.fix,
        "errorCode": error.code.name,
        "httpStatus": error.http_status,
        "category": None,
        "nextAction": None,
    }
    for error in concrete_errors()
]
PUBLISHING = [
    {
        "code": advice.code,
        "source": advice.source.name,
        "retryable": advice.retryable,
        "fix": advice.fix,
        "errorCode": None,
        "httpStatus": None,
        "category": advice.category.name,
        "nextAction": advice.next_action.name,
    }
    for advice in ADVICE
]


@pytest.mark.parametrize(
    ("part", "entries"),
    [("REQUEST", REQUEST), ("PUBLISHING", PUBLISHING), (None, REQUEST + PUBLISHING)],
)
async def test_the_catalog_lists_every_error_of_the_domain(
    acme: Tenant, part: str | None, entries: list[dict[str, object]]
) -> None:
    assert await acme.client.query(CATALOG, part=part) == {"errorCatalog": entries}


async def test_no_code_stands_twice_in_the_catalog(acme: Tenant) -> None:
    data = await acme.client.query("{ errorCatalog { code } }")
    codes = [entry["code"] for entry in data["errorCatalog"]]
    assert len(codes) == len(set(codes)) == len(REQUEST) + len(PUBLISHING)


async def test_the_catalog_needs_a_key_but_no_scope(database: Database) -> None:
    key = await add_api_key(database, await add_workspace(database), scopes=[])
    async with app_client(database, token=key.token) as client:
        assert await client.query(CATALOG) == {"errorCatalog": REQUEST + PUBLISHING}
