// What the pages show of a webhook, and what its mutations bring up to date.

import { graphql } from "relay-runtime";

export const webhookFields = graphql`
  fragment webhookFields_webhook on Webhook {
    id
    webhookId
    url
    name
    description
    events
    platforms
    accountIds
    isActive
    consecutiveFailures
    failingSince
    disabledReason
    autoDisabledAt
    lastSuccessAt
    lastFailureAt
    previousSecretExpiresAt
    secretError
    createdAt
  }
`;
