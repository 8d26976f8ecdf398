// One group of failures: cause, fix, accounts, and its rows.

import { graphql } from "react-relay/hooks";
import { Link } from "wouter";

import type { failureGroupQuery } from "../../relay/__generated__/failureGroupQuery.graphql";
import { BackLink, rememberList } from "../../components/back-link";
import { Page } from "../../components/page";
import { Panel } from "../../components/panel";
import { Time } from "../../components/time";
import { UserText } from "../../components/user-text";
import { useLiveQuery } from "../../relay/live-query";
import { groupWords } from "../../text/filter-words";
import { accountLabel } from "../../text/labels";
import { ALL_RESULTS, isGroupKey } from "../../url/results";
import { ResultsList } from "../results/results-list";
import { GroupAccounts } from "./group-accounts";
import { GroupFacts } from "./group-facts";

interface Props {
  readonly groupKey: string;
}

export default function FailureGroupPage({ groupKey }: Props) {
  if (!isGroupKey(groupKey)) return <NoSuchGroup />;
  return <Panel lines={16}>{(fetchKey) => <FailureGroup groupKey={groupKey} fetchKey={fetchKey} />}</Panel>;
}

function FailureGroup({ groupKey, fetchKey }: Props & { readonly fetchKey: number }) {
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
    { filter: { failureGroup: [groupKey] } },
    { fetchKey },
  );
  const group = failureGroups?.nodes[0];
  if (!group) return <SettledGroup />;
  const { sample } = group;
  rememberList("/results", `/failures/${groupKey}`, "Group of failures");
  return (
    <Page title={group.diagnosis.fix} actions={<BackLink list="/failures" />}>
      <section className="card" aria-label="Cause">
        <GroupFacts group={group} since={null} />
        <p className="muted">
          Failures are one group if platform, cause, code and message are the same. Numbers, ids, addresses
          and quoted texts in the message do not count.
        </p>
        <p>
          Latest example:{" "}
          <Link href={`/posts/${sample.postId}`}>
            {sample.failedAt ? <Time at={sample.failedAt} /> : "post"}
          </Link>{" "}
          on <UserText text={accountLabel(sample.accountName)} />:{" "}
          <UserText text={sample.error ?? "(no message)"} />
        </p>
      </section>
      <Panel lines={3}>{(key) => <GroupAccounts groupKey={groupKey} fetchKey={key} />}</Panel>
      <section aria-labelledby="rows">
        <h2 id="rows">What failed</h2>
        <Panel lines={10}>
          {(key) => (
            <ResultsList
              view={{ ...ALL_RESULTS, group: [groupKey], order: "FAILED_AT" }}
              scope={[groupWords(group.platform, group.message)]}
              fetchKey={key}
            />
          )}
        </Panel>
      </section>
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
