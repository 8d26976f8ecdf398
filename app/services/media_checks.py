"""Background checks of the media of posts: leased to one worker, and stored as warnings of destinations.

A check changes neither a version nor `updated_at`, and is no event.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from itertools import chain, zip_longest

import structlog

from app.db.core.database import Database
from app.db.repositories.media_checks import (
    MediaWarning,
    PendingMediaCheck,
    add_media_bytes,
    delete_media_checks,
    due_media_checks,
    lease_media_check,
    settle_media_check,
    store_media_warnings,
    workspaces_with_due_media_checks,
)
from app.db.repositories.posts import load_posts
from app.domain.destinations import TEMPORARY_CATEGORIES
from app.domain.ids import IdFactory, WorkspaceId
from app.domain.media_check_times import MAX_ATTEMPTS, next_check
from app.domain.times import Clock
from app.outbound.client import OutboundClient
from app.platforms.media_url_checks import LoadableMedia, MediaResult, check_urls
from app.platforms.protocol import NotPublished
from app.services.media_check_plans import checked_media, due_at
from app.services.unit_of_work import UnitOfWork, WriteContext, run_in_transaction

_LEASE_DURATION = timedelta(minutes=5)
"""Time after which another worker checks a post again: longer than a check takes."""

_TEMPORARY = "This may be temporary."

_OPERATION = "checkMedia"

logger = structlog.stdlib.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class MediaCheckService:
    """Checks of all workspaces."""

    database: Database
    client: OutboundClient
    max_bytes: int
    """Bytes per workspace and hour, after which its checks wait."""
    new_id: IdFactory
    clock: Clock

    async def due(
        self, running: Mapping[WorkspaceId, int], *, max_of_workspace: int, limit: int
    ) -> list[PendingMediaCheck]:
        """Return some due checks, one of each workspace before the second of any.

        `running` has the number of the worker's running checks, of which each workspace has at most
        `max_of_workspace`.
        """
        now = self.clock()
        workspaces = await workspaces_with_due_media_checks(
            self.database.all_workspaces,
            now,
            max_bytes=self.max_bytes,
            excluded=[key for key, count in running.items() if count >= max_of_workspace],
            rotation_start=WorkspaceId(self.new_id()),
            limit=limit,
        )
        by_workspace = [
            await due_media_checks(
                self.database.reader(workspace_id),
                workspace_id,
                now,
                limit=max_of_workspace - running.get(workspace_id, 0),
            )
            for workspace_id in workspaces
        ]
        checks = chain.from_iterable(zip_longest(*by_workspace))
        return [check for check in checks if check is not None][:limit]

    async def check(self, pending: PendingMediaCheck) -> None:
        """Check the media of a post, unless another worker does, and store the result."""
        leased = await self.database.write(
            pending.workspace_id,
            partial(lease_media_check, due=pending, expires_at=self.clock() + _LEASE_DURATION),
        )
        if leased is None:
            return
        reader = self.database.reader(leased.workspace_id)
        post = (await load_posts(reader, [leased.post_id]))[leased.post_id]
        media = checked_media(post, self.clock())
        if (
            media is not None and leased.attempts > MAX_ATTEMPTS
        ):  # workers ended during each attempt
            media = replace(media, destinations=frozenset())
        result = MediaResult({}, 0)
        if media is not None and media.destinations:
            result = await check_urls(self.client, media)
        await self._settle(leased, media, result)

    async def _settle(
        self, leased: PendingMediaCheck, media: LoadableMedia | None, result: MediaResult
    ) -> None:
        """Store the result of a check, unless the media have changed; the loaded bytes count in any case.

        Deletes the check if `media` is None: there is nothing to check any more.
        """
        write_context = WriteContext.without_actor(leased.workspace_id, _OPERATION, self.clock())
        now = write_context.now
        may_be_temporary = result.may_be_temporary

        async def work(uow: UnitOfWork) -> None:
            post = (await uow.load_posts_for_update([leased.post_id]))[leased.post_id]
            plan = next_check(
                due_at(post), now, attempts=leased.attempts, may_be_temporary=may_be_temporary
            )
            is_current = await settle_media_check(
                uow.session, leased, checked_at=now, check_at=plan.check_at, attempts=plan.attempts
            )
            if is_current and media is None:
                await delete_media_checks(uow.session, [leased.post_id])
            elif is_current and media is not None:
                warnings = {
                    destination_id: _to_warning(result.errors.get(platform))
                    for destination_id, platform in media.destinations
                }
                await store_media_warnings(uow.session, warnings)
            await add_media_bytes(uow.session, result.byte_count, now)

        await run_in_transaction(self.database, write_context, work)
        if result.errors:
            logger.info(
                "media not usable",
                workspace_id=str(leased.workspace_id),
                post_id=str(leased.post_id),
                platforms=sorted(result.errors),
            )


def _to_warning(error: NotPublished | None) -> MediaWarning | None:
    if error is None:
        return None
    is_temporary = error.category in TEMPORARY_CATEGORIES
    message = f"{error.message} {_TEMPORARY}" if is_temporary else error.message
    return MediaWarning(error.code, message)
