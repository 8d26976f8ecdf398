// Success, outcomes and lateness over time.

import { useMemo } from "react";
import { graphql } from "react-relay/hooks";

import type {
  outcomeChartsQuery,
  outcomeChartsQuery$data,
} from "../../relay/__generated__/outcomeChartsQuery.graphql";
import { Chart, type ChartBucket, type ChartData } from "../../components/chart/chart";
import { CsvButton } from "../../components/csv-button";
import { useLiveQuery } from "../../relay/live-query";
import { serverNow } from "../../text/clock";
import type { Cell } from "../../text/csv";
import { formatDate } from "../../text/dates";
import { count, percent, plainNumber } from "../../text/numbers";
import { clockMinutes, dayOf, duration } from "../../text/times";
import { intervalOf, type Interval } from "../../url/numbers";
import { statsVariables, type StatsProps } from "./period";

const query = graphql`
  query outcomeChartsQuery(
    $from: DateTime!
    $to: DateTime!
    $interval: StatsInterval!
    $timezone: String!
    $filter: OutcomeStatsFilter!
  ) {
    outcomeStats(from: $from, to: $to, interval: $interval, timezone: $timezone, filter: $filter) {
      buckets {
        start
        counts {
          successRate
          published
          failed
          unknown
          lateness {
            p50Seconds
            p95Seconds
          }
        }
      }
    }
  }
`;

type StatsBuckets = NonNullable<outcomeChartsQuery$data["outcomeStats"]>["buckets"];

export function OutcomeCharts(props: StatsProps) {
  const { view, period, zone, fetchKey } = props;
  const interval = intervalOf(view, period);
  const variables = { ...statsVariables(props), interval, timezone: zone };
  const { outcomeStats } = useLiveQuery<outcomeChartsQuery>(query, variables, { fetchKey });
  const buckets = outcomeStats?.buckets;
  const charts = useMemo(() => (buckets ? chartsOf(buckets, interval, zone) : []), [buckets, interval, zone]);
  return (
    <section aria-labelledby="over-time">
      <div className="section-heading">
        <h2 id="over-time">Over time</h2>
        <CsvButton
          name={`outcomes-by-${interval.toLowerCase()}-${period.first}-${period.last}`}
          columns={CSV_COLUMNS}
          rows={(buckets ?? []).map(csvRow)}
        />
      </div>
      <div className="charts">
        {charts.map((data) => (
          <Chart key={data.title} data={data} />
        ))}
      </div>
    </section>
  );
}

const CSV_COLUMNS = [
  ...["start", "success_rate", "published", "failed", "unknown"],
  ...["lateness_p50_seconds", "lateness_p95_seconds"],
];

function csvRow({ start, counts }: StatsBuckets[number]): Cell[] {
  const { successRate, published, failed, unknown, lateness } = counts;
  const seconds = [lateness?.p50Seconds ?? null, lateness?.p95Seconds ?? null];
  return [start, successRate ?? null, published, failed, unknown, ...seconds];
}

function chartsOf(all: StatsBuckets, interval: Interval, zone: string): ChartData[] {
  const now = serverNow().toISOString();
  const past = all.filter(({ start }) => start <= now);
  const buckets = past.map(({ start }) => bucketOf(start, interval, zone));
  const counts = past.map((bucket) => bucket.counts);
  const of = (name: "published" | "failed" | "unknown") => counts.map((each) => each[name]);
  const rates = counts.map(({ successRate }) => successRate ?? null);
  const p50 = counts.map(({ lateness }) => lateness?.p50Seconds ?? null);
  const p95 = counts.map(({ lateness }) => lateness?.p95Seconds ?? null);
  const ended = counts.map(({ published, failed, unknown }) => published + failed + unknown);
  return [
    {
      title: "Success rate",
      sentence: rateSentence(rates, buckets),
      kind: "lines",
      unit: "share",
      buckets,
      series: [{ name: "published", tone: "good", values: rates }],
    },
    {
      title: "Outcomes",
      sentence: outcomeSentence(sum(of("published")), sum(of("failed")), sum(of("unknown")), ended, buckets),
      kind: "bars",
      unit: "results",
      buckets,
      series: [
        { name: "published", tone: "good", values: of("published") },
        { name: "failed", tone: "bad", values: of("failed") },
        { name: "unknown outcome", tone: "warning", values: of("unknown") },
      ],
    },
    {
      title: "Lateness",
      sentence: latenessSentence(p95, buckets),
      kind: "lines",
      unit: "seconds",
      buckets,
      series: [
        { name: "half at most", tone: "busy", values: p50 },
        { name: "95% at most", tone: "warning", values: p95 },
      ],
    },
  ];
}

function bucketOf(start: string, interval: Interval, zone: string): ChartBucket {
  const instant = new Date(start);
  const date = dayOf(instant, zone);
  if (interval === "HOUR") {
    const clock = clockMinutes(instant, zone);
    return {
      start,
      label: clock === "00:00" ? formatDate(date, "dayMonth") : clock,
      name: `${formatDate(date, "short")}, ${clock}`,
    };
  }
  const name = formatDate(date, "short");
  return {
    start,
    label: formatDate(date, "dayMonth"),
    name: interval === "WEEK" ? `Week from ${name}` : name,
  };
}

function rateSentence(rates: readonly (number | null)[], buckets: readonly ChartBucket[]): string {
  const lowest = extreme(rates, (value, found) => value < found);
  if (lowest === null) return "Nothing ended.";
  if (rates[lowest] === 1) return "Everything that ended was published.";
  return `Lowest ${percent(rates[lowest]!)}, ${buckets[lowest]!.name}.`;
}

function outcomeSentence(
  published: number,
  failed: number,
  unknown: number,
  ended: readonly number[],
  buckets: readonly ChartBucket[],
): string {
  const most = extreme(ended, (value, found) => value > found);
  if (most === null || ended[most] === 0) return "Nothing ended.";
  const numbers = `${plainNumber(published)} published, ${plainNumber(failed)} failed, ${plainNumber(unknown)} unknown.`;
  return `${numbers} Most ${buckets[most]!.name}: ${count(ended[most]!, "result")}.`;
}

function latenessSentence(p95: readonly (number | null)[], buckets: readonly ChartBucket[]): string {
  const highest = extreme(p95, (value, found) => value > found);
  if (highest === null) return "Nothing was published.";
  return `Highest ${buckets[highest]!.name}: 95% were at most ${duration(p95[highest]! * 1_000)} late.`;
}

/** Index of the first value that exceeds all others; null if there is none. */
function extreme(
  values: readonly (number | null)[],
  exceeds: (value: number, found: number) => boolean,
): number | null {
  return values.reduce<number | null>((found, value, index) => {
    if (value === null) return found;
    return found === null || exceeds(value, values[found]!) ? index : found;
  }, null);
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}
