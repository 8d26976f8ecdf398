// Detects new and unmatched results of the list, and reads the loaded rows again after a reload. What no longer
// exists does not stay selected.

import { useEffect, useEffectEvent } from "react";
import { useRelayEnvironment } from "react-relay/hooks";
import { fetchQuery, graphql } from "relay-runtime";

import listQuery, {
  type resultsListQuery,
  type resultsListQuery$variables,
} from "../../relay/__generated__/resultsListQuery.graphql";
import type { resultsUpdatesHeadQuery } from "../../relay/__generated__/resultsUpdatesHeadQuery.graphql";
import { useListUpdates, type ListUpdates } from "../../components/list/use-list-updates";
import type { Selection } from "../../components/table/selection";
import { useLiveRefresh } from "../../live/events";
import { showRefreshError } from "../../relay/live-query";
import { readObjects } from "../../relay/objects";

/** The head of the list. */
const headQuery = graphql`
  query resultsUpdatesHeadQuery($filter: DestinationFilter!, $orderBy: DestinationOrder!, $count: Int!) {
    destinations(first: $count, filter: $filter, orderBy: $orderBy) {
      totalCountCapped
      totalCountIsCapped
      nodes {
        id
        ...resultRow_destination
      }
    }
  }
`;

interface Options {
  readonly rows: readonly { readonly id: string }[];
  readonly variables: resultsListQuery$variables;
  readonly isInUse: boolean;
  readonly selection: Selection;
}

export function useResultsUpdates({ rows, variables, isInUse, selection }: Options): ListUpdates {
  const environment = useRelayEnvironment();
  const updates = useListUpdates({
    rows,
    headSize: variables.count,
    fetchHead: () =>
      fetchQuery<resultsUpdatesHeadQuery>(environment, headQuery, variables).map(
        ({ destinations }) => destinations,
      ),
    refetchRows: () => fetchQuery<resultsListQuery>(environment, listQuery, variables),
    isInUse,
    mayReplace: () => window.scrollY === 0,
  });
  const readAll = useEffectEvent(() => {
    updates.compare();
    const others = rows.slice(variables.count).map(({ id }) => id);
    const ids = [...new Set([...others, ...selection.ids])];
    readObjects(environment, ids).then(
      (missing) => missing.length > 0 && selection.remove(missing),
      showRefreshError,
    );
  });
  useLiveRefresh((cause) => (cause === "reload" ? readAll() : updates.compare()));
  // The store may have had the list since an earlier visit.
  useEffect(() => readAll(), []);
  return updates;
}
