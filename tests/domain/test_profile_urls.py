"""URLs of profiles: exact URLs of known platforms, and none for what is no user name."""

from urllib.parse import unquote, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.profile_urls import profile_url

URLS = {
    "facebook": "https://www.facebook.com/acme",
    "instagram": "https://www.instagram.com/acme",
    "pinterest": "https://www.pinterest.com/acme",
    "reddit": "https://www.reddit.com/user/acme",
    "telegram": "https://t.me/acme",
    "threads": "https://www.threads.com/@acme",
    "tiktok": "https://www.tiktok.com/@acme",
    "tumblr": "https://www.tumblr.com/acme",
    "twitch": "https://www.twitch.tv/acme",
    "twitter": "https://x.com/acme",
    "x": "https://x.com/acme",
    "youtube": "https://www.youtube.com/@acme",
}
HOSTS = {urlsplit(url).netloc for url in URLS.values()} | {"bsky.app"}


@pytest.mark.parametrize("username", ["acme", "@acme"])
def test_each_platform_has_its_url(username: str) -> None:
    assert {platform: profile_url(platform, username) for platform in URLS} == URLS


@pytest.mark.parametrize(
    ("platform", "username", "url"),
    [
        ("youtube", "@müller", "https://www.youtube.com/@m%C3%BCller"),
        ("x", "a?b#c%2f", "https://x.com/a%3Fb%23c%252f"),
        ("instagram", "my.brand_1", "https://www.instagram.com/my.brand_1"),
        ("bluesky", "Acme.bsky.social", "https://bsky.app/profile/acme.bsky.social"),
        ("bluesky", "@acme.example", "https://bsky.app/profile/acme.example"),
        ("mastodon", "acme@Mastodon.social", "https://mastodon.social/@acme"),
        ("mastodon", "@acme@social.example", "https://social.example/@acme"),
        ("mastodon", "acme@xn--bcher-kva.example", "https://xn--bcher-kva.example/@acme"),
    ],
)
def test_user_name_is_encoded_and_host_is_normalized(
    platform: str, username: str, url: str
) -> None:
    assert profile_url(platform, username) == url


@pytest.mark.parametrize("platform", ["linkedin", "google_business", "sandbox", "X", ""])
def test_platform_without_certain_urls_has_none(platform: str) -> None:
    assert profile_url(platform, "acme") is None


NO_USER_NAMES = [
    *(None, "", "@", "@@acme", ".", "..", "...", "my brand", " acme", "acme\n", "a\u2003b", "a\0b"),
    *("a/b", "../x", "u/acme", "a\\b", "https://evil.example", "javascript:alert(1)", "//evil"),
    *("a@b", "\ud800", "a\u202eb"),
]


@pytest.mark.parametrize("username", NO_USER_NAMES)
def test_text_that_is_no_user_name_has_no_url(username: str | None) -> None:
    assert {profile_url(platform, username) for platform in (*URLS, "bluesky")} == {None}


NO_HOSTS = [
    *(
        "",
        "localhost",
        "127.0.0.1",
        "0x7f.1",
        "1.2.3.0x4",
        "[::1]",
        "a.b:80",
        "a.b/c",
        "a b.example",
    ),
    *("-a.example", "a-.example", "a..example", "a.example.", ".example", "a.example@evil.example"),
    *("a.example?x", "a.example#x", "bücher.example", "social.\u212aom", "a.example\n"),
]


@pytest.mark.parametrize("host", NO_HOSTS)
def test_host_that_is_no_domain_name_has_no_url(host: str) -> None:
    assert profile_url("mastodon", f"acme@{host}") is None
    assert profile_url("bluesky", host) is None


@pytest.mark.parametrize("username", ["", ".", "a b", "a/b", "a:b"])
def test_mastodon_user_name_is_checked_like_any_other(username: str) -> None:
    assert profile_url("mastodon", f"{username}@social.example") is None


@given(st.sampled_from([*URLS, "bluesky"]), st.text())
def test_url_of_any_text_leads_to_the_user_name_on_the_platform(
    platform: str, username: str
) -> None:
    url = profile_url(platform, username)
    if url is not None:
        parts = urlsplit(url)
        assert (parts.scheme, parts.query, parts.fragment) == ("https", "", "")
        assert parts.netloc in HOSTS
        last = unquote(parts.path.rsplit("/", 1)[-1]).removeprefix("@")
        name = username.removeprefix("@")
        assert last == (name.lower() if platform == "bluesky" else name)
