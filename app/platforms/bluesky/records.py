"""Records of Bluesky posts: keys and markers that follow from the publication, and contents."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from typing import Any

from app.domain.attempts import Publication
from app.domain.ids import DestinationId
from app.domain.times import format_instant, parse_instant
from app.platforms.bluesky.xrpc import read_member
from app.platforms.media import Media

_COLLECTION = "app.bsky.feed.post"
_MARKER_FIELD = "postResults"
_KEY_DIGITS = "234567abcdefghijklmnopqrstuvwxyz"
_KEY_LENGTH = 13
_SALTS = range(3)
"""Of 50 posts of one second, two have the same key in 1 of 1,000,000 cases; then the next salt is used."""


@dataclass(frozen=True, slots=True)
class RecordAddress:
    """Place of a record: the DID of its account, and its key in the collection of posts."""

    did: str
    key: str

    @property
    def uri(self) -> str:
        """Permanent identifier of the record."""
        return f"at://{self.did}/{_COLLECTION}/{self.key}"

    @property
    def parameters(self) -> dict[str, str]:
        """Parameters of the methods that read or write the record."""
        return {"repo": self.did, "collection": _COLLECTION, "rkey": self.key}

    def publication(self, record: Mapping[str, Any]) -> Publication:
        """Return the publication of the record; the DID in its URL outlives a change of the handle."""
        return Publication(
            platform_post_id=self.uri,
            platform_post_url=f"https://bsky.app/profile/{self.did}/post/{self.key}",
            published_at=parse_instant(read_member(record, "createdAt", str)),
        )


def make_publication_key(destination_id: DestinationId, forced_retries: int) -> bytes:
    """Return the key of a publication as bytes, from which the key and the marker of its record follow.

    It changes when `PublishRequest.publication_key` does.
    """
    return destination_id.bytes + (forced_retries.to_bytes(4) if forced_retries else b"")


def record_addresses(did: str, publication_key: bytes, created_at: datetime) -> list[RecordAddress]:
    """Return the addresses that a publication's record can have, the same in every attempt.

    Each one after the first is used only if a record of another publication has those before it.
    """
    return [RecordAddress(did, record_key(publication_key, created_at, salt)) for salt in _SALTS]


def record_key(publication_key: bytes, created_at: datetime, salt: int) -> str:
    """Return a timestamp identifier (TID): microseconds since 1970, and 10 bits that distinguish clocks.

    It is in the second of the destination's creation. The rest follows from the publication and the salt.
    """
    digest = sha256(publication_key + bytes([salt])).digest()
    hashed = int.from_bytes(digest[:8], "big")
    microseconds = int(created_at.timestamp()) * 1_000_000 + (hashed >> 10) % 1_000_000
    number = microseconds << 10 | hashed & 0x3FF
    return "".join(_KEY_DIGITS[number >> 5 * i & 0x1F] for i in reversed(range(_KEY_LENGTH)))


def make_record(
    text: str,
    *,
    languages: object,
    facets: Sequence[Mapping[str, object]],
    images: Sequence[Mapping[str, object]],
    publication_key: bytes,
    created_at: datetime,
) -> dict[str, object]:
    """Return the record of a post. Servers store the marker, although no schema has it."""
    record: dict[str, object] = {
        "$type": _COLLECTION,
        "text": text,
        "createdAt": format_instant(created_at),
        "langs": languages,
        "facets": facets,
        _MARKER_FIELD: publication_marker(publication_key),
    }
    if images:
        record["embed"] = {"$type": "app.bsky.embed.images", "images": images}
    return record


def publication_marker(publication_key: bytes) -> str:
    """Return the value by which a record shows the publication that it belongs to."""
    return sha256(b"post-results:" + publication_key).hexdigest()[:16]


def has_marker(record: Mapping[str, Any], publication_key: bytes) -> bool:
    """Return whether a stored record is that of the publication, even if its text was changed."""
    return record.get(_MARKER_FIELD) == publication_marker(publication_key)


def embedded_image(media: Media, blob: Mapping[str, Any]) -> Mapping[str, object]:
    """Return the image of a record for uploaded media."""
    image = {"image": blob, "alt": media.alt}
    if media.width is not None and media.height is not None:
        image["aspectRatio"] = {"width": media.width, "height": media.height}
    return image
