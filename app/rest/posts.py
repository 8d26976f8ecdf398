"""`GET /posts…`: lists of posts, one post, and its results. Writes are in `post_mutations`, `retries`."""

from app.domain.posts import DEFAULT_TIMEZONE, STATUS_BY_NAME
from app.domain.times import format_instant
from app.graphql.schema.connections import DEFAULT_PAGE_SIZE, MAX_OFFSET, MAX_PAGE_SIZE
from app.http.request import HttpRequest
from app.rest.operations import DocumentResult, JsonObject, QueryOperation, Variables
from app.rest.parameters import (
    parse_post_id,
    read_account_ids,
    read_choice,
    read_enum_names,
    read_instant,
    read_integer,
    read_platforms,
    read_search_text,
)

SORT_FIELDS = ("created_at", "scheduled_for", "published_at", "updated_at")
SORT_DIRECTIONS = ("desc", "asc")

RESULT_FRAGMENT = """
fragment Result on Destination {
  account_id: accountId
  account_name: accountName
  platform
  status
  published_at: publishedAt
  platform_post_id: platformPostId
  platform_post_url: platformPostUrl
  error
  attempts
  next_retry_at: nextRetryAt
  id: destinationId
  social_account_id: accountId
  last_error: error
}
"""

POST_FRAGMENT = """
fragment Post on Post {
  post_id: postId
  id: postId
  status
  post_status: status
  content
  account_ids: accountIds
  scheduled_for: scheduledFor
  timezone
  media_ids: mediaIds
  media
  platform_content: platformContent
  destinations {
    ...Result
    scheduled_for: scheduledFor
  }
  created_at: createdAt
  updated_at: updatedAt
  reference
}
"""


MEDIA_WARNINGS = """
  media_warnings: mediaWarnings {
    account_id: accountId
    platform
    code
    message
  }
"""
"""Selection of the warnings of the media of a post, which a new post does not have."""

_OUTAGES = """
query Outages {
  outages: serverOutages {
    accountIds
    nextTryAt
    sentence
  }
}
"""


def _post_id_variable(request: HttpRequest) -> Variables:
    return {"postId": parse_post_id(request)}


def _post_results_data(result: DocumentResult) -> JsonObject:
    post = result.require("post")
    post["post_status"] = post["post_status"].lower()
    _show_outages(result)
    for destination in post["results"]:
        destination["status"] = destination["status"].lower()
        del destination["poll_after_seconds"], destination["scheduled_for"]
    return post


def _retry_after(result: DocumentResult) -> int | None:
    """Return the seconds until the first destination that is not final may change.

    None if nothing changes automatically: all destinations are final, or the post is a draft.
    """
    destinations = result.require("post")["results"]
    waits = (destination["poll_after_seconds"] for destination in destinations)
    return min((wait for wait in waits if wait is not None), default=None)


def _list_variables(request: HttpRequest) -> Variables:
    """Read filter, order and page of a list; raises InvalidInput or InvalidId for a bad value."""
    query = request.query()
    return {
        "filter": {
            "status": read_enum_names(query, "status", STATUS_BY_NAME),
            "platform": read_platforms(query),
            "accountId": read_account_ids(query),
            **{
                f"{time}{bound}": read_instant(query, f"{time}_{bound.lower()}")
                for time in ("created", "scheduled", "published", "updated")
                for bound in ("After", "Before")
            },
            "search": read_search_text(query, "search"),
            "reference": read_search_text(query, "reference"),
        },
        "orderBy": {
            "field": read_choice(query, "sort", SORT_FIELDS, "created_at").upper(),
            "direction": read_choice(query, "order", SORT_DIRECTIONS, "desc").upper(),
        },
        "first": read_integer(query, "limit", 1, MAX_PAGE_SIZE, DEFAULT_PAGE_SIZE),
        "offset": read_integer(query, "offset", 0, MAX_OFFSET, 0),
    }


def _posts_data(result: DocumentResult) -> JsonObject:
    page = result.data["posts"]
    _show_outages(result)
    limit, offset, total = result.variables["first"], result.variables["offset"], page["total"]
    return {
        "posts": [format_post(post) for post in page["nodes"]],
        "pagination": {"limit": limit, "offset": offset, "total": total, **page["page"]},
        "total": total,
        "limit": limit,
        "offset": offset,
    }


def _post_data(result: DocumentResult) -> JsonObject:
    post = result.require("post")
    _show_outages(result)
    return format_post(post)


def _waiting_results(result: DocumentResult) -> list[JsonObject]:
    """Return the results that are due and not being published."""
    post, page = result.data.get("post"), result.data.get("posts")
    posts = page["nodes"] if page else [post] if post else []
    now = format_instant(result.now)
    return [
        each
        for post in posts
        for each in post.get("results") or post.get("destinations") or ()
        if each["status"] == "QUEUED"
        and (due_at := each["next_retry_at"] or each["scheduled_for"]) is not None
        and due_at <= now
    ]


def _outages_document(result: DocumentResult) -> str | None:
    """Return the document that reads the servers for which results may wait; None if none waits."""
    return _OUTAGES if _waiting_results(result) else None


def _show_outages(result: DocumentResult) -> None:
    """Show waiting results with the outage of their server as `error`, and with its next try.

    So clients see why a post is late without reading its outlook.
    """
    outages = {
        account_id: outage
        for outage in result.data.get("outages") or ()
        for account_id in outage["accountIds"]
    }
    for each in _waiting_results(result) if outages else ():
        if (outage := outages.get(each["account_id"])) is not None:
            each["error"] = each["last_error"] = outage["sentence"]
            each["next_retry_at"] = outage["nextTryAt"]


def format_post(post: JsonObject) -> JsonObject:
    """Format a post of POST_FRAGMENT with lower-case statuses and the constant `campaign_id`.

    `media_warnings` are left out if there are none: the documented post does not have them.
    """
    data: JsonObject = {}
    for key, value in post.items():
        if key == "media_warnings" and not value:
            continue
        data[key] = value
        if key == "platform_content":
            data["campaign_id"] = None
    return {
        **data,
        "status": post["status"].lower(),
        "post_status": post["post_status"].lower(),
        "timezone": post["timezone"] or DEFAULT_TIMEZONE,
        "destinations": [format_result(destination) for destination in post["destinations"]],
    }


def format_result(destination: JsonObject) -> JsonObject:
    """Format a destination of RESULT_FRAGMENT with a lower-case status."""
    return {**destination, "status": destination["status"].lower()}


READ_RESULTS = QueryOperation(
    f"""
query PostResults($postId: UUID!) {{
  post(postId: $postId) {{
    post_id: postId
    post_status: status
    results: destinations {{
      ...Result
      scheduled_for: scheduledFor
      poll_after_seconds: pollAfterSeconds
    }}
  }}
}}
{RESULT_FRAGMENT}
""",
    _post_id_variable,
    _post_results_data,
    _retry_after,
    follow_up=_outages_document,
    supports_long_poll=True,
)

READ_POST = QueryOperation(
    f"""
query Post($postId: UUID!) {{
  post(postId: $postId) {{
    ...Post
{MEDIA_WARNINGS}
  }}
}}
{POST_FRAGMENT}
{RESULT_FRAGMENT}
""",
    _post_id_variable,
    _post_data,
    follow_up=_outages_document,
)

LIST_POSTS = QueryOperation(
    f"""
query Posts($filter: PostFilter, $orderBy: PostOrder, $first: Int, $offset: Int) {{
  posts(filter: $filter, orderBy: $orderBy, first: $first, offset: $offset) {{
    nodes {{
      ...Post
{MEDIA_WARNINGS}
    }}
    total: totalCount
    page: pageInfo {{
      has_more: hasNextPage
    }}
  }}
}}
{POST_FRAGMENT}
{RESULT_FRAGMENT}
""",
    _list_variables,
    _posts_data,
    follow_up=_outages_document,
)
