"""Differences between Threads and Instagram, whose APIs publish by the same steps.

From the pages /docs/threads/posts, /docs/threads/reference/publishing, /docs/threads/overview,
/docs/threads/threads-profiles, /docs/instagram-platform/content-publishing and
/docs/instagram-platform/instagram-graph-api/reference/ig-user/media of https://developers.facebook.com.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from app.platforms.content_schemas import INSTAGRAM_CONTENT, THREADS_CONTENT, ContentSchema
from app.platforms.graphemes import count_graphemes, count_with_emojis_as_bytes
from app.platforms.limits import INSTAGRAM_LIMITS, THREADS_LIMITS, PlatformLimits


@dataclass(frozen=True, slots=True, kw_only=True)
class MetaPlatform:
    """Description of one platform and its API."""

    limits: PlatformLimits
    origin: str
    version: str
    """Version of the API, the first part of its paths."""
    posts_path: str
    """Path, below the user, that creates containers and lists posts."""
    publish_path: str
    limit_path: str
    refresh_grant: str
    """`grant_type` of a request that renews an access token."""
    text_field: str
    """Name of the text of containers and posts."""
    status_field: str
    """Name of the status of containers."""
    reason_field: str
    """Name of the reason why a container failed."""
    fixed_image_parameters: Mapping[str, str]
    """Parameters that all containers with an image have."""
    identity_fields: Mapping[str, str]
    """Fields of the user, by those of `AccountIdentity`."""
    content: ContentSchema
    """Schema of posts, whose settings are parameters of containers."""
    count_characters: Callable[[str, int], int]
    """Function that counts a text up to a number."""

    @property
    def display_name(self) -> str:
        """Name of the platform for people."""
        return self.limits.display_name


THREADS = MetaPlatform(
    limits=THREADS_LIMITS,
    origin="https://graph.threads.net",
    version="v1.0",
    posts_path="threads",
    publish_path="threads_publish",
    limit_path="threads_publishing_limit",
    refresh_grant="th_refresh_token",
    text_field="text",
    status_field="status",
    reason_field="error_message",
    fixed_image_parameters={"media_type": "IMAGE"},
    identity_fields={
        "platform_user_id": "id",
        "username": "username",
        "display_name": "name",
        "avatar_url": "threads_profile_picture_url",
    },
    content=THREADS_CONTENT,
    count_characters=count_with_emojis_as_bytes,
)

INSTAGRAM = MetaPlatform(
    limits=INSTAGRAM_LIMITS,
    origin="https://graph.instagram.com",
    version="v25.0",
    posts_path="media",
    publish_path="media_publish",
    limit_path="content_publishing_limit",
    refresh_grant="ig_refresh_token",
    text_field="caption",
    status_field="status_code",
    reason_field="status",
    fixed_image_parameters={},
    identity_fields={
        "platform_user_id": "user_id",
        "username": "username",
        "display_name": "name",
        "avatar_url": "profile_picture_url",
    },
    content=INSTAGRAM_CONTENT,
    count_characters=count_graphemes,
)
