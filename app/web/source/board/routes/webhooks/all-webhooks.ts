// The query of all webhooks, which is read again after a mutation.

import { graphql, type Environment } from "relay-runtime";

import type { allWebhooksQuery } from "../../relay/__generated__/allWebhooksQuery.graphql";
import { refresh } from "../../relay/live-query";

export const allWebhooks = graphql`
  query allWebhooksQuery {
    webhooks {
      id
      ...webhookFields_webhook
    }
  }
`;

export function refreshWebhooks(environment: Environment): void {
  refresh<allWebhooksQuery>(environment, allWebhooks, {});
}
