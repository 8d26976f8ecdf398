"""Schemas of the content of posts on the platforms that the worker publishes on.

A schema is closed: whatever it does not have is refused, because the platform would not get it. Limits of
texts and images are checked by `content_checks`.
"""

import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from itertools import islice
from typing import NamedTuple

from app.domain.accounts import AccountPublisher
from app.domain.errors import InvalidInput
from app.domain.media import data_url
from app.domain.outbound_rules import OutboundRules
from app.domain.platform_names import PLATFORM_NAMES
from app.domain.posts import Post
from app.domain.validation.json_values import display_key
from app.domain.validation.object_reader import ObjectReader
from app.domain.validation.outbound_urls import parse_outbound_url
from app.domain.validation.post_contents import MAX_CONTENT_LENGTH
from app.domain.validation.text import closest_name, validate_text

_MAX_LANGUAGE_LENGTH = 35
"""Characters of a language tag, RFC 5646, section 4.4.1."""

_LANGUAGE_TAG = re.compile(r"[A-Za-z]{2,8}(-[A-Za-z0-9]{1,8})*")
"""Language and subtags, RFC 5646, section 2.1, without private and grandfathered tags."""

_MAX_LANGUAGES = 3
"""Languages of a post on Bluesky, `langs` in its schema `feed/post.json`."""

_MAX_ALT_LENGTH = MAX_CONTENT_LENGTH
"""Characters of a description that no platform exceeds; each has a lower limit of its own."""


class Visibility(StrEnum):
    """Audience of a status on Mastodon. Direct messages are not posts."""

    PUBLIC = "public"
    UNLISTED = "unlisted"
    PRIVATE = "private"


class ReplyControl(StrEnum):
    """People who may reply to a post on Threads."""

    EVERYONE = "everyone"
    ACCOUNTS_YOU_FOLLOW = "accounts_you_follow"
    MENTIONED_ONLY = "mentioned_only"
    PARENT_POST_AUTHOR_ONLY = "parent_post_author_only"
    FOLLOWERS_ONLY = "followers_only"


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """Member of a JSON object: a setting of a post, or a member of a media item."""

    name: str
    description: str
    """Meaning, as a phrase without a full stop."""
    values: tuple[str, ...] = ()
    """Accepted values; empty if the description says what is accepted."""
    read: Callable[[ObjectReader, str], object]
    """Function that returns the value of the member with a name; raises InvalidInput for an invalid one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ContentSchema:
    """Content of a post that a platform accepts, besides its text."""

    platform: str
    content_types: tuple[str, ...]
    """Accepted values of `contentType`, all with the same meaning as none."""
    settings: tuple[Member, ...]
    media_members: tuple[Member, ...]

    def read_settings(self, settings: ObjectReader) -> Mapping[str, object]:
        """Return the settings that have a value; raises InvalidInput for an unknown or invalid one."""
        settings.forbid_unknown([setting.name for setting in self.settings])
        values = {setting.name: setting.read(settings, setting.name) for setting in self.settings}
        return {name: value for name, value in values.items() if value is not None}

    def check_entry(self, entry: Mapping[str, object]) -> None:
        """Raise InvalidInput unless the platform's entry of `platformContent` fits."""
        path = f"platformContent.{self.platform}"
        reader = ObjectReader(entry, f"{path}.")
        for setting in self.settings:
            if setting.name in entry:
                raise reader.error(
                    setting.name, f"is a setting: move it to {path}.settings.{setting.name}"
                )
        reader.forbid_unknown(_ENTRY_MEMBERS)
        reader.string("content")
        reader.choice("contentType", self.content_types)
        self.read_settings(ObjectReader(reader.mapping("settings") or {}, f"{path}.settings."))


class InvalidContent(NamedTuple):
    """A part of a post that does not fit, with the reason."""

    part: object
    """Media item, or object with one member of `platformContent`; unchanged content is recognised by it."""
    error: InvalidInput


def post_errors(post: Post, account_platforms: Collection[str]) -> list[InvalidContent]:
    """Return the parts of a post that do not fit; none if no worker of this server publishes it by a schema.

    `account_platforms` are the platforms of the accounts of the workspace, which only matter if
    `unfamiliar_platforms` returns any. Content for a platform on which only others publish the post is not
    checked: it is for them.
    """
    platforms = _published_platforms(post)
    if not platforms:
        return []
    of_others = {destination.platform for destination in post.destinations} - platforms
    checked = CONTENT_SCHEMAS.keys() - of_others
    return [
        *_unknown_platform_errors(post, account_platforms),
        *_entry_errors(post, checked),
        *_media_errors(post, platforms),
    ]


def destination_errors(
    post: Post, platform: str, publisher: AccountPublisher, account_platforms: Collection[str]
) -> list[InvalidContent]:
    """Return the parts of a post that do not fit for one account, with its platform and publisher.

    Like `post_errors`, but content for other platforms that are known does not matter.
    """
    if publisher not in PUBLISHERS_WITH_SCHEMA:
        return []
    platforms = {platform}
    return [
        *_unknown_platform_errors(post, account_platforms),
        *_entry_errors(post, platforms),
        *_media_errors(post, platforms),
    ]


def unfamiliar_platforms(post: Post) -> list[str]:
    """Return the keys of `platformContent` that are known only if an account has such a platform.

    None if no worker of this server publishes the post by a schema.
    """
    if not post.platform_content or not _published_platforms(post):
        return []
    return [key for key in post.platform_content if key not in _FAMILIAR_PLATFORMS]


def _published_platforms(post: Post) -> set[str]:
    """Return the platforms on which a worker of this server publishes the post by a schema."""
    return {
        destination.platform
        for destination in post.destinations
        if destination.publisher in PUBLISHERS_WITH_SCHEMA
    }


def _unknown_platform_errors(
    post: Post, account_platforms: Collection[str]
) -> Iterator[InvalidContent]:
    for key in post.platform_content:
        if key not in _FAMILIAR_PLATFORMS and key not in account_platforms:
            path = f"platformContent.{display_key(key)}"
            nearest = closest_name(key, {*_FAMILIAR_PLATFORMS, *account_platforms})
            hint = "" if nearest is None else f"; the nearest is {nearest}"
            message = f"{path} is not the name of a platform{hint}."
            yield InvalidContent(
                {key: post.platform_content[key]}, InvalidInput(message, argument=path)
            )


def _entry_errors(post: Post, platforms: Collection[str]) -> Iterator[InvalidContent]:
    for key, entry in post.platform_content.items():
        if key in platforms:
            yield from _errors({key: entry}, partial(_check_entry, CONTENT_SCHEMAS[key], entry))


def _check_entry(schema: ContentSchema, entry: object) -> None:
    if not isinstance(entry, Mapping):
        path = f"platformContent.{schema.platform}"
        raise InvalidInput(f"{path} must be an object.", argument=path)
    schema.check_entry(entry)


def _media_errors(post: Post, platforms: Collection[str]) -> Iterator[InvalidContent]:
    # Most platforms accept the same members, which are then checked once.
    accepted = dict.fromkeys(CONTENT_SCHEMAS[each].media_members for each in sorted(platforms))
    for index, item in enumerate(post.media):
        path = f"media[{index}]"
        yield from islice(
            (
                error
                for members in accepted
                for error in _errors(item, partial(_check_media_item, members, item, path))
            ),
            1,
        )


def _check_media_item(members: Sequence[Member], item: object, path: str) -> None:
    if not isinstance(item, Mapping):
        raise InvalidInput(f"{path} must be an object{_MEDIA_EXAMPLE}.", argument=path)
    reader = ObjectReader(item, f"{path}.")
    reader.forbid_unknown([member.name for member in members])
    for member in members:
        member.read(reader, member.name)


def _errors(part: object, check: Callable[[], None]) -> Iterator[InvalidContent]:
    """Yield the error of a check, if it fails."""
    try:
        check()
    except InvalidInput as error:
        yield InvalidContent(part, error)


_ENTRY_MEMBERS = ("content", "contentType", "settings")
_MEDIA_EXAMPLE = ', as in {"url": "https://…", "alt": "…"}'
_ANY_ADDRESS = OutboundRules(allow_http=True)


def _choice(name: str, choices: type[StrEnum], description: str) -> Member:
    by_value = {choice.value: choice for choice in choices}
    return Member(
        name=name,
        description=description,
        values=tuple(by_value),
        read=lambda reader, member: reader.enum(member, by_value),
    )


def _text(name: str, max_length: int, description: str) -> Member:
    return Member(
        name=name, description=description, read=partial(_read_text, max_length=max_length)
    )


def _read_text(reader: ObjectReader, name: str, *, max_length: int) -> str | None:
    return reader.text(name, max_length=max_length)


def _flag(name: str, description: str) -> Member:
    return Member(
        name=name, description=description, values=("true", "false"), read=ObjectReader.boolean
    )


def _read_languages(reader: ObjectReader, name: str) -> list[str] | None:
    tags = reader.strings(name)
    if tags is not None and len(tags) > _MAX_LANGUAGES:
        raise reader.error(name, f"has {len(tags)} entries; at most {_MAX_LANGUAGES} are allowed")
    for index, tag in enumerate(tags or ()):
        _check_language(reader, f"{name}[{index}]", tag)
    return tags


def _read_language(reader: ObjectReader, name: str) -> str | None:
    tag = reader.string(name)
    if tag is not None:
        _check_language(reader, name, tag)
    return tag


def _check_language(reader: ObjectReader, name: str, tag: str) -> None:
    validate_text(tag, f"{reader.path}{name}", max_length=_MAX_LANGUAGE_LENGTH)
    if not _LANGUAGE_TAG.fullmatch(tag):
        raise reader.error(name, "must be a language tag, such as en or pt-BR")


def _read_media_url(reader: ObjectReader, name: str) -> str:
    """Return a URL of http or https, or a `data:` URL, whose content other checks read."""
    url = reader.string(name)
    if not url:
        raise reader.error(name, f"is missing{_MEDIA_EXAMPLE}")
    if data_url(reader.members) is None:
        parse_outbound_url(url, f"{reader.path}{name}", _ANY_ADDRESS)
    return url


_IMAGE_MEMBERS = (
    Member(
        name="url",
        description="URL of the image, with `https:`, `http:` or `data:`; required",
        read=_read_media_url,
    ),
    _text("alt", _MAX_ALT_LENGTH, "description of the image for people who cannot see it"),
)

BLUESKY_CONTENT = ContentSchema(
    platform="bluesky",
    content_types=("post",),
    settings=(
        Member(
            name="langs",
            description=f"languages of the text, a list of at most {_MAX_LANGUAGES} language tags",
            read=_read_languages,
        ),
    ),
    media_members=_IMAGE_MEMBERS,
)

MASTODON_CONTENT = ContentSchema(
    platform="mastodon",
    content_types=("post",),
    settings=(
        _choice("visibility", Visibility, "audience; by default that of the account"),
        _text("spoiler_text", MAX_CONTENT_LENGTH, "content warning, a text"),
        _flag("sensitive", "hides the images until a reader wants to see them"),
        Member(
            name="language",
            description="language of the text, a language tag",
            read=_read_language,
        ),
    ),
    media_members=_IMAGE_MEMBERS,
)

THREADS_CONTENT = ContentSchema(
    platform="threads",
    content_types=("post",),
    settings=(_choice("reply_control", ReplyControl, "people who may reply"),),
    media_members=_IMAGE_MEMBERS,
)

INSTAGRAM_CONTENT = ContentSchema(
    platform="instagram",
    content_types=("post", "feed"),
    settings=(),
    media_members=_IMAGE_MEMBERS,
)

CONTENT_SCHEMAS: Mapping[str, ContentSchema] = {
    schema.platform: schema
    for schema in (BLUESKY_CONTENT, MASTODON_CONTENT, THREADS_CONTENT, INSTAGRAM_CONTENT)
}
"""Schemas by platform. `WEBHOOK` and `SANDBOX` pass on all content, so they have none."""

PUBLISHERS_WITH_SCHEMA = frozenset(
    publisher for publisher in AccountPublisher if publisher.platform in CONTENT_SCHEMAS
)

_FAMILIAR_PLATFORMS = frozenset(
    {
        *PLATFORM_NAMES,
        *(publisher.platform for publisher in AccountPublisher if publisher.platform is not None),
    }
)
"""Platforms that are known, whatever accounts the workspace has."""
