// The results that match a filter, as a table.

import { graphql, useLazyLoadQuery } from "react-relay/hooks";

import type { resultsListQuery } from "../../relay/__generated__/resultsListQuery.graphql";
import { accountNames, type AccountNames } from "../../text/labels";
import type { ResultsView } from "../../url/results";
import { resultsVariables } from "../../url/results-filter";
import { ResultsTable } from "./results-table";

/** Number of rows of one page. */
const RESULTS_PAGE_SIZE = 100;

interface Props {
  readonly view: ResultsView;
  /** The filter in words, with the names of its accounts. */
  readonly filterWords: (names: AccountNames) => readonly string[];
  readonly fetchKey: number;
}

export function ResultsList({ view, filterWords, fetchKey }: Props) {
  const variables = { ...resultsVariables(view), count: RESULTS_PAGE_SIZE };
  const data = useLazyLoadQuery<resultsListQuery>(
    graphql`
      query resultsListQuery(
        $filter: DestinationFilter!
        $orderBy: DestinationOrder!
        $count: Int!
        $accountIds: [Int!]
        $readsAccounts: Boolean = false
      ) {
        ...resultsTable_query @arguments(filter: $filter, orderBy: $orderBy, count: $count)
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
  const words = filterWords(accountNames(data.accountConnection?.nodes ?? []));
  return <ResultsTable query={data} view={view} filterWords={words} variables={variables} />;
}
