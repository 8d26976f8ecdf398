"""PostGraphile makes its schema from the tables, so it is asked under other names, and reshaped."""

from collections.abc import Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Any

from app.domain.times import format_instant
from tests.bench.requests import ANY_POST, POST, RESULT, Answer, Request, graphql
from tests.bench.seeding import WORKSPACE_ID

_COLUMNS = RESULT.replace("accountName ", "")
_DESTINATIONS = (
    "destinations: destinationsByWorkspaceIdAndPostId(orderBy: [POSITION_ASC]) {{ nodes {{ {} {}"
    " account: accountByWorkspaceIdAndAccountId {{ {} }} }} }}"
)
_ONE = (
    "query($w: UUID!, $id: UUID!) { post: postByWorkspaceIdAndRowId(workspaceId: $w, rowId: $id)"
    f" {{ postId: rowId status {_DESTINATIONS.format('', _COLUMNS, 'accountName')} }} }}"
)
_PAGE = (
    "query($w: UUID!, $n: Int!) { posts: allPosts(condition: { workspaceId: $w, deletedAt: null },"
    f" orderBy: [CREATED_AT_DESC, ROW_ID_DESC], first: $n) {{ nodes {{ postId: rowId {POST} "
    + _DESTINATIONS.format(
        "destinationId: rowId", _COLUMNS, "accountId: rowId platform accountName"
    )
    + " } } }"
)
_W = str(WORKSPACE_ID)
REQUESTS: Mapping[str, Request] = MappingProxyType(
    {
        "Q1": graphql(_ONE, w=_W, id=ANY_POST),
        "Q2": graphql(_PAGE, w=_W, n=20),
        "Q3": graphql(_PAGE, w=_W, n=100),
    }
)
_INSTANTS = ("publishedAt", "nextRetryAt", "scheduledFor", "createdAt", "updatedAt")


def reshaped(answer: Answer) -> Answer:
    """The same answer in the shape and the words of our schema."""
    if "errors" in answer:
        return answer
    if "post" in answer["data"]:
        return {"data": {"post": _post(answer["data"]["post"])}}
    return {
        "data": {"posts": {"nodes": [_post(each) for each in answer["data"]["posts"]["nodes"]]}}
    }


def _post(node: dict[str, Any]) -> dict[str, Any]:
    destinations = [_destination(each) for each in node["destinations"]["nodes"]]
    return {**_row(node), "destinations": destinations}


def _destination(node: dict[str, Any]) -> dict[str, Any]:
    shaped = {**_row(node), "accountName": node["account"]["accountName"]}
    if "accountId" not in node["account"]:  # It was asked for its name alone.
        del shaped["account"]
    return shaped


def _row(node: dict[str, Any]) -> dict[str, Any]:
    times = {
        name: node[name] and format_instant(datetime.fromisoformat(node[name]))
        for name in _INSTANTS
        if name in node
    }
    return {**node, "status": node["status"].upper(), **times}
