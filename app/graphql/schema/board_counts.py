"""Query field `boardCounts`: numbers of destinations and accounts that need attention."""

import strawberry
from strawberry import field

from app.db.repositories.board_counts import MAX_BOARD_COUNT


@strawberry.type(description="Number that is counted up to a limit.")
class CappedCount:
    count: int = field(description=f"The number, but at most {MAX_BOARD_COUNT:,}.")
    capped: bool = field(description=f"True if there are more than {MAX_BOARD_COUNT:,}.")


@strawberry.type(
    description="Numbers of destinations, and of accounts, that need attention or soon will. Destinations of"
    " deleted posts are not counted."
)
class BoardCounts:
    """GraphQL fields of `services.board_counts.BoardNumbers`, whose instances are returned unconverted."""

    failed: CappedCount = field(
        description="Destinations that failed since the argument `since`, without unknown outcomes."
    )
    unknown: CappedCount = field(description="Destinations with an unknown outcome.")
    overdue: CappedCount = field(description="Destinations with `isOverdue`.")
    retrying: CappedCount = field(
        description="Destinations whose `diagnosis` has `willRetry`, without those with `isOverdue`."
    )
    publishing: CappedCount = field(
        description="Destinations with the status PUBLISHING and `awaitsOutcome`."
    )
    due_soon: CappedCount = field(description="Destinations that become due within 24 hours.")
    will_fail: CappedCount = field(
        description="Destinations that are due, or become due within 24 hours, on an account that cannot post"
        " now. Each fails unless its account is reconnected first."
    )
    invalid_content: CappedCount = field(
        description="Destinations with `contentError`, which will fail whenever they are due."
    )
    media_warning: CappedCount = field(
        description="Destinations with `mediaWarning`, which will probably fail when they are due."
    )
    duplicated: CappedCount = field(
        description="Destinations published since the argument `since` whose publication was reported more"
        " than once."
    )
    broken_accounts: CappedCount = field(description="Accounts with the health BROKEN.")
