"""Requests and responses of PostGraphile, whose schema has the names of the tables."""

from collections.abc import Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Any

from app.domain.times import format_instant
from tests.bench.requests import (
    POST_FIELDS,
    POST_ID_PLACEHOLDER,
    RESULT_FIELDS,
    Request,
    ResponseBody,
    graphql_request,
)
from tests.bench.seeding import WORKSPACE_ID

_COLUMNS = RESULT_FIELDS.replace("accountName ", "")
_DESTINATIONS = (
    "destinations: destinationsByWorkspaceIdAndPostId(orderBy: [POSITION_ASC]) {{ nodes {{ {} {}"
    " account: accountByWorkspaceIdAndAccountId {{ {} }} }} }}"
)
_POST_QUERY = (
    "query($w: UUID!, $id: UUID!) { post: postByWorkspaceIdAndRowId(workspaceId: $w, rowId: $id)"
    f" {{ postId: rowId status {_DESTINATIONS.format('', _COLUMNS, 'accountName')} }} }}"
)
_POSTS_QUERY = (
    "query($w: UUID!, $n: Int!) { posts: allPosts(condition: { workspaceId: $w, deletedAt: null },"
    f" orderBy: [CREATED_AT_DESC, ROW_ID_DESC], first: $n) {{ nodes {{ postId: rowId {POST_FIELDS} "
    + _DESTINATIONS.format(
        "destinationId: rowId", _COLUMNS, "accountId: rowId platform accountName"
    )
    + " } } }"
)
_WORKSPACE = str(WORKSPACE_ID)
REQUESTS: Mapping[str, Request] = MappingProxyType(
    {
        "Q1": graphql_request(_POST_QUERY, w=_WORKSPACE, id=POST_ID_PLACEHOLDER),
        "Q2": graphql_request(_POSTS_QUERY, w=_WORKSPACE, n=20),
        "Q3": graphql_request(_POSTS_QUERY, w=_WORKSPACE, n=100),
    }
)
_TIME_FIELDS = ("publishedAt", "nextRetryAt", "scheduledFor", "createdAt", "updatedAt")


def normalize(response: ResponseBody) -> ResponseBody:
    """Convert a response to the schema of post-results."""
    if "errors" in response:
        return response
    if "post" in response["data"]:
        return {"data": {"post": _normalize_post(response["data"]["post"])}}
    nodes = [_normalize_post(node) for node in response["data"]["posts"]["nodes"]]
    return {"data": {"posts": {"nodes": nodes}}}


def _normalize_post(node: dict[str, Any]) -> dict[str, Any]:
    destinations = [_normalize_destination(child) for child in node["destinations"]["nodes"]]
    return {**_normalize_row(node), "destinations": destinations}


def _normalize_destination(node: dict[str, Any]) -> dict[str, Any]:
    destination = {**_normalize_row(node), "accountName": node["account"]["accountName"]}
    if "accountId" not in node["account"]:  # selected only for its name
        del destination["account"]
    return destination


def _normalize_row(node: dict[str, Any]) -> dict[str, Any]:
    times = {
        name: node[name] and format_instant(datetime.fromisoformat(node[name]))
        for name in _TIME_FIELDS
        if name in node
    }
    return {**node, "status": node["status"].upper(), **times}
