// Filters of the API for a view of the calendar, which shows drafts apart from posts.

import type { CalendarFilter } from "../../relay/__generated__/daysGridQuery.graphql";
import { accountCriteria } from "../../url/account-filter";
import { POST_STATUSES, type CalendarView } from "../../url/calendar";

export interface CalendarVariables {
  readonly from: string;
  readonly to: string;
  readonly timezone: string;
  readonly posts: CalendarFilter;
  readonly drafts: CalendarFilter;
}

export function postFilters(view: CalendarView): Pick<CalendarVariables, "posts" | "drafts"> {
  const accounts = accountCriteria(view);
  const chosen = view.status.length > 0 ? view.status : POST_STATUSES;
  return {
    posts: { ...accounts, status: chosen.filter((one) => one !== "DRAFT") },
    drafts: { ...accounts, status: chosen.filter((one) => one === "DRAFT") },
  };
}
