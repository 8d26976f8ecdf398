"""From what a document found to the documented JSON: lower-case words, constants, places. No lookups.

Documents already rename and order; what has no counterpart here is said with its honest value for a
server of one's own: nothing is sold, so nothing is limited, and nobody measures views or likes.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from app.domain.api_keys import Scope
from app.domain.errors import NotFound
from app.domain.events import EventKind
from app.domain.posts import DEFAULT_TIMEZONE, PostStatus
from app.domain.times import format_instant

JsonObject = dict[str, Any]

NO_LIMIT = 2_147_483_647


@dataclass(frozen=True, slots=True)
class DocumentResult:
    """The data of a document that ran without errors, the variables it had, and when that was."""

    data: Mapping[str, Any]
    variables: Mapping[str, Any]
    now: datetime

    def require(self, field: str) -> JsonObject:
        """The object of this field; NotFound where it is null."""
        found: JsonObject | None = self.data[field]
        if found is None:
            raise NotFound(f"The {field} was not found: this workspace has none with that id.")
        return found


def post_results_data(result: DocumentResult) -> JsonObject:
    post = result.require("post")
    return {
        **post,
        "post_status": post["post_status"].lower(),
        "results": [
            omit(format_result(destination), "poll_after_seconds")
            for destination in post["results"]
        ],
    }


def retry_after(result: DocumentResult) -> int | None:
    """After how many seconds results may change: the first of the destinations that are not final.

    None where nothing changes by itself: everything is final, or the post is a draft.
    """
    post = result.require("post")
    if post["post_status"] == PostStatus.DRAFT.name:
        return None
    waits = (destination["poll_after_seconds"] for destination in post["results"])
    return min((wait for wait in waits if wait is not None), default=None)


def post_data(result: DocumentResult) -> JsonObject:
    return format_post(result.require("post"))


def posts_data(result: DocumentResult) -> JsonObject:
    page = result.data["posts"]
    limit, offset, total = result.variables["first"], result.variables["offset"], page["total"]
    return {
        "posts": [format_post(node) for node in page["nodes"]],
        "pagination": {"limit": limit, "offset": offset, "total": total, **page["page"]},
        "total": total,
        "limit": limit,
        "offset": offset,
    }


def accounts_data(result: DocumentResult) -> JsonObject:
    shaped = [_format_account(account) for account in result.data["accounts"]]
    return {
        "accounts": shaped,
        "account_ids": [account["account_id"] for account in shaped],
        "total": len(shaped),
    }


def account_data(result: DocumentResult) -> JsonObject:
    return _format_account(result.require("account"))


def account_health_data(result: DocumentResult) -> JsonObject:
    account = result.require("account")
    health = account["health"]
    return {
        "account_id": account["account_id"],
        "platform": account["platform"],
        "account_name": account["account_name"],
        # Never null, and never invented: empty where only the account's own number is known.
        "platform_account_id": account["platform_user_id"] or account["platform_username"] or "",
        "status": health["status"].lower(),
        "can_post": health["can_post"],
        "reasons": [reason.lower() for reason in health["reasons"]],
        "is_active": account["is_active"],
        "needs_reconnection": account["needs_reconnection"],
        "needs_reconnection_since": account["needs_reconnection_since"],
        "token": account["token"],
        "activity": health["activity"],
        "connected_at": account["connected_at"],
    }


def changes_data(result: DocumentResult) -> JsonObject:
    page = result.data["changes"]
    return {
        **page,
        "changes": [{**each, "type": EventKind[each["type"]].value} for each in page["changes"]],
    }


def me_data(result: DocumentResult) -> JsonObject:
    """The workspace stands for the organization and for the user: a key belongs to no person."""
    viewer = result.data["viewer"]
    api_key, workspace, stats = viewer["api_key"], viewer["workspace"], viewer["stats"]
    return {
        "api_key": {
            **api_key,
            "scopes": _scope_values(api_key["scopes"]),
            # Uses are noted with a delay; this request is one.
            "last_used_at": api_key["last_used_at"] or format_instant(result.now),
        },
        "scopes": _scope_values(viewer["scopes"]),
        "workspace": workspace,
        "user": {"id": 1, "email": "", "name": workspace["name"]},
        "organization": {
            **workspace,
            "subscription_plan": "self-hosted",
            "subscription_status": "active",
            "subscription_source": None,
            "trial_end": None,
            "current_period_end": None,
            "cancel_at_period_end": False,
            "entitled": True,
        },
        "quota": {
            "accounts": {"used": stats["accounts"], "limit": NO_LIMIT},
            "ai_credits": {"used": 0, "limit": NO_LIMIT, "bonus": 0},
            "storage_bytes": {"used": 0, "limit": NO_LIMIT},
            "team_seats": {"limit": NO_LIMIT},
        },
        "stats": omit(stats, "accounts"),
    }


def analytics_summary_data(result: DocumentResult) -> JsonObject:
    summary = result.data["analyticsSummary"]
    return {
        "period": summary["period"].lower(),
        "range": {"from": summary["from"], "to": summary["to"]},
        "posts": summary["posts"],
        "by_platform": summary["by_platform"],
        "metrics": dict.fromkeys(
            ("views", "likes", "comments", "shares", "impressions", "clicks"), 0
        ),
        "ai_credits": {"used_this_period": 0, "bonus": 0},
    }


def format_post(node: JsonObject) -> JsonObject:
    shaped: JsonObject = {}
    for key, value in node.items():
        shaped[key] = value
        if key == "platform_content":
            shaped["campaign_id"] = None
    return {
        **shaped,
        "status": node["status"].lower(),
        "post_status": node["post_status"].lower(),
        "timezone": node["timezone"] or DEFAULT_TIMEZONE,
        "destinations": [format_result(destination) for destination in node["destinations"]],
    }


def format_result(destination: JsonObject) -> JsonObject:
    return {**destination, "status": destination["status"].lower()}


def _format_account(node: JsonObject) -> JsonObject:
    health = node["health"]
    return {**node, "health": {**health, "status": health["status"].lower()}}


def _scope_values(names: Iterable[str]) -> list[str]:
    return [Scope[name].value for name in names]


def omit(data: JsonObject, key: str) -> JsonObject:
    return {name: value for name, value in data.items() if name != key}
