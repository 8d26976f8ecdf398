// One group of failures: cause, fix, accounts, and its rows.

import { graphql } from "react-relay/hooks";
import { Link } from "wouter";
import { useSearch } from "wouter/use-browser-location";

import type { failureGroupQuery } from "../../relay/__generated__/failureGroupQuery.graphql";
import { BackLink, rememberList } from "../../components/back-link";
import { Page } from "../../components/page";
import { Panel } from "../../components/panel";
import { Time } from "../../components/time";
import { UserText } from "../../components/user-text";
import { useLiveQuery } from "../../relay/live-query";
import { serverNow } from "../../text/clock";
import { groupWords } from "../../text/filter-words";
import { accountLabel } from "../../text/labels";
import { shortTime } from "../../text/times";
import { useZone } from "../../text/zone";
import { groupPath, parsePeriod, type FailurePeriod } from "../../url/failures";
import { postPath } from "../../url/paths";
import { resultsOfGroup } from "../../url/result-lists";
import { isGroupKey } from "../../url/results";
import { destinationFilter } from "../../url/results-filter";
import { ResultsList } from "../results/results-list";
import { GroupAccounts } from "./group-accounts";
import { GroupFacts } from "./group-facts";
import { usePeriodStart } from "./period-start";

interface Props {
  readonly groupKey: string;
}

export default function FailureGroupPage({ groupKey }: Props) {
  const period = parsePeriod(useSearch());
  const since = usePeriodStart(period);
  if (!isGroupKey(groupKey)) return <NoSuchGroup />;
  return (
    <Panel key={period} lines={16}>
      {(fetchKey) => <FailureGroup groupKey={groupKey} period={period} since={since} fetchKey={fetchKey} />}
    </Panel>
  );
}

interface GroupProps extends Props {
  readonly period: FailurePeriod | null;
  /** Start of the period; null for failures of any time. */
  readonly since: string | null;
  readonly fetchKey: number;
}

function FailureGroup({ groupKey, period, since, fetchKey }: GroupProps) {
  const view = resultsOfGroup(groupKey, since);
  const { failureGroups } = useLiveQuery<failureGroupQuery>(
    graphql`
      query failureGroupQuery($filter: DestinationFilter!) {
        failureGroups(first: 1, filter: $filter) {
          nodes {
            platform
            message
            diagnosis {
              fix
            }
            sample {
              failedAt
              error
              postId
              accountName
            }
            ...groupFacts_group
          }
        }
      }
    `,
    { filter: destinationFilter(view) },
    { fetchKey },
  );
  const zone = useZone();
  const group = failureGroups?.nodes[0];
  if (!group) return since ? <NoFailureInPeriod groupKey={groupKey} since={since} /> : <SettledGroup />;
  const { sample } = group;
  const words = [
    groupWords(group.platform, group.message),
    ...(view.from ? [`Failed since ${shortTime(view.from, zone, serverNow())}`] : []),
  ];
  rememberList("/results", groupPath(groupKey, period), "Group of failures");
  return (
    <Page title={group.diagnosis.fix} actions={<BackLink list="/failures" />}>
      <section className="card" aria-label="Cause">
        {since && <Period groupKey={groupKey} since={since} />}
        <GroupFacts group={group} since={since} />
        <p className="muted">
          Failures are one group if platform, cause, code and message are the same. Numbers, ids, addresses
          and quoted texts in the message do not count: “…” stands for them.
        </p>
        <p>
          Latest example:{" "}
          <Link href={postPath(sample.postId)}>
            {sample.failedAt ? <Time at={sample.failedAt} /> : "post"}
          </Link>{" "}
          on <UserText text={accountLabel(sample.accountName)} />:{" "}
          <UserText text={sample.error ?? "(no message)"} />
        </p>
      </section>
      <Panel lines={3}>{(key) => <GroupAccounts groupKey={groupKey} since={since} fetchKey={key} />}</Panel>
      <section aria-labelledby="rows">
        <h2 id="rows">What failed</h2>
        <Panel lines={10}>
          {(key) => <ResultsList view={view} filterWords={() => words} fetchKey={key} />}
        </Panel>
      </section>
    </Page>
  );
}

interface PeriodProps {
  readonly groupKey: string;
  readonly since: string;
}

function Period({ groupKey, since }: PeriodProps) {
  return (
    <p>
      Failures since <Time at={since} />. <Link href={groupPath(groupKey, null)}>Show failures of any time</Link>
    </p>
  );
}

/** In place of a group without failures in the period. */
function NoFailureInPeriod(props: PeriodProps) {
  return (
    <Page title="No failure in this period" actions={<BackLink list="/failures" />}>
      <p>Nothing with this cause is failed any more, or it failed earlier.</p>
      <Period {...props} />
    </Page>
  );
}

function SettledGroup() {
  return (
    <Page title="Everything in this group is settled" actions={<BackLink list="/failures" />}>
      <p>Nothing with this cause is failed any more: it was published, retried or deleted.</p>
    </Page>
  );
}

function NoSuchGroup() {
  return (
    <Page title="No such group of failures" actions={<BackLink list="/failures" />}>
      <p>The link may be incomplete.</p>
    </Page>
  );
}
