// The period of the statistics, as the panels query it and as the user reads it.

import { addDays, formatDates, startOfDate } from "../../text/dates";
import { dayOf } from "../../text/times";
import { accountCriteria } from "../../url/account-filter";
import { datesOf, type DatePeriod, type NumbersView } from "../../url/numbers";

export interface Period extends DatePeriod {
  /** Start, inclusive. */
  readonly from: Date;
  /** End, exclusive. */
  readonly to: Date;
  /** "22–28 November 2026" */
  readonly words: string;
}

export interface StatsProps {
  readonly view: NumbersView;
  readonly period: Period;
  readonly zone: string;
  readonly fetchKey: number;
}

export function periodOf(view: NumbersView, zone: string, now: Date): Period {
  const dates = datesOf(view, dayOf(now, zone));
  return {
    ...dates,
    from: startOfDate(dates.first, zone),
    to: startOfDate(addDays(dates.last, 1), zone),
    words: formatDates(dates.first, dates.last),
  };
}

/** Variables of `outcomeStats`. */
export function statsVariables({ view, period }: Pick<StatsProps, "view" | "period">) {
  return { from: period.from.toISOString(), to: period.to.toISOString(), filter: accountCriteria(view) };
}
