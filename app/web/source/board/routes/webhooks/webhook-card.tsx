// One webhook in the list.

import { useFragment } from "react-relay/hooks";
import { Link } from "wouter";

import type { webhookFields_webhook$key } from "../../relay/__generated__/webhookFields_webhook.graphql";
import { UserText } from "../../components/user-text";
import { webhookLabel } from "../../text/webhooks";
import { webhookPath } from "../../url/webhooks";
import { WebhookActions } from "./webhook-actions";
import { webhookFields } from "./webhook-fields";
import { WebhookFacts, WebhookState } from "./webhook-facts";

export function WebhookCard({ webhook: key }: { readonly webhook: webhookFields_webhook$key }) {
  const webhook = useFragment(webhookFields, key);
  return (
    <li className="card webhook">
      <h2>
        <Link href={webhookPath(webhook.webhookId)}>
          <UserText text={webhookLabel(webhook)} limit={200} />
        </Link>
      </h2>
      <WebhookState webhook={webhook} />
      <WebhookFacts webhook={webhook} />
      <WebhookActions webhook={webhook} />
    </li>
  );
}
