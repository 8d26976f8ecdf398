// Filters and order of the groups of failures ↔ search parameters. Values that make no sense are ignored.

import { formatParameters, member, members, readList, readText, unlessDefault } from "./parameters";
import { CATEGORIES } from "./results";

export const FAILURE_ORDERS = ["COUNT", "LAST_SEEN"] as const;
/** Periods that end now, with their length in hours. */
export const FAILURE_PERIODS = { hour: 1, day: 24, week: 7 * 24, month: 30 * 24 } as const;
export type FailurePeriod = keyof typeof FAILURE_PERIODS;
export const FAILURE_PERIOD_NAMES = Object.keys(FAILURE_PERIODS) as FailurePeriod[];

export interface FailuresView {
  readonly order: (typeof FAILURE_ORDERS)[number];
  /** Null for failures of any time. */
  readonly period: FailurePeriod | null;
  readonly platform: readonly string[];
  readonly category: readonly (typeof CATEGORIES)[number][];
  /** Position after which the page begins; "" for the first page. */
  readonly after: string;
}

export const ALL_FAILURES: FailuresView = {
  order: "COUNT",
  period: null,
  platform: [],
  category: [],
  after: "",
};

export function parseFailures(search: string): FailuresView {
  const parameters = new URLSearchParams(search);
  return {
    order: member(FAILURE_ORDERS, readText(parameters, "order")) ?? ALL_FAILURES.order,
    period: member(FAILURE_PERIOD_NAMES, readText(parameters, "period")) ?? null,
    platform: readList(parameters, "platform"),
    category: members(CATEGORIES, readList(parameters, "category")),
    after: readText(parameters, "after"),
  };
}

/** Link to the groups of a view, below the board. */
export function failuresPath(view: FailuresView): string {
  const { order, period, platform, category, after } = view;
  return `/failures${formatParameters({
    order: unlessDefault(order, ALL_FAILURES.order),
    period,
    platform,
    category,
    after,
  })}`;
}
