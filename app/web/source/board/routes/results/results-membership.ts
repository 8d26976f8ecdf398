// Keeps the results in place while others join and leave, and brings the content of all loaded rows up to date. What
// no longer exists does not stay selected.

import { useEffect, useEffectEvent } from "react";
import { useRelayEnvironment } from "react-relay/hooks";
import { fetchQuery, graphql } from "relay-runtime";

import listQuery, {
  type resultsListQuery,
  type resultsListQuery$variables,
} from "../../relay/__generated__/resultsListQuery.graphql";
import type { resultsMembershipHeadQuery } from "../../relay/__generated__/resultsMembershipHeadQuery.graphql";
import { useMembership, type Membership } from "../../components/list/use-membership";
import type { Selection } from "../../components/table/selection";
import { useLiveRefresh } from "../../live/events";
import { showRefreshError } from "../../relay/live-query";
import { readObjects } from "../../relay/objects";

const PAGE_SIZE = 100;

/** The first page and the number of rows. */
const headQuery = graphql`
  query resultsMembershipHeadQuery($filter: DestinationFilter!, $orderBy: DestinationOrder!) {
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

export function useResultsMembership({ rows, variables, isInUse, selection }: Options): Membership {
  const environment = useRelayEnvironment();
  const membership = useMembership({
    rows,
    headSize: PAGE_SIZE,
    readHead: () => fetchQuery<resultsMembershipHeadQuery>(environment, headQuery, variables),
    readRows: () => fetchQuery<resultsListQuery>(environment, listQuery, variables),
    isInUse,
    mayReplace: () => window.scrollY === 0,
  });
  const readAll = useEffectEvent(() => {
    membership.compare();
    const others = rows.slice(PAGE_SIZE).map(({ id }) => id);
    const ids = [...new Set([...others, ...selection.ids])];
    readObjects(environment, ids).then(
      (missing) => missing.length > 0 && selection.remove(missing),
      showRefreshError,
    );
  });
  useLiveRefresh((cause) => (cause === "reload" ? readAll() : membership.compare()));
  // The store may have had the list since an earlier visit.
  useEffect(() => readAll(), []);
  return membership;
}
