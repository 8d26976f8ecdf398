"""Builds the adapters of all platforms."""

from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from pathlib import Path
from types import MappingProxyType

from app.domain.accounts import AccountPublisher
from app.domain.times import Clock
from app.outbound.client import OutboundClient
from app.platforms.bluesky.adapter import Bluesky
from app.platforms.limits import BLUESKY_LIMITS, MASTODON_LIMITS
from app.platforms.mastodon.adapter import Mastodon
from app.platforms.mastodon.limits import MAX_MEDIA
from app.platforms.media_downloads import load_media
from app.platforms.meta.adapter import MetaAdapter
from app.platforms.meta.descriptions import INSTAGRAM, THREADS
from app.platforms.protocol import PlatformAdapter
from app.platforms.sandbox import Sandbox
from app.platforms.sandbox_store import SandboxStore
from app.platforms.webhook_publisher import WebhookPublisher
from app.settings import SettingsError

ADAPTER_PLATFORMS = tuple(
    publisher.platform for publisher in AccountPublisher if publisher.platform is not None
)
"""Platforms that have an adapter of their own."""


def check_sandbox_file(file: Path | None) -> None:
    """Raises SettingsError if the sandbox cannot store its posts in the file."""
    try:
        SandboxStore(file).check_access()
    except OSError as error:
        raise SettingsError(
            f"SANDBOX_FILE: {file} cannot be read and written: {error.strerror}."
        ) from None


def make_adapters(
    *,
    sandbox_file: Path | None,
    client: OutboundClient,
    now: Clock,
    sleep: Callable[[float], Awaitable[None]],
) -> Mapping[AccountPublisher, PlatformAdapter]:
    """Build all adapters."""
    return MappingProxyType(
        {
            AccountPublisher.SANDBOX: Sandbox(SandboxStore(sandbox_file), now=now, sleep=sleep),
            AccountPublisher.BLUESKY: Bluesky(
                client=client,
                now=now,
                fetch_media=partial(
                    load_media,
                    client,
                    max_bytes=BLUESKY_LIMITS.max_media_bytes,
                    max_media=BLUESKY_LIMITS.max_media,
                ),
            ),
            AccountPublisher.MASTODON: Mastodon(
                client=client,
                now=now,
                sleep=sleep,
                fetch_media=partial(
                    load_media,
                    client,
                    max_bytes=MASTODON_LIMITS.max_media_bytes,
                    max_media=MAX_MEDIA,
                ),
            ),
            AccountPublisher.WEBHOOK: WebhookPublisher(client, now=now),
            AccountPublisher.THREADS: MetaAdapter(THREADS, client=client, now=now, sleep=sleep),
            AccountPublisher.INSTAGRAM: MetaAdapter(INSTAGRAM, client=client, now=now, sleep=sleep),
        }
    )
