"""Statuses of the Mastodon API: what a post becomes, and which status may be that of a post."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from app.domain.attempts import Publication
from app.domain.validation.text import comparable_text
from app.platforms.content_schemas import MASTODON_CONTENT, Visibility
from app.platforms.protocol import PublishRequest, read_settings
from app.platforms.responses import text_or_none, time_or_default


def status_parameters(request: PublishRequest) -> Mapping[str, object]:
    """Return the parameters of a post's status, without media; raises NotPublished if one is invalid.

    The server applies the account's preferences for settings that the post does not have.
    """
    return {"status": request.content, **read_settings(request, MASTODON_CONTENT)}


def to_publication(status: Mapping[str, Any], now: datetime) -> Publication:
    """Return the publication of a status, at `now` if the status has no valid time."""
    return Publication(
        platform_post_id=status["id"],
        platform_post_url=text_or_none(status.get("url")),
        published_at=time_or_default(status.get("created_at"), now),
    )


def list_proves_absence(statuses: Iterable[Mapping[str, Any]], request: PublishRequest) -> bool:
    """Return whether a list of statuses without a post proves that the account does not have it.

    The list of snac leaves out private statuses, so it proves this for a private post only if it has one.
    """
    return request.settings.get("visibility") != Visibility.PRIVATE or any(
        status.get("visibility") == Visibility.PRIVATE for status in statuses
    )


def is_candidate(status: Mapping[str, Any], since: datetime) -> bool:
    """Return whether a status may be that of a post, judged without its text."""
    return (
        time_or_default(status.get("created_at"), since) >= since
        and not status.get("reblog")
        and not status.get("in_reply_to_id")
    )


def has_media(status: Mapping[str, Any], number: int) -> bool:
    """Return whether a status has this number of media."""
    return len(status.get("media_attachments") or ()) == number


def source_matches(source: str, request: PublishRequest) -> bool:
    """Return whether the source of a status is the text of a post, as a server stores it.

    In a status without text, Mastodon stores the content warning instead, and older versions a dot.
    """
    if request.content.strip():
        return comparable_text(source) == comparable_text(request.content)
    spoiler_text = str(request.settings.get("spoiler_text", ""))
    return comparable_text(source) in ("", ".", comparable_text(spoiler_text))


def application_name(status: Mapping[str, Any]) -> str | None:
    """Return the name of the application that posted a status; None if the server does not state it."""
    return (status.get("application") or {}).get("name")
