"""The documented call is answered as documented, key for key and byte for byte.

Two things differ from the documentation: the status of the post, which follows from its results,
and `meta`, which is new every time. Three keys follow the documented ones in every result.
"""

import orjson
import pytest

from app.db.core.database import Database
from app.demo import load_demo
from app.rest.endpoints import PREFIXES
from app.settings import read_settings
from tests.clients import app_client
from tests.factories import KEY_PREFIX, NOW
from tests.rest.envelope import check_envelope

POST = "f47ac10b-58cc-4372-a567-0e02b2c3d479"

DOCUMENTED_RESPONSE = """
{
  "data": {
    "post_id": "f47ac10b-58cc-4372-a567-0e02b2c3d479",
    "post_status": "partially_failed",
    "results": [
      {
        "account_id": 2280,
        "account_name": "@mybrand",
        "platform": "instagram",
        "status": "published",
        "published_at": "2026-04-15T14:30:05.000Z",
        "platform_post_id": "17895432678901234",
        "platform_post_url": "https://www.instagram.com/p/ABC123/",
        "error": null,
        "attempts": 1,
        "next_retry_at": null,
        "id": "d1e2f3a4-b5c6-7890-abcd-ef1234567890",
        "social_account_id": 2280,
        "last_error": null
      },
      {
        "account_id": 2282,
        "account_name": "@mybrand",
        "platform": "x",
        "status": "published",
        "published_at": "2026-04-15T14:30:03.000Z",
        "platform_post_id": "1780123456789012345",
        "platform_post_url": "https://x.com/mybrand/status/1780123456789012345",
        "error": null,
        "attempts": 1,
        "next_retry_at": null,
        "id": "e2f3a4b5-c6d7-8901-abcd-ef1234567890",
        "social_account_id": 2282,
        "last_error": null
      },
      {
        "account_id": 2285,
        "account_name": "My Brand Inc.",
        "platform": "linkedin",
        "status": "failed",
        "published_at": null,
        "platform_post_id": null,
        "platform_post_url": null,
        "error": "Token expired. Please reconnect your LinkedIn account.",
        "attempts": 3,
        "next_retry_at": null,
        "id": "f3a4b5c6-d7e8-9012-abcd-ef1234567890",
        "social_account_id": 2285,
        "last_error": "Token expired. Please reconnect your LinkedIn account."
      }
    ]
  },
  "error": null,
  "meta": {
    "request_id": "a1b2c3d4",
    "timestamp": "2026-04-15T15:00:00.000Z"
  }
}
"""


@pytest.mark.parametrize("prefix", PREFIXES)
async def test_the_documented_example_is_answered_as_documented(
    database: Database, prefix: str
) -> None:
    token = read_settings({}).demo_key()
    await load_demo(database, token=token, key_prefix=KEY_PREFIX, now=NOW)
    async with app_client(database, token=token) as client:
        response = await client.get(f"{prefix}/posts/{POST}/results")
    expected = orjson.loads(DOCUMENTED_RESPONSE)
    expected["meta"] = check_envelope(response)["meta"]
    assert response.content == orjson.dumps(expected)
    assert "Retry-After" not in response.headers
