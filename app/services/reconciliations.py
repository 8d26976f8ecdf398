"""Bulk reconciliation of unknown outcomes as not published; `reports` reconciles a single destination."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from app.db.core.database import Reader
from app.db.core.paging import Direction, Page, PageRequest
from app.db.core.projections import Projection
from app.db.core.statements import AnyRow
from app.db.repositories.destination_filters import DestinationCriteria
from app.db.repositories.destinations import (
    DestinationOrderField,
    count_destinations,
    destinations_page,
)
from app.domain.destinations import Outcome
from app.domain.ids import AccountId, DestinationId, PostId
from app.domain.posts import Post
from app.domain.verification import reconcile
from app.services.bulk_actions import BulkAction, RefusalCounts


@dataclass(frozen=True, slots=True, kw_only=True)
class ReconciliationDecision:
    """Decision to settle an unknown outcome as failed."""

    destination_id: DestinationId
    post_id: PostId
    account_id: AccountId
    platform: str

    @property
    def refusal(self) -> None:
        """None: no unknown outcome is refused."""


class ReconcileAction(BulkAction[DestinationCriteria, ReconciliationDecision]):
    """Settlement of unknown outcomes as failed."""

    criteria_type = DestinationCriteria
    decision_type = ReconciliationDecision

    def restrict(self, criteria: DestinationCriteria) -> DestinationCriteria:
        """Restrict the filter to unknown outcomes."""
        return criteria.with_outcome(Outcome.UNKNOWN)

    async def read_page(
        self, reader: Reader, criteria: DestinationCriteria, request: PageRequest, now: datetime
    ) -> Page:
        order = (DestinationOrderField.CREATED_AT, Direction.DESC)
        return await destinations_page(reader, criteria, *order, request, now, _COLUMNS)

    async def count_by_refusal(
        self, reader: Reader, criteria: DestinationCriteria, now: datetime
    ) -> RefusalCounts:
        return Counter({None: await count_destinations(reader, criteria, now)})

    async def decide(
        self,
        reader: Reader,  # noqa: ARG002
        posts: Sequence[Post],
        rows: Sequence[AnyRow],
        now: datetime,
    ) -> tuple[list[Post], list[ReconciliationDecision]]:
        ids = {row.id for row in rows}
        changed = []
        settled: dict[DestinationId, ReconciliationDecision] = {}
        for post in posts:
            changed_post = post
            for destination in post.destinations:
                if destination.id in ids:
                    state = reconcile(destination.state, None, now).state
                    changed_post = changed_post.with_state(destination.id, state, now)
                    settled[destination.id] = ReconciliationDecision(
                        destination_id=destination.id,
                        post_id=post.id,
                        account_id=destination.account_id,
                        platform=destination.platform,
                    )
            changed.append(changed_post)
        return changed, [settled[row.id] for row in rows]


_COLUMNS = Projection(frozenset({"id", "created_at", "updated_at", "post_id"}))
