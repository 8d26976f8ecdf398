"""Bulk cancellation of posts; `posts` cancels a single one."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from app.db.core.database import Reader
from app.db.core.paging import Direction, Page, PageRequest
from app.db.core.projections import Projection
from app.db.core.statements import AnyRow
from app.db.repositories.post_progress import count_post_progress
from app.db.repositories.posts import PostCriteria, PostOrderField, posts_page
from app.domain.cancellations import CancellationRefusal, cancellation_refusal
from app.domain.ids import PostId
from app.domain.post_commands import cancel_if_allowed
from app.domain.posts import Post, PostStatus
from app.services.bulk_actions import BulkAction, RefusalCounts


@dataclass(frozen=True, slots=True)
class CancellationDecision:
    """Decision about a post; without a refusal it is cancelled."""

    post_id: PostId
    refusal: CancellationRefusal | None


class CancelAction(BulkAction[PostCriteria, CancellationDecision]):
    """Cancellation of posts that are waiting, or of which a part is waiting."""

    criteria_type = PostCriteria
    decision_type = CancellationDecision

    def restrict(self, criteria: PostCriteria) -> PostCriteria:
        """Restrict the filter to posts that are not finished unless it names statuses."""
        if criteria.status is not None:
            return criteria
        return replace(criteria, status=[PostStatus.SCHEDULED, PostStatus.PUBLISHING])

    async def read_page(
        self,
        reader: Reader,
        criteria: PostCriteria,
        request: PageRequest,
        now: datetime,  # noqa: ARG002
    ) -> Page:
        order = (PostOrderField.CREATED_AT, Direction.DESC)
        return await posts_page(reader, criteria, *order, request, _COLUMNS)

    async def count_by_refusal(
        self,
        reader: Reader,
        criteria: PostCriteria,
        now: datetime,  # noqa: ARG002
    ) -> RefusalCounts:
        counts: RefusalCounts = Counter()
        for progress, post_count in await count_post_progress(reader, criteria):
            counts[cancellation_refusal(progress)] += post_count
        return counts

    async def decide(
        self,
        reader: Reader,  # noqa: ARG002
        posts: Sequence[Post],
        rows: Sequence[AnyRow],
        now: datetime,
    ) -> tuple[list[Post], list[CancellationDecision]]:
        ids = {row.id for row in rows}
        decided = {post.id: cancel_if_allowed(post, now) for post in posts if post.id in ids}
        return [post for post, _ in decided.values()], [
            CancellationDecision(row.id, decided[row.id][1]) for row in rows
        ]


_COLUMNS = Projection(frozenset({"id", "created_at", "updated_at"}))
