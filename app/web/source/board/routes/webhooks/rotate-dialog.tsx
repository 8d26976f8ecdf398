// Replaces the secret of a webhook, and shows the new one once.

import { useState } from "react";
import { graphql } from "react-relay/hooks";

import type {
  rotateDialogMutation,
  rotateDialogMutation$data,
} from "../../relay/__generated__/rotateDialogMutation.graphql";
import { Dialog } from "../../components/dialog";
import { ErrorMessage } from "../../components/error-panel";
import { TimeWithDistance } from "../../components/time";
import { useIdempotentMutation } from "../../relay/idempotency";
import type { DialogProps } from "./dialog-props";
import { SecretStep } from "./secret-step";

export function RotateDialog({ webhook, onClose }: DialogProps) {
  const [result, setResult] = useState<rotateDialogMutation$data["rotateWebhookSecret"]>(null);
  const [error, setError] = useState<Error | null>(null);
  const [send, isBusy] = useIdempotentMutation<rotateDialogMutation>(graphql`
    mutation rotateDialogMutation($input: RotateWebhookSecretInput!) {
      rotateWebhookSecret(input: $input) {
        secret
        secretWarning
        previousSecretExpiresAt
        webhook {
          ...webhookFields_webhook
        }
      }
    }
  `);

  function rotate(): void {
    setError(null);
    send(
      { webhookId: webhook.webhookId },
      { onCompleted: ({ rotateWebhookSecret }) => setResult(rotateWebhookSecret), onError: setError },
    );
  }

  if (result) {
    return (
      <Dialog title="The new secret">
        <SecretStep secret={result.secret} warning={result.secretWarning} onClose={onClose}>
          {result.previousSecretExpiresAt && (
            <p>
              The replaced secret signs too until <TimeWithDistance at={result.previousSecretExpiresAt} />.
            </p>
          )}
        </SecretStep>
      </Dialog>
    );
  }
  return (
    <Dialog title="Rotate the secret?" onClose={onClose}>
      <p>
        A new secret is made, and shown once. For 24 hours both secrets sign each request, so that the
        receiver can change to the new one without a gap.
      </p>
      {webhook.previousSecretExpiresAt && (
        <p className="problem">The secret that was replaced before no longer signs.</p>
      )}
      {error && <ErrorMessage error={error} />}
      <div className="buttons">
        <button type="button" className="danger" aria-disabled={isBusy} onClick={() => !isBusy && rotate()}>
          Rotate the secret
        </button>
        <button type="button" onClick={onClose}>
          Keep the current one
        </button>
      </div>
    </Dialog>
  );
}
