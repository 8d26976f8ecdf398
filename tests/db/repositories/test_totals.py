"""Totals of lists: exact and limited, they are the number of rows on a page that is large enough."""

from datetime import timedelta

from sqlalchemy import delete, func, select

from app.db.core.database import Database
from app.db.core.paging import Direction, PageRequest
from app.db.core.statements import Statement
from app.db.models import Destination
from app.db.repositories.destination_filters import DestinationCriteria
from app.db.repositories.destinations import (
    DestinationOrderField,
    count_destinations,
    destinations_page,
)
from app.db.repositories.post_progress import count_post_progress
from app.db.repositories.posts import PostCriteria, PostOrderField, count_posts, posts_page
from app.domain.cancellations import PostProgress
from app.domain.destinations import DestinationStatus, ErrorCategory, Outcome
from app.domain.ids import AccountId
from app.domain.posts import PostStatus
from tests.db.repositories.explain import OWN_WORKSPACE
from tests.db.repositories.many_posts import POSTS
from tests.factories import NOW, add_account, add_post, add_workspace, queued

ALL_ROWS = PageRequest(size=5 * POSTS)
MONTH_AGO = NOW - timedelta(days=30)
DESTINATION_CRITERIA = [
    DestinationCriteria(),
    DestinationCriteria(status=[DestinationStatus.FAILED]),
    DestinationCriteria(status=[DestinationStatus.PUBLISHED], platform=["platform-1"]),
    DestinationCriteria(status=[DestinationStatus.QUEUED, DestinationStatus.FAILED]),
    DestinationCriteria(platform=["platform-1", "platform-2"]),
    DestinationCriteria(account_id=[AccountId(2)]),
    DestinationCriteria(error_category=[ErrorCategory.CONTENT_REJECTED, ErrorCategory.AUTH]),
    DestinationCriteria(outcome=[Outcome.FAILED, Outcome.UNKNOWN], max_attempts=3),
    DestinationCriteria(failed_after=MONTH_AGO),
    DestinationCriteria(published_before=MONTH_AGO),
    DestinationCriteria(overdue=True),
    DestinationCriteria(overdue=False, account_id=[AccountId(2), AccountId(3)]),
    DestinationCriteria(post_id=[]),
]
POST_CRITERIA = [
    PostCriteria(),
    PostCriteria(status=[PostStatus.PARTIALLY_FAILED]),
    PostCriteria(platform=["platform-1"]),
    PostCriteria(platform=["platform-1", "platform-2"], created_after=MONTH_AGO),
    PostCriteria(account_id=[AccountId(2), AccountId(9)]),
    PostCriteria(search="SALE starts", platform=["platform-3"]),
    PostCriteria(search="g", account_id=[AccountId(2)]),
    PostCriteria(search="autumn"),
    PostCriteria(post_id=[]),
]


async def test_totals_of_destinations_exclude_deleted_posts(analyzed_database: Database) -> None:
    reader = analyzed_database.reader(OWN_WORKSPACE)
    order = DestinationOrderField.CREATED_AT
    sizes = []
    for criteria in DESTINATION_CRITERIA:
        page = await destinations_page(reader, criteria, order, Direction.DESC, ALL_ROWS, NOW)
        size = len(page.rows)
        totals = [
            await count_destinations(reader, criteria, NOW, limit) for limit in (None, 7, 10_001)
        ]
        assert totals == [size, min(size, 7), size], criteria
        sizes.append(size)

    stored = await reader.count(Statement(select(func.count()).select_from(Destination)))
    assert (stored, sizes[0]) == (2 * POSTS, 2 * POSTS * 49 // 50)
    assert min(sizes[:-2]) > 0


async def test_totals_of_posts_are_those_of_the_list(analyzed_database: Database) -> None:
    reader = analyzed_database.reader(OWN_WORKSPACE)
    sizes = []
    for criteria in POST_CRITERIA:
        page = await posts_page(
            reader, criteria, PostOrderField.UPDATED_AT, Direction.ASC, ALL_ROWS
        )
        size = len(page.rows)
        totals = [await count_posts(reader, criteria, limit) for limit in (None, 7, 10_001)]
        assert totals == [size, min(size, 7), size], criteria
        sizes.append(size)

    assert sizes[0] == POSTS * 49 // 50
    assert min(sizes[:-2]) > 0


async def test_progress_of_scheduled_posts_is_counted_without_their_destinations(
    database: Database,
) -> None:
    workspace = await add_workspace(database)
    account = await add_account(database, workspace)
    await add_post(database, workspace, {account: queued(NOW)})
    async with database.write_engine.begin() as connection:
        await connection.execute(delete(Destination))
    waiting = PostProgress(
        is_imported=False,
        is_draft=False,
        is_publishing=False,
        is_unknown=False,
        was_attempted=False,
        is_queued=True,
    )
    assert await count_post_progress(database.reader(workspace), PostCriteria()) == [(waiting, 1)]
