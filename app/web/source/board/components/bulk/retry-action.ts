// Retries everything that a filter matches.

import { graphql, type Environment } from "relay-runtime";

import type {
  DestinationFilter,
  retryActionMutation,
} from "../../relay/__generated__/retryActionMutation.graphql";
import { mutate } from "../../relay/mutate";
import { plannedAction, type BulkAction } from "./bulk-action";

const mutation = graphql`
  mutation retryActionMutation($input: RetryDestinationsInput!) {
    retryDestinations(input: $input) {
      plan
      plannedCount
      changedCount: retriedCount
      refusals {
        reason
        count
        fix
      }
    }
  }
`;

/** `words` are the filter in words. */
export function retryAction(
  environment: Environment,
  filter: DestinationFilter,
  words: readonly string[],
): BulkAction {
  return plannedAction(
    {
      title: "Retry failed results",
      description: words,
      texts: { noun: "result", changed: "queued again", verb: "Retry" },
    },
    filter,
    async (input) =>
      (await mutate<retryActionMutation>(environment, mutation, { input })).retryDestinations!,
  );
}
