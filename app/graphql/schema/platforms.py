"""Query field `platforms`: limits and content schemas of the platforms that the worker publishes on."""

import strawberry
from strawberry import field

from app.graphql.schema.inputs import to_record
from app.platforms.content_schemas import CONTENT_SCHEMAS
from app.platforms.limits import LIMITS_BY_PLATFORM


@strawberry.type(description="Setting of a post for a platform, in `platformContent`.")
class PlatformSetting:
    """GraphQL fields of `app.platforms.content_schemas.Member`."""

    name: str = field(description="Name of the setting.")
    description: str = field(description="Meaning of the setting, as a phrase.")
    values: list[str] = field(
        description="Accepted values; empty if `description` says what is accepted."
    )


@strawberry.type(
    description="Platform that the worker of this server publishes on, with the limits and the"
    " content of a post. Where the worker publishes, content with other names or values is refused."
)
class Platform:
    name: str = field(description="Name of the platform, as in `Account.platform`.")
    display_name: str = field(description="Name of the platform for people.")
    max_length: int = field(
        description="Longest text in graphemes, which are characters as people see them: an emoji is one. On"
        " Threads, an emoji counts as its bytes in UTF-8. On Mastodon, the setting `spoiler_text` counts too,"
        " and a mention counts without its domain."
    )
    max_length_bytes: int | None = field(
        description="Longest text in bytes of UTF-8, besides `maxLength`; null without such a limit."
    )
    url_length: int | None = field(
        description="Number of graphemes that each URL in a text counts as; null if it counts like any text."
    )
    min_media: int = field(description="Number of images that each post needs.")
    max_media: int = field(description="Largest number of images in a post.")
    max_media_bytes: int = field(description="Largest size of an image in bytes.")
    media_types: list[str] = field(description="Media types of images, such as `image/png`.")
    servers_may_differ: bool = field(
        description="True if these limits are defaults, and each server of the platform can have others."
        " When it publishes, the worker uses the length and the number of images that the server states."
    )
    content_types: list[str] = field(
        description="Accepted values of `contentType` in `platformContent`; all mean a post of the feed, as"
        " does null."
    )
    settings: list[PlatformSetting] = field(
        description="Accepted `settings` of the platform in `platformContent`."
    )


def platforms_with_limits() -> list[Platform]:
    """Return the platforms by name."""
    return [
        to_record(
            limits,
            Platform,
            media_types=[media_type.value for media_type in limits.media_types],
            content_types=list(CONTENT_SCHEMAS[platform].content_types),
            settings=[
                to_record(setting, PlatformSetting, values=list(setting.values))
                for setting in CONTENT_SCHEMAS[platform].settings
            ],
        )
        for platform, limits in sorted(LIMITS_BY_PLATFORM.items())
    ]
