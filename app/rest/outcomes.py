"""From what a mutation did to the documented JSON, with a sentence for a person. Reads are in `shapes`."""

from app.domain.destinations import DestinationStatus
from app.domain.errors import NotFound
from app.domain.posts import PostStatus
from app.rest.errors import refusal_object
from app.rest.shapes import Found, JsonObject, shown_post, shown_result, without


def created(found: Found) -> JsonObject:
    return _created(found.data["createPost"])


def created_several(found: Found) -> JsonObject:
    payload = found.data["createPosts"]
    results = payload["results"]
    return {
        "summary": {
            "total": len(results),
            "succeeded": payload["succeeded"],
            "failed": payload["failed"],
        },
        "results": [_one_of_several(each) for each in results],
    }


def bulk_status(data: JsonObject) -> int:
    """The HTTP status of several posts: all, some or none of them were created."""
    summary = data["summary"]
    if summary["failed"] == 0:
        return 201
    return 207 if summary["succeeded"] else 422


def changed(found: Found) -> JsonObject:
    return _post(found.data["updatePost"])


def scheduled(found: Found) -> JsonObject:
    post = _post(found.data["schedulePost"])
    return {**post, "publish_now": post["scheduled_for"] is None, "message": _when(post)}


def deleted(found: Found) -> JsonObject:
    return {
        **found.data["deletePost"],
        "deleted": True,
        "message": "The post was deleted; nothing of it goes out.",
    }


def retried(found: Found) -> JsonObject:
    retries = found.data["retryPost"]["retries"]
    post_id = found.variables["input"]["postId"]
    if any(each["destination"] is None for each in retries):  # it is a repetition
        raise NotFound("The post that was retried was deleted since, and is not found any more.")
    again = [
        {**shown_result(each["destination"]), "new_status": DestinationStatus.QUEUED}
        for each in retries
        if each["refusal"] is None
    ]
    return {
        "post_id": post_id,
        "id": post_id,
        "retried_count": len(again),
        "retried": len(again),
        "destinations": again,
        "next_step": f"Look at GET /v1/posts/{post_id}/results for what becomes of it.",
        "message": _queued_again(len(again)),
        "skipped": [
            {"account_id": each["account_id"], "reason": each["refusal"].lower()}
            for each in retries
            if each["refusal"] is not None
        ],
    }


def retried_failed(found: Found) -> JsonObject:
    payload = found.data["retryDestinations"]
    again = [
        {**without(each, "refusal"), "new_status": DestinationStatus.QUEUED}
        for each in payload["retries"]
        if each["refusal"] is None
    ]
    sentences = [_queued_again(len(again))]
    refused = len(payload["retries"]) - len(again)
    if refused:
        sentences.append(f"{refused} cannot be retried until their accounts are reconnected.")
    if payload["hasMore"]:
        to_reach = "name other accounts or times" if refused else "send the request again"
        sentences.append(f"Older ones match too; {to_reach} to reach them.")
    return {"retried_count": len(again), "destinations": again, "message": " ".join(sentences)}


def _created(payload: JsonObject) -> JsonObject:
    if payload["post"] is None:  # it is a repetition
        raise NotFound(
            "The post that this request created was deleted since, and is not found any more. To create"
            " another one, send another Idempotency-Key."
        )
    post = shown_post(payload["post"])
    data = {
        **post,
        "accounts_count": len(post["account_ids"]),
        "message": _when(post),
        "results": [without(each, "scheduled_for") for each in post["destinations"]],
        "post_group_id": post["post_id"],
    }
    if post["status"] == PostStatus.DRAFT:
        data["next_steps"] = [
            f"Schedule it by POST /v1/posts/{post['post_id']}/schedule with scheduled_for or publish_now."
        ]
    return data | _warnings(payload)


def _one_of_several(result: JsonObject) -> JsonObject:
    shown = {"index": result["index"], "ok": result["error"] is None}
    if result["error"] is not None:
        return {**shown, "error": refusal_object(**result["error"])}
    return {**shown, "post": result["post"] and _created(result)}


def _post(payload: JsonObject) -> JsonObject:
    if payload["post"] is None:
        raise NotFound("The post was deleted in the meantime, and is not found any more.")
    return shown_post(payload["post"])


def _warnings(payload: JsonObject) -> JsonObject:
    """Nothing where there are none: the documentation does not know of them."""
    if not payload["warnings"]:
        return {}
    return {
        "warnings": [{**each, "reason": each["reason"].lower()} for each in payload["warnings"]]
    }


def _when(post: JsonObject) -> str:
    if post["status"] == PostStatus.DRAFT:
        return "The post is a draft; it waits until it is scheduled."
    if post["scheduled_for"] is None:
        return "The post goes out now."
    return f"The post goes out at {post['scheduled_for']}."


def _queued_again(count: int) -> str:
    if count == 0:
        return "Nothing was retried."
    return f"{count} {'destination is' if count == 1 else 'destinations are'} queued again."
