"""Media of a post as a platform adapter uploads it."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from app.platforms.protocol import PublishRequest


@dataclass(frozen=True, slots=True, kw_only=True)
class Media:
    """An image, with its content."""

    content: bytes = field(repr=False)
    content_type: str
    """Media type such as `image/png`."""
    alt: str
    """Description for people who cannot see it; empty if the post has none."""
    width: int | None
    """Pixels; None if unknown, like `height`."""
    height: int | None


FetchMedia: TypeAlias = Callable[[PublishRequest], Awaitable[Sequence[Media]]]
"""Function that returns the media of a post in order; raises NotPublished if it cannot load one."""
