"""What a REST request asks to be changed, from its body into variables. Names the members of bodies.

Their kinds are checked here, under the names that the caller used; what they say is the domain's to judge.
Unknown members are ignored, and so is what only answers have: what was read may be sent back.
"""

from collections.abc import Callable, Iterable, Mapping

from app.domain.errors import BulkLimitExceeded, InvalidFieldName, InvalidInput
from app.domain.posts import MAX_BULK_POSTS, PostStatus
from app.domain.times import format_instant, parse_instant
from app.domain.validation.object_reader import MAX_COUNT, ObjectReader
from app.domain.validation.text import MAX_SEARCH_LENGTH
from app.rest.parameters import parse_post_id
from app.rest.requests import DocumentCall, RestRequest

MAX_POST_IDS = 200
"""Of one retry-failed."""

_UNSUPPORTED_NAMES = ("media_id", "mediaId", "attachments", "media")

_POST_FIELDS: Mapping[str, tuple[str, Callable[[ObjectReader, str], object]]] = {
    "content": ("content", ObjectReader.string),
    "account_ids": ("accountIds", ObjectReader.account_ids),
    "timezone": ("timezone", ObjectReader.string),
    "media_ids": ("mediaIds", ObjectReader.strings),
    "platform_content": ("platformContent", ObjectReader.mapping),
    "reference": ("reference", ObjectReader.string),
}
"""What a post can be given, by its name in a body: the name in variables, and how it is read."""


def create_post_call(rest_request: RestRequest) -> DocumentCall:
    key = rest_request.idempotency_key
    return DocumentCall(
        {"input": {**_create_post_input(rest_request.body), "idempotencyKey": key}},
        implicit_idempotency_key=rest_request.implicit_idempotency_key(),
    )


def create_posts_call(rest_request: RestRequest) -> DocumentCall:
    """InvalidInput for no posts, BulkLimitExceeded for too many; one that is wrong costs no other."""
    entries = rest_request.body.members.get("posts")
    if not isinstance(entries, list) or not entries:
        raise InvalidInput(
            f"posts must be a list of 1 to {MAX_BULK_POSTS} posts.", argument="posts"
        )
    if len(entries) > MAX_BULK_POSTS:
        raise BulkLimitExceeded(
            f"There are {len(entries)} posts; at most {MAX_BULK_POSTS} are allowed.",
            argument="posts",
        )
    posts, refused = [], {}
    for index, entry in enumerate(entries):
        try:
            posts.append(_bulk_entry_input(entry))
        except InvalidInput as error:
            refused[index] = error
    key = rest_request.idempotency_key
    return DocumentCall(
        {"input": {"posts": posts, "idempotencyKey": key}},
        implicit_idempotency_key=rest_request.implicit_idempotency_key(),
        rejected_posts=refused,
    )


def update_post_call(rest_request: RestRequest) -> DocumentCall:
    body = rest_request.body
    _reject_unsupported_names(body)
    if body.has("draft"):
        raise InvalidFieldName(
            "draft cannot be changed by PATCH; POST /v1/posts/{post_id}/schedule submits a draft.",
            argument="draft",
        )
    changes = _post_variables(body, body.members.keys())
    when = {
        "scheduledFor": _scheduled_for(body),
        "publishNow": body.boolean("publish_now") or False,
    }
    return DocumentCall({"input": {**_post_reference(rest_request), **changes, **when}})


def schedule_post_call(rest_request: RestRequest) -> DocumentCall:
    body = rest_request.body
    when = {
        "scheduledFor": _scheduled_for(body),
        "publishNow": body.boolean("publish_now") or False,
        "accountIds": body.account_ids("account_ids"),
    }
    return DocumentCall({"input": {**_post_reference(rest_request), **when}})


def delete_post_call(rest_request: RestRequest) -> DocumentCall:
    return DocumentCall({"input": _post_reference(rest_request)})


def retry_post_call(rest_request: RestRequest) -> DocumentCall:
    key = rest_request.idempotency_key
    account_ids = rest_request.body.account_ids("account_ids")
    return DocumentCall(
        {
            "input": {
                "postId": parse_post_id(rest_request.request),
                "accountIds": account_ids,
                "idempotencyKey": key,
            }
        }
    )


def retry_destinations_call(rest_request: RestRequest) -> DocumentCall:
    """InvalidInput without any filter: nobody retries everything by leaving something out."""
    body = rest_request.body
    wanted: dict[str, object] = {
        "postId": _post_ids(body),
        "accountId": [body.account_id("account_id")] if body.has("account_id") else None,
        "platform": _platforms(body),
        "failedAfter": _instant(body, "failed_after"),
        "failedBefore": _instant(body, "failed_before"),
        "maxAttempts": body.whole_number("max_attempts", 0, MAX_COUNT),
    }
    if all(each is None for each in wanted.values()):
        raise InvalidInput(
            "At least one is needed of post_ids, account_id, platform, failed_after, failed_before and"
            " max_attempts."
        )
    wanted["outcome"] = ["FAILED"]  # an unknown one would be refused, and take a place
    return DocumentCall(
        {
            "input": {
                "filter": wanted,
                "after": body.string("after"),
                "idempotencyKey": rest_request.idempotency_key,
            }
        }
    )


def _create_post_input(body: ObjectReader) -> dict[str, object]:
    _reject_unsupported_names(body)
    scheduled_for = _scheduled_for(body)
    is_draft = _is_draft(body)
    if body.boolean("publish_now") and (is_draft or scheduled_for is not None):
        other = "draft" if is_draft else "scheduled_for"
        raise InvalidInput(f"Pass either publish_now or {other}, not both.", argument="publish_now")
    given = _post_variables(body, (name for name in body.members if body.has(name)))
    return {**given, "scheduledFor": scheduled_for, "draft": is_draft}


def _post_variables(body: ObjectReader, names: Iterable[str]) -> dict[str, object]:
    """Those of the names that a post can be given, as variables."""
    known = [(name, *_POST_FIELDS[name]) for name in names if name in _POST_FIELDS]
    return {name_in_variables: read(body, name) for name, name_in_variables, read in known}


def _bulk_entry_input(entry: object) -> dict[str, object]:
    if not isinstance(entry, dict):
        raise InvalidInput("A post must be an object.")
    return _create_post_input(ObjectReader(entry))


def _is_draft(body: ObjectReader) -> bool:
    """As it is said, or as it was where a post comes back: a copy must not go out by itself."""
    said = body.boolean("draft")
    if said is None and body.has("post_id") and not body.boolean("publish_now"):
        return body.members.get("status") == PostStatus.DRAFT
    return said or False


def _reject_unsupported_names(body: ObjectReader) -> None:
    """InvalidFieldName for what clients of other services call media_ids.

    `media` is refused too, but for a post that comes back: there it is what was read.
    """
    for name in _UNSUPPORTED_NAMES:
        if body.has(name) and not (name == "media" and body.has("post_id")):
            raise InvalidFieldName(
                f"{name} is not a field of a post; use media_ids, a list of ids.", argument=name
            )


def _scheduled_for(body: ObjectReader) -> str | None:
    """Also by its old name; both may be there where they say the same."""
    named, by_old_name = _instant(body, "scheduled_for"), _instant(body, "scheduled_at")
    if None not in (named, by_old_name) and named != by_old_name:
        raise InvalidInput(
            "scheduled_at is the old name of scheduled_for, and they differ; pass scheduled_for.",
            argument="scheduled_at",
        )
    return named or by_old_name


def _instant(body: ObjectReader, name: str) -> str | None:
    text = body.string(name)
    return None if text is None else format_instant(parse_instant(text, name))


def _post_reference(rest_request: RestRequest) -> dict[str, object]:
    return {
        "postId": parse_post_id(rest_request.request),
        "expectedVersion": rest_request.body.whole_number("expected_version", 1, MAX_COUNT),
    }


def _platforms(body: ObjectReader) -> list[str] | None:
    if not body.has("platform"):
        return None
    return [body.required_text("platform", max_length=MAX_SEARCH_LENGTH)]


def _post_ids(body: ObjectReader) -> list[str] | None:
    post_ids = body.uuids("post_ids")
    if post_ids is not None and not 1 <= len(post_ids) <= MAX_POST_IDS:
        raise InvalidInput(
            f"post_ids has {len(post_ids)} values; 1 to {MAX_POST_IDS} are allowed.",
            argument="post_ids",
        )
    return None if post_ids is None else [str(each) for each in post_ids]
