// The accounts that cannot post, each with what is due on it soon.

import type { ReactNode } from "react";
import { graphql } from "react-relay/hooks";
import { Link } from "wouter";

import type { accountsPanel_query$data } from "../../relay/__generated__/accountsPanel_query.graphql";
import type {
  blockedAccountsQuery,
  blockedAccountsQuery$data,
} from "../../relay/__generated__/blockedAccountsQuery.graphql";
import { ErrorBoundary } from "../../components/error-panel";
import { ArrivalSuspense } from "../../components/loading";
import { TimeWithPreposition, useNow } from "../../components/time";
import { UserText } from "../../components/user-text";
import { useRecovery } from "../../live/recovery";
import { useLiveQuery } from "../../relay/live-query";
import { useViewer } from "../../session/viewer";
import { count, plainNumber } from "../../text/numbers";
import { platformName } from "../../text/reasons";
import { DAY_MS } from "../../text/times";
import { accountPath } from "../../url/paths";
import { waitingOnAccount } from "../../url/result-lists";
import { resultsPath } from "../../url/results";

type PanelData = Extract<accountsPanel_query$data, { readonly ok: true }>["value"];
type BlockedAccount = NonNullable<PanelData["accountConnection"]>["nodes"][number];

interface Props {
  readonly accounts: readonly BlockedAccount[];
}

/** The list is complete without what is due, which is read after it. */
export function BlockedAccounts({ accounts }: Props) {
  const list = <AccountItems accounts={accounts} due={null} />;
  if (accounts.length === 0) return list;
  const whileFailed = (error: Error, onRetry: () => void) => (
    <Recovering error={error} onRetry={onRetry}>
      {list}
    </Recovering>
  );
  return (
    <ErrorBoundary key={accounts.map(({ id }) => id).join()} explain={whileFailed}>
      {(fetchKey) => (
        <ArrivalSuspense fallback={list}>
          <AccountsWithDue accounts={accounts} fetchKey={fetchKey} />
        </ArrivalSuspense>
      )}
    </ErrorBoundary>
  );
}

interface RecoveringProps {
  readonly error: Error;
  readonly onRetry: () => void;
  readonly children: ReactNode;
}

/** The list without what is due, which is read again after a reconnection. */
function Recovering({ error, onRetry, children }: RecoveringProps) {
  useRecovery({ error, retry: onRetry, isFirstError: false });
  return children;
}

function AccountsWithDue({ accounts, fetchKey }: Props & { readonly fetchKey: number }) {
  const ids = accounts.map(({ accountId }) => accountId);
  const { destinations } = useLiveQuery<blockedAccountsQuery>(
    graphql`
      query blockedAccountsQuery($filter: DestinationFilter!) {
        destinations(first: 100, filter: $filter, orderBy: { field: SCHEDULED_FOR, direction: ASC }) {
          nodes {
            id
            accountId
            scheduledFor
          }
          pageInfo {
            hasNextPage
          }
        }
      }
    `,
    { filter: { accountId: ids, status: ["QUEUED"], awaitsOutcome: true } },
    { fetchKey, isRelevant: ({ accountId }) => accountId !== null && ids.includes(accountId) },
  );
  const soon = new Date(useNow().getTime() + DAY_MS);
  const { nodes = [], pageInfo } = destinations ?? {};
  const dueSoon = nodes.filter(({ scheduledFor }) => scheduledFor != null && new Date(scheduledFor) < soon);
  const isComplete = pageInfo && (!pageInfo.hasNextPage || dueSoon.length < nodes.length);
  return <AccountItems accounts={accounts} due={isComplete ? { before: soon, destinations: dueSoon } : null} />;
}

type DueDestination = NonNullable<blockedAccountsQuery$data["destinations"]>["nodes"][number];

interface Due {
  readonly before: Date;
  /** Everything that is due before that time, the first one first. */
  readonly destinations: readonly DueDestination[];
}

interface ItemsProps extends Props {
  /** Null if it is not known. */
  readonly due: Due | null;
}

function AccountItems({ accounts, due }: ItemsProps) {
  return (
    <ul className="causes">
      {accounts.map((account) => (
        <li key={account.id}>
          <p>
            <Link href={accountPath(account.accountId)} className="fix">
              <UserText text={account.accountName} />
            </Link>{" "}
            <span className="muted">
              <UserText text={platformName(account.platform)} />
            </span>
          </p>
          {account.readiness.message && <p className="fix">{account.readiness.message}</p>}
          <p>
            <Waiting account={account} due={due} />
          </p>
        </li>
      ))}
    </ul>
  );
}

interface WaitingProps extends Pick<ItemsProps, "due"> {
  readonly account: BlockedAccount;
}

function Waiting({ account: { accountId, health }, due }: WaitingProps) {
  const { isMirror } = useViewer();
  const waiting = health?.activity.queuedCount ?? 0;
  if (waiting === 0) return <span className="muted">Nothing is waiting on it.</span>;
  const view = waitingOnAccount(accountId);
  const dueSoon = due?.destinations.filter((destination) => destination.accountId === accountId) ?? [];
  return (
    <>
      <Link href={resultsPath(view)}>{count(waiting, "post")}</Link> waiting on it
      {isMirror ? " in the service that publishes them" : "; each fails when it is due"}
      {due && dueSoon.length === 0 && ", none within 24 hours"}
      {due && dueSoon[0]?.scheduledFor && (
        <>
          {": "}
          <Link href={resultsPath({ ...view, to: due.before })}>{plainNumber(dueSoon.length)}</Link> within 24 hours,
          the first <TimeWithPreposition at={dueSoon[0].scheduledFor} />
        </>
      )}
      .
    </>
  );
}
