// What needs a person now, in one screen. Each number leads to its rows, or to the accounts.

import { graphql, useRelayEnvironment } from "react-relay/hooks";

import type { todayQuery } from "../../relay/__generated__/todayQuery.graphql";
import { Page } from "../../components/page";
import { Panel } from "../../components/panel";
import { useNow } from "../../components/time";
import { refresh, useLiveQuery } from "../../relay/live-query";
import { PARTIAL_DATA } from "../../relay/partial-data";
import { addDays, startOfDate } from "../../text/dates";
import { dayOf } from "../../text/times";
import { useZone } from "../../text/zone";
import { AccountsPanel } from "./accounts-panel";
import { CountsPanel } from "./counts-panel";
import { FailuresPanel } from "./failures-panel";

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
  query todayQuery($since: DateTime!, $until: DateTime!) {
    ...countsPanel_query @arguments(since: $since, until: $until)
    ...failuresPanel_query @arguments(since: $since)
    ...accountsPanel_query
  }
`;

/** All panels are read by one request; each shows its own errors. */
function Today({ since, until, fetchKey }: TodayProps) {
  const environment = useRelayEnvironment();
  const variables = { since, until };
  const options = { fetchKey, networkCacheConfig: PARTIAL_DATA };
  const data = useLiveQuery<todayQuery>(query, variables, options);
  const onRetry = () => refresh<todayQuery>(environment, query, variables, PARTIAL_DATA);
  return (
    <>
      <CountsPanel query={data} since={since} onRetry={onRetry} />
      <FailuresPanel query={data} since={since} onRetry={onRetry} />
      <AccountsPanel query={data} onRetry={onRetry} />
    </>
  );
}
