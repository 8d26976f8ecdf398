// Retries everything that a filter matches.

import { useRelayEnvironment } from "react-relay/hooks";
import { graphql } from "relay-runtime";

import type {
  DestinationFilter,
  retryActionMutation,
} from "../../relay/__generated__/retryActionMutation.graphql";
import { mutate } from "../../relay/mutate";
import { CALL_SIZE, type BulkAction } from "./bulk-action";

const mutation = graphql`
  mutation retryActionMutation($input: RetryDestinationsInput!) {
    retryDestinations(input: $input) {
      plan
      plannedCount
      retriedCount
      refusals {
        reason
        count
        fix
      }
    }
  }
`;

export interface RetryScope {
  readonly filter: DestinationFilter;
  /** The filter in words. */
  readonly words: readonly string[];
}

export function useRetryAction({ filter, words }: RetryScope): BulkAction {
  const environment = useRelayEnvironment();
  const send = async (input: retryActionMutation["variables"]["input"]) => {
    const { retryDestinations } = await mutate<retryActionMutation>(environment, mutation, { input });
    return retryDestinations!;
  };
  return {
    title: "Retry failed results",
    scope: words,
    texts: { noun: "result", changed: "queued again", verb: "Retry" },
    check: async () => {
      const { plan, plannedCount, refusals } = await send({ filter, dryRun: true, first: 1 });
      return { plan: plan ?? null, plannedCount: plannedCount ?? 0, refusals };
    },
    call: async (plan, idempotencyKey) => {
      const { plan: next, retriedCount, refusals } = await send({ plan, first: CALL_SIZE, idempotencyKey });
      return { plan: next ?? null, changedCount: retriedCount, refusals };
    },
  };
}
