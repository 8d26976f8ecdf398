// Accounts that cannot post, and what is waiting on them.

import { graphql, useFragment } from "react-relay/hooks";
import { Link } from "wouter";

import type { accountsPanel_query$key } from "../../relay/__generated__/accountsPanel_query.graphql";
import { ErrorPanel } from "../../components/error-panel";
import { UserText } from "../../components/user-text";
import { caughtError } from "../../relay/partial-data";
import { count } from "../../text/numbers";
import { platformName } from "../../text/reasons";
import { resultsPath } from "../../url/results";
import type { TodayPanelProps } from "./today";

const fragment = graphql`
  fragment accountsPanel_query on Query @catch(to: RESULT) {
    accountConnection(first: 50, filter: { canPost: false }) {
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
      <ul className="causes">
        {accounts.map(({ id, accountId, accountName, platform, readiness, health }) => (
          <li key={id}>
            <p>
              <Link href={`/accounts/${accountId}`} className="fix">
                <UserText text={accountName} />
              </Link>{" "}
              <span className="muted">
                <UserText text={platformName(platform)} />
              </span>
            </p>
            {readiness.message && <p className="fix">{readiness.message}</p>}
            <p>
              <Waiting accountId={accountId} waiting={health?.activity.queuedCount ?? 0} />
            </p>
          </li>
        ))}
      </ul>
      {accountConnection?.pageInfo.hasNextPage && (
        <p className="muted">There are more; these are the first 50.</p>
      )}
    </section>
  );
}

function Waiting({ accountId, waiting }: { readonly accountId: number; readonly waiting: number }) {
  if (waiting === 0) return <span className="muted">Nothing is waiting on it.</span>;
  const path = resultsPath({
    account: [accountId],
    status: ["QUEUED"],
    order: "SCHEDULED_FOR",
    direction: "ASC",
  });
  return (
    <>
      <Link href={path}>{count(waiting, "post")}</Link> waiting on it; each fails when it is due.
    </>
  );
}
