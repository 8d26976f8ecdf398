// Changes the settings of a webhook.

import { useState } from "react";

import type { WebhookEventType } from "../../relay/__generated__/updateWebhookMutation.graphql";
import { Dialog } from "../../components/dialog";
import { showResult } from "../../components/notices";
import { changedSettings, type WebhookSettings } from "../../text/webhooks";
import type { DialogProps } from "./dialog-props";
import { useWebhookUpdate } from "./update-webhook";
import { WebhookForm } from "./webhook-form";

export function EditDialog({ webhook, onClose }: DialogProps) {
  const [initial] = useState<WebhookSettings>({
    url: webhook.url,
    name: webhook.name ?? "",
    description: webhook.description ?? "",
    events: webhook.events,
    platforms: webhook.platforms,
    accountIds: webhook.accountIds,
  });
  const [error, setError] = useState<Error | null>(null);
  const [send, isBusy] = useWebhookUpdate();

  function save(settings: WebhookSettings): void {
    const { name, description, events, ...changes } = changedSettings(initial, settings);
    send(
      {
        webhookId: webhook.webhookId,
        ...changes,
        ...(name !== undefined && { name: name || null }),
        ...(description !== undefined && { description: description || null }),
        ...(events && { events: events as readonly WebhookEventType[] }),
      },
      {
        onCompleted: () => {
          showResult("The webhook is changed.");
          onClose();
        },
        onError: setError,
      },
    );
  }

  return (
    <Dialog title="Edit this webhook" onClose={onClose}>
      <WebhookForm
        initial={initial}
        verb="Save"
        isBusy={isBusy}
        error={error}
        onSubmit={save}
        onClose={onClose}
      />
    </Dialog>
  );
}
