"""URLs of profiles on platforms, for platforms whose profiles have a stable URL with the user name.

LinkedIn is missing, because its URL depends on whether the account is of a person or of a company.
"""

import re
from collections.abc import Mapping
from urllib.parse import quote

_URL_PREFIXES: Mapping[str, str] = {
    "facebook": "https://www.facebook.com/",
    "instagram": "https://www.instagram.com/",
    "pinterest": "https://www.pinterest.com/",
    "reddit": "https://www.reddit.com/user/",
    "telegram": "https://t.me/",
    "threads": "https://www.threads.com/@",
    "tiktok": "https://www.tiktok.com/@",
    "tumblr": "https://www.tumblr.com/",
    "twitch": "https://www.twitch.tv/",
    "twitter": "https://x.com/",
    "x": "https://x.com/",
    "youtube": "https://www.youtube.com/@",
}
"""URL of a profile up to the user name."""

_NOT_IN_USERNAME = re.compile(r"[\s/\\:@]")
"""Characters that no user name has; they would change the host or path of the URL."""

_HOST = re.compile(
    r"(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z](?:[a-z0-9-]{0,61}[a-z0-9])?",
    re.ASCII | re.IGNORECASE,
)
"""ASCII domain name. The last label starts with a letter, which excludes IPv4 addresses."""


def profile_url(platform: str, username: str | None) -> str | None:
    """Return the https URL of an account's profile; None if the platform or the user name is unknown.

    The user name may start with `@`. An invalid one has no URL, so that none leads to another host or path.
    """
    name = (username or "").removeprefix("@")
    if platform == "mastodon":
        name, _, host = name.partition("@")
        return _url(f"https://{host.lower()}/@", name) if _HOST.fullmatch(host) else None
    if platform == "bluesky":  # where the user name is a domain name
        return f"https://bsky.app/profile/{name.lower()}" if _HOST.fullmatch(name) else None
    start = _URL_PREFIXES.get(platform)
    return None if start is None else _url(start, name)


def _url(start: str, name: str) -> str | None:
    is_dots = not name.strip(".")  # which browsers remove from a path
    if is_dots or not name.isprintable() or _NOT_IN_USERNAME.search(name):
        return None
    return start + quote(name, safe="")
