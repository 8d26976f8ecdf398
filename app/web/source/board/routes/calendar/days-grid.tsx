// The days of a month or a week: numbers of posts by status, and the first posts. It is one tab stop: arrows move.

import { useRef, useState, type KeyboardEvent } from "react";
import { graphql } from "react-relay/hooks";
import { useLocation } from "wouter";

import type { daysGridQuery } from "../../relay/__generated__/daysGridQuery.graphql";
import { hasModifier, useShortcuts } from "../../keyboard/shortcuts";
import { useLiveQuery } from "../../relay/live-query";
import { addDays, datesBetween, formatDate, inWeeks, startOfMonth, type LocalDate } from "../../text/dates";
import { dayOf } from "../../text/times";
import { calendarPath, hasFilters, shownDates, type CalendarView } from "../../url/calendar";
import type { CalendarVariables } from "./calendar-variables";
import { DayCell } from "./day-cell";

const query = graphql`
  query daysGridQuery(
    $from: DateTime!
    $to: DateTime!
    $timezone: String!
    $first: Int!
    $posts: CalendarFilter!
    $drafts: CalendarFilter!
  ) {
    posts: calendar(from: $from, to: $to, timezone: $timezone, first: $first, filter: $posts) {
      buckets {
        start
        counts {
          total
        }
        ...dayCell_posts
      }
    }
    drafts: calendar(from: $from, to: $to, timezone: $timezone, first: 0, filter: $drafts) {
      buckets {
        start
        counts {
          total
        }
        ...dayCell_drafts
      }
    }
  }
`;

const POSTS_PER_CELL = { month: 3, week: 12, day: 0 };
/** Days by which the keys move. */
const KEY_STEPS: Readonly<Record<string, number>> = {
  ArrowLeft: -1,
  ArrowRight: 1,
  ArrowUp: -7,
  ArrowDown: 7,
};

interface Props {
  readonly view: CalendarView;
  readonly variables: CalendarVariables;
  readonly today: LocalDate;
  readonly fetchKey: number;
}

export function DaysGrid({ view, variables, today, fetchKey }: Props) {
  const [, navigate] = useLocation();
  const grid = useRef<HTMLTableElement>(null);
  const { posts, drafts } = useLiveQuery<daysGridQuery>(
    query,
    { ...variables, first: POSTS_PER_CELL[view.span] },
    { fetchKey, isRelevant: ({ postId }) => postId !== null },
  );
  const [first, last] = shownDates(view);
  const dates = datesBetween(first, last);
  const [active, setActive] = useState(dates.includes(today) && view.span === "week" ? today : view.date);
  const byDate = <B extends { readonly start: string }>(buckets: readonly B[] = []) =>
    new Map(buckets.map((bucket) => [dayOf(new Date(bucket.start), variables.timezone), bucket]));
  const isEmpty = [posts, drafts].every((calendar) =>
    calendar?.buckets.every(({ counts }) => counts.total === 0),
  );
  const [postsByDate, draftsByDate] = [byDate(posts?.buckets), byDate(drafts?.buckets)];

  function move(days: number): void {
    const date = addDays(active, days);
    if (!dates.includes(date)) return;
    setActive(date);
    grid.current?.querySelector<HTMLElement>(`[data-date="${date}"]`)?.focus();
  }

  function onKeyDown(event: KeyboardEvent): void {
    if (hasModifier(event)) return;
    const step = KEY_STEPS[event.key];
    if (step !== undefined) {
      event.preventDefault();
      move(step);
    } else if (event.key === "Enter" && event.target instanceof HTMLTableCellElement) {
      navigate(calendarPath({ ...view, span: "day", date: active }));
    }
  }

  useShortcuts({ j: () => move(1), k: () => move(-1) });

  return (
    <>
      {isEmpty && <p>No posts{hasFilters(view) ? " that match the filters" : ""}.</p>}
      {/* Roles, because the layout of narrow windows takes those of the elements away in some browsers. */}
      <table ref={grid} role="grid" aria-label="Days" className={`days ${view.span}`} onKeyDown={onKeyDown}>
        <thead role="rowgroup">
          <tr role="row">
            {dates.slice(0, 7).map((date) => (
              <th key={date} role="columnheader" scope="col">
                {formatDate(date, "weekday")}
              </th>
            ))}
          </tr>
        </thead>
        <tbody role="rowgroup">
          {inWeeks(dates).map((week) => (
            <tr key={week[0]} role="row">
              {week.map((date) => (
                <td
                  key={date}
                  role="gridcell"
                  data-date={date}
                  tabIndex={date === active ? 0 : -1}
                  aria-current={date === today ? "date" : undefined}
                  className={
                    view.span === "month" && startOfMonth(date) !== startOfMonth(view.date)
                      ? "other-month"
                      : undefined
                  }
                  onFocus={() => setActive(date)}
                >
                  <DayCell
                    date={date}
                    view={view}
                    posts={postsByDate.get(date)}
                    drafts={draftsByDate.get(date)}
                  />
                </td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
    </>
  );
}
