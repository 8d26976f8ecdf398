// The numbers of today: what needs a person, and what happens automatically.

import { graphql, useFragment } from "react-relay/hooks";

import type {
  countsPanel_query$data,
  countsPanel_query$key,
} from "../../relay/__generated__/countsPanel_query.graphql";
import { CountLinks, type CountLinkProps } from "../../components/count-link";
import { FirstPost } from "../../components/first-post";
import { ErrorPanel } from "../../components/error-panel";
import { useNow } from "../../components/time";
import { caughtError } from "../../relay/partial-data";
import { count, totalOf } from "../../text/numbers";
import { DAY_MS, duration } from "../../text/times";
import { dueBy, failedResults, PUBLISHING_RESULTS } from "../../url/result-lists";
import { resultsPath } from "../../url/results";
import { unknownPath } from "../../url/unknown";
import type { TodayPanelProps } from "./today";

const fragment = graphql`
  fragment countsPanel_query on Query
  @argumentDefinitions(since: { type: "DateTime!" }, until: { type: "DateTime!" })
  @catch(to: RESULT) {
    boardCounts(since: $since) {
      failed {
        count
        capped
      }
      unknown {
        count
        capped
      }
      overdue {
        count
        capped
      }
      retrying {
        count
        capped
      }
      publishing {
        count
        capped
      }
      dueSoon {
        count
        capped
      }
      willFail {
        count
        capped
      }
      invalidContent {
        count
        capped
      }
      mediaWarning {
        count
        capped
      }
      duplicated {
        count
        capped
      }
      brokenAccounts {
        count
        capped
      }
    }
    published: destinations(filter: { publishedAfter: $since, status: [PUBLISHED] }, first: 1) {
      totalCountCapped
      totalCountIsCapped
    }
    outcomeStats(from: $since, to: $until) {
      buckets {
        counts {
          lateness {
            p50Seconds
          }
        }
      }
    }
  }
`;

interface Props extends TodayPanelProps<countsPanel_query$key> {
  /** All accounts that cannot post; none if they are too many. */
  readonly accountIds: readonly number[];
}

export function CountsPanel({ query, since, accountIds, onRetry }: Props) {
  const result = useFragment(fragment, query);
  const now = useNow();
  if (!result.ok) return <ErrorPanel error={caughtError(result.errors)} onRetry={onRetry} />;
  const { boardCounts: counts, published, outcomeStats } = result.value;
  if (!counts) return null;
  const start = new Date(since);
  const soon = new Date(now.getTime() + DAY_MS);
  const dueOnBrokenAccounts = resultsPath(dueBy(soon, { account: accountIds }));
  // Rare: an upgrade or another publisher of an account causes the first, and files of others the second.
  const badContent: readonly CountLinkProps[] = [
    {
      value: counts.invalidContent,
      name: "will fail because of their content",
      tone: "bad" as const,
      path: resultsPath({ flag: "invalidContent", order: "SCHEDULED_FOR", direction: "ASC" }),
    },
    {
      value: counts.mediaWarning,
      name: "with media that cannot be loaded",
      tone: "warning" as const,
      path: resultsPath({ flag: "mediaWarning", order: "SCHEDULED_FOR", direction: "ASC" }),
    },
  ].filter(({ value }) => value.count > 0);
  const urgent: readonly CountLinkProps[] = [
    {
      value: counts.failed,
      name: "failed today",
      tone: "bad",
      path: resultsPath(failedResults({ from: start })),
    },
    { value: counts.unknown, name: "with an unknown outcome", tone: "warning", path: unknownPath(null) },
    {
      value: counts.overdue,
      name: "overdue",
      tone: "bad",
      path: resultsPath({ flag: "overdue", order: "SCHEDULED_FOR", direction: "ASC" }),
    },
    {
      value: counts.duplicated,
      name: "published twice today",
      tone: "warning",
      path: resultsPath({ flag: "duplicated", timeField: "published", from: start }),
    },
    {
      value: counts.willFail,
      name: "will fail within 24 hours",
      tone: "bad",
      path: accountIds.length > 0 ? dueOnBrokenAccounts : "#accounts",
    },
    { value: counts.brokenAccounts, name: "accounts cannot post", tone: "bad", path: "#accounts" },
    ...badContent,
  ];
  const automatic: readonly CountLinkProps[] = [
    {
      value: totalOf(published),
      name: `published today${lateness(outcomeStats)}`,
      tone: "good",
      path: resultsPath({ status: ["PUBLISHED"], timeField: "published", from: start, order: "PUBLISHED_AT" }),
    },
    {
      value: counts.publishing,
      name: "publishing now",
      tone: "busy",
      path: resultsPath(PUBLISHING_RESULTS),
    },
    {
      value: counts.retrying,
      name: "wait for a retry",
      tone: "warning",
      path: resultsPath({ flag: "retrying", order: "NEXT_RETRY_AT", direction: "ASC" }),
    },
    {
      value: counts.dueSoon,
      name: "due within 24 hours",
      tone: "neutral",
      path: resultsPath(dueBy(soon, { from: now })),
    },
  ];
  const urgentCount = urgent.filter(({ value }) => value.count > 0).length;
  return (
    <>
      <p className="sentence">
        {urgentCount === 0
          ? "Nothing needs you."
          : `${count(urgentCount, "thing")} ${urgentCount === 1 ? "needs" : "need"} you.`}
      </p>
      {[...urgent, ...automatic].every(({ value }) => value.count === 0) && <FirstPost />}
      <CountLinks label="Needs you" counts={urgent} />
      <CountLinks label="Happens automatically" counts={automatic} />
    </>
  );
}

type Stats = Extract<countsPanel_query$data, { readonly ok: true }>["value"]["outcomeStats"];

function lateness(outcomeStats: Stats): string {
  const late = outcomeStats?.buckets[0]?.counts.lateness;
  return late ? `, half of them within ${duration(late.p50Seconds * 1_000)} of their time` : "";
}
