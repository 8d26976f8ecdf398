// A list of the results that match a filter.

import { fetchQuery, graphql, useLazyLoadQuery, usePaginationFragment, useRelayEnvironment } from "react-relay/hooks";

import type { destinationListHeadQuery } from "../../relay/__generated__/destinationListHeadQuery.graphql";
import type {
  destinationListQuery,
  destinationListQuery$variables,
} from "../../relay/__generated__/destinationListQuery.graphql";
import type {
  destinationList_query$data,
  destinationList_query$key,
} from "../../relay/__generated__/destinationList_query.graphql";
import { useLiveRefresh } from "../../live/events";
import { totalOf, type CappedCount } from "../../text/numbers";
import { PAGE_SIZE, usePagedList, type PagedList } from "./paged-list";

/** Time after which a list is compared again without a change: a post becomes overdue without one. */
const RECHECK_MS = 60_000;

const query = graphql`
  query destinationListQuery($filter: DestinationFilter!, $orderBy: DestinationOrder!, $count: Int!) {
    ...destinationList_query @arguments(filter: $filter, orderBy: $orderBy, count: $count)
  }
`;

/** The head of the list, read without disturbing it. */
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

export interface DestinationList extends PagedList<DestinationRow> {
  readonly total: CappedCount;
}

interface Options extends Pick<destinationListQuery$variables, "filter" | "orderBy"> {
  readonly fetchKey: number;
  /** True while rows must not move. */
  readonly isInUse: boolean;
}

export function useDestinationList({ filter, orderBy, fetchKey, isInUse }: Options): DestinationList {
  const environment = useRelayEnvironment();
  const variablesFor = (count: number) => ({ filter, orderBy, count });
  const { data, ...pagination } = usePaginationFragment<
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
              awaitsOutcome
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
    useLazyLoadQuery<destinationListQuery>(query, variablesFor(PAGE_SIZE), {
      fetchKey,
      fetchPolicy: "store-and-network",
    }),
  );
  const list = usePagedList({
    rows: data.destinations?.edges.map(({ node }) => node) ?? [],
    pagination,
    fetchHead: (count) =>
      fetchQuery<destinationListHeadQuery>(environment, headQuery, variablesFor(count)).map(
        ({ destinations }) => destinations,
      ),
    refetchRows: (count) => fetchQuery<destinationListQuery>(environment, query, variablesFor(count)),
    isInUse,
  });
  useLiveRefresh(list.updates.compare, { recheckMs: RECHECK_MS });
  return { ...list, total: list.updates.difference.total ?? totalOf(data.total) };
}
