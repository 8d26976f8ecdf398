// All webhooks, oldest first.

import type { ReactNode } from "react";

import type { allWebhooksQuery } from "../../relay/__generated__/allWebhooksQuery.graphql";
import { useLiveQuery } from "../../relay/live-query";
import { allWebhooks } from "./all-webhooks";
import { WebhookCard } from "./webhook-card";
import { WhatWebhooksAre } from "./what-webhooks-are";

/** The results of deliveries are no changes of the feed. */
const RECHECK_MS = 15_000;

interface Props {
  readonly fetchKey: number;
  /** Stands in the place of an empty list too. */
  readonly addButton: ReactNode;
}

export function WebhookList({ fetchKey, addButton }: Props) {
  const { webhooks } = useLiveQuery<allWebhooksQuery>(allWebhooks, {}, {
    fetchKey,
    isRelevant: ({ type }) => type === "WEBHOOK_DISABLED",
    recheckMs: RECHECK_MS,
  });
  if (!webhooks) return null;
  if (webhooks.length === 0) {
    return (
      <div className="empty">
        <p>This workspace has no webhook yet.</p>
        <WhatWebhooksAre />
        {addButton}
      </div>
    );
  }
  return (
    <ul className="webhooks">
      {webhooks.map((webhook) => (
        <WebhookCard key={webhook.id} webhook={webhook} />
      ))}
    </ul>
  );
}
