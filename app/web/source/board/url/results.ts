// Filters and order of the results ↔ search parameters. Values that make no sense are ignored.

import { readAccountFilter, type AccountFilter } from "./account-filter";
import {
  formatParameters,
  member,
  members,
  readList,
  readPeriod,
  readText,
  unlessDefault,
} from "./parameters";

export const STATUSES = ["QUEUED", "PUBLISHING", "PUBLISHED", "FAILED"] as const;
export const OUTCOMES = ["PUBLISHED", "FAILED", "UNKNOWN", "NONE"] as const;
export const CATEGORIES = [
  "AUTH",
  "CONTENT_REJECTED",
  "PERMANENT",
  "RATE_LIMITED",
  "TRANSIENT",
  "UNCLASSIFIED",
] as const;
/** States that are computed from several fields. What is overdue does not count as waiting for a retry. */
export const FLAGS = ["overdue", "retrying", "duplicated"] as const;
/** Times that a period may limit. */
export const PERIODS = ["scheduled", "published", "failed", "updated", "nextRetry"] as const;
export const ORDERS = [
  "UPDATED_AT",
  "FAILED_AT",
  "SCHEDULED_FOR",
  "PUBLISHED_AT",
  "NEXT_RETRY_AT",
  "LATENESS",
  "CREATED_AT",
] as const;
export const DIRECTIONS = ["DESC", "ASC"] as const;

export interface ResultsView extends AccountFilter {
  readonly status: readonly (typeof STATUSES)[number][];
  readonly outcome: readonly (typeof OUTCOMES)[number][];
  readonly category: readonly (typeof CATEGORIES)[number][];
  readonly flag: (typeof FLAGS)[number] | null;
  readonly code: readonly string[];
  /** Keys of groups of failures with the same cause. */
  readonly group: readonly string[];
  /** Part of the text of the post. */
  readonly q: string;
  readonly reference: string;
  /** Time that `from` and `to` limit. */
  readonly period: (typeof PERIODS)[number];
  readonly from: Date | null;
  readonly to: Date | null;
  readonly order: (typeof ORDERS)[number];
  readonly direction: (typeof DIRECTIONS)[number];
}

export const ALL_RESULTS: ResultsView = {
  status: [],
  outcome: [],
  category: [],
  flag: null,
  platform: [],
  account: [],
  code: [],
  group: [],
  q: "",
  reference: "",
  period: "scheduled",
  from: null,
  to: null,
  order: "UPDATED_AT",
  direction: "DESC",
};

export function parseResults(search: string): ResultsView {
  const parameters = new URLSearchParams(search);
  const list = (name: string) => readList(parameters, name);
  const text = (name: string) => readText(parameters, name);
  const { from, to } = readPeriod(parameters);
  return {
    status: members(STATUSES, list("status")),
    outcome: members(OUTCOMES, list("outcome")),
    category: members(CATEGORIES, list("category")),
    flag: member(FLAGS, text("flag")) ?? null,
    ...readAccountFilter(parameters),
    code: list("code"),
    group: list("group").filter(isGroupKey),
    q: text("q"),
    reference: text("reference"),
    period: member(PERIODS, text("period")) ?? ALL_RESULTS.period,
    from,
    to,
    order: member(ORDERS, text("order")) ?? ALL_RESULTS.order,
    direction: member(DIRECTIONS, text("direction")) ?? ALL_RESULTS.direction,
  };
}

/** Search parameters of the view, without those that have their default; "" or a text that starts with "?". */
export function formatResults(changes: Partial<ResultsView>): string {
  const view = { ...ALL_RESULTS, ...changes };
  const { status, outcome, category, platform, account, code, group, flag, q, reference, from, to } = view;
  return formatParameters({
    ...{ status, outcome, category, platform, account, code, group, flag, q, reference },
    order: unlessDefault(view.order, ALL_RESULTS.order),
    direction: unlessDefault(view.direction, ALL_RESULTS.direction),
    // A period may be chosen before its times.
    period: from || to ? view.period : unlessDefault(view.period, ALL_RESULTS.period),
    from: from && from.toISOString(),
    to: to && to.toISOString(),
  });
}

/** Link to the results of a view, below the board. */
export function resultsPath(changes: Partial<ResultsView>): string {
  return `/results${formatResults(changes)}`;
}

/** Number of filters that are set; the order is none. */
export function countFilters(view: ResultsView): number {
  const names = ["status", "outcome", "category", "platform", "account", "code", "group"] as const;
  const singles = [view.flag, view.q, view.reference, view.from ?? view.to];
  return names.filter((name) => view[name].length > 0).length + singles.filter(Boolean).length;
}

/** True if the text can be the key of a group of failures. */
export function isGroupKey(text: string): boolean {
  return /^\d-[0-9a-f]{32}$/.test(text);
}
