"""Profiles of Bluesky accounts, as their own servers store them."""

from dataclasses import dataclass
from urllib.parse import urlencode

import msgspec


@dataclass(frozen=True, slots=True)
class Profile:
    """Name and picture of an account; None for what it does not have."""

    display_name: str | None
    avatar_url: str | None


NO_PROFILE = Profile(None, None)


class _Link(msgspec.Struct):
    cid: str = msgspec.field(name="$link")


class _Blob(msgspec.Struct):
    ref: _Link


class _ProfileRecord(msgspec.Struct, rename="camel"):
    display_name: str | None = None
    avatar: _Blob | None = None


def profile_parameters(did: str) -> dict[str, str]:
    """Return the parameters of `getRecord` for the profile of an account."""
    return {"repo": did, "collection": "app.bsky.actor.profile", "rkey": "self"}


def parse_profile(record: object, pds: str, did: str) -> Profile:
    """Return the profile of a record, with the picture's URL on the server; an empty one if it is invalid."""
    try:
        profile = msgspec.convert(record, _ProfileRecord)
    except msgspec.ValidationError:
        return NO_PROFILE
    avatar_url = None
    if profile.avatar is not None:
        query = urlencode({"did": did, "cid": profile.avatar.ref.cid})
        avatar_url = f"{pds.rstrip('/')}/xrpc/com.atproto.sync.getBlob?{query}"
    return Profile(profile.display_name or None, avatar_url)
