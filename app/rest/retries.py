"""`POST /posts/{post_id}/retry` and `/posts/retry-failed`: queue failed destinations again."""

from app.domain.destinations import DestinationStatus
from app.domain.errors import InvalidInput, NotFound
from app.domain.validation.object_reader import MAX_INT32, ObjectReader
from app.domain.validation.text import MAX_SEARCH_LENGTH
from app.rest.operations import (
    DocumentCall,
    DocumentResult,
    JsonObject,
    MutationOperation,
    RestRequest,
    omit,
)
from app.rest.parameters import parse_post_id, read_body_instant
from app.rest.posts import RESULT_FRAGMENT, format_result

_MAX_POST_IDS = 200
"""Number of posts that one retry-failed request may name."""


def _retry_post_call(rest_request: RestRequest) -> DocumentCall:
    return DocumentCall(
        {
            "accountIds": rest_request.body.account_ids("account_ids"),
            "postId": parse_post_id(rest_request.request),
            "idempotencyKey": rest_request.idempotency_key,
        }
    )


def _retry_post_data(result: DocumentResult) -> JsonObject:
    payload = result.data["retryPost"]
    if payload["post"] is None:  # only for a repeated request
        raise NotFound("The retried post has been deleted since.")
    retried = [retry for retry in payload["retries"] if retry["refusal"] is None]
    return {
        **payload["post"],
        "retried_count": len(retried),
        "retried": len(retried),
        "destinations": [
            {**format_result(retry["destination"]), "new_status": DestinationStatus.QUEUED}
            for retry in retried
            # Null for a repeated request if the account was removed from the post since.
            if retry["destination"] is not None
        ],
        "next_step": f"Poll GET /v1/posts/{payload['post']['id']}/results for the result.",
        "message": _queued_message(len(retried)),
        "skipped": [
            {"account_id": retry["account_id"], "reason": retry["refusal"].lower()}
            for retry in payload["retries"]
            if retry["refusal"] is not None
        ],
    }


def _retry_failed_call(rest_request: RestRequest) -> DocumentCall:
    """Read a retry-failed request; raises InvalidInput without a filter: an omission must not retry all."""
    body = rest_request.body
    filters: dict[str, object] = {
        "postId": _post_ids(body),
        "accountId": [body.account_id("account_id")] if body.has("account_id") else None,
        "platform": _platforms(body),
        "failedAfter": read_body_instant(body, "failed_after"),
        "failedBefore": read_body_instant(body, "failed_before"),
        "maxAttempts": body.whole_number("max_attempts", 0, MAX_INT32),
    }
    if all(value is None for value in filters.values()):
        raise InvalidInput(
            "Pass at least one of post_ids, account_id, platform, failed_after, failed_before and"
            " max_attempts."
        )
    # Unknown outcomes would be refused, and would use up the limit of one request.
    filters["outcome"] = ["FAILED"]
    return DocumentCall(
        {
            "filter": filters,
            "after": body.string("after"),
            "idempotencyKey": rest_request.idempotency_key,
        }
    )


def _post_ids(body: ObjectReader) -> list[str] | None:
    post_ids = body.uuids("post_ids")
    if post_ids is None:
        return None
    if not 1 <= len(post_ids) <= _MAX_POST_IDS:
        raise InvalidInput(
            f"post_ids has {len(post_ids)} values; 1 to {_MAX_POST_IDS} are allowed.",
            argument="post_ids",
        )
    return [str(post_id) for post_id in post_ids]


def _platforms(body: ObjectReader) -> list[str] | None:
    if not body.has("platform"):
        return None
    return [body.required_text("platform", max_length=MAX_SEARCH_LENGTH)]


def _retry_failed_data(result: DocumentResult) -> JsonObject:
    payload = result.data["retryDestinations"]
    queued = [
        {**omit(retry, "refusal"), "new_status": DestinationStatus.QUEUED}
        for retry in payload["retries"]
        if retry["refusal"] is None
    ]
    sentences = [_queued_message(len(queued))]
    refused_count = len(payload["retries"]) - len(queued)
    if refused_count == 1:
        sentences.append("1 was refused: its account needs to be reconnected first.")
    elif refused_count:
        sentences.append(
            f"{refused_count} were refused: their accounts need to be reconnected first."
        )
    next_page = {}
    if payload["hasMore"]:
        sentences.append("Older failures match too; repeat the request with this after.")
        next_page = {"after": payload["endCursor"]}
    return {
        "retried_count": len(queued),
        "destinations": queued,
        "message": " ".join(sentences),
        **next_page,
    }


def _queued_message(count: int) -> str:
    if count == 0:
        return "Nothing was retried."
    return f"{count} {'destination is' if count == 1 else 'destinations are'} queued again."


RETRY_POST = MutationOperation(
    f"""
mutation RetryPost($input: RetryPostInput!) {{
  retryPost(input: $input) {{
    post {{
      post_id: postId
      id: postId
    }}
    retries {{
      account_id: accountId
      refusal
      destination {{
        ...Result
        scheduled_for: scheduledFor
      }}
    }}
  }}
}}
{RESULT_FRAGMENT}
""",
    _retry_post_call,
    _retry_post_data,
)

RETRY_FAILED = MutationOperation(
    """
mutation RetryDestinations($input: RetryDestinationsInput!) {
  retryDestinations(input: $input) {
    retries {
      destination_id: destinationId
      post_id: postId
      platform
      refusal
    }
    hasMore
    endCursor
  }
}
""",
    _retry_failed_call,
    _retry_failed_data,
)
