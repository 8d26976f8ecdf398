// A chart over time, with a sentence that says what it shows, its values at the cursor, and the same data as a table.

import { useId, useState } from "react";

import type { Tone } from "../../text/statuses";
import { lazyPart } from "../lazy";
import { Loading } from "../loading";
import { UNITS, type UnitName } from "./units";

const Plot = lazyPart(() => import("./plot"));

export interface ChartSeries {
  readonly name: string;
  readonly tone: Tone;
  /** One value for each bucket; null without data. */
  readonly values: readonly (number | null)[];
}

export interface ChartBucket {
  readonly start: string;
  /** Short, for the axis. */
  readonly label: string;
  /** Complete, for the cursor and the table. */
  readonly name: string;
}

export interface ChartData {
  readonly title: string;
  /** What the chart shows, for those who do not see it. */
  readonly sentence: string;
  /** Bars are stacked in the order of the series, from the bottom; lines are not. */
  readonly kind: "bars" | "lines";
  readonly unit: UnitName;
  readonly buckets: readonly ChartBucket[];
  readonly series: readonly ChartSeries[];
}

export function Chart({ data }: { readonly data: ChartData }) {
  const { title, sentence, kind, unit, buckets, series } = data;
  const id = useId();
  const [index, setIndex] = useState<number | null>(null);
  const [isTableOpen, setTableOpen] = useState(false);
  const bucket = index === null ? undefined : buckets[index];

  return (
    <figure className="chart" aria-labelledby={id}>
      <figcaption>
        <h3 id={id}>{title}</h3>
        <p>{sentence}</p>
        <ul className="legend">
          {series.map(({ name, tone }, order) => (
            <li key={name}>
              <Swatch kind={kind} tone={tone} order={order} /> {name}
            </li>
          ))}
        </ul>
      </figcaption>
      <div className="plot">
        <Loading lines={6}>
          <Plot data={data} index={index} onIndex={setIndex} />
        </Loading>
      </div>
      <p className="readout" aria-live="polite">
        {bucket && index !== null
          ? `${bucket.name}: ${series.map(({ name, values }) => `${name} ${format(values[index], unit)}`).join(", ")}`
          : "For single values, point at the chart, or focus it and press ← or →."}
      </p>
      <details open={isTableOpen} onToggle={(event) => setTableOpen(event.currentTarget.open)}>
        <summary>{title} as a table</summary>
        {isTableOpen && <ChartTable data={data} />}
      </details>
    </figure>
  );
}

interface SwatchProps {
  readonly kind: ChartData["kind"];
  readonly tone: Tone;
  readonly order: number;
}

/** The mark of a series: a square, or a line, which is dashed from the second series on. */
function Swatch({ kind, tone, order }: SwatchProps) {
  return (
    <svg className={`swatch tone-${tone}`} viewBox="0 0 16 16" aria-hidden="true" focusable="false">
      {kind === "bars" ? (
        <rect x="2" y="2" width="12" height="12" fill="currentcolor" />
      ) : (
        <path
          d="M0 8h16"
          stroke="currentcolor"
          strokeWidth="2.5"
          strokeDasharray={order === 0 ? undefined : "4 2"}
        />
      )}
    </svg>
  );
}

function ChartTable({ data: { title, unit, buckets, series } }: { readonly data: ChartData }) {
  return (
    <div className="scroll" role="region" aria-label={`${title} as a table`} tabIndex={0}>
      <table className="plain-table">
        <thead>
          <tr>
            <th scope="col">Time</th>
            {series.map(({ name }) => (
              <th key={name} scope="col">
                {name}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {buckets.map(({ start, name }, index) => (
            <tr key={start}>
              <th scope="row">{name}</th>
              {series.map((one) => (
                <td key={one.name}>{format(one.values[index], unit)}</td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

function format(value: number | null | undefined, unit: UnitName): string {
  return value === null || value === undefined ? "–" : UNITS[unit].format(value);
}
