"""POST, PATCH and DELETE of `/posts…`: create, edit, schedule and delete posts.

The kinds of body members are checked here, under their REST names; the domain validates their values.
Members that only responses have are ignored: a post that was read may be sent back. Other members are
refused if the worker publishes the post, because they may be misspelt settings, and ignored otherwise.
"""

from collections.abc import Collection, Mapping

from app.domain.errors import InvalidFieldName, InvalidInput, NotFound
from app.domain.post_commands import check_post_count
from app.domain.posts import MAX_BULK_POSTS, PostStatus
from app.domain.validation.object_reader import MAX_INT32, ObjectReader
from app.rest.errors import bulk_error_object
from app.rest.operations import (
    DocumentCall,
    DocumentResult,
    JsonObject,
    MutationOperation,
    RestRequest,
    omit,
)
from app.rest.parameters import InputFields, parse_post_id, read_body_instant, read_input_fields
from app.rest.posts import MEDIA_WARNINGS, POST_FRAGMENT, RESULT_FRAGMENT, format_post

_OTHER_NAMES = {
    **dict.fromkeys(("media_id", "mediaId", "mediaIds", "attachments", "media"), "media_ids"),
    "accountIds": "account_ids",
    "platformContent": "platform_content",
    "publishNow": "publish_now",
    "scheduledAt": "scheduled_for",
    "scheduledFor": "scheduled_for",
    "expectedVersion": "expected_version",
}
"""Names of members in other services and in GraphQL, with their names here."""

_POST_FIELDS: InputFields = {
    "content": ("content", ObjectReader.string),
    "account_ids": ("accountIds", ObjectReader.account_ids),
    "timezone": ("timezone", ObjectReader.string),
    "media_ids": ("mediaIds", ObjectReader.strings),
    "platform_content": ("platformContent", ObjectReader.mapping),
    "reference": ("reference", ObjectReader.string),
}

_POST_MEMBERS = (*_POST_FIELDS, "scheduled_for", "scheduled_at", "draft", "publish_now")
_VERSION_MEMBER = "expected_version"
_SCHEDULE_MEMBERS = ("scheduled_for", "scheduled_at", "publish_now", "account_ids", _VERSION_MEMBER)
_UPDATE_MEMBERS = tuple(dict.fromkeys((*_POST_FIELDS, *_SCHEDULE_MEMBERS)))

_RESPONSE_MEMBERS = frozenset(
    {
        *("id", "post_id", "status", "post_status", "media", "campaign_id", "destinations"),
        *("created_at", "updated_at", "media_warnings", "accounts_count", "message", "results"),
        *("post_group_id", "next_steps", "warnings", "content_warnings"),
    }
)
"""Members that only responses with a post have."""

_FRAGMENTS = f"""
{POST_FRAGMENT}
{RESULT_FRAGMENT}
fragment Warning on AccountWarning {{
  account_id: accountId
  reason
  message
}}
fragment ContentWarning on ContentWarning {{
  account_id: accountId
  platform
  code
  message
}}
"""


def _create_post_call(rest_request: RestRequest) -> DocumentCall:
    key = rest_request.idempotency_key
    return DocumentCall(
        {**_create_post_input(rest_request.body), "idempotencyKey": key},
        implicit_idempotency_key=rest_request.implicit_idempotency_key(),
        unknown_members=_unknown_members(_POST_MEMBERS, {0: rest_request.body}),
    )


def _check_post_call(rest_request: RestRequest) -> DocumentCall:
    return DocumentCall(
        _create_post_input(rest_request.body),
        unknown_members=_unknown_members(_POST_MEMBERS, {0: rest_request.body}),
    )


def _unknown_members(
    allowed: Collection[str], bodies: Mapping[int, ObjectReader]
) -> Mapping[int, InvalidInput]:
    """Return the errors of bodies with a member that neither this request nor responses have."""
    errors: dict[int, InvalidInput] = {}
    for index, body in bodies.items():
        is_read_post = body.has("post_id")
        ignored = _RESPONSE_MEMBERS.union(_POST_MEMBERS if is_read_post else ())
        members = {name: value for name, value in body.members.items() if name not in ignored}
        try:
            ObjectReader(members, body.path).forbid_unknown(allowed)
        except InvalidInput as error:
            errors[index] = error
    return errors


def _create_post_input(body: ObjectReader) -> JsonObject:
    _reject_other_names(body)
    scheduled_for = _scheduled_for(body)
    is_draft = _is_draft(body)
    if body.boolean("publish_now") and (is_draft or scheduled_for is not None):
        other = "draft" if is_draft else "scheduled_for"
        raise InvalidInput(f"Pass either publish_now or {other}, not both.", argument="publish_now")
    names = (name for name in body.members if body.has(name))
    fields = read_input_fields(body, names, _POST_FIELDS)
    return {
        **fields,
        "scheduledFor": scheduled_for,
        "draft": is_draft,
        "copyOf": _copied_post_id(body),
    }


def _is_draft(body: ObjectReader) -> bool:
    """Read `draft`; a copy of a post that was read has its status instead.

    A copy of a draft stays a draft, so that it is not published by accident.
    """
    draft = body.boolean("draft")
    if draft is None and body.has("post_id") and not body.boolean("publish_now"):
        return body.members.get("status") == PostStatus.DRAFT
    return draft or False


def _copied_post_id(body: ObjectReader) -> str | None:
    """Return the id of the post that was read and is sent back; any other value is ignored."""
    try:
        post_id = body.uuid("post_id")
    except InvalidInput:
        return None
    return None if post_id is None else str(post_id)


def _created_post(payload: JsonObject) -> JsonObject:
    if payload["post"] is None:  # only for a repeated request
        raise NotFound(
            "The post created by this request has been deleted since. To create another post, send a"
            " different Idempotency-Key."
        )
    post = format_post(payload["post"])
    data = {
        **post,
        "accounts_count": len(post["account_ids"]),
        "message": _schedule_message(post),
        "results": [omit(destination, "scheduled_for") for destination in post["destinations"]],
        "post_group_id": post["post_id"],
    }
    if post["status"] == PostStatus.DRAFT:
        data["next_steps"] = [
            f"Schedule it by POST /v1/posts/{post['post_id']}/schedule with scheduled_for or publish_now."
        ]
    return data | _warnings(payload)


def _post_check_data(check: JsonObject) -> JsonObject:
    for each in (check, *check["accounts"]):
        each["errors"] = [bulk_error_object(**error) for error in each["errors"]]
    for account in check["accounts"]:
        for warning in account["warnings"]:
            warning["reason"] = warning["reason"].lower()
    return check


def _create_posts_call(rest_request: RestRequest) -> DocumentCall:
    """Read a bulk request; an invalid post is rejected alone, and the others are created.

    Raises InvalidInput without posts, BulkLimitExceeded for more than MAX_BULK_POSTS.
    """
    entries = rest_request.body.members.get("posts")
    if not isinstance(entries, list) or not entries:
        raise InvalidInput(
            f"posts must be a list of 1 to {MAX_BULK_POSTS} posts.", argument="posts"
        )
    check_post_count(len(entries))
    posts: list[JsonObject] = []
    bodies: dict[int, ObjectReader] = {}
    rejected: dict[int, InvalidInput] = {}
    for index, entry in enumerate(entries):
        try:
            if not isinstance(entry, dict):
                raise InvalidInput("A post must be an object.")
            bodies[index] = ObjectReader(entry)
            posts.append(_create_post_input(bodies[index]))
        except InvalidInput as error:
            rejected[index] = error
    return DocumentCall(
        {"posts": posts, "idempotencyKey": rest_request.idempotency_key},
        implicit_idempotency_key=rest_request.implicit_idempotency_key(),
        rejected_posts=rejected,
        unknown_members=_unknown_members(_POST_MEMBERS, bodies),
    )


def _create_posts_data(result: DocumentResult) -> JsonObject:
    payload = result.data["createPosts"]
    entries = payload["results"]
    return {
        "summary": {
            "total": len(entries),
            "succeeded": payload["succeeded"],
            "failed": payload["failed"],
        },
        "results": [_bulk_entry_data(entry) for entry in entries],
    }


def _bulk_entry_data(entry: JsonObject) -> JsonObject:
    data = {"index": entry["index"], "ok": entry["error"] is None}
    if entry["error"] is not None:
        return {**data, "error": bulk_error_object(**entry["error"])}
    return {**data, "post": entry["post"] and _created_post(entry)}


def _bulk_status(data: JsonObject) -> int:
    """Return the HTTP status of a bulk request: all (201), some (207) or none (422) were created."""
    summary = data["summary"]
    if summary["failed"] == 0:
        return 201
    return 207 if summary["succeeded"] else 422


def _update_post_call(rest_request: RestRequest) -> DocumentCall:
    body = rest_request.body
    _reject_other_names(body)
    if body.has("draft"):
        raise InvalidFieldName(
            "draft cannot be changed by PATCH; POST /v1/posts/{post_id}/schedule submits a draft.",
            argument="draft",
        )
    return DocumentCall(
        {
            **read_input_fields(body, body.members, _POST_FIELDS),
            **_schedule_fields(body),
            **_post_reference(rest_request),
        },
        unknown_members=_unknown_members(_UPDATE_MEMBERS, {0: body}),
    )


def _update_post_data(result: DocumentResult) -> JsonObject:
    payload = result.data["updatePost"]
    return _post_or_not_found(payload) | _warnings(payload)


def _schedule_post_call(rest_request: RestRequest) -> DocumentCall:
    body = rest_request.body
    _reject_other_names(body)
    return DocumentCall(
        {
            **_schedule_fields(body),
            "accountIds": body.account_ids("account_ids"),
            **_post_reference(rest_request),
        },
        unknown_members=_unknown_members(_SCHEDULE_MEMBERS, {0: body}),
    )


def _schedule_post_data(result: DocumentResult) -> JsonObject:
    payload = result.data["schedulePost"]
    post = _post_or_not_found(payload)
    schedule = {"publish_now": post["scheduled_for"] is None, "message": _schedule_message(post)}
    return post | schedule | _warnings(payload)


def _delete_post_data(result: DocumentResult) -> JsonObject:
    return {
        **result.data["deletePost"],
        "deleted": True,
        "message": "The post was deleted and will not be published from here.",
    }


def _post_reference(rest_request: RestRequest) -> JsonObject:
    return {
        "postId": parse_post_id(rest_request.request),
        "expectedVersion": rest_request.body.whole_number(_VERSION_MEMBER, 1, MAX_INT32),
        "idempotencyKey": rest_request.idempotency_key,
    }


def _schedule_fields(body: ObjectReader) -> JsonObject:
    return {
        "scheduledFor": _scheduled_for(body),
        "publishNow": body.boolean("publish_now") or False,
    }


def _scheduled_for(body: ObjectReader) -> str | None:
    """Read `scheduled_for`, or its old name `scheduled_at`; both may be present if they are equal."""
    scheduled_for = read_body_instant(body, "scheduled_for")
    scheduled_at = read_body_instant(body, "scheduled_at")
    if None not in (scheduled_for, scheduled_at) and scheduled_for != scheduled_at:
        raise InvalidInput(
            "scheduled_at is the old name of scheduled_for, and they differ; pass scheduled_for.",
            argument="scheduled_at",
        )
    return scheduled_for or scheduled_at


def _reject_other_names(body: ObjectReader) -> None:
    """Raise InvalidFieldName for a member under the name of another service or of GraphQL.

    `media` is allowed in a post that was read and is sent back.
    """
    for name, own_name in _OTHER_NAMES.items():
        if body.has(name) and not (name == "media" and body.has("post_id")):
            hint = f"{own_name}, a list of ids" if own_name == "media_ids" else own_name
            raise InvalidFieldName(f"{name} is not a field of a post; use {hint}.", argument=name)


def _post_or_not_found(payload: JsonObject) -> JsonObject:
    if payload["post"] is None:
        raise NotFound("The post has been deleted in the meantime.")
    return format_post(payload["post"])


def _warnings(payload: JsonObject) -> JsonObject:
    """Return the members with warnings, left out if empty: the documented answers do not have them."""
    warnings = {
        "warnings": [
            {**warning, "reason": warning["reason"].lower()} for warning in payload["warnings"]
        ],
        "content_warnings": payload["content_warnings"],
    }
    return {name: values for name, values in warnings.items() if values}


def _schedule_message(post: JsonObject) -> str:
    match post["status"], post["scheduled_for"]:
        case PostStatus.DRAFT, _:
            return "The post is a draft; schedule it to publish it."
        case PostStatus.SCHEDULED, scheduled_for:
            return f"The post will be published at {scheduled_for}."
        case PostStatus.PUBLISHING, None:
            return "The post is being published now."
        case status, _:  # only for a request repeated later
            return f"The post is {status.replace('_', ' ')} by now."


def _post_document(name: str, media_warnings: str = MEDIA_WARNINGS) -> str:
    """Build the document of a mutation whose payload has a post and warnings."""
    field = name[0].lower() + name[1:]
    return f"""
mutation {name}($input: {name}Input!) {{
  {field}(input: $input) {{
    post {{
      ...Post
{media_warnings}
    }}
    warnings {{
      ...Warning
    }}
    content_warnings: contentWarnings {{
      ...ContentWarning
    }}
  }}
}}
{_FRAGMENTS}
"""


CREATE_POST = MutationOperation(
    _post_document("CreatePost", media_warnings=""),
    _create_post_call,
    lambda result: _created_post(result.data["createPost"]),
    lambda _data: 201,
)

CHECK_POST = MutationOperation(
    """
query CheckPost($input: PostInput!) {
  checkPost(input: $input) {
    accepted
    errors {
      ...Refusal
    }
    accounts {
      account_id: accountId
      platform
      errors {
        ...Refusal
      }
      warnings {
        reason
        message
      }
      content_warnings: contentWarnings {
        code
        message
      }
    }
  }
}
fragment Refusal on PostRefusal {
  code
  message
  field
}
""",
    _check_post_call,
    lambda result: _post_check_data(result.require("checkPost")),
)

CREATE_POSTS = MutationOperation(
    f"""
mutation CreatePosts($input: CreatePostsInput!) {{
  createPosts(input: $input) {{
    succeeded
    failed
    results {{
      index
      post {{
        ...Post
      }}
      warnings {{
        ...Warning
      }}
      content_warnings: contentWarnings {{
        ...ContentWarning
      }}
      error {{
        code
        message
        field
      }}
    }}
  }}
}}
{_FRAGMENTS}
""",
    _create_posts_call,
    _create_posts_data,
    _bulk_status,
)

UPDATE_POST = MutationOperation(_post_document("UpdatePost"), _update_post_call, _update_post_data)

SCHEDULE_POST = MutationOperation(
    _post_document("SchedulePost"), _schedule_post_call, _schedule_post_data
)

DELETE_POST = MutationOperation(
    """
mutation DeletePost($input: DeletePostInput!) {
  deletePost(input: $input) {
    post_id: postId
    id: postId
  }
}
""",
    lambda rest_request: DocumentCall(_post_reference(rest_request)),
    _delete_post_data,
)
