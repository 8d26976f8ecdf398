// The questions that are already written when the page opens for the first time.

import type { GraphiQLProvider } from "@graphiql/react";
import type { ComponentProps } from "react";

const DEMO_POST = "f47ac10b-58cc-4372-a567-0e02b2c3d479";
const DEMO_ACCOUNT = 2280;

type Tabs = NonNullable<ComponentProps<typeof GraphiQLProvider>["defaultTabs"]>;

export const FIRST_VARIABLES = JSON.stringify({ postId: DEMO_POST }, null, 2);

export const TABS: Tabs = [
  {
    query: `# What became of one post, account by account.
# Its id stands in the variables below.
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
    query: `# What failed today, and why.
# This page fills in $startOfToday: midnight where you are.
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
    query: `# What will be tried again by itself, the next one first.
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
# Its number stands in the variables below.
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
    query: `# What happens, as it happens, the newest first.
# Run it, then change something in another window:
# retry a failed post, for instance.
# A look at another tab stops it. Run again, it
# goes on behind the last change that it showed.
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
