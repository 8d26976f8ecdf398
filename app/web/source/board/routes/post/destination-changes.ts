// The changes of one destination that its card shows.

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

export type DestinationChange = NonNullable<destinationChangesQuery$data["changes"]>["nodes"][number];

export interface DestinationIds {
  readonly postId: string;
  readonly destinationId: string;
}

interface LatestChanges {
  /** At most 100, oldest first. */
  readonly changes: readonly DestinationChange[];
  /** True if there are changes before these. */
  readonly hasOlder: boolean;
}

/** Operations whose results are shown as attempts or as the due time, or that change nothing for a reader. */
const OPERATIONS_SHOWN_ELSEWHERE = [
  ...["createPost", "createPosts", "import", "loadDemo"],
  ...["claimDestinations", "extendLease", "releaseClaim", "loseLease", "claimVerifications"],
  ...["startAttempt", "reportPublished", "reportFailed", "recordResult"],
];

/** Publications that were reported after the first one, oldest first. */
export function useDuplicates(ids: DestinationIds, fetchKey: number) {
  const { changes } = useChanges({ ...ids, types: ["DESTINATION_DUPLICATED"] }, fetchKey);
  return changes.map(({ cursor, values }) => {
    const { published_at, platform_post_url } = values as Record<string, string | null>;
    return { cursor, publishedAt: published_at!, platformPostUrl: platform_post_url };
  });
}

/** What changed other than by attempts. */
export function useOtherChanges(ids: DestinationIds, fetchKey: number): LatestChanges {
  return useChanges({ ...ids, excludeOperations: OPERATIONS_SHOWN_ELSEWHERE }, fetchKey);
}

function useChanges(variables: destinationChangesQuery$variables, fetchKey: number): LatestChanges {
  const { changes } = useLiveQuery<destinationChangesQuery>(query, variables, {
    fetchKey,
    isRelevant: (change) => change.destinationId === variables.destinationId,
  });
  return { changes: changes?.nodes.toReversed() ?? [], hasOlder: changes?.hasNextPage ?? false };
}
