// The accounts on which a group of failures happened.

import { graphql } from "react-relay/hooks";
import { Link } from "wouter";

import type { groupAccountsQuery } from "../../relay/__generated__/groupAccountsQuery.graphql";
import { UserText } from "../../components/user-text";
import { useLiveQuery } from "../../relay/live-query";
import { accountLabel } from "../../text/labels";
import { plainNumber } from "../../text/numbers";
import { accountPath } from "../../url/paths";
import { resultsOfGroup } from "../../url/result-lists";
import { destinationFilter } from "../../url/results-filter";

interface Props {
  readonly groupKey: string;
  /** Time from which failures count; null for all. */
  readonly since: string | null;
  readonly fetchKey: number;
}

export function GroupAccounts({ groupKey, since, fetchKey }: Props) {
  const { failureGroups } = useLiveQuery<groupAccountsQuery>(
    graphql`
      query groupAccountsQuery($filter: DestinationFilter!) {
        failureGroups(first: 1, filter: $filter) {
          nodes {
            accountCount
            accounts {
              accountId
              count
              account {
                accountName
                readiness {
                  message
                }
              }
            }
          }
        }
      }
    `,
    { filter: destinationFilter(resultsOfGroup(groupKey, since)) },
    { fetchKey },
  );
  const group = failureGroups?.nodes[0];
  const accounts = group?.accounts ?? [];
  return (
    <section aria-labelledby="group-accounts">
      <h2 id="group-accounts">Accounts</h2>
      <ul className="causes">
        {accounts.map(({ accountId, count, account }) => (
          <li key={accountId}>
            <p>
              {account ? (
                <Link href={accountPath(accountId)}>
                  <UserText text={account.accountName} />
                </Link>
              ) : (
                accountLabel(null)
              )}
              : {plainNumber(count)} failed
            </p>
            {account?.readiness.message && <p className="fix">{account.readiness.message}</p>}
          </li>
        ))}
      </ul>
      {group && group.accountCount > accounts.length && (
        <p className="muted">
          These {plainNumber(accounts.length)} of {plainNumber(group.accountCount)} accounts have the most
          failures.
        </p>
      )}
    </section>
  );
}
