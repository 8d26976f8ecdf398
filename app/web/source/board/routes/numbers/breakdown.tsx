// The outcomes of a period by platform or account, or its failures by cause.

import { graphql } from "react-relay/hooks";

import type { breakdownQuery } from "../../relay/__generated__/breakdownQuery.graphql";
import { Choice } from "../../components/fields";
import { Panel } from "../../components/panel";
import { useLiveQuery } from "../../relay/live-query";
import { GROUPINGS, type NumbersView } from "../../url/numbers";
import { AccountTable } from "./account-table";
import { CauseTable } from "./cause-table";
import { PlatformTable } from "./outcome-table";
import { statsVariables, type StatsProps } from "./period";

const query = graphql`
  query breakdownQuery(
    $from: DateTime!
    $to: DateTime!
    $groupBy: OutcomeGrouping!
    $filter: OutcomeStatsFilter!
  ) {
    outcomeStats(from: $from, to: $to, groupBy: [$groupBy], filter: $filter) {
      buckets {
        groups {
          platform
          accountId
          category
          counts {
            successRate
            published
            failed
            unknown
            savedByRetry
            attempts
            lateness {
              p95Seconds
            }
          }
        }
      }
    }
  }
`;

const WORDS = { PLATFORM: "platform", ACCOUNT: "account", CATEGORY: "cause of the failure" };

interface Props extends Omit<StatsProps, "fetchKey"> {
  readonly onChange: (view: NumbersView) => void;
}

export function Breakdown({ onChange, ...props }: Props) {
  const { view } = props;
  return (
    <section aria-labelledby="groups">
      <div className="section-heading">
        <h2 id="groups">By {WORDS[view.by]}</h2>
        <Choice
          label="Table by"
          value={view.by}
          options={GROUPINGS}
          name={(by) => WORDS[by]}
          onChange={(by) => onChange({ ...view, by })}
        />
      </div>
      <Panel key={view.by} lines={8}>
        {(fetchKey) => <GroupsTable {...props} fetchKey={fetchKey} />}
      </Panel>
    </section>
  );
}

function GroupsTable(props: StatsProps) {
  const { view, period, fetchKey } = props;
  const variables = { ...statsVariables(props), groupBy: view.by };
  const { outcomeStats } = useLiveQuery<breakdownQuery>(query, variables, { fetchKey });
  const groups = outcomeStats?.buckets[0]?.groups ?? [];
  if (groups.length === 0) return <p className="muted">Nothing ended in this period.</p>;
  switch (view.by) {
    case "PLATFORM":
      return <PlatformTable groups={groups} view={view} period={period} />;
    case "ACCOUNT":
      return <AccountTable groups={groups} view={view} period={period} fetchKey={fetchKey} />;
    case "CATEGORY":
      return <CauseTable groups={groups} view={view} period={period} />;
  }
}
