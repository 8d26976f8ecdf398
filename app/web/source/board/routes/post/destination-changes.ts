// The latest changes of one destination that match a filter.

import { graphql } from "relay-runtime";

import type {
  destinationChangesQuery,
  destinationChangesQuery$data,
  destinationChangesQuery$variables,
} from "../../relay/__generated__/destinationChangesQuery.graphql";
import { useLiveQuery } from "../../relay/live-query";

const query = graphql`
  query destinationChangesQuery(
    $postId: UUID!
    $destinationId: UUID!
    $types: [ChangeType!]
    $excludeOperations: [String!]
  ) {
    changes(
      postId: $postId
      destinationId: $destinationId
      types: $types
      excludeOperations: $excludeOperations
      first: 100
      direction: DESC
    ) {
      hasNextPage
      nodes {
        cursor
        happenedAt
        values
        sentence
        actor {
          keyId
          keyName
          person
        }
      }
    }
  }
`;

export type HistoryChange = NonNullable<destinationChangesQuery$data["changes"]>["nodes"][number];

export interface DestinationIds {
  readonly postId: string;
  readonly destinationId: string;
}

interface LatestChanges {
  /** At most 100, oldest first. */
  readonly changes: readonly HistoryChange[];
  /** True if older ones are stored. */
  readonly hasOlder: boolean;
}

type Filter = Omit<destinationChangesQuery$variables, keyof DestinationIds>;

/** The changes, which are read again when the destination changes. */
export function useDestinationChanges(ids: DestinationIds, filter: Filter, fetchKey: number): LatestChanges {
  const { changes } = useLiveQuery<destinationChangesQuery>(
    query,
    { ...ids, ...filter },
    { fetchKey, isRelevant: ({ destinationId }) => destinationId === ids.destinationId },
  );
  return { changes: changes?.nodes.toReversed() ?? [], hasOlder: changes?.hasNextPage ?? false };
}
