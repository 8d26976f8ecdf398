// Cancels all posts that a filter matches.

import { useRelayEnvironment } from "react-relay/hooks";
import { graphql } from "relay-runtime";

import type {
  cancelActionMutation,
  PostFilter,
} from "../../relay/__generated__/cancelActionMutation.graphql";
import { mutate } from "../../relay/mutate";
import { CALL_SIZE, type BulkAction } from "./bulk-action";

const mutation = graphql`
  mutation cancelActionMutation($input: CancelPostsInput!) {
    cancelPosts(input: $input) {
      plan
      plannedCount
      cancelledCount
      refusals {
        reason
        count
        fix
      }
    }
  }
`;

export interface CancelScope {
  readonly filter: PostFilter;
  /** The filter in words. */
  readonly words: readonly string[];
}

export function useCancelAction({ filter, words }: CancelScope): BulkAction {
  const environment = useRelayEnvironment();
  const send = async (input: cancelActionMutation["variables"]["input"]) => {
    const { cancelPosts } = await mutate<cancelActionMutation>(environment, mutation, { input });
    return cancelPosts!;
  };
  return {
    title: "Cancel posts",
    scope: [...words, "A post is cancelled on all of its accounts; where it is published already, it stays."],
    texts: { noun: "post", changed: "cancelled", verb: "Cancel" },
    check: async () => {
      const { plan, plannedCount, refusals } = await send({ filter, dryRun: true, first: 1 });
      return { plan: plan ?? null, plannedCount: plannedCount ?? 0, refusals };
    },
    call: async (plan, idempotencyKey) => {
      const { plan: next, cancelledCount, refusals } = await send({ plan, first: CALL_SIZE, idempotencyKey });
      return { plan: next ?? null, changedCount: cancelledCount, refusals };
    },
  };
}
