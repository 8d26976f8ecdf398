// One account: whether it can post, what is due on it, what has failed, and its retry.

import { useDeferredValue } from "react";
import { graphql } from "react-relay/hooks";

import type { accountPageQuery } from "../../relay/__generated__/accountPageQuery.graphql";
import { BackLink } from "../../components/back-link";
import { Page } from "../../components/page";
import { Panel } from "../../components/panel";
import { useNow } from "../../components/time";
import { useLiveQuery } from "../../relay/live-query";
import { totalOf } from "../../text/numbers";
import { DAY_MS, HOUR_MS } from "../../text/times";
import { accountNumber } from "../../url/parameters";
import { failedOrUnknown, failedWithoutAccess } from "../../url/result-lists";
import { destinationFilter } from "../../url/results-filter";
import { AccountActions } from "./account-actions";
import { AccountDue } from "./account-due";
import { AccountHeader } from "./account-header";
import { AccountNumbers } from "./account-numbers";
import { AccountStatistics } from "./account-statistics";

interface Props {
  /** Number of the account, as in the path. */
  readonly number: string;
}

export default function AccountPage({ number }: Props) {
  const accountId = accountNumber(number);
  if (accountId === null) return <NoSuchAccount />;
  return <Panel lines={16}>{(fetchKey) => <Account accountId={accountId} fetchKey={fetchKey} />}</Panel>;
}

function Account({ accountId, fetchKey }: { readonly accountId: number; readonly fetchKey: number }) {
  const period = usePeriod();
  const { account, withoutAccess, lastWeek } = useLiveQuery<accountPageQuery>(
    graphql`
      query accountPageQuery(
        $accountId: Int!
        $from: DateTime!
        $to: DateTime!
        $withoutAccess: DestinationFilter!
        $lastWeek: DestinationFilter!
      ) {
        account(accountId: $accountId) {
          accountName
          ...accountHeader_account
          ...accountActions_account
          ...accountNumbers_account
          ...accountStatistics_account @arguments(from: $from, to: $to)
        }
        withoutAccess: destinations(first: 1, filter: $withoutAccess) {
          totalCountCapped
          totalCountIsCapped
        }
        lastWeek: destinations(first: 1, filter: $lastWeek) {
          totalCountCapped
          totalCountIsCapped
        }
      }
    `,
    {
      accountId,
      from: period.from,
      to: period.to,
      withoutAccess: destinationFilter(failedWithoutAccess(accountId)),
      lastWeek: destinationFilter(failedOrUnknown(accountId, period.from)),
    },
    { fetchKey, isRelevant: (change) => change.accountId === accountId },
  );
  if (!account) return <NoSuchAccount />;
  return (
    <Page title={account.accountName} actions={<BackLink list="/accounts" />}>
      <AccountHeader account={account} />
      <AccountActions account={account} />
      <AccountNumbers
        account={account}
        withoutAccess={totalOf(withoutAccess)}
        lastWeek={totalOf(lastWeek)}
        since={period.from}
      />
      <Panel lines={4}>
        {(key) => <AccountDue accountId={accountId} before={period.soon} fetchKey={key} />}
      </Panel>
      <AccountStatistics account={account} />
    </Page>
  );
}

interface Period {
  /** Seven days before `to`. */
  readonly from: string;
  /** The next full hour. */
  readonly to: string;
  /** 24 hours after `to`. */
  readonly soon: string;
}

/** Times that change at most once an hour, because each change reads the page again. */
function usePeriod(): Period {
  const nextHour = Math.ceil(useNow().getTime() / HOUR_MS) * HOUR_MS;
  const hour = useDeferredValue(nextHour);
  const instant = (milliseconds: number) => new Date(milliseconds).toISOString();
  return { from: instant(hour - 7 * DAY_MS), to: instant(hour), soon: instant(hour + DAY_MS) };
}

function NoSuchAccount() {
  return (
    <Page title="No such account" actions={<BackLink list="/accounts" />}>
      <p>This workspace has no account with this number.</p>
    </Page>
  );
}
