// Period, buckets and groups of the statistics ↔ search parameters. Values that make no sense are ignored.

import { addDays, countDays, parseDate, startOfMonth, type LocalDate } from "../text/dates";
import { readAccountFilter, type AccountFilter } from "./account-filter";
import { formatParameters, member, readText, unlessDefault } from "./parameters";

/** Periods of whole days; all but `yesterday` and `lastMonth` end with today. */
export const PRESETS = ["today", "yesterday", "7d", "30d", "90d", "365d", "month", "lastMonth"] as const;
export const INTERVALS = ["HOUR", "DAY", "WEEK"] as const;
export const GROUPINGS = ["PLATFORM", "ACCOUNT", "CATEGORY"] as const;
/** What the table of the hours of the week shows. */
export const HEATS = ["failed", "late"] as const;

export type Preset = (typeof PRESETS)[number];
export type Interval = (typeof INTERVALS)[number];

export interface DatePeriod {
  readonly first: LocalDate;
  readonly last: LocalDate;
}

export interface NumbersView extends AccountFilter {
  readonly preset: Preset;
  /** Dates in place of the preset. */
  readonly own: DatePeriod | null;
  /** Null for one that fits the period. */
  readonly interval: Interval | null;
  readonly by: (typeof GROUPINGS)[number];
  readonly heat: (typeof HEATS)[number];
}

const DEFAULT_PRESET = "7d";
/** The API groups at most 400 days by hour of the week, and returns at most 2,000 buckets. */
export const MAX_DAYS = 366;
/** Number of days up to which hours are offered, and from which weeks are. */
const [MAX_DAYS_OF_HOURS, MIN_DAYS_OF_WEEKS] = [14, 14];
/** Longest periods that are shown by hour and by day unless the user chooses. */
const [DEFAULT_DAYS_OF_HOURS, DEFAULT_DAYS_OF_DAYS] = [2, 92];

export function parseNumbers(search: string): NumbersView {
  const parameters = new URLSearchParams(search);
  const text = (name: string) => readText(parameters, name);
  return {
    preset: member(PRESETS, text("period")) ?? DEFAULT_PRESET,
    own: datePeriod(parseDate(text("from")), parseDate(text("to"))),
    interval: member(INTERVALS, text("interval")) ?? null,
    by: member(GROUPINGS, text("by")) ?? GROUPINGS[0],
    heat: member(HEATS, text("heat")) ?? HEATS[0],
    ...readAccountFilter(parameters),
  };
}

function datePeriod(from: LocalDate | null, to: LocalDate | null): DatePeriod | null {
  if (!from || !to) return null;
  return from <= to ? { first: from, last: to } : { first: to, last: from };
}

/** Link to the statistics of a view, below the board. */
export function numbersPath(view: NumbersView): string {
  const { preset, own, interval, by, heat, platform, account } = view;
  return `/numbers${formatParameters({
    period: own ? null : unlessDefault(preset, DEFAULT_PRESET),
    from: own && own.first,
    to: own && own.last,
    interval,
    by: unlessDefault(by, GROUPINGS[0]),
    heat: unlessDefault(heat, HEATS[0]),
    platform,
    account,
  })}`;
}

/** The first and the last date of the view; a period that is too long is cut at its start. */
export function datesOf(view: NumbersView, today: LocalDate): DatePeriod {
  if (view.own === null) return datesOfPreset(view.preset, today);
  return isTooLong(view.own)
    ? { first: addDays(view.own.last, 1 - MAX_DAYS), last: view.own.last }
    : view.own;
}

export function isTooLong({ first, last }: DatePeriod): boolean {
  return countDays(first, last) > MAX_DAYS;
}

function datesOfPreset(preset: Preset, today: LocalDate): DatePeriod {
  switch (preset) {
    case "today":
      return { first: today, last: today };
    case "yesterday":
      return { first: addDays(today, -1), last: addDays(today, -1) };
    case "month":
      return { first: startOfMonth(today), last: today };
    case "lastMonth":
      return { first: startOfMonth(today, -1), last: addDays(startOfMonth(today), -1) };
    default:
      return { first: addDays(today, 1 - parseInt(preset)), last: today };
  }
}

/** Intervals that give a readable number of buckets. */
export function intervalsOf({ first, last }: DatePeriod): Interval[] {
  const days = countDays(first, last);
  return INTERVALS.filter(
    (interval) =>
      interval === "DAY" || (interval === "HOUR" ? days <= MAX_DAYS_OF_HOURS : days >= MIN_DAYS_OF_WEEKS),
  );
}

/** The interval of the view if the period allows it, or else one that fits. */
export function intervalOf({ interval }: NumbersView, period: DatePeriod): Interval {
  if (interval && intervalsOf(period).includes(interval)) return interval;
  const days = countDays(period.first, period.last);
  if (days <= DEFAULT_DAYS_OF_HOURS) return "HOUR";
  return days <= DEFAULT_DAYS_OF_DAYS ? "DAY" : "WEEK";
}
