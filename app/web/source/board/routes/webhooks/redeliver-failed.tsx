// Delivers again everything that has failed since a time, after a check of how much that is.

import { useState } from "react";
import { graphql, useRelayEnvironment } from "react-relay/hooks";
import type { Environment } from "relay-runtime";

import type { redeliverFailedMutation } from "../../relay/__generated__/redeliverFailedMutation.graphql";
import { ActionButton } from "../../components/action-button";
import type { BulkAction } from "../../components/bulk/bulk-action";
import { openBulkDialog } from "../../components/bulk/bulk-dialog";
import { Dialog } from "../../components/dialog";
import { mutate } from "../../relay/mutate";
import { adminDeniedReason, useViewer } from "../../session/viewer";
import { serverNow } from "../../text/clock";
import { DAY_MS, fullTime, instantOf, localInput } from "../../text/times";
import { plainWebhookLabel } from "../../text/webhooks";
import { useZone } from "../../text/zone";
import type { DialogProps } from "./dialog-props";
import type { Webhook } from "./webhook-facts";

const mutation = graphql`
  mutation redeliverFailedMutation($input: RedeliverWebhookInput!) {
    redeliverWebhook(input: $input) {
      count
      hasMore
      plannedCount
      plan
    }
  }
`;

interface ButtonProps {
  readonly webhook: Webhook;
  /** Time from which the list is shown; null for all. */
  readonly from: Date | null;
}

export function RedeliverFailedButton({ webhook, from }: ButtonProps) {
  const [isOpen, setOpen] = useState(false);
  return (
    <>
      <ActionButton disabledReason={adminDeniedReason(useViewer())} onPress={() => setOpen(true)}>
        Redeliver what failed…
      </ActionButton>
      {isOpen && <SinceDialog webhook={webhook} from={from} onClose={() => setOpen(false)} />}
    </>
  );
}

function SinceDialog({ webhook, from, onClose }: DialogProps & ButtonProps) {
  const environment = useRelayEnvironment();
  const zone = useZone();
  const [local, setLocal] = useState(() => localInput(from ?? startOfFailures(webhook), zone));
  const since = instantOf(local, zone);

  function check(): void {
    if (since === null) return;
    onClose();
    openBulkDialog(redeliverAction(environment, webhook, since, zone));
  }

  return (
    <Dialog title="Redeliver what failed" onClose={onClose}>
      <form
        className="webhook-form"
        noValidate
        onSubmit={(event) => {
          event.preventDefault();
          check();
        }}
      >
        <label>
          Events since ({zone})
          <input
            type="datetime-local"
            value={local}
            autoFocus
            onChange={(event) => setLocal(event.target.value)}
          />
        </label>
        <p className="muted">
          Deliveries that were given up or wait for another attempt are attempted again from now on.
        </p>
        <div className="buttons">
          <button type="submit" className="primary" aria-disabled={since === null}>
            Count them
          </button>
          <button type="button" onClick={onClose}>
            Close
          </button>
        </div>
      </form>
    </Dialog>
  );
}

/** A day ago; or the last success, if it was before that and everything has failed since then. */
function startOfFailures({ failingSince, lastSuccessAt, createdAt }: Webhook): Date {
  const dayAgo = new Date(serverNow().getTime() - DAY_MS);
  const lastSuccess = new Date(lastSuccessAt ?? createdAt);
  return failingSince && lastSuccess < dayAgo ? lastSuccess : dayAgo;
}

function redeliverAction(environment: Environment, webhook: Webhook, since: Date, zone: string): BulkAction {
  type Choice =
    | { readonly failedSince: string; readonly dryRun: true }
    | { readonly plan: string; readonly idempotencyKey: string };
  const send = async (choice: Choice) => {
    const variables = { input: { webhookId: webhook.webhookId, ...choice } };
    return (await mutate<redeliverFailedMutation>(environment, mutation, variables)).redeliverWebhook!;
  };
  return {
    title: "Redeliver what failed",
    description: [
      `Failed deliveries to ${plainWebhookLabel(webhook)}`,
      `Events since ${fullTime(since, zone)}`,
      ...(webhook.isActive ? [] : ["The webhook is disabled: it receives them when it is enabled."]),
    ],
    texts: { noun: "event", changed: "attempted again", verb: "Redeliver" },
    check: async () => {
      const { plan, plannedCount } = await send({ failedSince: since.toISOString(), dryRun: true });
      return { plan: plan ?? null, plannedCount: plannedCount ?? 0, refusals: [] };
    },
    call: async (plan, idempotencyKey) => {
      const { count, plan: next } = await send({ plan, idempotencyKey });
      return { plan: next ?? null, changedCount: count, refusals: [] };
    },
  };
}
