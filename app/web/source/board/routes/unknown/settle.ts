// Records what a person found on the platform.

import { useState } from "react";
import { graphql, useRelayEnvironment } from "react-relay/hooks";

import type {
  settleMutation,
  ReconcileDestinationInput,
} from "../../relay/__generated__/settleMutation.graphql";
import { useRetry } from "../../components/retry-button";
import { useIdempotentMutation } from "../../relay/idempotency";
import { CONFLICT, ServerError } from "../../relay/server-error";
import { recordSettlement } from "./last-settled";
import { readSettlement } from "./settled";

type Finding = Pick<ReconcileDestinationInput, "finding" | "platformPostUrl" | "platformPostId">;

interface Target {
  readonly destinationId: string;
  readonly postId: string;
  readonly accountId: number;
  readonly accountName: string | null | undefined;
}

interface Settle {
  /** Records the finding; with "retry", it is queued again afterwards. */
  readonly settle: (finding: Finding, next?: "retry") => void;
  readonly isBusy: boolean;
  /** Why the finding was not recorded. */
  readonly error: Error | null;
}

/**
 * `report` receives sentences about the result. `onSettled` is called when the outcome is known, also if another
 * person has settled it.
 */
export function useSettle(target: Target, report: (result: string) => void, onSettled: () => void): Settle {
  const environment = useRelayEnvironment();
  const [error, setError] = useState<Error | null>(null);
  const name = target.accountName ?? "The removed account";
  const [retry] = useRetry((result) => report(`${name}: not there. ${result}`));
  const [send, isBusy] = useIdempotentMutation<settleMutation>(graphql`
    mutation settleMutation($input: ReconcileDestinationInput!) {
      reconcileDestination(input: $input) {
        destination {
          ...changes_destination
          post {
            ...changes_post
          }
        }
      }
    }
  `);
  const { destinationId } = target;

  function settle(finding: Finding, next?: "retry"): void {
    setError(null);
    const input = { ...finding, destinationId };
    send(input, {
      onCompleted: () => {
        recordSettlement();
        report(
          `${name}: recorded that it is ${finding.finding === "PUBLISHED" ? "published" : "not there"}.`,
        );
        if (next === "retry") retry(target);
        onSettled();
      },
      onError: (failure) => {
        if (failure instanceof ServerError && failure.code === CONFLICT) void explainConflict();
        else setError(failure);
      },
    });
  }

  async function explainConflict(): Promise<void> {
    const settlement = await readSettlement(environment, target).catch(() => null);
    report(`${name}: it was settled meanwhile. ${settlement ?? ""}`.trimEnd());
    onSettled();
  }

  return { settle, isBusy, error };
}
