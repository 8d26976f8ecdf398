"""`GET /accounts…`: the accounts of a workspace, one account, and its health."""

from app.domain.ids import parse_account_id
from app.http.request import HttpRequest
from app.rest.operations import DocumentResult, JsonObject, QueryOperation, Variables

_ACCOUNT_FRAGMENT = """
fragment Account on Account {
  id: accountId
  account_id: accountId
  platform
  account_name: accountName
  avatar_url: avatarUrl
  is_active: isActive
  created_at: createdAt
  health: readiness {
    status
    can_post: canPost
    message
  }
  platform_user_id: platformUserId
  platform_username: platformUsername
  display_name: displayName
}
"""


def _account_id_variable(request: HttpRequest) -> Variables:
    return {"accountId": parse_account_id(request.path_parameters["account_id"], "account_id")}


def _accounts_data(result: DocumentResult) -> JsonObject:
    accounts = [_format_account(account) for account in result.data["accounts"]]
    return {
        "accounts": accounts,
        "account_ids": [account["account_id"] for account in accounts],
        "total": len(accounts),
    }


def _format_account(account: JsonObject) -> JsonObject:
    health = account["health"]
    return {**account, "health": {**health, "status": health["status"].lower()}}


def _account_health_data(result: DocumentResult) -> JsonObject:
    account = result.require("account")
    health = account["health"]
    return {
        "account_id": account["account_id"],
        "platform": account["platform"],
        "account_name": account["account_name"],
        # Never null: empty if the platform's own id and name of the account are unknown.
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


LIST_ACCOUNTS = QueryOperation(
    f"""
query Accounts {{
  accounts {{
    ...Account
  }}
}}
{_ACCOUNT_FRAGMENT}
""",
    lambda _request: {},
    _accounts_data,
)

READ_ACCOUNT = QueryOperation(
    f"""
query Account($accountId: Int!) {{
  account(accountId: $accountId) {{
    ...Account
  }}
}}
{_ACCOUNT_FRAGMENT}
""",
    _account_id_variable,
    lambda result: _format_account(result.require("account")),
)

READ_ACCOUNT_HEALTH = QueryOperation(
    """
query AccountHealth($accountId: Int!) {
  account(accountId: $accountId) {
    account_id: accountId
    platform
    account_name: accountName
    platform_user_id: platformUserId
    platform_username: platformUsername
    health {
      status
      can_post: canPost
      reasons
      activity {
        last_published_at: lastPublishedAt
        failures_last_7d: failuresLast7d
        permanent_failures_last_7d: permanentFailuresLast7d
        queued_count: queuedCount
      }
    }
    is_active: isActive
    needs_reconnection: needsReconnection
    needs_reconnection_since: needsReconnectionSince
    token {
      expires_at: expiresAt
      last_refresh: lastRefresh
      expired
      expiring_soon: expiringSoon
    }
    connected_at: connectedAt
  }
}
""",
    _account_id_variable,
    _account_health_data,
)
