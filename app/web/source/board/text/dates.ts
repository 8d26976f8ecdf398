// Dates of the calendar without a time, such as "2026-11-28": days, weeks and months, and when they start.

import { dateFormat, DAY_MS, instantOf } from "./times";

/** A valid date as "2026-11-28". */
export type LocalDate = string;

const DAYS_PER_WEEK = 7;
const HOURS_PER_DAY = 24;
/** Years of dates: a month before and after them, the API still accepts times. */
const [MIN_YEAR, MAX_YEAR] = [1901, 9997];

/** The date, or null for a text that is none, such as "2026-02-30". */
export function parseDate(text: string): LocalDate | null {
  const utc = /^\d{4}-\d\d-\d\d$/.test(text) ? new Date(`${text}T00:00Z`) : new Date(NaN);
  const year = utc.getUTCFullYear();
  return year >= MIN_YEAR && year <= MAX_YEAR && formatUtc(utc) === text ? text : null;
}

/** The first instant of the date on the clock of the zone. */
export function startOfDate(date: LocalDate, zone: string): Date {
  return instantOf(`${date}T00:00`, zone)!;
}

/**
 * Start and end of an hour of the week, from 0 on Monday at 00:00, in the seven days from the first date. An hour that
 * the clock of the zone shows twice is both.
 */
export function hourOfWeek(first: LocalDate, hour: number, zone: string): { from: Date; to: Date } {
  const day = addDays(startOfWeek(first), Math.floor(hour / HOURS_PER_DAY));
  const date = day < first ? addDays(day, DAYS_PER_WEEK) : day;
  const ofDay = hour % HOURS_PER_DAY;
  const to = ofDay + 1 < HOURS_PER_DAY ? timeOf(date, ofDay + 1, zone) : startOfDate(addDays(date, 1), zone);
  return { from: timeOf(date, ofDay, zone), to };
}

function timeOf(date: LocalDate, hour: number, zone: string): Date {
  return instantOf(`${date}T${String(hour).padStart(2, "0")}:00`, zone)!;
}

export function addDays(date: LocalDate, days: number): LocalDate {
  return formatUtc(new Date(utcOf(date).getTime() + days * DAY_MS));
}

/** The first day of the month that is `months` after that of the date. */
export function startOfMonth(date: LocalDate, months = 0): LocalDate {
  const utc = utcOf(date);
  return formatUtc(new Date(Date.UTC(utc.getUTCFullYear(), utc.getUTCMonth() + months)));
}

/** The Monday of the week that contains the date, as in ISO 8601. */
export function startOfWeek(date: LocalDate): LocalDate {
  return addDays(date, -((utcOf(date).getUTCDay() + DAYS_PER_WEEK - 1) % DAYS_PER_WEEK));
}

/** Number of days from the first date to the last, both included. */
export function countDays(first: LocalDate, last: LocalDate): number {
  return Math.round((utcOf(last).getTime() - utcOf(first).getTime()) / DAY_MS) + 1;
}

/** All dates from the first to the last, both included. */
export function datesBetween(first: LocalDate, last: LocalDate): LocalDate[] {
  return Array.from({ length: countDays(first, last) }, (_, index) => addDays(first, index));
}

/** The dates in rows of seven. */
export function inWeeks(dates: readonly LocalDate[]): LocalDate[][] {
  const weeks = Math.ceil(dates.length / DAYS_PER_WEEK);
  return Array.from({ length: weeks }, (_, index) =>
    dates.slice(index * DAYS_PER_WEEK, (index + 1) * DAYS_PER_WEEK),
  );
}

const FORMATS = {
  /** "28" */
  day: { day: "numeric" },
  /** "Sat" */
  weekday: { weekday: "short" },
  /** "28 Nov" */
  dayMonth: { day: "numeric", month: "short" },
  /** "Sat 28 Nov" */
  short: { weekday: "short", day: "numeric", month: "short" },
  /** "Saturday 28 November 2026" */
  long: { weekday: "long", day: "numeric", month: "long", year: "numeric" },
  /** "November 2026" */
  month: { month: "long", year: "numeric" },
} satisfies Record<string, Intl.DateTimeFormatOptions>;

export function formatDate(date: LocalDate, format: keyof typeof FORMATS): string {
  return dateFormat("UTC", FORMATS[format]).format(utcOf(date)).replace(",", "");
}

/** "22–28 November 2026" */
export function formatDates(first: LocalDate, last: LocalDate): string {
  const { weekday: _, ...options } = FORMATS.long;
  return dateFormat("UTC", options).formatRange(utcOf(first), utcOf(last));
}

function utcOf(date: LocalDate): Date {
  return new Date(`${date}T00:00Z`);
}

function formatUtc(utc: Date): LocalDate {
  return utc.toISOString().slice(0, 10);
}
