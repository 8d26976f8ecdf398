"""The GraphQL document behind each route that changes something, as `documents` has those that read."""

from app.rest.documents import POST_FRAGMENT, RESULT_FRAGMENT

_WARNING = """
fragment Warning on AccountWarning {
  account_id: accountId
  reason
  message
}
"""

CREATE_POST = f"""
mutation CreatePost($input: CreatePostInput!) {{
  createPost(input: $input) {{
    post {{
      ...Post
    }}
    warnings {{
      ...Warning
    }}
  }}
}}
{POST_FRAGMENT}
{RESULT_FRAGMENT}
{_WARNING}
"""

CREATE_POSTS = f"""
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
      error {{
        code
        message
        field
      }}
    }}
  }}
}}
{POST_FRAGMENT}
{RESULT_FRAGMENT}
{_WARNING}
"""

UPDATE_POST = f"""
mutation UpdatePost($input: UpdatePostInput!) {{
  updatePost(input: $input) {{
    post {{
      ...Post
    }}
    warnings {{
      ...Warning
    }}
  }}
}}
{POST_FRAGMENT}
{RESULT_FRAGMENT}
{_WARNING}
"""

SCHEDULE_POST = f"""
mutation SchedulePost($input: SchedulePostInput!) {{
  schedulePost(input: $input) {{
    post {{
      ...Post
    }}
    warnings {{
      ...Warning
    }}
  }}
}}
{POST_FRAGMENT}
{RESULT_FRAGMENT}
{_WARNING}
"""

DELETE_POST = """
mutation DeletePost($input: DeletePostInput!) {
  deletePost(input: $input) {
    post_id: postId
    id: postId
  }
}
"""

RETRY_POST = f"""
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
"""

RETRY_DESTINATIONS = """
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
"""
