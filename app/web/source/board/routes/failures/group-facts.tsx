// What failed in a group, how often, and what a retry would do.

import { graphql, useFragment } from "react-relay/hooks";

import type {
  groupFacts_group$data,
  groupFacts_group$key,
} from "../../relay/__generated__/groupFacts_group.graphql";
import { TimeWithDistance } from "../../components/time";
import { UserText } from "../../components/user-text";
import { groupMessage } from "../../text/filter-words";
import { count, plainNumber } from "../../text/numbers";
import { categoryWords, platformName, sourceWords } from "../../text/reasons";
import { HourlyChart } from "./hourly-chart";
import { RetryGroupButton } from "./retry-group-button";

interface Props {
  readonly group: groupFacts_group$key;
  /** Time from which failures count; null for all. */
  readonly since: string | null;
}

export function GroupFacts({ group, since }: Props) {
  const data = useFragment(
    graphql`
      fragment groupFacts_group on FailureGroup {
        platform
        category
        code
        message
        count
        accountCount
        postCount
        unknownCount
        firstSeen
        lastSeen
        hourlyCounts
        retryableCount
        refusedCount
        diagnosis {
          source
        }
        ...retryGroupButton_group
      }
    `,
    group,
  );
  return (
    <div className="group-facts">
      <div>
        <p>
          “<UserText text={groupMessage(data.message)} />”
        </p>
        <p className="muted">
          {categoryWords(data.category)},{" "}
          <code>
            <UserText text={data.code} />
          </code>
          ; can be fixed by {sourceWords(data.diagnosis.source, data.category)}
        </p>
        <p>
          {count(data.count, "result")} of {count(data.postCount, "post")} on{" "}
          {count(data.accountCount, "account")} of <UserText text={platformName(data.platform)} />
          {data.unknownCount > 0 &&
            `; of ${plainNumber(data.unknownCount)} we do not know whether they went out`}
        </p>
        <p>
          {data.count > 1 && (
            <>
              First <TimeWithDistance at={data.firstSeen} />; last{" "}
            </>
          )}
          <TimeWithDistance at={data.lastSeen} />
        </p>
      </div>
      <div>
        {data.hourlyCounts && <HourlyChart counts={data.hourlyCounts} />}
        <p>{retrySentence(data)}</p>
        <RetryGroupButton group={data} since={since} />
      </div>
    </div>
  );
}

function retrySentence({ retryableCount, refusedCount }: groupFacts_group$data): string {
  if (retryableCount == null || refusedCount == null) return "";
  if (retryableCount === 0) return refusedCount === 1 ? "It cannot be retried now." : "None can be retried now.";
  if (refusedCount === 0)
    return retryableCount === 1 ? "It can be retried." : `All ${plainNumber(retryableCount)} can be retried.`;
  return `${plainNumber(retryableCount)} can be retried, ${plainNumber(refusedCount)} cannot.`;
}
