// Failures or lateness by hour of the week.

import { graphql } from "react-relay/hooks";
import { Link } from "wouter";

import type { heatMapQuery, heatMapQuery$data } from "../../relay/__generated__/heatMapQuery.graphql";
import { Choice } from "../../components/fields";
import { useLiveQuery } from "../../relay/live-query";
import { addDays, countDays, formatDate, hourOfWeek } from "../../text/dates";
import { plainNumber } from "../../text/numbers";
import { coarseDuration } from "../../text/times";
import { HEATS, type NumbersView } from "../../url/numbers";
import { statsVariables, type StatsProps } from "./period";
import { resultsPaths, type ResultsPaths } from "./results-paths";

const query = graphql`
  query heatMapQuery($from: DateTime!, $to: DateTime!, $timezone: String!, $filter: OutcomeStatsFilter!) {
    outcomeStats(from: $from, to: $to, timezone: $timezone, groupBy: [HOUR_OF_WEEK], filter: $filter) {
      buckets {
        groups {
          hourOfWeek
          counts {
            published
            failed
            unknown
            lateness {
              p95Seconds
            }
          }
        }
      }
    }
  }
`;

type Counts = NonNullable<heatMapQuery$data["outcomeStats"]>["buckets"][number]["groups"][number]["counts"];

const HOURS_PER_DAY = 24;
const HOURS = Array.from({ length: HOURS_PER_DAY }, (_, hour) => hour);
const A_MONDAY = "2026-11-30";
const DAYS = Array.from({ length: 7 }, (_, day) => formatDate(addDays(A_MONDAY, day), "weekday"));

const HEAT_WORDS = { failed: "failures", late: "lateness" };
const CAPTIONS = {
  failed: "Failed or unknown / all that ended",
  late: "Lateness that 95% of the published did not exceed",
};

/** Lowest values of the darker colors: shares of failures, and seconds. */
const LEVELS = { failed: [0.000_001, 0.05, 0.15, 0.4], late: [60, 300, 1_800, 7_200] };

interface Props extends StatsProps {
  readonly onChange: (view: NumbersView) => void;
}

export function HeatMap({ onChange, ...props }: Props) {
  const { view, period, zone, fetchKey } = props;
  const variables = { ...statsVariables(props), timezone: zone };
  const { outcomeStats } = useLiveQuery<heatMapQuery>(query, variables, { fetchKey });
  const groups = outcomeStats?.buckets[0]?.groups ?? [];
  const byHour = new Map(groups.map((group) => [group.hourOfWeek, group.counts]));
  const isOneWeek = countDays(period.first, period.last) <= DAYS.length;

  /** Links to the results of an hour; null if the cell counts that hour of several weeks. */
  function pathsOf(hour: number): ResultsPaths | null {
    return isOneWeek ? resultsPaths(view, hourOfWeek(period.first, hour, zone)) : null;
  }

  return (
    <section aria-labelledby="hours">
      <div className="section-heading">
        <h2 id="hours">By hour of the week</h2>
        <Choice
          label="Show"
          value={view.heat}
          options={HEATS}
          name={(heat) => HEAT_WORDS[heat]}
          onChange={(heat) => onChange({ ...view, heat })}
        />
      </div>
      <table className="heat-map">
        <caption className="muted">
          {CAPTIONS[view.heat]}; {period.words}, on the clock of {zone}; darker is more.
          {!isOneWeek && " In a period of at most seven days, the numbers lead to their results."}
        </caption>
        <thead>
          <tr>
            <th scope="col">Hour</th>
            {DAYS.map((day) => (
              <th key={day} scope="col">
                {day}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {HOURS.map((hour) => (
            <tr key={hour}>
              <th scope="row">{String(hour).padStart(2, "0")}:00</th>
              {DAYS.map((day, index) => {
                const ofWeek = index * HOURS_PER_DAY + hour;
                return <Cell key={day} counts={byHour.get(ofWeek)} heat={view.heat} paths={pathsOf(ofWeek)} />;
              })}
            </tr>
          ))}
        </tbody>
      </table>
    </section>
  );
}

interface CellProps {
  readonly counts: Counts | undefined;
  readonly heat: NumbersView["heat"];
  readonly paths: ResultsPaths | null;
}

function Cell({ counts, heat, paths }: CellProps) {
  const cell = counts && (heat === "failed" ? failedCell(counts) : lateCell(counts));
  if (!cell) return <td />;
  const level = LEVELS[heat].filter((lowest) => cell.value >= lowest).length;
  const path = heat === "failed" ? paths?.bad : paths?.late;
  return (
    <td className={`heat-${level}`}>
      {path && cell.value > 0 ? <Link href={path}>{cell.text}</Link> : cell.text}
    </td>
  );
}

interface CellContent {
  readonly value: number;
  readonly text: string;
}

function failedCell({ published, failed, unknown }: Counts): CellContent | null {
  const bad = failed + unknown;
  const ended = bad + published;
  return ended === 0 ? null : { value: bad / ended, text: `${plainNumber(bad)}/${plainNumber(ended)}` };
}

function lateCell({ lateness }: Counts): CellContent | null {
  if (!lateness) return null;
  return { value: lateness.p95Seconds, text: coarseDuration(lateness.p95Seconds * 1_000) };
}
