// Example operations that fill the tabs of the editor on the first visit.

import type { GraphiQLProvider } from "@graphiql/react";
import type { ComponentProps } from "react";

const DEMO_POST = "f47ac10b-58cc-4372-a567-0e02b2c3d479";
const DEMO_ACCOUNT = 2280;

type Tabs = NonNullable<ComponentProps<typeof GraphiQLProvider>["defaultTabs"]>;

export const FIRST_VARIABLES = JSON.stringify({ postId: DEMO_POST }, null, 2);

export const TABS: Tabs = [
  {
    query: `# The results of one post on each account.
# The variables below contain its id.
query ResultsOfOnePost($postId: UUID!) {
  post(postId: $postId) {
    status
    destinations {
      platform
      accountName
      status
      publishedAt
      platformPostUrl
      error
      attempts
      nextRetryAt
      diagnosis {
        willRetry
        nextAction
        fix
      }
    }
  }
}
`,
    variables: FIRST_VARIABLES,
  },
  {
    query: `# Posts that failed today, with the reasons.
# This page sets $startOfToday to midnight in your time zone.
query WhatFailedToday($startOfToday: DateTime!) {
  posts(
    filter: {status: [FAILED, PARTIALLY_FAILED], updatedAfter: $startOfToday}
    orderBy: {field: UPDATED_AT}
  ) {
    totalCount
    nodes {
      postId
      content
      status
      updatedAt
      destinations {
        platform
        accountName
        status
        error
        diagnosis {
          source
          retryable
          fix
        }
      }
    }
  }
}
`,
  },
  {
    query: `# Planned automatic retries, the next one first.
query WhatWaitsForARetry {
  destinations(
    filter: {status: [QUEUED], nextRetryAfter: "2000-01-01"}
    orderBy: {field: NEXT_RETRY_AT, direction: ASC}
  ) {
    totalCount
    nodes {
      nextRetryAt
      attempts
      platform
      accountName
      error
      post {
        postId
        content
      }
    }
  }
}
`,
  },
  {
    query: `# Can this account post, and if not, why?
# The variables below contain its number.
query HealthOfOneAccount($accountId: Int!) {
  account(accountId: $accountId) {
    platform
    accountName
    health {
      status
      canPost
      reasons
      activity {
        lastPublishedAt
        failuresLast7d
        permanentFailuresLast7d
        queuedCount
      }
    }
    token {
      expiresAt
      expired
      expiringSoon
    }
  }
}
`,
    variables: JSON.stringify({ accountId: DEMO_ACCOUNT }, null, 2),
  },
  {
    query: `# Live changes, the newest first.
# Run this, then change something in another
# window, for example retry a failed post.
# Opening another tab stops the subscription.
# Another run continues after the last change.
subscription WhatHappens($after: String) {
  changes(after: $after) {
    cursor
    happenedAt
    type
    operation
    values
    post {
      postId
      content
      status
    }
    destination {
      platform
      accountName
      status
      error
    }
  }
}
`,
  },
];
