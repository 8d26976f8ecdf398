// Variables of the queries of the calendar, which shows drafts apart from posts.

import type { CalendarFilter } from "../../relay/__generated__/daysGridQuery.graphql";
import { addDays, startOfDate } from "../../text/dates";
import { accountCriteria } from "../../url/account-filter";
import { POST_STATUSES, shownDates, type CalendarView } from "../../url/calendar";

export interface CalendarVariables {
  readonly from: string;
  readonly to: string;
  readonly timezone: string;
  readonly posts: CalendarFilter;
  readonly drafts: CalendarFilter;
}

export function calendarVariables(view: CalendarView, zone: string): CalendarVariables {
  const [first, last] = shownDates(view);
  const accounts = accountCriteria(view);
  const statuses = view.status.length > 0 ? view.status : POST_STATUSES;
  return {
    from: startOfDate(first, zone).toISOString(),
    to: startOfDate(addDays(last, 1), zone).toISOString(),
    timezone: zone,
    posts: { ...accounts, status: statuses.filter((status) => status !== "DRAFT") },
    drafts: { ...accounts, status: statuses.filter((status) => status === "DRAFT") },
  };
}
