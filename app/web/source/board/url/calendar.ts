// The part of the calendar that is shown, and its filters ↔ path and search parameters.

import { addDays, parseDate, startOfMonth, startOfWeek, type LocalDate } from "../text/dates";
import { readAccountFilter, type AccountFilter } from "./account-filter";
import { formatParameters, member, members, readList } from "./parameters";

export const SPANS = ["month", "week", "day"] as const;
export const POST_STATUSES = [
  "DRAFT",
  "SCHEDULED",
  "PUBLISHING",
  "PUBLISHED",
  "PARTIALLY_FAILED",
  "FAILED",
] as const;

export type Span = (typeof SPANS)[number];
export type PostStatus = (typeof POST_STATUSES)[number];

export interface CalendarView extends AccountFilter {
  readonly span: Span;
  /** A date of the month or week, or the day. */
  readonly date: LocalDate;
  readonly status: readonly PostStatus[];
}

/** The view of a path such as `/calendar/month/2026-11-28`; null if its span or its date makes no sense. */
export function parseCalendar(span: string, date: string, search: string): CalendarView | null {
  const [parsedSpan, parsedDate] = [member(SPANS, span), parseDate(date)];
  return parsedSpan && parsedDate ? { span: parsedSpan, date: parsedDate, ...parseFilters(search) } : null;
}

/** The month of the date. */
export function monthOf(date: LocalDate, search: string): CalendarView {
  return { span: "month", date, ...parseFilters(search) };
}

function parseFilters(search: string): Omit<CalendarView, "span" | "date"> {
  const parameters = new URLSearchParams(search);
  return { ...readAccountFilter(parameters), status: members(POST_STATUSES, readList(parameters, "status")) };
}

/** Link to a view of the calendar, below the board. */
export function calendarPath(view: CalendarView): string {
  const { span, date, status, platform, account } = view;
  return `/calendar/${span}/${date}${formatParameters({ status, platform, account })}`;
}

/** The view that is `steps` months, weeks or days later. */
export function viewAfter(view: CalendarView, steps: number): CalendarView {
  const date = {
    month: startOfMonth(view.date, steps),
    week: addDays(view.date, 7 * steps),
    day: addDays(view.date, steps),
  }[view.span];
  return { ...view, date };
}

/** The first and the last date that the view shows: those of a month fill its weeks. */
export function shownDates({ span, date }: CalendarView): readonly [LocalDate, LocalDate] {
  if (span === "day") return [date, date];
  if (span === "week") return [startOfWeek(date), addDays(startOfWeek(date), 6)];
  return [startOfWeek(startOfMonth(date)), addDays(startOfWeek(addDays(startOfMonth(date, 1), -1)), 6)];
}

export function hasFilters({ platform, account, status }: CalendarView): boolean {
  return [platform, account, status].some((list) => list.length > 0);
}
