"""The adapters that this version has, by the platform's name. What they do is theirs."""

from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from pathlib import Path
from types import MappingProxyType

from app.platforms.ledger import Ledger
from app.platforms.protocol import Platform
from app.platforms.sandbox import NAME, Sandbox


def make_adapters(
    *,
    sandbox_file: Path | None,
    now: Callable[[], datetime],
    sleep: Callable[[float], Awaitable[None]],
) -> Mapping[str, Platform]:
    return MappingProxyType({NAME: Sandbox(Ledger(sandbox_file), now=now, sleep=sleep)})
