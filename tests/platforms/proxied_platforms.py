"""Servers of platforms behind a port for a fault proxy, and accounts whose posts can be read there."""

import html
import re
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from app.domain.accounts import AccountPublisher
from app.platforms.protocol import CredentialValues
from tests.platform_servers.fault_proxy import RequestFilter
from tests.platform_servers.mastodon import (
    MastodonMockServer,
    SnacServer,
    run_mastodon_mock,
    run_snac,
)
from tests.platform_servers.pds import run_pds
from tests.servers import unused_port


@dataclass(frozen=True, slots=True)
class PlatformPost:
    """A post that a server lists."""

    id: str
    url: str
    text: str


@dataclass(frozen=True, slots=True)
class ProxiedAccount:
    """A new account, whose credentials name the proxy."""

    credentials: CredentialValues
    list_posts: Callable[[], Awaitable[Sequence[PlatformPost]]]
    """Returns all posts of the account, without the proxy."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProxiedPlatform:
    """A running server, to which adapters send requests through the port of a proxy."""

    publisher: AccountPublisher
    server_port: int
    proxy_port: int
    is_publication: RequestFilter
    is_lookup: RequestFilter
    create_account: Callable[[], Awaitable[ProxiedAccount]]


@contextmanager
def _proxied_pds(folder: Path) -> Iterator[ProxiedPlatform]:
    proxy_port = unused_port()
    with run_pds(folder, public_port=proxy_port, has_rate_limits=False) as server:

        async def create_account() -> ProxiedAccount:
            account = await server.create_account()

            async def list_posts() -> Sequence[PlatformPost]:
                return [
                    PlatformPost(
                        record["uri"], _bluesky_url(record["uri"]), record["value"]["text"]
                    )
                    for record in await server.records(account)
                ]

            credentials = {
                "identifier": account.handle,
                "appPassword": account.app_password,
                "service": server.url,
            }
            return ProxiedAccount(credentials, list_posts)

        yield ProxiedPlatform(
            publisher=AccountPublisher.BLUESKY,
            server_port=server.port,
            proxy_port=proxy_port,
            is_publication=lambda _method, path: path.endswith(".putRecord"),
            is_lookup=lambda _method, path: path.endswith(".getRecord"),
            create_account=create_account,
        )


def _bluesky_url(uri: str) -> str:
    _, _, did, _, key = uri.split("/")
    return f"https://bsky.app/profile/{did}/post/{key}"


@contextmanager
def _proxied_mastodon_mock(folder: Path) -> Iterator[ProxiedPlatform]:
    with run_mastodon_mock(folder) as server:
        yield _proxied_mastodon(server)


@contextmanager
def _proxied_snac(folder: Path) -> Iterator[ProxiedPlatform]:
    with run_snac(folder) as server:
        yield _proxied_mastodon(server)


def _proxied_mastodon(server: MastodonMockServer | SnacServer) -> ProxiedPlatform:
    proxy_port = unused_port()

    async def create_account() -> ProxiedAccount:
        account = await server.create_account()

        async def list_posts() -> Sequence[PlatformPost]:
            return [
                PlatformPost(status["id"], status["url"], _plain_text(status["content"]))
                for status in await server.statuses(account)
            ]

        credentials = {
            "instance": f"http://127.0.0.1:{proxy_port}",
            "accessToken": account.access_token,
        }
        return ProxiedAccount(credentials, list_posts)

    return ProxiedPlatform(
        publisher=AccountPublisher.MASTODON,
        server_port=server.port,
        proxy_port=proxy_port,
        is_publication=lambda method, path: method == "POST" and path == "/api/v1/statuses",
        is_lookup=lambda method, path: method == "GET" and path.endswith("/statuses"),
        create_account=create_account,
    )


def _plain_text(content: str) -> str:
    return html.unescape(re.sub("<[^>]+>", "", content)).strip()


PROXIED_PLATFORMS: Mapping[str, Callable[[Path], AbstractContextManager[ProxiedPlatform]]] = {
    "bluesky": _proxied_pds,
    "mastodon-mock": _proxied_mastodon_mock,
    "snac2": _proxied_snac,
}
"""Functions that start a platform with its data in a folder, by name; they skip the test without it."""
