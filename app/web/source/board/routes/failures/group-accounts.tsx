// The accounts on which a group of failures happened.

import { graphql } from "react-relay/hooks";
import { Link } from "wouter";

import type {
  groupAccountsQuery,
  groupAccountsQuery$data,
} from "../../relay/__generated__/groupAccountsQuery.graphql";
import { UserText } from "../../components/user-text";
import { useLiveQuery } from "../../relay/live-query";
import { accountLabel } from "../../text/labels";
import { plainNumber } from "../../text/numbers";

interface Props {
  readonly groupKey: string;
  readonly fetchKey: number;
}

export function GroupAccounts({ groupKey, fetchKey }: Props) {
  const { destinations } = useLiveQuery<groupAccountsQuery>(
    graphql`
      query groupAccountsQuery($filter: DestinationFilter!) {
        destinations(first: 100, filter: $filter, orderBy: { field: FAILED_AT, direction: DESC }) {
          nodes {
            accountId
            accountName
            account {
              readiness {
                message
              }
            }
          }
          pageInfo {
            hasNextPage
          }
        }
      }
    `,
    { filter: { failureGroup: [groupKey] } },
    { fetchKey },
  );
  return (
    <section aria-labelledby="group-accounts">
      <h2 id="group-accounts">Accounts</h2>
      <ul className="causes">
        {accountsOf(destinations).map(({ accountId, name, problem, failures }) => (
          <li key={accountId}>
            <p>
              <Link href={`/accounts/${accountId}`}>
                <UserText text={name} />
              </Link>
              : {plainNumber(failures)} failed
            </p>
            {problem && <p className="fix">{problem}</p>}
          </li>
        ))}
      </ul>
      {destinations?.pageInfo.hasNextPage && (
        <p className="muted">Of the latest 100 failures; earlier ones may be on more accounts.</p>
      )}
    </section>
  );
}

interface AffectedAccount {
  readonly accountId: number;
  readonly name: string;
  /** What has to be done before it can post; null if it can. */
  readonly problem: string | null;
  readonly failures: number;
}

/** Accounts of the destinations, the one with most failures first. */
function accountsOf(destinations: groupAccountsQuery$data["destinations"]): AffectedAccount[] {
  const byId = new Map<number, AffectedAccount>();
  for (const { accountId, accountName, account } of destinations?.nodes ?? []) {
    const failures = (byId.get(accountId)?.failures ?? 0) + 1;
    byId.set(accountId, {
      accountId,
      name: accountLabel(accountName),
      problem: account?.readiness.message ?? null,
      failures,
    });
  }
  return [...byId.values()].sort((one, other) => other.failures - one.failures);
}
