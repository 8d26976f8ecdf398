// The filters and the order of the results.

import { useState, type ReactNode } from "react";

import { AccountFilters } from "../../components/account-filters";
import { Choice, ChoiceFilter, TextFilter, TimeFilter } from "../../components/fields";
import { useMediaQuery } from "../../components/media-query";
import { DIRECTION_WORDS, FLAG_WORDS, TIME_FIELD_WORDS } from "../../text/filter-words";
import { categoryWords } from "../../text/reasons";
import { enumWords } from "../../text/statuses";
import {
  ALL_RESULTS,
  CATEGORIES,
  countFilters,
  DIRECTIONS,
  FLAGS,
  ORDERS,
  OUTCOMES,
  STATUSES,
  TIME_FIELDS,
  type ResultsView,
} from "../../url/results";

interface Props {
  readonly view: ResultsView;
  readonly onChange: (view: ResultsView) => void;
}

/** Width at which open filters would push the list out of the window. */
const NARROW = "(max-width: 40rem)";

const ORDER_WORDS = {
  UPDATED_AT: "Last change",
  FAILED_AT: "Time of failure",
  SCHEDULED_FOR: "Due time",
  PUBLISHED_AT: "Time of publication",
  NEXT_RETRY_AT: "Next retry",
  LATENESS: "Lateness",
  CREATED_AT: "Creation",
};

export function ResultsFilters({ view, onChange }: Props) {
  const isNarrow = useMediaQuery(NARROW);
  const change = (changes: Partial<ResultsView>) => onChange({ ...view, ...changes });
  const filters = countFilters(view);
  const fields = (
    <>
      <ChoiceFilter
        label="Status"
        values={view.status}
        options={STATUSES}
        name={enumWords}
        onChange={(status) => change({ status })}
      />
      <ChoiceFilter
        label="Outcome"
        values={view.outcome}
        options={OUTCOMES}
        name={enumWords}
        onChange={(outcome) => change({ outcome })}
      />
      <ChoiceFilter
        label="State"
        values={view.flag ? [view.flag] : []}
        options={FLAGS}
        name={(flag) => FLAG_WORDS[flag]}
        onChange={([flag]) => change({ flag: flag ?? null })}
      />
      <Choice
        label="Order by"
        value={view.order}
        options={ORDERS}
        name={(order) => ORDER_WORDS[order]}
        onChange={(order) => change({ order })}
      />
      <Choice
        label="Direction"
        value={view.direction}
        options={DIRECTIONS}
        name={(direction) => DIRECTION_WORDS[direction]}
        onChange={(direction) => change({ direction })}
      />
      <MoreFilters view={view} change={change} />
      {filters > 0 && (
        <button
          type="button"
          onClick={() => onChange({ ...ALL_RESULTS, order: view.order, direction: view.direction })}
        >
          Clear filters ({filters})
        </button>
      )}
    </>
  );
  return (
    <search className="filters">
      <TextFilter
        label="Text of the post"
        placeholder="Id or link: Ctrl+K"
        value={view.q}
        onChange={(q) => change({ q })}
      />
      {isNarrow ? (
        <Fold name={filters > 0 ? `Filters (${filters})` : "Filters"} isInitiallyOpen={false}>
          {fields}
        </Fold>
      ) : (
        fields
      )}
    </search>
  );
}

interface MoreProps {
  readonly view: ResultsView;
  readonly change: (changes: Partial<ResultsView>) => void;
}

function MoreFilters({ view, change }: MoreProps) {
  const isUsed = [view.category, view.platform, view.account, view.code, view.group].some(
    (list) => list.length > 0,
  );
  return (
    <Fold name="More filters" isInitiallyOpen={isUsed || view.from !== null || view.to !== null}>
      <ChoiceFilter
        label="Cause"
        values={view.category}
        options={CATEGORIES}
        name={categoryWords}
        onChange={(category) => change({ category })}
      />
      <AccountFilters filter={view} onChange={change} />
      <TextFilter
        label="Error code"
        value={view.code.join(",")}
        onChange={(code) => change({ code: code.split(",").filter(Boolean) })}
      />
      <TextFilter
        label="Reference"
        value={view.reference}
        onChange={(reference) => change({ reference })}
      />
      <Choice
        label="Period of"
        value={view.timeField}
        options={TIME_FIELDS}
        name={(timeField) => TIME_FIELD_WORDS[timeField]}
        onChange={(timeField) => change({ timeField })}
      />
      <TimeFilter label="From" value={view.from} onChange={(from) => change({ from })} />
      <TimeFilter label="Until" value={view.to} onChange={(to) => change({ to })} />
      {view.group.length > 0 && <p>Only failures with one cause.</p>}
    </Fold>
  );
}

interface FoldProps {
  readonly name: string;
  readonly isInitiallyOpen: boolean;
  readonly children: ReactNode;
}

/** Filters that exist only while they are open. */
function Fold({ name, isInitiallyOpen, children }: FoldProps) {
  const [isOpen, setOpen] = useState(isInitiallyOpen);
  return (
    <details open={isOpen} onToggle={(event) => setOpen(event.currentTarget.open)}>
      <summary>{name}</summary>
      {isOpen && <div className="filters">{children}</div>}
    </details>
  );
}
