"""Media of posts: images in `data:` URLs, which reads show by type, size and digest only."""

import base64
from collections.abc import Mapping, Sequence
from hashlib import sha256
from urllib.parse import unquote_to_bytes

from app.domain.errors import InvalidInput
from app.domain.validation.text import validate_text

MAX_DATA_URL_BYTES = 256 * 1024
"""Bytes of all `data:` URLs of a post together."""

_DESCRIPTION_MEMBERS = {"contentType", "size", "sha256"}
"""Members of the `data` that describes an image."""


def data_url(item: object) -> str | None:
    """Return the `url` of a media item if it is a `data:` URL; else None."""
    url = item.get("url") if isinstance(item, Mapping) else None
    return url if isinstance(url, str) and url[:5].lower() == "data:" else None


def parse_data_url(url: str, argument: str) -> tuple[str, bytes]:
    """Return the declared type, which may be empty, and the content of a `data:` URL, RFC 2397.

    Raises InvalidInput if the URL is not valid.
    """
    head, comma, data = url.partition(",")
    media_type, *parameters = head[len("data:") :].lower().split(";")
    if not comma:
        raise InvalidInput(
            f"{argument} is not a valid data: URL, such as data:image/png;base64,….",
            argument=argument,
        )
    if parameters[-1:] != ["base64"]:
        return media_type.strip(), unquote_to_bytes(data)
    try:
        return media_type.strip(), base64.b64decode(data, validate=True)
    except ValueError:
        raise InvalidInput(f"{argument} is not valid base64.", argument=argument) from None


def check_data_urls(media: Sequence[object]) -> None:
    """Raise InvalidInput if a `data:` URL is not valid, or if all together are too long."""
    urls = {index: url for index, item in enumerate(media) if (url := data_url(item)) is not None}
    size = sum(len(url.encode(errors="surrogatepass")) for url in urls.values())
    if size > MAX_DATA_URL_BYTES:
        raise InvalidInput(
            f"The data: URLs in media have {size:,} bytes together; at most {MAX_DATA_URL_BYTES:,} are"
            " allowed. Use smaller images, or their https: URLs.",
            argument="media",
        )
    for index, url in urls.items():
        argument = f"media[{index}].url"
        parse_data_url(validate_text(url, argument, max_length=MAX_DATA_URL_BYTES), argument)


def strip_data_urls(media: Sequence[object]) -> Sequence[object]:
    """Return the media without the members `url` that are `data:` URLs."""
    return [
        {name: value for name, value in item.items() if name != "url"}
        if isinstance(item, Mapping) and data_url(item) is not None
        else item
        for item in media
    ]


def describe_media(media: Sequence[object]) -> Sequence[object]:
    """Return the media as readers see them: a `data:` URL is replaced by `data`, which describes it."""
    return [_describe_item(item) for item in media]


def restore_data_urls(media: Sequence[object], stored: Sequence[object]) -> Sequence[object]:
    """Return media that a client may have read, with the stored `data:` URL in place of each description.

    Raises InvalidInput if `data` describes an image that is not among the stored media, unless the item
    itself is: an older version stored any.
    """
    digests = {
        index: digest for index, item in enumerate(media) if (digest := _referenced_digest(item))
    }
    if not digests:
        return media
    urls = {
        _describe_content(url)["sha256"]: url
        for item in stored
        if (url := data_url(item)) is not None
    }
    for index, digest in digests.items():
        if digest not in urls and media[index] not in stored:
            raise InvalidInput(
                f"media[{index}].data.sha256 is not the digest of an image of this post. Replace `data` by"
                " `url`, with the image as a data: URL or its https: URL.",
                argument=f"media[{index}].data.sha256",
            )
    return [
        item
        if (url := urls.get(digests.get(index))) is None
        else _replace_member(item, "data", "url", url)
        for index, item in enumerate(media)
    ]


def _describe_item(item: object) -> object:
    url = data_url(item)
    return item if url is None else _replace_member(item, "url", "data", _describe_content(url))


def _describe_content(url: str) -> Mapping[str, object]:
    """Return type, size and digest of the content; of the URL, if an import stored an invalid one."""
    try:
        media_type, content = parse_data_url(url, "url")
    except InvalidInput:
        media_type, content = "", url.encode()
    return {
        "contentType": media_type or None,
        "size": len(content),
        "sha256": sha256(content).hexdigest(),
    }


def _referenced_digest(item: object) -> str | None:
    """Return the digest in the `data` of an item that was read; None for any other item."""
    if not isinstance(item, Mapping) or "url" in item:
        return None
    data = item.get("data")
    if not isinstance(data, Mapping) or data.keys() != _DESCRIPTION_MEMBERS:
        return None
    digest = data["sha256"]
    return digest if isinstance(digest, str) else None


def _replace_member(
    item: object, name: str, new_name: str, new_value: object
) -> Mapping[object, object]:
    """Return an item with another member at the place of `name`."""
    assert isinstance(item, Mapping)  # noqa: S101 - the callers have read the member
    return {
        (new_name if key == name else key): (new_value if key == name else value)
        for key, value in item.items()
        if key != new_name
    }
