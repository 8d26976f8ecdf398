// A group of failures in the list: the fix first, then what it is about.

import { graphql, useFragment } from "react-relay/hooks";
import { Link } from "wouter";

import type { groupSummary_group$key } from "../../relay/__generated__/groupSummary_group.graphql";
import { groupPath, type FailurePeriod } from "../../url/failures";
import { GroupFacts } from "./group-facts";

interface Props {
  readonly group: groupSummary_group$key;
  readonly period: FailurePeriod | null;
  /** Start of the period. */
  readonly since: string | null;
}

export function GroupSummary({ group, period, since }: Props) {
  const data = useFragment(
    graphql`
      fragment groupSummary_group on FailureGroup {
        key
        diagnosis {
          fix
        }
        ...groupFacts_group
      }
    `,
    group,
  );
  return (
    <li>
      <h2>
        <Link href={groupPath(data.key, period)}>{data.diagnosis.fix}</Link>
      </h2>
      <GroupFacts group={data} since={since} />
    </li>
  );
}
