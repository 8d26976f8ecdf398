"""From what a mutation did to the documented JSON, with a sentence for a person. Reads are in `shapes`."""

from app.domain.destinations import DestinationStatus
from app.domain.errors import NotFound
from app.domain.posts import PostStatus
from app.rest.errors import bulk_error_object
from app.rest.shapes import DocumentResult, JsonObject, format_post, format_result, omit


def create_post_data(result: DocumentResult) -> JsonObject:
    return _created_post(result.data["createPost"])


def create_posts_data(result: DocumentResult) -> JsonObject:
    payload = result.data["createPosts"]
    results = payload["results"]
    return {
        "summary": {
            "total": len(results),
            "succeeded": payload["succeeded"],
            "failed": payload["failed"],
        },
        "results": [_bulk_entry(each) for each in results],
    }


def bulk_status(data: JsonObject) -> int:
    """The HTTP status of several posts: all, some or none of them were created."""
    summary = data["summary"]
    if summary["failed"] == 0:
        return 201
    return 207 if summary["succeeded"] else 422


def update_post_data(result: DocumentResult) -> JsonObject:
    payload = result.data["updatePost"]
    return _require_post(payload) | _warnings(payload)


def schedule_post_data(result: DocumentResult) -> JsonObject:
    payload = result.data["schedulePost"]
    post = _require_post(payload)
    told = {"publish_now": post["scheduled_for"] is None, "message": _schedule_message(post)}
    return post | told | _warnings(payload)


def delete_post_data(result: DocumentResult) -> JsonObject:
    return {
        **result.data["deletePost"],
        "deleted": True,
        "message": "The post was deleted; nothing of it goes out from here.",
    }


def retry_post_data(result: DocumentResult) -> JsonObject:
    payload = result.data["retryPost"]
    if payload["post"] is None:  # it is a repetition
        raise NotFound("The post that was retried was deleted since, and is not found any more.")
    again = [each for each in payload["retries"] if each["refusal"] is None]
    return {
        **payload["post"],
        "retried_count": len(again),
        "retried": len(again),
        "destinations": [
            {**format_result(each["destination"]), "new_status": DestinationStatus.QUEUED}
            for each in again
            if each["destination"]
            is not None  # a repetition, and the post was taken off the account
        ],
        "next_step": f"Look at GET /v1/posts/{payload['post']['id']}/results for what becomes of it.",
        "message": _queued_message(len(again)),
        "skipped": [
            {"account_id": each["account_id"], "reason": each["refusal"].lower()}
            for each in payload["retries"]
            if each["refusal"] is not None
        ],
    }


def retry_destinations_data(result: DocumentResult) -> JsonObject:
    payload = result.data["retryDestinations"]
    again = [
        {**omit(each, "refusal"), "new_status": DestinationStatus.QUEUED}
        for each in payload["retries"]
        if each["refusal"] is None
    ]
    sentences = [_queued_message(len(again))]
    refused = len(payload["retries"]) - len(again)
    if refused:
        whose = (
            "was refused: its account needs"
            if refused == 1
            else "were refused: their accounts need"
        )
        sentences.append(f"{refused} {whose} to be reconnected first.")
    more = {}
    if payload["hasMore"]:
        sentences.append("Older ones match too; send the request again with this after.")
        more = {"after": payload["endCursor"]}
    return {
        "retried_count": len(again),
        "destinations": again,
        "message": " ".join(sentences),
        **more,
    }


def _created_post(payload: JsonObject) -> JsonObject:
    if payload["post"] is None:  # it is a repetition
        raise NotFound(
            "The post that this request created was deleted since, and is not found any more. To create"
            " another one, send another Idempotency-Key."
        )
    post = format_post(payload["post"])
    data = {
        **post,
        "accounts_count": len(post["account_ids"]),
        "message": _schedule_message(post),
        "results": [omit(each, "scheduled_for") for each in post["destinations"]],
        "post_group_id": post["post_id"],
    }
    if post["status"] == PostStatus.DRAFT:
        data["next_steps"] = [
            f"Schedule it by POST /v1/posts/{post['post_id']}/schedule with scheduled_for or publish_now."
        ]
    return data | _warnings(payload)


def _bulk_entry(result: JsonObject) -> JsonObject:
    shown = {"index": result["index"], "ok": result["error"] is None}
    if result["error"] is not None:
        return {**shown, "error": bulk_error_object(**result["error"])}
    return {**shown, "post": result["post"] and _created_post(result)}


def _require_post(payload: JsonObject) -> JsonObject:
    if payload["post"] is None:
        raise NotFound("The post was deleted in the meantime, and is not found any more.")
    return format_post(payload["post"])


def _warnings(payload: JsonObject) -> JsonObject:
    """Nothing where there are none: the documentation does not know of them."""
    if not payload["warnings"]:
        return {}
    return {
        "warnings": [{**each, "reason": each["reason"].lower()} for each in payload["warnings"]]
    }


def _schedule_message(post: JsonObject) -> str:
    match post["status"], post["scheduled_for"]:
        case PostStatus.DRAFT, _:
            return "The post is a draft; it waits until it is scheduled."
        case PostStatus.SCHEDULED, at:
            return f"The post goes out at {at}."
        case PostStatus.PUBLISHING, None:
            return "The post goes out now."
        case status, _:  # a repetition, later
            return f"The post is {status.replace('_', ' ')} by now."


def _queued_message(count: int) -> str:
    if count == 0:
        return "Nothing was retried."
    return f"{count} {'destination is' if count == 1 else 'destinations are'} queued again."
