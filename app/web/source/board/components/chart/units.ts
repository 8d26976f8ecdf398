// Units of the values of a chart: how they read, and where the lines of its grid are.

import { percent, plainNumber } from "../../text/numbers";
import { duration } from "../../text/times";

export type UnitName = "results" | "share" | "seconds";

interface Unit {
  readonly format: (value: number) => string;
  /** Distances between lines of the grid; the chart takes the smallest that leaves room for their labels. */
  readonly steps: number[];
  /** Highest value of the axis; null for that of the data. */
  readonly max: number | null;
}

const MINUTE = 60;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

export const UNITS: Readonly<Record<UnitName, Unit>> = {
  results: {
    format: plainNumber,
    steps: [1, 2, 5]
      .flatMap((step) => [1, 10, 100, 1_000, 10_000, 100_000].map((power) => step * power))
      .sort((a, b) => a - b),
    max: null,
  },
  share: { format: percent, steps: [0.25, 0.5], max: 1 },
  seconds: {
    format: (seconds) => duration(seconds * 1_000),
    steps: [
      1,
      5,
      10,
      30,
      MINUTE,
      5 * MINUTE,
      15 * MINUTE,
      30 * MINUTE,
      HOUR,
      3 * HOUR,
      6 * HOUR,
      12 * HOUR,
      DAY,
      2 * DAY,
      7 * DAY,
      30 * DAY,
      365 * DAY,
    ],
    max: null,
  },
};
