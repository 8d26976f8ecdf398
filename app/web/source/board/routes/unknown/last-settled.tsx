// When an unknown outcome was settled last, as far as this tab or the server knows.

import { graphql, useLazyLoadQuery } from "react-relay/hooks";

import type { lastSettledQuery } from "../../relay/__generated__/lastSettledQuery.graphql";
import { TimeWithPreposition } from "../../components/time";
import { ValueStore, useStore } from "../../store";
import { serverNow } from "../../text/clock";

const settledAt = new ValueStore<string | null>(null);

/** Records that an outcome was settled from this tab. */
export function recordSettlement(): void {
  settledAt.set(serverNow().toISOString());
}

export function LastSettled({ fetchKey }: { readonly fetchKey: number }) {
  const inThisTab = useStore(settledAt);
  const { destinations } = useLazyLoadQuery<lastSettledQuery>(
    graphql`
      query lastSettledQuery {
        destinations(first: 1, filter: { errorCode: ["NOT_PUBLISHED"] }, orderBy: { field: FAILED_AT }) {
          nodes {
            failedAt
          }
        }
      }
    `,
    {},
    { fetchKey, fetchPolicy: "store-and-network" },
  );
  const notThereAt = destinations?.nodes[0]?.failedAt;
  if (inThisTab) {
    return (
      <p className="muted">
        You settled the last one <TimeWithPreposition at={inThisTab} />.
      </p>
    );
  }
  if (!notThereAt) return null;
  return (
    <p className="muted">
      The last one that turned out not to be on its platform was settled <TimeWithPreposition at={notThereAt} />.
    </p>
  );
}
