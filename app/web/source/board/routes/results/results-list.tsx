// The results that match a filter, as a table.

import { graphql, useLazyLoadQuery } from "react-relay/hooks";

import type { resultsListQuery } from "../../relay/__generated__/resultsListQuery.graphql";
import type { AccountNames } from "../../text/filter-words";
import { plainAccountLabel } from "../../text/labels";
import type { ResultsView } from "../../url/results";
import { destinationFilter } from "../../url/results-filter";
import { ResultsTable } from "./results-table";

interface Props {
  readonly view: ResultsView;
  /** The filter in words, with the names of its accounts. */
  readonly scope: (names: AccountNames) => readonly string[];
  readonly fetchKey: number;
}

export function ResultsList({ view, scope, fetchKey }: Props) {
  const variables = {
    filter: destinationFilter(view),
    orderBy: { field: view.order, direction: view.direction },
  };
  const data = useLazyLoadQuery<resultsListQuery>(
    graphql`
      query resultsListQuery(
        $filter: DestinationFilter!
        $orderBy: DestinationOrder!
        $accountIds: [Int!]
        $readsAccounts: Boolean = false
      ) {
        ...resultsTable_query @arguments(filter: $filter, orderBy: $orderBy)
        accountConnection(first: 100, filter: { accountId: $accountIds }) @include(if: $readsAccounts) {
          nodes {
            accountId
            accountName
            platform
          }
        }
      }
    `,
    { ...variables, ...(view.account.length > 0 && { accountIds: view.account, readsAccounts: true }) },
    { fetchKey },
  );
  const names = new Map(
    data.accountConnection?.nodes.map(({ accountId, accountName, platform }) => [
      accountId,
      plainAccountLabel(accountName, platform),
    ]),
  );
  return <ResultsTable query={data} view={view} scope={scope(names)} variables={variables} />;
}
