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
/** The filter "State", beside status and outcome. What is overdue does not count as waiting for a retry. */
export const FLAGS = [
  "overdue",
  "retrying",
  "duplicated",
  "invalidContent",
  "mediaWarning",
  "cancelled",
  "notCancelled",
  "awaitsOutcome",
  "notImported",
] as const;
/**
 * Times that `from` and `to` may limit, each by two filters of the API: "failed" is `failedAfter` and `failedBefore`.
 * The search parameter is `period`.
 */
export const TIME_FIELDS = ["scheduled", "published", "failed", "settled", "updated", "nextRetry"] as const;
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
  readonly timeField: (typeof TIME_FIELDS)[number];
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
  timeField: "scheduled",
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
    timeField: member(TIME_FIELDS, text("period")) ?? ALL_RESULTS.timeField,
    from,
    to,
    order: member(ORDERS, text("order")) ?? ALL_RESULTS.order,
    direction: member(DIRECTIONS, text("direction")) ?? ALL_RESULTS.direction,
  };
}

/**
 * Search parameters of the view, without those that have their default; "" or a text that starts with "?".
 * Fields that are left out have their default.
 */
export function formatResults(view: Partial<ResultsView>): string {
  const { order, direction, timeField, from, to, ...criteria } = { ...ALL_RESULTS, ...view };
  const { status, outcome, category, platform, account, code, group, flag, q, reference } = criteria;
  return formatParameters({
    ...{ status, outcome, category, platform, account, code, group, flag, q, reference },
    order: unlessDefault(order, ALL_RESULTS.order),
    direction: unlessDefault(direction, ALL_RESULTS.direction),
    // The time may be chosen before its limits.
    period: from || to ? timeField : unlessDefault(timeField, ALL_RESULTS.timeField),
    from: from && from.toISOString(),
    to: to && to.toISOString(),
  });
}

/** Link to the results of a view, below the board. Fields that are left out have their default. */
export function resultsPath(view: Partial<ResultsView>): string {
  return `/results${formatResults(view)}`;
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
