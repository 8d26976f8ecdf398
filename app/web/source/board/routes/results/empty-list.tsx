// A list without rows: because of its filters, or because there are no posts yet.

import { Link } from "wouter";

import { FirstPost } from "../../components/first-post";
import { count } from "../../text/numbers";
import { countFilters, type ResultsView } from "../../url/results";

interface Props {
  readonly view: ResultsView;
  readonly hasNew: boolean;
  readonly onShowNew: () => void;
}

export function EmptyList({ view, hasNew, onShowNew }: Props) {
  const filters = countFilters(view);
  return (
    <>
      <div className="empty">
        <p>
          {filters === 0
            ? "There are no results yet."
            : `Nothing matches ${filters === 1 ? "this filter" : `these ${count(filters, "filter")}`}.`}
        </p>
        {filters > 0 && (
          <Link href="/results" className="button">
            Show all results
          </Link>
        )}
        {hasNew && (
          <button type="button" onClick={onShowNew}>
            Show new results
          </button>
        )}
      </div>
      {filters === 0 && <FirstPost />}
    </>
  );
}
