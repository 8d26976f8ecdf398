// The outcome of a period in one sentence and its numbers.

import { graphql } from "react-relay/hooks";
import { Link } from "wouter";

import type { headlineQuery, headlineQuery$data } from "../../relay/__generated__/headlineQuery.graphql";
import { CountLinks } from "../../components/count-link";
import { useLiveQuery } from "../../relay/live-query";
import { count, exactCount, percent, plainNumber } from "../../text/numbers";
import { duration } from "../../text/times";
import { statsVariables, type StatsProps } from "./period";
import { resultsPaths } from "./results-paths";

const query = graphql`
  query headlineQuery($from: DateTime!, $to: DateTime!, $filter: OutcomeStatsFilter!) {
    outcomeStats(from: $from, to: $to, filter: $filter) {
      buckets {
        counts {
          successRate
          published
          failed
          userCaused
          unknown
          firstTry
          savedByRetry
          attempts
          lateness {
            p50Seconds
            p95Seconds
            p99Seconds
            maxSeconds
            maxErrorPercent
          }
        }
      }
    }
  }
`;

type Counts = NonNullable<headlineQuery$data["outcomeStats"]>["buckets"][number]["counts"];

export function Headline(props: StatsProps) {
  const { outcomeStats } = useLiveQuery<headlineQuery>(query, statsVariables(props), {
    fetchKey: props.fetchKey,
  });
  const counts = outcomeStats?.buckets[0]?.counts;
  if (!counts) return null;
  const paths = resultsPaths(props.view, props.period);
  return (
    <>
      <SuccessRate counts={counts} />
      <CountLinks
        label={`Outcomes, ${props.period.words}`}
        counts={[
          { value: exactCount(counts.published), name: "published", tone: "good", path: paths.published },
          { value: exactCount(counts.failed), name: "failed", tone: "bad", path: paths.failed },
          {
            value: exactCount(counts.userCaused),
            name: "of them because of content or access",
            tone: "bad",
            path: paths.userCaused,
          },
          {
            value: exactCount(counts.unknown),
            name: "ended with an unknown outcome",
            tone: "warning",
            path: paths.unknown,
          },
        ]}
      />
      <p>
        {plainNumber(counts.firstTry)} were published at the first attempt, {plainNumber(counts.savedByRetry)}{" "}
        after a retry. {count(counts.attempts, "attempt")} started.
      </p>
      {counts.lateness && <Lateness lateness={counts.lateness} path={paths.late} />}
      <p className="muted">
        A result is one post on one account. It counts once, at the time when it ended; while it waits for a
        retry, it does not count.
      </p>
    </>
  );
}

function SuccessRate({ counts }: { readonly counts: Counts }) {
  const { successRate, published, failed, unknown, userCaused } = counts;
  if (successRate === null || successRate === undefined) {
    return <p className="sentence">Nothing ended in this period, so that there is no success rate.</p>;
  }
  const ended = published + failed + unknown;
  return (
    <>
      <p className="sentence">
        {percent(successRate)} published: {plainNumber(published)} of {count(ended, "result")}.
      </p>
      {userCaused > 0 && ended > userCaused && (
        <p>
          Without the {count(userCaused, "failure")} because of content or access:{" "}
          {percent(published / (ended - userCaused))}.
        </p>
      )}
    </>
  );
}

interface LatenessProps {
  readonly lateness: NonNullable<Counts["lateness"]>;
  readonly path: string;
}

function Lateness({ lateness, path }: LatenessProps) {
  const { p50Seconds, p95Seconds, p99Seconds, maxSeconds, maxErrorPercent } = lateness;
  const late = (seconds: number) => <strong>{duration(seconds * 1_000)}</strong>;
  return (
    <p>
      Half were published within {late(p50Seconds)} of the due time, 95% within {late(p95Seconds)}, 99% within{" "}
      {late(p99Seconds)}, and the last one after {late(maxSeconds)} (
      {maxErrorPercent === 0 ? "exact numbers" : `each may be off by ${maxErrorPercent}%`}).{" "}
      <Link href={path}>Show the latest first</Link>
    </p>
  );
}
