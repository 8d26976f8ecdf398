// Filters and order of the groups of failures ↔ search parameters. Values that make no sense are ignored.

import { formatParameters, member, members, readList, readText, unlessDefault } from "./parameters";
import { CATEGORIES } from "./results";

export const FAILURE_ORDERS = ["COUNT", "LAST_SEEN"] as const;
/** Periods that end now: since the start of the local day, and others whose length in hours is in `PERIOD_HOURS`. */
export const FAILURE_PERIODS = ["today", "hour", "day", "week", "month"] as const;
export type FailurePeriod = (typeof FAILURE_PERIODS)[number];
export const PERIOD_HOURS = { hour: 1, day: 24, week: 7 * 24, month: 30 * 24 } as const;

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
    period: parsePeriod(search),
    platform: readList(parameters, "platform"),
    category: members(CATEGORIES, readList(parameters, "category")),
    after: readText(parameters, "after"),
  };
}

/** Period of a list or of a group; null for failures of any time. */
export function parsePeriod(search: string): FailurePeriod | null {
  return member(FAILURE_PERIODS, readText(new URLSearchParams(search), "period")) ?? null;
}

/** Link to the failures of a group in a period, below the board. */
export function groupPath(key: string, period: FailurePeriod | null): string {
  return `/failures/${key}${formatParameters({ period })}`;
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
