"""The adapter protocol of platforms, and the adapters of this version."""

from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from pathlib import Path
from types import MappingProxyType

from app.platforms.protocol import PlatformAdapter
from app.platforms.sandbox import PLATFORM_NAME, Sandbox
from app.platforms.sandbox_store import SandboxStore
from app.settings import SettingsError

ADAPTER_PLATFORMS = (PLATFORM_NAME,)
"""Platforms that have an adapter."""


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
    now: Callable[[], datetime],
    sleep: Callable[[float], Awaitable[None]],
) -> Mapping[str, PlatformAdapter]:
    """Build the adapters of all platforms, by platform name."""
    return MappingProxyType(
        {PLATFORM_NAME: Sandbox(SandboxStore(sandbox_file), now=now, sleep=sleep)}
    )
