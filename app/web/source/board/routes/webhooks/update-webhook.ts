// The mutation that changes a webhook.

import { graphql } from "react-relay/hooks";

import type { updateWebhookMutation } from "../../relay/__generated__/updateWebhookMutation.graphql";
import { showNotice, showResult } from "../../components/notices";
import { useIdempotentMutation } from "../../relay/idempotency";

export function useWebhookUpdate() {
  return useIdempotentMutation<updateWebhookMutation>(graphql`
    mutation updateWebhookMutation($input: UpdateWebhookInput!) {
      updateWebhook(input: $input) {
        webhook {
          ...webhookFields_webhook
        }
      }
    }
  `);
}

/** A function that disables a webhook; what it misses can be sent when it is enabled again. */
export function useDisable(webhookId: string): [disable: () => void, isBusy: boolean] {
  const [send, isBusy] = useWebhookUpdate();
  function disable(): void {
    send(
      { webhookId, isActive: false },
      {
        onCompleted: () => showResult("The webhook is disabled: nothing is sent to it until it is enabled."),
        onError: ({ message }) => showNotice(`The webhook could not be disabled. ${message}`),
      },
    );
  }
  return [disable, isBusy];
}
