"""`GET /me`: the API key of the request, its workspace and the usage of the workspace.

Fields of the hosted service have fixed values: unlimited quotas, no subscription. `user` and
`organization` describe the workspace, because API keys do not belong to persons.
"""

from collections.abc import Iterable

from app.domain.api_keys import Scope
from app.domain.times import format_instant
from app.rest.operations import DocumentResult, JsonObject, QueryOperation, omit

_NO_LIMIT = 2_147_483_647


def _me_data(result: DocumentResult) -> JsonObject:
    viewer = result.data["viewer"]
    api_key, workspace, stats = viewer["api_key"], viewer["workspace"], viewer["stats"]
    return {
        "api_key": {
            **api_key,
            "scopes": _scope_values(api_key["scopes"]),
            # Key usage is stored with a delay; this request is a use.
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
            "accounts": {"used": stats["accounts"], "limit": _NO_LIMIT},
            "ai_credits": {"used": 0, "limit": _NO_LIMIT, "bonus": 0},
            "storage_bytes": {"used": 0, "limit": _NO_LIMIT},
            "team_seats": {"limit": _NO_LIMIT},
        },
        "stats": omit(stats, "accounts"),
    }


def _scope_values(names: Iterable[str]) -> list[str]:
    return [Scope[name].value for name in names]


READ_ME = QueryOperation(
    """
query Me {
  viewer {
    api_key: apiKey {
      id: keyId
      key_prefix: keyPrefix
      name
      scopes
      last_used_at: lastUsedAt
      created_at: createdAt
      expires_at: expiresAt
    }
    scopes
    workspace {
      id: workspaceId
      name
    }
    stats {
      posts_last_30d: postsLast30d
      total_posts: totalPosts
      accounts
    }
  }
}
""",
    lambda _request: {},
    _me_data,
)
