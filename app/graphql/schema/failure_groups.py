"""Query field `failureGroups`: failures with probably one cause, their numbers, and the effect of a retry."""

from datetime import datetime

import strawberry
from strawberry import field

from app.db.repositories.destination_filters import DestinationCriteria
from app.db.repositories.failure_groups import (
    HOURS,
    MAX_ACCOUNTS,
    SAMPLE_RELATION,
    FailureGroupOrderField,
    RetryCounts,
    failure_groups_page,
)
from app.domain import diagnosis as diagnosis_rules
from app.domain.destinations import ErrorCategory, Outcome
from app.domain.failure_groups import normalize_message
from app.domain.ids import AccountId, FailureGroupKey, NodeKind
from app.graphql.loading.field_sources import (
    Computed,
    Deferred,
    FromResolver,
    ToOne,
    column,
    related_row,
    sourced_field,
)
from app.graphql.loading.loaders import FailureGroupLoaders
from app.graphql.schema.accounts import Account, load_account
from app.graphql.schema.connections import CursorPage, PageInfo, parse_page_arguments
from app.graphql.schema.context import Context, Info
from app.graphql.schema.destinations import Destination, ErrorDiagnosis
from app.graphql.schema.inputs import DestinationFilterInput, to_record
from app.graphql.schema.node import Node

_ALL_FAILURES = DestinationCriteria()


@strawberry.type(description="Failures of a group on one account.")
class FailureGroupAccount:
    account_id: int = field(description="Number of the account.")
    count: int = field(description="Number of destinations, including unknown outcomes.")

    @strawberry.field(description="The account.")
    async def account(self, info: Info) -> Account | None:
        return await load_account(info.context, AccountId(self.account_id))


@strawberry.type(
    description="Failed destinations and unknown outcomes with the same platform, category, code and"
    " message, and so probably with one cause. In `failureGroups`, only those that match the filter count."
)
class FailureGroup(Node):
    kind = NodeKind.FAILURE_GROUP
    criteria: strawberry.Private[DestinationCriteria]

    key: str = column("Key of the group, for `DestinationFilter.failureGroup`.", name="id")
    platform: str = column("Platform of the destinations, such as `instagram`.")
    category: ErrorCategory = column("Category of the error.", name="error_category")
    code: str = column("Error code of the publisher.", name="error_code")
    count: int = column("Number of destinations, including unknown outcomes.", name="failure_count")
    unknown_count: int = column(
        "Number of destinations with an unknown outcome, which a retry of the group refuses."
    )
    post_count: int = column("Number of posts.")
    account_count: int = column("Number of accounts.")
    first_seen: datetime = column("UTC time of the earliest failure that still counts.")
    last_seen: datetime = column("UTC time of the latest failure.")

    @sourced_field(
        "Error message with `<number>`, `<id>`, `<url>` and `<text>` in place of numbers, ids, URLs and"
        " quoted texts; at most 300 characters.",
        Computed(("error",), normalize_message),
    )
    def message(self) -> str:
        return normalize_message(self.row.error)

    @sourced_field("Latest failure of the group.", ToOne(SAMPLE_RELATION))
    def sample(self) -> Destination:
        row = related_row(self.row, SAMPLE_RELATION)
        assert row is not None  # noqa: S101 - selected with every group
        return Destination.from_row(row, self.now)

    @sourced_field(
        "Cause of the error and how to fix it.",
        FromResolver(("error_category", "error_code", "failure_count", "unknown_count")),
        graphql_type=ErrorDiagnosis,
    )
    def diagnosis(self) -> diagnosis_rules.Diagnosis:
        row = self.row
        is_unknown = row.unknown_count == row.failure_count
        return diagnosis_rules.diagnose(
            category=row.error_category,
            code=row.error_code,
            outcome=Outcome.UNKNOWN if is_unknown else Outcome.FAILED,
        )

    @sourced_field(
        f"Number of destinations that failed in each of the last {HOURS} whole UTC hours, oldest first; the"
        " last number is that of the current hour.",
        Deferred(("id",)),
    )
    async def hourly_counts(self, info: Info) -> list[int] | None:
        return await self._loaders(info).hourly_counts_by_key.load(FailureGroupKey(self.key))

    @sourced_field(
        f"The {MAX_ACCOUNTS} accounts with the most failures, in descending order.",
        Deferred(("id",)),
    )
    async def accounts(self, info: Info) -> list[FailureGroupAccount] | None:
        accounts = await self._loaders(info).accounts_by_key.load(FailureGroupKey(self.key))
        info.context.response_limit.add(len(accounts))
        return [to_record(account, FailureGroupAccount) for account in accounts]

    @sourced_field(
        "Number of destinations that a manual retry would queue again now.", Deferred(("id",))
    )
    async def retryable_count(self, info: Info) -> int | None:
        return (await self._load_retry_counts(info)).retryable

    @sourced_field(
        "Number of destinations that a manual retry would refuse or skip now: unknown outcomes, imported"
        " posts, and accounts that cannot post.",
        Deferred(("id",)),
    )
    async def refused_count(self, info: Info) -> int | None:
        return (await self._load_retry_counts(info)).refused

    async def _load_retry_counts(self, info: Info) -> RetryCounts:
        return await self._loaders(info).retry_counts_by_key.load(FailureGroupKey(self.key))

    def _loaders(self, info: Info) -> FailureGroupLoaders:
        return info.context.loaders.failure_group_counts(self.criteria, self.now)


@strawberry.type(description="Failure group in a list.")
class FailureGroupEdge:
    cursor: str = field(description="Cursor of the group; pass it as `after` or `before`.")
    node: FailureGroup = field(description="The group.")


@strawberry.type(description="Page of failure groups.")
class FailureGroupConnection:
    page: strawberry.Private[CursorPage]
    nodes: list[FailureGroup] = field(description="Groups of the page.")

    @strawberry.field(description="Position of the page in the list.")
    def page_info(self) -> PageInfo:
        return self.page.info()

    @strawberry.field(description="Groups of the page with their cursors.")
    def edges(self) -> list[FailureGroupEdge]:
        return self.page.edges(FailureGroupEdge, self.nodes)


async def read_failure_groups(
    info: Info,
    filter: DestinationFilterInput | None,
    order_field: FailureGroupOrderField,
    *,
    first: int | None,
    after: str | None,
    last: int | None,
    before: str | None,
) -> FailureGroupConnection:
    """Read a page of groups, in which only the destinations that match the filter count."""
    context = info.context
    now = context.clock()
    criteria = DestinationCriteria() if filter is None else filter.to_criteria()
    codec = context.cursor_codec(f"failureGroups:{order_field}")
    request = parse_page_arguments(codec, first=first, after=after, last=last, before=before)

    page = await failure_groups_page(context.reader, criteria, order_field, request, now)
    nodes = [FailureGroup.from_row(row, now) for row in page.rows]
    for node in nodes:
        node.criteria = criteria
    return FailureGroupConnection(nodes=nodes, page=CursorPage(page, codec, order_field))


async def load_failure_group(context: Context, key: FailureGroupKey) -> FailureGroup | None:
    """Load a group in which all failures count; return None if there are none."""
    row = await context.loaders.failure_groups_by_key.load(key)
    if row is None:
        return None
    group = FailureGroup.from_row(row, context.clock())
    group.criteria = _ALL_FAILURES
    return group
