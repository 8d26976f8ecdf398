// Detects results that joined or left the list, and reads the loaded rows again after a reload. What no longer exists
// does not stay selected.

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

const PAGE_SIZE = 100;

/** The first page and the number of rows. */
const headQuery = graphql`
  query resultsUpdatesHeadQuery($filter: DestinationFilter!, $orderBy: DestinationOrder!) {
    destinations(first: 100, filter: $filter, orderBy: $orderBy) {
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
    headSize: PAGE_SIZE,
    readHead: () =>
      fetchQuery<resultsUpdatesHeadQuery>(environment, headQuery, variables).map(
        ({ destinations }) => destinations,
      ),
    readRows: () => fetchQuery<resultsListQuery>(environment, listQuery, variables),
    isInUse,
    mayReplace: () => window.scrollY === 0,
  });
  const readAll = useEffectEvent(() => {
    updates.compare();
    const others = rows.slice(PAGE_SIZE).map(({ id }) => id);
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
