// What needs a person now, in one screen. Each number leads to its rows, or to the accounts.

import { useState } from "react";
import { fetchQuery, graphql, useLazyLoadQuery, useRelayEnvironment } from "react-relay/hooks";

import type { todayQuery, todayQuery$data } from "../../relay/__generated__/todayQuery.graphql";
import { useListInteraction } from "../../components/list/list-interaction";
import { OrderBar } from "../../components/list/order-bar";
import { useListUpdates } from "../../components/list/use-list-updates";
import { Page } from "../../components/page";
import { Panel } from "../../components/panel";
import { useNow } from "../../components/time";
import { useLiveRefresh } from "../../live/events";
import { refresh } from "../../relay/live-query";
import { PARTIAL_DATA } from "../../relay/partial-data";
import { addDays, startOfDate } from "../../text/dates";
import { dayOf } from "../../text/times";
import { useZone } from "../../text/zone";
import { AccountsPanel } from "./accounts-panel";
import { CountsPanel } from "./counts-panel";
import { FailuresPanel } from "./failures-panel";
import { Outages, useOutagePeriod } from "./outages";

export function TodayPage() {
  const zone = useZone();
  const today = dayOf(useNow(), zone);
  const since = startOfDate(today, zone).toISOString();
  const until = startOfDate(addDays(today, 1), zone).toISOString();
  return (
    <Page title="Today">
      <Panel lines={24}>
        {(fetchKey) => <Today since={since} until={until} fetchKey={fetchKey} />}
      </Panel>
    </Page>
  );
}

interface TodayProps {
  /** Start of the day in the chosen time zone. */
  readonly since: string;
  readonly until: string;
  readonly fetchKey: number;
}

export interface TodayPanelProps<Key> {
  readonly query: Key;
  readonly since: string;
  /** Reads the data of all panels again. */
  readonly onRetry: () => void;
}

const query = graphql`
  query todayQuery(
    $since: DateTime!
    $until: DateTime!
    $outagesFrom: DateTime!
    $outagesTo: DateTime!
    $hasOutages: Boolean!
    $groupCount: Int!
    $accountCount: Int!
  ) {
    failureGroups(first: $groupCount, filter: { failedAfter: $since, outcome: [FAILED] }) {
      nodes {
        id
      }
    }
    accountConnection(first: $accountCount, filter: { canPost: false }) {
      nodes {
        id
        accountId
      }
      pageInfo {
        hasNextPage
      }
    }
    ...outages_query @arguments(from: $outagesFrom, to: $outagesTo) @include(if: $hasOutages) @alias
    ...countsPanel_query @arguments(since: $since, until: $until)
    ...failuresPanel_query @arguments(since: $since, count: $groupCount)
    ...accountsPanel_query @arguments(count: $accountCount)
  }
`;

const GROUP_COUNT = 10;
const ACCOUNT_COUNT = 50;

/** All panels are read by one request; each shows its own errors. */
function Today({ since, until, fetchKey }: TodayProps) {
  const environment = useRelayEnvironment();
  const period = useOutagePeriod();
  const [firstPeriod] = useState(period);
  const variables = {
    since,
    until,
    outagesFrom: firstPeriod.from,
    outagesTo: firstPeriod.to,
    hasOutages: true,
    groupCount: GROUP_COUNT,
    accountCount: ACCOUNT_COUNT,
  };
  const data = useLazyLoadQuery<todayQuery>(query, variables, {
    fetchKey,
    fetchPolicy: "store-and-network",
    networkCacheConfig: PARTIAL_DATA,
  });
  const interaction = useListInteraction();
  // Other numbers of rows are other lists in the store, so that these stay in place; their content does not.
  const headVariables = {
    ...variables,
    hasOutages: false,
    groupCount: GROUP_COUNT + 1,
    accountCount: ACCOUNT_COUNT + 1,
  };
  // Without the configuration: an error of a part must not replace the data that is shown.
  const updates = useListUpdates({
    rows: rowsOf(data),
    headSize: GROUP_COUNT + ACCOUNT_COUNT,
    fetchHead: () =>
      fetchQuery<todayQuery>(environment, query, headVariables).map((response) => ({
        nodes: rowsOf(response),
      })),
    refetchRows: () => fetchQuery<todayQuery>(environment, query, variables),
    isInUse: interaction.isInUse,
    mayReplace: () => true,
  });
  useLiveRefresh(updates.compare);
  const onRetry = () => refresh<todayQuery>(environment, query, variables, PARTIAL_DATA);
  const { nodes: accounts, pageInfo } = data.accountConnection ?? {};
  const accountIds = pageInfo?.hasNextPage ? [] : (accounts?.map(({ accountId }) => accountId) ?? []);
  return (
    <>
      <Outages from={period.from} to={period.to} />
      <CountsPanel query={data} since={since} accountIds={accountIds} onRetry={onRetry} />
      <div className="steady-list" {...interaction.container}>
        <OrderBar interaction={interaction} updates={updates} />
        <FailuresPanel query={data} since={since} onRetry={onRetry} />
        <AccountsPanel query={data} onRetry={onRetry} />
      </div>
    </>
  );
}

/** The rows of both lists; one that grows moves the other. */
function rowsOf({ failureGroups, accountConnection }: todayQuery$data) {
  const groups = failureGroups?.nodes ?? [];
  const accounts = accountConnection?.nodes ?? [];
  return [...groups.slice(0, GROUP_COUNT), ...accounts.slice(0, ACCOUNT_COUNT)];
}
