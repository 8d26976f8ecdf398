// Confirms that a webhook is deleted with its deliveries.

import { useState } from "react";
import { graphql, useRelayEnvironment } from "react-relay/hooks";
import { useLocation } from "wouter";

import type { deleteDialogMutation } from "../../relay/__generated__/deleteDialogMutation.graphql";
import { Dialog } from "../../components/dialog";
import { ErrorMessage } from "../../components/error-panel";
import { showResult } from "../../components/notices";
import { UserText } from "../../components/user-text";
import { useIdempotentMutation } from "../../relay/idempotency";
import { webhookLabel } from "../../text/webhooks";
import { refreshWebhooks } from "./all-webhooks";
import type { DialogProps } from "./dialog-props";

export function DeleteDialog({ webhook, onClose }: DialogProps) {
  const environment = useRelayEnvironment();
  const [path, navigate] = useLocation();
  const [error, setError] = useState<Error | null>(null);
  const [send, isBusy] = useIdempotentMutation<deleteDialogMutation>(graphql`
    mutation deleteDialogMutation($input: DeleteWebhookInput!) {
      deleteWebhook(input: $input) {
        webhookId
      }
    }
  `);

  function remove(): void {
    setError(null);
    send(
      { webhookId: webhook.webhookId },
      {
        onCompleted: () => {
          showResult("The webhook is deleted.");
          onClose();
          if (path !== "/webhooks") navigate("/webhooks");
          refreshWebhooks(environment);
        },
        onError: setError,
      },
    );
  }

  return (
    <Dialog title="Delete this webhook?" onClose={onClose}>
      <p>
        Nothing more is sent to <UserText text={webhookLabel(webhook)} limit={200} />, also not what waits for
        another attempt. Its deliveries and its secret are deleted. To stop it for a time, disable it.
      </p>
      {error && <ErrorMessage error={error} />}
      <div className="buttons">
        <button type="button" className="danger" aria-disabled={isBusy} onClick={() => !isBusy && remove()}>
          Delete the webhook
        </button>
        <button type="button" onClick={onClose}>
          Keep it
        </button>
      </div>
    </Dialog>
  );
}
