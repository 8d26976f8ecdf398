"""Bulk reconciliation of unknown outcomes as not published; `reports` reconciles a single destination."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from enum import StrEnum
from typing import TypeAlias

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
from app.domain.posts import Post
from app.domain.verification import ReconciliationRefusal, reconcile, reconciliation_refusal
from app.services.bulk_actions import BulkAction, DestinationDecision, before_or_at

ReconciliationDecision: TypeAlias = DestinationDecision[ReconciliationRefusal]


class ReconcileAction(BulkAction[DestinationCriteria, ReconciliationDecision]):
    """Settlement of unknown outcomes as failed, because the posts are not on the platform."""

    criteria_type = DestinationCriteria
    decision_type = ReconciliationDecision

    def restrict(self, criteria: DestinationCriteria) -> DestinationCriteria:
        """Restrict the filter to unknown outcomes."""
        is_included = criteria.outcome is None or Outcome.UNKNOWN in criteria.outcome
        return replace(criteria, outcome=[Outcome.UNKNOWN] if is_included else [])

    def eligible_at(self, criteria: DestinationCriteria, cutoff: datetime) -> DestinationCriteria:
        return replace(criteria, failed_before=before_or_at(cutoff, criteria.failed_before))

    async def read_page(
        self, reader: Reader, criteria: DestinationCriteria, request: PageRequest, now: datetime
    ) -> Page:
        order = (DestinationOrderField.CREATED_AT, Direction.DESC)
        return await destinations_page(reader, criteria, *order, request, now, _COLUMNS)

    async def count_by_refusal(
        self, reader: Reader, criteria: DestinationCriteria, now: datetime
    ) -> Counter[StrEnum | None]:
        return Counter({None: await count_destinations(reader, criteria, now)})

    async def decide(
        self,
        reader: Reader,  # noqa: ARG002
        posts: Sequence[Post],
        rows: Sequence[AnyRow],
        now: datetime,
    ) -> tuple[list[Post], list[ReconciliationDecision]]:
        posts_by_id = {post.id: post for post in posts}
        decisions = []
        for row in rows:
            post = posts_by_id.get(row.post_id)
            if post is None or not post.has_destination(row.id):  # deleted since the row was read
                continue
            destination = post.destination(row.id)
            refusal = reconciliation_refusal(destination.state)
            if refusal is None:
                settled = reconcile(destination.state, None, now).state
                posts_by_id[post.id] = post.with_state(destination.id, settled, now)
            decisions.append(
                DestinationDecision(
                    destination_id=destination.id,
                    post_id=post.id,
                    account_id=destination.account_id,
                    platform=destination.platform,
                    refusal=refusal,
                )
            )
        return list(posts_by_id.values()), decisions


_COLUMNS = Projection(frozenset({"id", "created_at", "post_id"}))
