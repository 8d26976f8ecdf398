"""Names of platforms for people."""

from collections.abc import Mapping

PLATFORM_NAMES: Mapping[str, str] = {
    "bluesky": "Bluesky",
    "facebook": "Facebook",
    "instagram": "Instagram",
    "linkedin": "LinkedIn",
    "mastodon": "Mastodon",
    "pinterest": "Pinterest",
    "threads": "Threads",
    "tiktok": "TikTok",
    "x": "X",
    "youtube": "YouTube",
}
"""Names by those of the API, which accounts have. The board has the same, in `text/reasons.ts`."""


def platform_name(platform: str) -> str:
    """Return the name of a platform for people; a platform that is not listed has that of the API."""
    return PLATFORM_NAMES.get(platform, platform)
