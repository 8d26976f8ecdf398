// Outcomes by account. Of many accounts, those with the most failures.

import { graphql, useLazyLoadQuery } from "react-relay/hooks";

import type { accountTableQuery } from "../../relay/__generated__/accountTableQuery.graphql";
import { accountNames } from "../../text/labels";
import { count } from "../../text/numbers";
import { numbersPath } from "../../url/numbers";
import { OutcomeTable, worstFirst, type GroupsProps, type OutcomeRow } from "./outcome-table";
import { resultsPaths } from "./results-paths";

/** Number of rows; at most the 100 accounts of one page. */
const MAX_ROWS = 50;

interface Props extends GroupsProps {
  readonly fetchKey: number;
}

export function AccountTable({ groups, view, period, fetchKey }: Props) {
  const worst = worstFirst(groups).slice(0, MAX_ROWS);
  const accountIds = worst.map(({ accountId }) => accountId ?? 0).sort((one, other) => one - other);
  const { accountConnection } = useLazyLoadQuery<accountTableQuery>(
    graphql`
      query accountTableQuery($accountIds: [Int!]!) {
        accountConnection(first: 100, filter: { accountId: $accountIds }) {
          nodes {
            accountId
            accountName
            platform
          }
        }
      }
    `,
    { accountIds },
    { fetchKey },
  );
  const names = accountNames(accountConnection?.nodes ?? []);
  const rows = worst.map(({ accountId, counts }): OutcomeRow => {
    const filter = { account: [accountId ?? 0] };
    return {
      key: String(accountId),
      name: names.get(accountId ?? 0) ?? `Account ${accountId}`,
      counts,
      path: numbersPath({ ...view, ...filter }),
      results: resultsPaths(view, period, filter),
    };
  });
  return (
    <>
      <OutcomeTable heading="Account" rows={rows} period={period} />
      {groups.length > MAX_ROWS && (
        <p className="muted">
          These are the {MAX_ROWS} of {count(groups.length, "account")} with the most failures. Choose a
          platform or an account for others.
        </p>
      )}
    </>
  );
}
