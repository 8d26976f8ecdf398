// Choice of the period, its parts, and the accounts of the statistics.

import { AccountFilters } from "../../components/account-filters";
import { Choice } from "../../components/fields";
import { parseDate, type LocalDate } from "../../text/dates";
import { intervalOf, intervalsOf, PRESETS, type NumbersView, type Preset } from "../../url/numbers";
import type { Period } from "./period";

interface Props {
  readonly view: NumbersView;
  readonly period: Period;
  readonly onChange: (view: NumbersView) => void;
}

const PERIOD_WORDS: Readonly<Record<Preset | "own", string>> = {
  today: "Today",
  yesterday: "Yesterday",
  "7d": "Last 7 days",
  "30d": "Last 30 days",
  "90d": "Last 90 days",
  "365d": "Last 365 days",
  month: "This month",
  lastMonth: "Last month",
  own: "Own dates",
};
const INTERVAL_WORDS = { HOUR: "hour", DAY: "day", WEEK: "week" };

export function NumberFilters({ view, period, onChange }: Props) {
  const { first, last } = period;
  const change = (changes: Partial<NumbersView>) => onChange({ ...view, ...changes });
  return (
    <search className="filters">
      <Choice
        label="Period"
        value={view.own ? "own" : view.preset}
        options={[...PRESETS, "own"] as const}
        name={(preset) => PERIOD_WORDS[preset]}
        onChange={(preset) => change(preset === "own" ? { own: { first, last } } : { preset, own: null })}
      />
      {view.own && (
        <>
          <DateField label="From" value={first} onChange={(date) => change({ own: { first: date, last } })} />
          <DateField label="To" value={last} onChange={(date) => change({ own: { first, last: date } })} />
        </>
      )}
      <Choice
        label="Charts by"
        value={intervalOf(view, period)}
        options={intervalsOf(period)}
        name={(interval) => INTERVAL_WORDS[interval]}
        onChange={(interval) => change({ interval })}
      />
      <AccountFilters filter={view} onChange={change} />
    </search>
  );
}

interface DateFieldProps {
  readonly label: string;
  readonly value: LocalDate;
  readonly onChange: (date: LocalDate) => void;
}

/** A date; it is taken over when the user leaves the field, because years are valid before they are complete. */
function DateField({ label, value, onChange }: DateFieldProps) {
  return (
    <label>
      {label}
      <input
        key={value}
        type="date"
        defaultValue={value}
        onBlur={(event) => {
          const date = parseDate(event.target.value);
          if (date && date !== value) onChange(date);
        }}
        onKeyDown={(event) => event.key === "Enter" && event.currentTarget.blur()}
      />
    </label>
  );
}
