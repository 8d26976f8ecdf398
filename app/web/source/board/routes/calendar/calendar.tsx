// The calendar: posts by their due time, in a month, a week or a day.

import { useLocation, Link } from "wouter";
import { useSearch } from "wouter/use-browser-location";

import { AccountFilters } from "../../components/account-filters";
import { rememberList } from "../../components/back-link";
import { ChoiceFilter } from "../../components/fields";
import { Page } from "../../components/page";
import { Panel } from "../../components/panel";
import { useNow } from "../../components/time";
import { UserText } from "../../components/user-text";
import { useShortcuts } from "../../keyboard/shortcuts";
import { formatDate, formatDates } from "../../text/dates";
import { accountWords, filterPhrase } from "../../text/filter-words";
import { postStatus, enumWords } from "../../text/statuses";
import { dayOf } from "../../text/times";
import { useZone } from "../../text/zone";
import {
  calendarPath,
  hasFilters,
  monthOf,
  parseCalendar,
  POST_STATUSES,
  shownDates,
  SPANS,
  viewAfter,
  type CalendarView,
} from "../../url/calendar";
import { calendarVariables } from "./calendar-variables";
import { DayTable } from "./day-table";
import { DaysGrid } from "./days-grid";

interface Props {
  /** Parts of the path; without them, the calendar shows the current month. */
  readonly params?: { readonly span?: string; readonly date?: string };
}

export default function CalendarPage({ params: { span = "month", date } = {} }: Props) {
  const search = useSearch();
  const [, navigate] = useLocation();
  const zone = useZone();
  const today = dayOf(useNow(), zone);
  const parsed = parseCalendar(span, date ?? today, search);
  const view = parsed ?? monthOf(today, search);
  rememberList("/results", calendarPath(view), "Calendar");
  const open = (changed: CalendarView) => navigate(calendarPath(changed));
  useShortcuts({
    "[": () => open(viewAfter(view, -1)),
    "]": () => open(viewAfter(view, 1)),
    t: () => {
      scrollToToday();
      open({ ...view, date: today });
    },
  });
  const variables = calendarVariables(view, zone);
  return (
    <Page title={titleOf(view)} actions={<Steps view={view} today={today} />} filterWords={filterWordsOf(view)}>
      {!parsed && (
        <p role="status">
          “<UserText text={`${span}/${date ?? ""}`} limit={60} />” is no month, week or day. This is the
          current month.
        </p>
      )}
      <Filters view={view} onChange={open} />
      <Panel key={JSON.stringify(variables)} lines={24}>
        {(fetchKey) =>
          view.span === "day" ? (
            <DayTable view={view} variables={variables} fetchKey={fetchKey} />
          ) : (
            <DaysGrid view={view} variables={variables} today={today} fetchKey={fetchKey} />
          )
        }
      </Panel>
    </Page>
  );
}

function titleOf(view: CalendarView): string {
  if (view.span === "month") return formatDate(view.date, "month");
  return view.span === "week" ? `Week of ${formatDates(...shownDates(view))}` : formatDate(view.date, "long");
}

function filterWordsOf(view: CalendarView): string[] {
  return [...filterPhrase("Status", view.status.map((status) => postStatus(status).name)), ...accountWords(view)];
}

/** Shows today if it is among the days already; a narrow window has them below each other. */
function scrollToToday(): void {
  document.querySelector("[aria-current=date]")?.scrollIntoView({ block: "nearest" });
}

interface StepsProps {
  readonly view: CalendarView;
  readonly today: string;
}

/** Links to what is before and after, to today, and to the other spans. */
function Steps({ view, today }: StepsProps) {
  return (
    <nav className="buttons" aria-label="Calendar">
      <Link className="button" href={calendarPath(viewAfter(view, -1))}>
        ← Previous {view.span}
      </Link>
      <Link className="button" href={calendarPath({ ...view, date: today })} onClick={scrollToToday}>
        Today
      </Link>
      <Link className="button" href={calendarPath(viewAfter(view, 1))}>
        Next {view.span} →
      </Link>
      {SPANS.map((span) => (
        <Link
          key={span}
          className="button"
          href={calendarPath({ ...view, span })}
          aria-current={span === view.span ? "page" : undefined}
        >
          {enumWords(span)}
        </Link>
      ))}
    </nav>
  );
}

interface FiltersProps {
  readonly view: CalendarView;
  readonly onChange: (view: CalendarView) => void;
}

function Filters({ view, onChange }: FiltersProps) {
  return (
    <search className="filters">
      <ChoiceFilter
        label="Status"
        values={view.status}
        options={POST_STATUSES}
        name={(status) => postStatus(status).name}
        onChange={(status) => onChange({ ...view, status })}
      />
      <AccountFilters filter={view} onChange={(changes) => onChange({ ...view, ...changes })} />
      {hasFilters(view) && (
        <button type="button" onClick={() => onChange({ ...view, status: [], platform: [], account: [] })}>
          Clear filters
        </button>
      )}
    </search>
  );
}
