"""The GraphQL document behind each route that reads: aliases rename, the selection is the key order."""

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
}
"""

_ACCOUNT = """
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

POST_RESULTS = f"""
query PostResults($postId: UUID!) {{
  post(postId: $postId) {{
    post_id: postId
    post_status: status
    results: destinations {{
      ...Result
      poll_after_seconds: pollAfterSeconds
    }}
  }}
}}
{RESULT_FRAGMENT}
"""

LATEST_CHANGE = """
query LatestChange {
  changes(first: 1, types: []) {
    latest_cursor: latestCursor
  }
}
"""

POST_CHANGED = """
subscription PostChanged($postId: UUID!, $after: String!) {
  postChanged(postId: $postId, after: $after) {
    cursor
  }
}
"""

POST = f"""
query Post($postId: UUID!) {{
  post(postId: $postId) {{
    ...Post
  }}
}}
{POST_FRAGMENT}
{RESULT_FRAGMENT}
"""

POSTS = f"""
query Posts($filter: PostFilter, $orderBy: PostOrder, $first: Int, $offset: Int) {{
  posts(filter: $filter, orderBy: $orderBy, first: $first, offset: $offset) {{
    nodes {{
      ...Post
    }}
    total: totalCount
    page: pageInfo {{
      has_more: hasNextPage
    }}
  }}
}}
{POST_FRAGMENT}
{RESULT_FRAGMENT}
"""

ACCOUNTS = f"""
query Accounts {{
  accounts {{
    ...Account
  }}
}}
{_ACCOUNT}
"""

ACCOUNT = f"""
query Account($accountId: Int!) {{
  account(accountId: $accountId) {{
    ...Account
  }}
}}
{_ACCOUNT}
"""

ACCOUNT_HEALTH = """
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
"""

CHANGES = """
query Changes($after: String, $first: Int, $types: [ChangeType!], $postId: UUID) {
  changes(after: $after, first: $first, types: $types, postId: $postId) {
    changes: nodes {
      cursor
      type
      operation
      post_id: postId
      destination_id: destinationId
      account_id: accountId
      values
      api_key_id: actorKeyId
      happened_at: happenedAt
    }
    cursor: endCursor
    has_more: hasNextPage
    latest_cursor: latestCursor
  }
}
"""

ME = """
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
"""

ANALYTICS_SUMMARY = """
query AnalyticsSummary($period: AnalyticsPeriod!, $from: DateTime, $to: DateTime) {
  analyticsSummary(period: $period, from: $from, to: $to) {
    period
    from: start
    to: end
    posts {
      total
      draft
      scheduled
      publishing
      published
      partially_failed: partiallyFailed
      failed
    }
    by_platform: byPlatform {
      platform
      total
      scheduled
      published
      failed
    }
  }
}
"""
