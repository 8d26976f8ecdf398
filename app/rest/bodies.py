"""What a REST request asks to be changed, from its body into variables. Names the members of bodies.

Their kinds are checked here, under the names that the caller used; what they say is the domain's to judge.
Unknown members are ignored, and so is what only answers have: what was read may be sent back.
"""

from collections.abc import Callable, Iterable, Mapping

from app.domain.errors import BulkLimitExceeded, InvalidFieldName, InvalidInput
from app.domain.fields import MAX_COUNT, Fields
from app.domain.posts import MAX_BULK, PostStatus
from app.domain.text import MAX_SEARCH_LENGTH
from app.domain.times import format_instant, parse_instant
from app.rest.parameters import post_id
from app.rest.requests import Asked, Wanted

MAX_POST_IDS = 200
"""Of one retry-failed."""

_WRONG_NAMES = ("media_id", "mediaId", "attachments", "media")

_MEMBERS: Mapping[str, tuple[str, Callable[[Fields, str], object]]] = {
    "content": ("content", Fields.string),
    "account_ids": ("accountIds", Fields.account_ids),
    "timezone": ("timezone", Fields.string),
    "media_ids": ("mediaIds", Fields.strings),
    "platform_content": ("platformContent", Fields.mapping),
    "reference": ("reference", Fields.string),
}
"""What a post can be given, by its name in a body: the name in variables, and how it is read."""


def new_post(asked: Asked) -> Wanted:
    key = asked.idempotency_key
    return Wanted(
        {"input": {**_new_post(asked.body), "idempotencyKey": key}},
        same_request=asked.same_request(),
    )


def new_posts(asked: Asked) -> Wanted:
    """InvalidInput for no posts, BulkLimitExceeded for too many; one that is wrong costs no other."""
    entries = asked.body.members.get("posts")
    if not isinstance(entries, list) or not entries:
        raise InvalidInput(f"posts must be a list of 1 to {MAX_BULK} posts.", argument="posts")
    if len(entries) > MAX_BULK:
        raise BulkLimitExceeded(
            f"There are {len(entries)} posts; at most {MAX_BULK} are allowed.", argument="posts"
        )
    posts, refused = [], {}
    for index, entry in enumerate(entries):
        try:
            posts.append(_one_of_several(entry))
        except InvalidInput as error:
            refused[index] = error
    key = asked.idempotency_key
    return Wanted(
        {"input": {"posts": posts, "idempotencyKey": key}},
        same_request=asked.same_request(),
        refused_posts=refused,
    )


def changed_post(asked: Asked) -> Wanted:
    body = asked.body
    _refuse_wrong_names(body)
    if body.has("draft"):
        raise InvalidFieldName(
            "draft cannot be changed by PATCH; POST /v1/posts/{post_id}/schedule submits a draft.",
            argument="draft",
        )
    changes = _members(body, body.members.keys())
    when = {"scheduledFor": _scheduled_for(body), "publishNow": body.flag("publish_now") or False}
    return Wanted({"input": {**_which_post(asked), **changes, **when}})


def submission(asked: Asked) -> Wanted:
    body = asked.body
    when = {
        "scheduledFor": _scheduled_for(body),
        "publishNow": body.flag("publish_now") or False,
        "accountIds": body.account_ids("account_ids"),
    }
    return Wanted({"input": {**_which_post(asked), **when}})


def deletion(asked: Asked) -> Wanted:
    return Wanted({"input": _which_post(asked)})


def retry(asked: Asked) -> Wanted:
    key = asked.idempotency_key
    account_ids = asked.body.account_ids("account_ids")
    return Wanted(
        {
            "input": {
                "postId": post_id(asked.request),
                "accountIds": account_ids,
                "idempotencyKey": key,
            }
        }
    )


def retries(asked: Asked) -> Wanted:
    """InvalidInput without any filter: nobody retries everything by leaving something out."""
    body = asked.body
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
    return Wanted(
        {
            "input": {
                "filter": wanted,
                "after": body.string("after"),
                "idempotencyKey": asked.idempotency_key,
            }
        }
    )


def _new_post(body: Fields) -> dict[str, object]:
    _refuse_wrong_names(body)
    scheduled_for = _scheduled_for(body)
    is_draft = _is_draft(body)
    if body.flag("publish_now") and (is_draft or scheduled_for is not None):
        other = "draft" if is_draft else "scheduled_for"
        raise InvalidInput(f"Pass either publish_now or {other}, not both.", argument="publish_now")
    given = _members(body, (name for name in body.members if body.has(name)))
    return {**given, "scheduledFor": scheduled_for, "draft": is_draft}


def _members(body: Fields, names: Iterable[str]) -> dict[str, object]:
    """Those of the names that a post can be given, as variables."""
    known = [(name, *_MEMBERS[name]) for name in names if name in _MEMBERS]
    return {name_in_variables: read(body, name) for name, name_in_variables, read in known}


def _one_of_several(entry: object) -> dict[str, object]:
    if not isinstance(entry, dict):
        raise InvalidInput("A post must be an object.")
    return _new_post(Fields(entry))


def _is_draft(body: Fields) -> bool:
    """As it is said, or as it was where a post comes back: a copy must not go out by itself."""
    said = body.flag("draft")
    if said is None and body.has("post_id") and not body.flag("publish_now"):
        return body.members.get("status") == PostStatus.DRAFT
    return said or False


def _refuse_wrong_names(body: Fields) -> None:
    """InvalidFieldName for what clients of other services call media_ids.

    `media` is refused too, but for a post that comes back: there it is what was read.
    """
    for name in _WRONG_NAMES:
        if body.has(name) and not (name == "media" and body.has("post_id")):
            raise InvalidFieldName(
                f"{name} is not a field of a post; use media_ids, a list of ids.", argument=name
            )


def _scheduled_for(body: Fields) -> str | None:
    """Also by its old name; both may be there where they say the same."""
    named, by_old_name = _instant(body, "scheduled_for"), _instant(body, "scheduled_at")
    if None not in (named, by_old_name) and named != by_old_name:
        raise InvalidInput(
            "scheduled_at is the old name of scheduled_for, and they differ; pass scheduled_for.",
            argument="scheduled_at",
        )
    return named or by_old_name


def _instant(body: Fields, name: str) -> str | None:
    text = body.string(name)
    return None if text is None else format_instant(parse_instant(text, name))


def _which_post(asked: Asked) -> dict[str, object]:
    return {
        "postId": post_id(asked.request),
        "expectedVersion": asked.body.whole_number("expected_version", 1, MAX_COUNT),
    }


def _platforms(body: Fields) -> list[str] | None:
    if not body.has("platform"):
        return None
    return [body.required_text("platform", max_length=MAX_SEARCH_LENGTH)]


def _post_ids(body: Fields) -> list[str] | None:
    post_ids = body.uuids("post_ids")
    if post_ids is not None and not 1 <= len(post_ids) <= MAX_POST_IDS:
        raise InvalidInput(
            f"post_ids has {len(post_ids)} values; 1 to {MAX_POST_IDS} are allowed.",
            argument="post_ids",
        )
    return None if post_ids is None else [str(each) for each in post_ids]
