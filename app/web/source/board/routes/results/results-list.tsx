// The results that match a filter, as a table.

import { graphql, useLazyLoadQuery } from "react-relay/hooks";

import type { resultsListQuery } from "../../relay/__generated__/resultsListQuery.graphql";
import type { ResultsView } from "../../url/results";
import { destinationFilter } from "../../url/results-filter";
import { ResultsTable } from "./results-table";

interface Props {
  readonly view: ResultsView;
  /** The filter in words. */
  readonly scope: readonly string[];
  readonly fetchKey: number;
}

export function ResultsList({ view, scope, fetchKey }: Props) {
  const variables = {
    filter: destinationFilter(view),
    orderBy: { field: view.order, direction: view.direction },
  };
  const data = useLazyLoadQuery<resultsListQuery>(
    graphql`
      query resultsListQuery($filter: DestinationFilter!, $orderBy: DestinationOrder!) {
        ...resultsTable_query @arguments(filter: $filter, orderBy: $orderBy)
      }
    `,
    variables,
    { fetchKey },
  );
  return <ResultsTable query={data} view={view} scope={scope} variables={variables} />;
}
