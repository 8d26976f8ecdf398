// Cancels all posts that a filter matches.

import { graphql, type Environment } from "relay-runtime";

import type {
  cancelActionMutation,
  PostFilter,
} from "../../relay/__generated__/cancelActionMutation.graphql";
import { mutate } from "../../relay/mutate";
import { plannedAction, type BulkAction } from "./bulk-action";

const mutation = graphql`
  mutation cancelActionMutation($input: CancelPostsInput!) {
    cancelPosts(input: $input) {
      plan
      plannedCount
      changedCount: cancelledCount
      refusals {
        reason
        count
        fix
      }
    }
  }
`;

/** `words` are the filter in words. */
export function cancelAction(
  environment: Environment,
  filter: PostFilter,
  words: readonly string[],
): BulkAction {
  return plannedAction(
    {
      title: "Cancel posts",
      description: [...words, "A post is cancelled on all of its accounts; where it is published already, it stays."],
      texts: { noun: "post", changed: "cancelled", verb: "Cancel" },
    },
    filter,
    async (input) => (await mutate<cancelActionMutation>(environment, mutation, { input })).cancelPosts!,
  );
}
