"""Query of the limits of platforms, and the table of the guide."""

from app.platforms.content_schemas import CONTENT_SCHEMAS
from tests.clients import Tenant
from tests.guides import guide

QUERY = """
{
  platforms {
    name displayName maxLength maxLengthBytes urlLength minMedia maxMedia maxMediaBytes mediaTypes
    serversMayDiffer
  }
}
"""
IMAGE_TYPES = ["image/jpeg", "image/png", "image/gif", "image/webp"]


async def test_platforms_have_their_documented_limits(acme: Tenant) -> None:
    assert await acme.client.query(QUERY) == {
        "platforms": [
            {
                "name": "bluesky",
                "displayName": "Bluesky",
                "maxLength": 300,
                "maxLengthBytes": 3000,
                "urlLength": None,
                "minMedia": 0,
                "maxMedia": 4,
                "maxMediaBytes": 2_000_000,
                "mediaTypes": IMAGE_TYPES,
                "serversMayDiffer": False,
            },
            {
                "name": "instagram",
                "displayName": "Instagram",
                "maxLength": 2200,
                "maxLengthBytes": None,
                "urlLength": None,
                "minMedia": 1,
                "maxMedia": 10,
                "maxMediaBytes": 8_388_608,
                "mediaTypes": ["image/jpeg"],
                "serversMayDiffer": False,
            },
            {
                "name": "mastodon",
                "displayName": "Mastodon",
                "maxLength": 500,
                "maxLengthBytes": None,
                "urlLength": 23,
                "minMedia": 0,
                "maxMedia": 4,
                "maxMediaBytes": 16_777_216,
                "mediaTypes": IMAGE_TYPES,
                "serversMayDiffer": True,
            },
            {
                "name": "threads",
                "displayName": "Threads",
                "maxLength": 500,
                "maxLengthBytes": None,
                "urlLength": None,
                "minMedia": 0,
                "maxMedia": 20,
                "maxMediaBytes": 8_388_608,
                "mediaTypes": ["image/jpeg", "image/png"],
                "serversMayDiffer": False,
            },
        ]
    }


async def test_platforms_have_their_content_schemas(acme: Tenant) -> None:
    document = "{ platforms { name contentTypes settings { name description values } } }"
    assert (await acme.client.query(document))["platforms"] == [
        {
            "name": name,
            "contentTypes": list(schema.content_types),
            "settings": [
                {
                    "name": setting.name,
                    "description": setting.description,
                    "values": list(setting.values),
                }
                for setting in schema.settings
            ],
        }
        for name, schema in sorted(CONTENT_SCHEMAS.items())
    ]


async def test_table_of_the_guide_equals_the_query(acme: Tenant) -> None:
    rows = [
        [
            f"`{platform['name']}`",
            format_number(platform["maxLength"]),
            format_number(platform["maxLengthBytes"]),
            format_number(platform["urlLength"]),
            f"{platform['minMedia']} to {platform['maxMedia']}",
            format_number(platform["maxMediaBytes"]),
            ", ".join(f"`{media_type}`" for media_type in platform["mediaTypes"]),
            "yes" if platform["serversMayDiffer"] else "no",
        ]
        for platform in (await acme.client.query(QUERY))["platforms"]
    ]
    assert guide("platforms").section("Limits").table_rows("platform") == rows


def format_number(number: int | None) -> str:
    return "–" if number is None else f"{number:,}"
