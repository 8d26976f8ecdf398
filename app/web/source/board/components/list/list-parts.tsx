// What stands above and below the rows of a list of results.

import type { ReactNode } from "react";

import { type PagedList } from "./paged-list";
import { cappedNumber, count, plainNumber, type CappedCount } from "../../text/numbers";
import { ErrorPanel } from "../error-panel";

interface BarProps {
  readonly total: CappedCount;
  /** Number of rows that match the filter, and are not shown yet. */
  readonly newCount: number;
  readonly onShowNew: () => void;
  /** Further controls. */
  readonly children?: ReactNode;
}

/** The number of rows, and a button for those that are new. */
export function ListBar({ total, newCount, onShowNew, children }: BarProps) {
  return (
    <div className="list-bar">
      <p>
        {cappedNumber(total)} {total.count === 1 && !total.capped ? "result" : "results"}
      </p>
      {newCount > 0 && <NewRowsButton count={newCount} onPress={onShowNew} />}
      {children}
    </div>
  );
}

interface NewRowsProps {
  readonly count: number;
  readonly onPress: () => void;
}

/** Offers rows that match the filter, and are not shown yet. */
export function NewRowsButton({ count: number, onPress }: NewRowsProps) {
  return (
    <button type="button" className="pill" onClick={onPress}>
      {plainNumber(number)} new · show
    </button>
  );
}

/** The button for further rows of a paged list; nothing at its end. */
export function MoreRows({ list }: { readonly list: PagedList<unknown> }) {
  if (!list.hasMore) return null;
  return (
    <MoreButton
      loadedCount={list.rows.length}
      isLoading={list.isLoadingMore}
      error={list.loadError}
      onPress={list.loadMore}
    />
  );
}

interface MoreProps {
  /** Number of rows that are loaded. */
  readonly loadedCount: number;
  readonly isLoading: boolean;
  /** Why no more rows could be loaded. */
  readonly error: Error | null;
  readonly onPress: () => void;
}

export function MoreButton({ loadedCount, isLoading, error, onPress }: MoreProps) {
  return (
    <>
      {error ? (
        <ErrorPanel error={error} onRetry={onPress} />
      ) : (
        <button type="button" onClick={onPress} aria-disabled={isLoading}>
          {isLoading ? "Loading…" : `Show more; ${count(loadedCount, "row")} loaded`}
        </button>
      )}
      <p className="print-only">The first {count(loadedCount, "row")}; more match.</p>
    </>
  );
}
