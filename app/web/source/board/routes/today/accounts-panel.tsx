// Accounts that cannot post, and what is waiting on them.

import { graphql, useFragment } from "react-relay/hooks";

import type { accountsPanel_query$key } from "../../relay/__generated__/accountsPanel_query.graphql";
import { ErrorPanel } from "../../components/error-panel";
import { caughtError } from "../../relay/partial-data";
import { BlockedAccounts } from "./blocked-accounts";
import type { TodayPanelProps } from "./today";

const fragment = graphql`
  fragment accountsPanel_query on Query
  @argumentDefinitions(count: { type: "Int!" })
  @catch(to: RESULT) {
    accountConnection(first: $count, filter: { canPost: false }) {
      nodes {
        id
        accountId
        accountName
        platform
        readiness {
          message
        }
        health {
          activity {
            queuedCount
          }
        }
      }
      pageInfo {
        hasNextPage
      }
    }
  }
`;

type Props = Omit<TodayPanelProps<accountsPanel_query$key>, "since">;

export function AccountsPanel({ query, onRetry }: Props) {
  const result = useFragment(fragment, query);
  if (!result.ok) return <ErrorPanel error={caughtError(result.errors)} onRetry={onRetry} />;
  const { accountConnection } = result.value;
  const accounts = accountConnection?.nodes ?? [];
  return (
    <section aria-labelledby="accounts">
      <h2 id="accounts" tabIndex={-1}>
        Accounts that cannot post
      </h2>
      {accounts.length === 0 && <p className="muted">All accounts can post.</p>}
      <BlockedAccounts accounts={accounts} />
      {accountConnection?.pageInfo.hasNextPage && (
        <p className="muted">There are more; these are the first {accounts.length}.</p>
      )}
    </section>
  );
}
