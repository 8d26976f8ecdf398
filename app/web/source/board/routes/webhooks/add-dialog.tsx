// Adds a webhook, and shows its secret once.

import { useState } from "react";
import { graphql, useRelayEnvironment } from "react-relay/hooks";

import type {
  addDialogMutation,
  addDialogMutation$data,
  WebhookEventType,
} from "../../relay/__generated__/addDialogMutation.graphql";
import { Dialog } from "../../components/dialog";
import { UserText } from "../../components/user-text";
import { useIdempotentMutation } from "../../relay/idempotency";
import type { WebhookSettings } from "../../text/webhooks";
import { refreshWebhooks } from "./all-webhooks";
import { SecretStep } from "./secret-step";
import { WebhookForm } from "./webhook-form";

/** The results of posts, which most receivers want. */
const INITIAL: WebhookSettings = {
  url: "",
  name: "",
  description: "",
  events: ["POST_PUBLISHED", "POST_FAILED"],
  platforms: [],
  accountIds: [],
};

export function AddDialog({ onClose }: { readonly onClose: () => void }) {
  const environment = useRelayEnvironment();
  const [result, setResult] = useState<addDialogMutation$data["createWebhook"]>(null);
  const [error, setError] = useState<Error | null>(null);
  const [send, isBusy] = useIdempotentMutation<addDialogMutation>(graphql`
    mutation addDialogMutation($input: CreateWebhookInput!) {
      createWebhook(input: $input) {
        secret
        secretWarning
        warning
      }
    }
  `);

  function add({ name, description, events, ...settings }: WebhookSettings): void {
    send(
      {
        ...settings,
        name: name || null,
        description: description || null,
        events: events as readonly WebhookEventType[],
      },
      {
        onCompleted: ({ createWebhook }) => {
          setResult(createWebhook);
          refreshWebhooks(environment);
        },
        onError: setError,
      },
    );
  }

  if (result) {
    return (
      <Dialog title="The webhook is added">
        <SecretStep secret={result.secret} warning={result.secretWarning} onClose={onClose}>
          {result.warning && (
            <p className="problem">
              <UserText text={result.warning} />
            </p>
          )}
        </SecretStep>
      </Dialog>
    );
  }
  return (
    <Dialog title="Add a webhook" onClose={onClose}>
      <WebhookForm
        initial={INITIAL}
        verb="Add"
        isBusy={isBusy}
        error={error}
        onSubmit={add}
        onClose={onClose}
      />
    </Dialog>
  );
}
