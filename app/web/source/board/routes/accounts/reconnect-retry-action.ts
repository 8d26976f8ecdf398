// Retries the posts that failed on an account because it had no access.

import { graphql, type Environment } from "relay-runtime";

import type { reconnectRetryActionMutation } from "../../relay/__generated__/reconnectRetryActionMutation.graphql";
import type { BulkAction } from "../../components/bulk/bulk-action";
import { mutate } from "../../relay/mutate";

const mutation = graphql`
  mutation reconnectRetryActionMutation($input: RetryAfterReconnectInput!) {
    retryAfterReconnect(input: $input) {
      matchingCount
      retriedCount
      hasMore
    }
  }
`;

/** The server has no plan for this action: the token is the number of posts that are left of those that were shown. */
export function reconnectRetryAction(
  environment: Environment,
  accountId: number,
  accountName: string,
): BulkAction {
  const send = async (input: Omit<reconnectRetryActionMutation["variables"]["input"], "accountId">) => {
    const { retryAfterReconnect } = await mutate<reconnectRetryActionMutation>(environment, mutation, {
      input: { accountId, ...input },
    });
    return retryAfterReconnect!;
  };
  return {
    title: "Bring back what failed without access",
    scope: [`Posts that failed on ${accountName} because the platform rejected the access`],
    texts: { noun: "post", changed: "queued again", verb: "Bring back" },
    check: async () => {
      const plannedCount = (await send({ dryRun: true })).matchingCount ?? 0;
      return { plan: tokenOf(plannedCount), plannedCount, refusals: [] };
    },
    call: async (plan, idempotencyKey) => {
      const { retriedCount, hasMore } = await send({ idempotencyKey });
      return {
        plan: hasMore ? tokenOf(Number(plan) - retriedCount) : null,
        changedCount: retriedCount,
        refusals: [],
      };
    },
  };
}

function tokenOf(remainingCount: number): string | null {
  return remainingCount > 0 ? String(remainingCount) : null;
}
