"""Containers of a post: their parameters, and the checkpoint of the one that is published."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import PurePosixPath
from urllib.parse import urlsplit

import msgspec
import orjson

from app.domain.errors import InvalidInput
from app.domain.media import data_url
from app.domain.validation.text import comparable_text, validate_url
from app.platforms.graphemes import check_character_count
from app.platforms.limits import ImageType
from app.platforms.media_checks import (
    alternative_text,
    check_media_count,
    check_media_ids,
    check_not_empty,
    item_url,
    media_error,
)
from app.platforms.meta.descriptions import MetaPlatform
from app.platforms.protocol import PublishRequest, content_error, read_settings
from app.platforms.responses import text_or_none

_MAX_ALT_LENGTH = 1000
"""Characters of a description, on both platforms."""

_MEDIA_TYPES = {
    ".jpg": ImageType.JPEG,
    ".jpeg": ImageType.JPEG,
    ".png": ImageType.PNG,
    ".gif": ImageType.GIF,
    ".webp": ImageType.WEBP,
    ".mp4": "video/mp4",
    ".mov": "video/quicktime",
}
"""Media types by the extension of a URL. Meta checks the files of URLs without one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerPlan:
    """Containers of a post."""

    children: Sequence[Mapping[str, str]]
    """Parameters of the containers in a carousel; empty without one."""
    parameters: Mapping[str, str]
    """Parameters of the container to publish, without the ids of its children."""
    text: str
    post_media_type: str
    """`media_type` that the platform lists for the published post."""

    @property
    def fingerprint(self) -> str:
        """Digest by which the same content is recognised."""
        return _digest(orjson.dumps([*self.children, self.parameters], option=orjson.OPT_SORT_KEYS))


class ContainerCheckpoint(msgspec.Struct, frozen=True, rename="camel"):
    """Container that an attempt publishes, saved before that."""

    container: str
    fingerprint: str = msgspec.field(name="content")
    """`ContainerPlan.fingerprint` of its content."""
    text_digest: str
    post_media_type: str
    created_at: datetime
    sent_at: datetime
    """Time before the request that publishes."""

    def matches(self, post: Mapping[str, object], text: object) -> bool:
        """Return whether a post of the account has the text and type of the container."""
        return (
            post.get("media_type") == self.post_media_type and text_digest(text) == self.text_digest
        )


def text_digest(text: object) -> str:
    """Return the digest of a post's text, which a platform leaves out if it is empty."""
    return _digest(comparable_text(text_or_none(text) or "").encode())


def plan_containers(platform: MetaPlatform, request: PublishRequest) -> ContainerPlan:
    """Return the containers of a post; raises NotPublished for one that the platform does not accept."""
    check_media_ids(request.media_ids)
    check_media_count(len(request.media), platform.limits.max_media, platform.display_name)
    text = request.content if request.content.strip() else ""
    check_text_length(platform, text)
    images = image_parameters(platform, text, request.media)
    shared = {name: str(value) for name, value in read_settings(request, platform.content).items()}
    if text:
        shared[platform.text_field] = text
    match images:
        case []:
            return ContainerPlan(
                children=(),
                parameters={"media_type": "TEXT", **shared},
                text=text,
                post_media_type="TEXT_POST",
            )
        case [image]:
            return ContainerPlan(
                children=(), parameters={**image, **shared}, text=text, post_media_type="IMAGE"
            )
        case _:
            return ContainerPlan(
                children=[{**image, "is_carousel_item": "true"} for image in images],
                parameters={"media_type": "CAROUSEL", **shared},
                text=text,
                post_media_type="CAROUSEL_ALBUM",
            )


def check_text_length(platform: MetaPlatform, text: str) -> None:
    """Raise NotPublished if a text is longer than the platform allows."""
    check_character_count(
        partial(platform.count_characters, text), platform.limits.max_length, platform.display_name
    )


def image_parameters(
    platform: MetaPlatform, text: str, media: Sequence[object]
) -> Sequence[Mapping[str, str]]:
    """Return the parameters of a container for each image.

    Raises NotPublished for an image that is not accepted, and for a post without the image or text it needs.
    """
    if len(media) < platform.limits.min_media:
        raise content_error(
            "IMAGE_MISSING", f"A post on {platform.display_name} needs an image. Add one to media."
        )
    check_not_empty(text, media)
    return [
        _image_parameters(platform, item, f"media[{index}]") for index, item in enumerate(media)
    ]


def _image_parameters(platform: MetaPlatform, item: object, name: str) -> dict[str, str]:
    url, alt = item_url(item, name), alternative_text(item)
    if data_url(item) is not None:
        raise media_error(
            f"{name} is a data: URL, but {platform.display_name} loads images from public URLs only. Put the"
            " image on a web server, and use its URL."
        )
    try:
        validate_url(url, name)
    except InvalidInput as error:
        raise media_error(error.message) from None
    media_type = _MEDIA_TYPES.get(PurePosixPath(urlsplit(url).path).suffix.lower())
    accepted = platform.limits.media_types
    if media_type not in (None, *accepted):
        raise media_error(
            f"{name} is {media_type}, but {platform.display_name} accepts {' and '.join(accepted)} only."
            " Convert it."
        )
    if len(alt) > _MAX_ALT_LENGTH:
        raise media_error(
            f"The alt text of {name} has {len(alt)} characters; {platform.display_name} allows"
            f" {_MAX_ALT_LENGTH}. Shorten it."
        )
    described = {"alt_text": alt} if alt else {}
    return {**platform.fixed_image_parameters, "image_url": url, **described}


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
