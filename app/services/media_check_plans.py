"""Plans the background checks of media in the transaction that changes a post."""

from collections.abc import Iterable
from datetime import datetime

from app.db.core.write_session import WriteSession
from app.db.repositories.media_checks import (
    clear_media_warnings,
    delete_media_checks,
    upsert_media_checks,
)
from app.domain.ids import PostId
from app.domain.media_check_times import first_check_at
from app.domain.posts import Post
from app.platforms.media_url_checks import LoadableMedia, loadable_media


async def plan_media_checks(
    session: WriteSession, changes: Iterable[tuple[Post | None, Post]], now: datetime
) -> None:
    """Plan the checks of posts that were changed, each given before and after the change.

    Other media, other accounts or another due time are checked again. A post that is due, published or
    deleted is checked no more. `before` is None for a new post.
    """
    planned: dict[PostId, datetime] = {}
    obsolete, outdated = set(), set()
    for before, after in changes:
        media, old_media = checked_media(after, now), _planned_media(before)
        if media is None:
            if old_media is not None:
                obsolete.add(after.id)
        elif media != old_media or before is None or due_at(before) != due_at(after):
            planned[after.id] = first_check_at(due_at(after), now)
            if old_media is not None and media != old_media:
                outdated.add(after.id)
    await upsert_media_checks(session, planned)
    if obsolete:
        await delete_media_checks(session, obsolete)
    if obsolete or outdated:
        await clear_media_warnings(session, obsolete | outdated)


def checked_media(post: Post, now: datetime) -> LoadableMedia | None:
    """Return the media of a post that is a draft or due later; None if there is nothing to check."""
    due = due_at(post)
    is_waiting = post.is_draft or (due is not None and due > now)
    if not is_waiting or _is_never_checked(post):
        return None
    return loadable_media(post)


def _planned_media(post: Post | None) -> LoadableMedia | None:
    """Return the media that may have a planned check: the due time may have passed since it was planned."""
    if post is None or post.submitted_now or _is_never_checked(post):
        return None
    return loadable_media(post)


def _is_never_checked(post: Post) -> bool:
    return post.deleted_at is not None or post.imported_at is not None


def due_at(post: Post) -> datetime | None:
    """Return the due time of a post; None for a draft, and for one that is due immediately."""
    return None if post.is_draft else post.scheduled_for
