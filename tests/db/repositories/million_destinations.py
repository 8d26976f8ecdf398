"""Planner statistics of SQLite after ANALYZE on one workspace with 1,000,000 destinations."""

from sqlalchemy import text

from app.db.core.database import Database

_STATISTICS = {
    "account": {
        "ix_account_publisher": "300 300 1 1",
        "sqlite_autoindex_account_1": "300 300 1",
    },
    "attempt": {
        "ix_attempt_workspace_id_destination_id_started_at_id": "1190452 1190452 2 1 1",
        "sqlite_autoindex_attempt_1": "1190452 1190452 1",
        "ix_attempt_started": "1058783 1058783 132348 2 1 1",
        "uq_attempt_fence": "1190452 1190452 2 1",
    },
    "destination": {
        "ix_destination_account_failed": "76460 76460 255 2 2 2 2",
        "ix_destination_account_published": "777518 777518 2592 1",
        "ix_destination_account_unsettled": "172470 172470 575 288 9 6 1",
        "ix_destination_claimable": "96100 96100 11 1",
        "ix_destination_claimable_platform": "96100 96100 96100 12013 6 1",
        "ix_destination_claimable_publisher": "96100 96100 96100 11 1",
        "ix_destination_error_category": "76460 76460 15292 2 1",
        "ix_destination_error_code": "76460 76460 7646 1 1",
        "ix_destination_duplicated": "0 0 0 0",
        "ix_destination_failed": "49914 49914 1 1 1 1",
        "ix_destination_failure_group": "49914 49914 2377 1 1 1 1",
        "ix_destination_lateness": "777762 777762 11 1",
        "ix_destination_leased": "27635 27635 27635 1",
        "ix_destination_next_retry": "26834 26834 1 1 1",
        "ix_destination_platform_post_url": "777518 777518 1",
        "ix_destination_platform": "1000200 1000200 125025 2 1 1",
        "ix_destination_waiting": "134154 134154 3 1 1 1",
        "ix_destination_workspace_id_account_id_created_at_id": "1000200 1000200 3334 1 1",
        "ix_destination_workspace_id_created_at_id": "1000200 1000200 3 1",
        "ix_destination_due": "1000200 1000200 18 1 1 1 1 1 1",
        "ix_destination_draft": "40170 40170 5022 3",
        "ix_destination_undated": "40170 40170 40170 1 1 1",
        "ix_destination_settled": "827676 827676 103460 2 2 2 2 2 1",
        "ix_destination_settled_at": "827676 827676 2 1",
        "ix_destination_workspace_id_platform_post_id": "1000200 1000200 125025 2",
        "ix_destination_workspace_id_published_at_id": "1000200 1000200 2 1",
        "ix_destination_workspace_id_status_created_at_id": "1000200 1000200 250050 3 1",
        "ix_destination_updated": "1000200 1000200 1 1 1 1 1 1",
        "sqlite_autoindex_destination_1": "1000200 1000200 1",
        "sqlite_autoindex_destination_2": "1000200 1000200 3 1",
    },
    "post": {
        "ix_post_calendar": "329302 329302 2 1 1",
        "ix_post_created_at": "329302 329302 1 1",
        "ix_post_deleted": "4098 4098 1",
        "ix_post_published_at": "329302 329302 2 1",
        "ix_post_scheduled_for": "329302 329302 8 1",
        "ix_post_status": "329302 329302 54884 1 1",
        "ix_post_updated_at": "329302 329302 1 1",
        "sqlite_autoindex_post_1": "333400 333400 1",
        "uq_post_kept": "329302 329302 1",
    },
    "post_search_key": {"sqlite_autoindex_post_search_key_1": "333400 1 1"},
    "workspace": {"sqlite_autoindex_workspace_1": "1 1"},
}
"""Table → index → numbers of rows: all, and for each column those with the same values up to it.

Measured, but for the attempts, of which only a part was stored.
"""


_SAMPLE_SIZE = 401
"""Largest number of equal values in the statistics of a server, which reads only so many rows."""


async def write_statistics(database: Database, *, of_samples: bool = False) -> None:
    """Replace all statistics; later connections use them."""
    async with database.write_engine.begin() as connection:
        await connection.execute(text("ANALYZE"))  # creates the table
        await connection.execute(text("DELETE FROM sqlite_stat1"))
        await connection.execute(
            text("INSERT INTO sqlite_stat1 (tbl, idx, stat) VALUES (:tbl, :idx, :stat)"),
            [
                {
                    "tbl": table,
                    "idx": index,
                    "stat": _of_sample(statistic) if of_samples else statistic,
                }
                for table, indexes in _STATISTICS.items()
                for index, statistic in indexes.items()
            ],
        )


def _of_sample(statistic: str) -> str:
    total, *numbers = map(int, statistic.split())
    return " ".join(map(str, [total, *(min(number, _SAMPLE_SIZE) for number in numbers)]))
