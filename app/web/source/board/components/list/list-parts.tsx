// What stands above and below the rows of a list of results.

import { useEffect, useRef, type ReactNode } from "react";

import { type PagedList } from "./paged-list";
import { cappedNumber, count, plainNumber, type CappedCount } from "../../text/numbers";
import { ErrorPanel } from "../error-panel";

/** Selector of a button for further rows with the focus of the keyboard. After a click, the page stays at the rows. */
export const FOCUSED_MORE_BUTTON = ".more-rows:focus-visible";
/** Number of frames within which a virtualizer measures the rows that it renders above the button. */
const MEASURING_FRAMES = 10;

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
  const button = useRef<HTMLButtonElement>(null);
  useEffect(() => keepInView(button.current), [isLoading]);
  return (
    <>
      {error ? (
        <ErrorPanel error={error} onRetry={onPress} />
      ) : (
        <button
          ref={button}
          type="button"
          className="more-rows"
          onClick={onPress}
          onFocus={({ currentTarget }) => keepInView(currentTarget)}
          aria-disabled={isLoading}
        >
          {isLoading ? "Loading…" : `Show more; ${count(loadedCount, "row")} loaded`}
        </button>
      )}
      <p className="print-only">The first {count(loadedCount, "row")}; more match.</p>
    </>
  );
}

/** Scrolls to the button while it has the focus, because rows that arrive or are measured push it away. */
function keepInView(button: Element | null, framesLeft = MEASURING_FRAMES): void {
  if (framesLeft === 0 || !button?.matches(FOCUSED_MORE_BUTTON)) return;
  button.scrollIntoView({ block: "nearest" });
  requestAnimationFrame(() => keepInView(button, framesLeft - 1));
}
