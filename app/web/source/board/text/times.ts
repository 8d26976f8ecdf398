// Instants and durations as text, in the time zone that the user has chosen.

const SECOND_MS = 1_000;
export const MINUTE_MS = 60 * SECOND_MS;
export const HOUR_MS = 60 * MINUTE_MS;
/** A day on which the clock does not change. */
export const DAY_MS = 24 * HOUR_MS;
/** Durations below it have tenths of a second. */
const EXACT_MS = 10 * SECOND_MS;

const formats = new Map<string, Intl.DateTimeFormat>();

/** The British format of the options in the zone, created once. */
export function dateFormat(zone: string, options: Intl.DateTimeFormatOptions): Intl.DateTimeFormat {
  const key = zone + JSON.stringify(options);
  let found = formats.get(key);
  if (!found) {
    found = new Intl.DateTimeFormat("en-GB", { timeZone: zone, ...options });
    formats.set(key, found);
  }
  return found;
}

const CLOCK: Intl.DateTimeFormatOptions = { hour: "2-digit", minute: "2-digit", hourCycle: "h23" };
const CLOCK_SECONDS: Intl.DateTimeFormatOptions = { ...CLOCK, second: "2-digit" };
const SHORT_DATE: Intl.DateTimeFormatOptions = { weekday: "short", day: "numeric", month: "short" };
const LONG_DATE: Intl.DateTimeFormatOptions = {
  weekday: "long",
  day: "numeric",
  month: "long",
  year: "numeric",
};
const NUMERIC_DATE: Intl.DateTimeFormatOptions = { year: "numeric", month: "2-digit", day: "2-digit" };

/** "14:03:22" */
export function clockTime(instant: Date, zone: string): string {
  return dateFormat(zone, CLOCK_SECONDS).format(instant);
}

/** "14:03" */
export function clockMinutes(instant: Date, zone: string): string {
  return dateFormat(zone, CLOCK).format(instant);
}

/** "02:00 GMT+1", for a day on which the clock changes. */
export function clockWithOffset(instant: Date, zone: string): string {
  return dateFormat(zone, { ...CLOCK, timeZoneName: "shortOffset" }).format(instant);
}

/** "14:03" today, "Fri 27 Nov, 14:03" this year, "Fri 27 Nov 2025, 14:03" otherwise. */
export function shortTime(instant: Date, zone: string, now: Date): string {
  const clock = clockMinutes(instant, zone);
  if (dayOf(instant, zone) === dayOf(now, zone)) return clock;
  if (yearOf(instant, zone) !== yearOf(now, zone)) return datedTime(instant, zone);
  return `${dateFormat(zone, SHORT_DATE).format(instant).replace(",", "")}, ${clock}`;
}

/** "Fri 27 Nov 2026, 14:03" */
export function datedTime(instant: Date, zone: string): string {
  const date = dateFormat(zone, { ...SHORT_DATE, year: "numeric" }).format(instant);
  return `${date.replace(",", "")}, ${clockMinutes(instant, zone)}`;
}

/** "Friday 27 November 2026, 14:03:22 GMT+1 (Europe/Berlin)", "Friday 27 November 2026, 13:03:22 UTC" */
export function fullTime(instant: Date, zone: string): string {
  const date = dateFormat(zone, LONG_DATE).format(instant);
  const clock = dateFormat(zone, { ...CLOCK_SECONDS, timeZoneName: "short" }).format(instant);
  const text = `${date.replace(",", "")}, ${clock}`;
  return text.endsWith(` ${zone}`) ? text : `${text} (${zone})`;
}

/** "in 4 min", "2 h ago"; null if it is more than a day away. */
export function relativeTime(instant: Date, now: Date): string | null {
  const difference = instant.getTime() - now.getTime();
  const distance = Math.abs(difference);
  if (distance >= DAY_MS) return null;
  if (distance < SECOND_MS) return "now";
  return difference > 0 ? `in ${coarseDuration(distance)}` : `${coarseDuration(distance)} ago`;
}

/**
 * "340 ms", "1.9 s", "12 s", "1 min 20 s", "2 h 5 min", "3 d", rounded to the smallest unit shown; "0 s" for
 * none, or for what is early instead of late.
 */
export function duration(milliseconds: number): string {
  if (milliseconds <= 0) return "0 s";
  if (milliseconds < SECOND_MS) return `${Math.round(milliseconds)} ms`;
  if (milliseconds < EXACT_MS) return `${Math.round(milliseconds / 100) / 10} s`;
  const precision = milliseconds < HOUR_MS ? SECOND_MS : milliseconds < DAY_MS ? MINUTE_MS : HOUR_MS;
  const rounded = Math.round(milliseconds / precision) * precision;
  if (rounded < MINUTE_MS) return `${rounded / SECOND_MS} s`;
  if (rounded < HOUR_MS) return withRest(rounded, MINUTE_MS, "min", SECOND_MS, "s");
  if (rounded < DAY_MS) return withRest(rounded, HOUR_MS, "h", MINUTE_MS, "min");
  return withRest(rounded, DAY_MS, "d", HOUR_MS, "h");
}

/** The duration in whole seconds, from a minute on in whole minutes: "12 s", "4 min", "2 h 5 min". */
export function coarseDuration(milliseconds: number): string {
  const unit = milliseconds < MINUTE_MS ? SECOND_MS : MINUTE_MS;
  return duration(Math.floor(milliseconds / unit) * unit);
}

function withRest(
  milliseconds: number,
  unit: number,
  name: string,
  smallUnit: number,
  smallName: string,
): string {
  const rest = (milliseconds % unit) / smallUnit;
  const whole = `${Math.floor(milliseconds / unit)} ${name}`;
  return rest === 0 ? whole : `${whole} ${rest} ${smallName}`;
}

/** The word before a `shortTime`: "at 14:03", "on Fri 27 Nov, 14:03". */
export function preposition(instant: Date, zone: string, now: Date): "at" | "on" {
  return dayOf(instant, zone) === dayOf(now, zone) ? "at" : "on";
}

/** Replaces times such as "2026-11-28 05:48 UTC" and "2026-11-28T05:48:00.000Z", which the server's sentences contain. */
export function localizeTimes(sentence: string, zone: string, now: Date): string {
  return sentence.replace(
    /(\bat )?(\d{4}-\d\d-\d\d)[ T](\d\d:\d\d(?::\d\d(?:\.\d+)?)?)(?: UTC|Z)/g,
    (text, at, date, clock) => {
      const instant = new Date(`${date}T${clock}Z`);
      if (Number.isNaN(instant.getTime())) return text;
      return `${at ? `${preposition(instant, zone, now)} ` : ""}${shortTime(instant, zone, now)}`;
    },
  );
}

/** "2026-11-28T14:03", the value of a field for local times. */
export function localInput(instant: Date, zone: string): string {
  return `${dayOf(instant, zone)}T${clockMinutes(instant, zone)}`;
}

/**
 * The instant at which the clock of the zone shows the local time; null if the text is not a local time. A time
 * that the clock skips is read as if it did not; of one that it shows twice, the first counts.
 */
export function instantOf(local: string, zone: string): Date | null {
  const utc = /^\d{4}-\d\d-\d\dT\d\d:\d\d$/.test(local) ? Date.parse(`${local}Z`) : NaN;
  if (Number.isNaN(utc)) return null;
  const offsetBefore = offsetAt(new Date(utc - DAY_MS), zone);
  const candidate = new Date(utc - offsetBefore);
  if (localInput(candidate, zone) === local) return candidate;
  const offsetAfter = offsetAt(new Date(utc + DAY_MS), zone);
  const later = new Date(utc - offsetAfter);
  return localInput(later, zone) === local ? later : candidate;
}

/** Milliseconds by which the clock of the zone is ahead of UTC. */
function offsetAt(instant: Date, zone: string): number {
  const minute = Math.floor(instant.getTime() / MINUTE_MS) * MINUTE_MS;
  return Date.parse(`${localInput(instant, zone)}Z`) - minute;
}

/** "2026-11-28", the date on the clock of the zone. */
export function dayOf(instant: Date, zone: string): string {
  const parts = dateFormat(zone, NUMERIC_DATE).formatToParts(instant);
  const part = (type: string) => parts.find((candidate) => candidate.type === type)?.value ?? "";
  return `${part("year").padStart(4, "0")}-${part("month")}-${part("day")}`;
}

function yearOf(instant: Date, zone: string): string {
  return dayOf(instant, zone).slice(0, 4);
}

export function isZone(zone: string): boolean {
  try {
    new Intl.DateTimeFormat("en", { timeZone: zone });
    return true;
  } catch {
    return false;
  }
}
