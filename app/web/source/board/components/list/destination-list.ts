// A list of results that stays in place while the user is in it, and follows the changes otherwise.

import { useState } from "react";
import {
  fetchQuery,
  graphql,
  useLazyLoadQuery,
  usePaginationFragment,
  useRelayEnvironment,
} from "react-relay/hooks";

import type { destinationListHeadQuery } from "../../relay/__generated__/destinationListHeadQuery.graphql";
import type {
  destinationListQuery,
  destinationListQuery$variables,
} from "../../relay/__generated__/destinationListQuery.graphql";
import type {
  destinationList_query$data,
  destinationList_query$key,
} from "../../relay/__generated__/destinationList_query.graphql";
import { useShortcuts } from "../../keyboard/shortcuts";
import { useLiveRefresh } from "../../live/events";
import type { Difference } from "../../live/membership";
import { totalOf, type CappedCount } from "../../text/numbers";
import { useMembership } from "./use-membership";

const PAGE_SIZE = 50;
/** Largest page of the API. */
const MAX_PAGE_SIZE = 100;
/** Time after which a list is compared again without a change: a post becomes overdue without one. */
const RECHECK_MS = 60_000;

const query = graphql`
  query destinationListQuery($filter: DestinationFilter!, $orderBy: DestinationOrder!, $count: Int!) {
    ...destinationList_query @arguments(filter: $filter, orderBy: $orderBy, count: $count)
  }
`;

/** The first page, read without disturbing the list. */
const headQuery = graphql`
  query destinationListHeadQuery($filter: DestinationFilter!, $orderBy: DestinationOrder!, $count: Int!) {
    destinations(first: $count, filter: $filter, orderBy: $orderBy) {
      totalCountCapped
      totalCountIsCapped
      nodes {
        id
      }
    }
  }
`;

export type DestinationRow = NonNullable<destinationList_query$data["destinations"]>["edges"][number]["node"];

export interface DestinationList {
  readonly rows: readonly DestinationRow[];
  readonly total: CappedCount;
  readonly difference: Difference;
  readonly showNew: () => void;
  readonly hasMore: boolean;
  readonly isLoadingMore: boolean;
  /** Why no more rows could be loaded. */
  readonly loadError: Error | null;
  readonly loadMore: () => void;
}

interface Options extends Pick<destinationListQuery$variables, "filter" | "orderBy"> {
  readonly fetchKey: number;
  /** True while rows must not move. */
  readonly isInUse: boolean;
}

export function useDestinationList({ filter, orderBy, fetchKey, isInUse }: Options): DestinationList {
  const environment = useRelayEnvironment();
  const first = { filter, orderBy, count: PAGE_SIZE };
  const { data, hasNext, loadNext, isLoadingNext } = usePaginationFragment<
    destinationListQuery,
    destinationList_query$key
  >(
    graphql`
      fragment destinationList_query on Query
      @refetchable(queryName: "destinationListPaginationQuery")
      @argumentDefinitions(
        filter: { type: "DestinationFilter!" }
        orderBy: { type: "DestinationOrder!" }
        count: { type: "Int!" }
        cursor: { type: "String" }
      ) {
        destinations(first: $count, after: $cursor, filter: $filter, orderBy: $orderBy)
          @connection(key: "destinationList_destinations") {
          edges {
            node {
              id
              destinationId
              postId
              accountName
              platform
              status
              outcome
              errorCode
              error
              isOverdue
              scheduledFor
              nextRetryAt
              leaseExpiresAt
              unknownSince
              outlook {
                attempt
                maxAttempts
                nextAt
                givesUpAt
                sentence
              }
              post {
                content
                reference
              }
              ...retryButton_destination
            }
          }
        }
        total: destinations(first: 1, filter: $filter) {
          totalCountCapped
          totalCountIsCapped
        }
      }
    `,
    useLazyLoadQuery<destinationListQuery>(query, first, { fetchKey, fetchPolicy: "store-and-network" }),
  );
  const [loadError, setLoadError] = useState<Error | null>(null);
  const rows = data.destinations?.edges.map(({ node }) => node) ?? [];
  // Behind a complete list, one more, so that a new last row is noticed.
  const shownCount = hasNext ? rows.length : rows.length + 1;
  const shown = { filter, orderBy, count: Math.min(Math.max(shownCount, PAGE_SIZE), MAX_PAGE_SIZE) };
  const { difference, compare, showNew } = useMembership({
    rows,
    headSize: shown.count,
    readHead: () => fetchQuery<destinationListHeadQuery>(environment, headQuery, shown),
    readRows: () => fetchQuery<destinationListQuery>(environment, query, shown),
    isInUse,
    mayReplace: () => rows.length <= MAX_PAGE_SIZE,
  });

  function loadMore(): void {
    if (isLoadingNext) return;
    setLoadError(null);
    loadNext(PAGE_SIZE, { onComplete: setLoadError });
  }

  useShortcuts(difference.newCount > 0 ? { ".": showNew } : {});
  useLiveRefresh(compare, { recheckMs: RECHECK_MS });

  return {
    rows,
    total: difference.total ?? totalOf(data.total),
    difference,
    showNew,
    hasMore: hasNext,
    isLoadingMore: isLoadingNext,
    loadError,
    loadMore,
  };
}
