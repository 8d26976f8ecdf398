// The subscription of the page, and the fields that it keeps up to date in the store.

import { graphql } from "relay-runtime";

graphql`
  fragment changes_destination on Destination {
    id
    status
    outcome
    attempts
    error
    errorCode
    errorCategory
    failedAt
    unknownSince
    publishedAt
    scheduledFor
    nextRetryAt
    leaseExpiresAt
    latenessSeconds
    isOverdue
    awaitsOutcome
    isDuplicated
    platformPostUrl
    retryRefusal
    retryFix
    updatedAt
    outlook {
      attempt
      maxAttempts
      nextAt
      givesUpAt
      sentence
    }
    diagnosis {
      category
      code
      fix
      source
      nextAction
      retryable
      willRetry
    }
  }
`;

// The alias, because the types of both fields `status` differ; the store has them by their names.
graphql`
  fragment changes_post on Post {
    id
    postStatus: status
    content
    reference
    scheduledFor
    publishedAt
    importedAt
    version
    updatedAt
  }
`;

graphql`
  fragment changes_account on Account {
    id
    accountName
    isActive
    readiness {
      canPost
      status
      message
    }
  }
`;

export const changesSubscription = graphql`
  subscription changesSubscription($after: String) {
    changes(after: $after) {
      cursor
      type
      happenedAt
      postId
      destinationId
      accountId
      post {
        ...changes_post
      }
      destination {
        ...changes_destination
      }
      account {
        ...changes_account
      }
    }
  }
`;

/** Reads objects again whose live changes arrived before an older response. */
export const changedObjectsQuery = graphql`
  query changesObjectsQuery($ids: [ID!]!) {
    nodes(ids: $ids) {
      id
      ...changes_post @alias
      ...changes_destination @alias
      ...changes_account @alias
    }
  }
`;
