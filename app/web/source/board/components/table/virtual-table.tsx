// A table that renders only the rows in view, and all of them to print. It is one tab stop: keys move between its rows.

import {
  createContext,
  Fragment,
  useContext,
  useEffect,
  useRef,
  useState,
  type CSSProperties,
  type KeyboardEvent,
  type ReactNode,
  type Ref,
} from "react";
import { WindowVirtualizer, type WindowVirtualizerHandle } from "virtua";

import { hasModifier, useShortcuts } from "../../keyboard/shortcuts";
import { isPrinting } from "../../print";
import { useStore } from "../../store";
import { webUrl } from "../../text/characters";
import type { Selection } from "./selection";

interface Props<Row extends { readonly id: string }> {
  /** Accessible name of the table. */
  readonly label: string;
  /** Class that lays out the columns. */
  readonly className: string;
  readonly headings: readonly string[];
  readonly rows: readonly Row[];
  /** Number of all rows, also of those that are not loaded; -1 if it is not known. */
  readonly rowCount: number;
  /** Absent if rows cannot be selected. */
  readonly selection?: Selection;
  /** Ids of rows that no longer match the filter. */
  readonly unmatchedIds?: ReadonlySet<string>;
  /** Row to make active at first, for instance the one that the user opened before. */
  readonly initialId: string | null;
  readonly onOpen: (row: Row) => void;
  /** Absent if rows cannot be retried. */
  readonly onRetry?: (row: Row) => void;
  /** URL of the row on its platform, which is opened in another tab. */
  readonly externalUrl: (row: Row) => string | null | undefined;
  /** Called when the last rows come into view, if more rows may follow. */
  readonly onEnd?: () => void;
  readonly children: (row: Row) => ReactNode;
}

/** Number of rows before the end at which more are loaded. */
const LOAD_AHEAD_ROWS = 50;
/** Number of frames within which the virtualizer shows a row that it renders. */
const MEASURING_FRAMES = 10;

interface RowState {
  readonly activeIndex: number;
  readonly activate: (index: number) => void;
  readonly open: (index: number) => void;
  readonly idAt: (index: number) => string | undefined;
  readonly selection: Selection | undefined;
  readonly unmatchedIds: ReadonlySet<string>;
}

const NO_IDS: ReadonlySet<string> = new Set();

const RowContext = createContext<RowState | null>(null);

export function VirtualTable<Row extends { readonly id: string }>({
  rows,
  selection,
  unmatchedIds = NO_IDS,
  children,
  ...props
}: Props<Row>) {
  const printing = useStore(isPrinting);
  const table = useRef<HTMLTableElement>(null);
  const virtualizer = useRef<WindowVirtualizerHandle>(null);
  /** Index of the row that a key moved to last. */
  const focusedIndex = useRef(-1);
  const [activeId, setActiveId] = useState(props.initialId);
  const foundIndex = rows.findIndex(({ id }) => id === activeId);
  /** Index of the row that is the tab stop. */
  const activeIndex = Math.max(0, foundIndex);
  const active = rows[foundIndex];
  const idAt = (index: number) => rows[index]?.id;

  useEffect(() => {
    if (props.initialId !== null) virtualizer.current?.scrollToIndex(activeIndex, { align: "center" });
  }, []); // only at first: later, the user decides where the page is

  /** Index to which the step leads; without an active row that of the first one. */
  function indexAfter(step: number): number {
    return Math.min(rows.length - 1, Math.max(0, foundIndex === -1 ? 0 : foundIndex + step));
  }

  function move(step: number): void {
    const index = indexAfter(step);
    const id = idAt(index);
    if (id === undefined) return;
    setActiveId(id);
    // Far from the window, a row does not exist yet.
    if (!rowAt(index)) virtualizer.current?.scrollToIndex(index, { align: "center" });
    focusedIndex.current = index;
    requestAnimationFrame(() => focus(index, MEASURING_FRAMES));
  }

  /** Focuses a row, as soon as it exists and was measured. */
  function focus(index: number, framesLeft: number): void {
    if (focusedIndex.current !== index || framesLeft === 0) return;
    const row = rowAt(index);
    row?.focus({ preventScroll: true });
    // Unlike the virtualizer, between the bars that stay in place.
    if (row && row === document.activeElement) row.scrollIntoView({ block: "nearest" });
    else requestAnimationFrame(() => focus(index, framesLeft - 1));
  }

  function rowAt(index: number): HTMLElement | null {
    return table.current?.querySelector<HTMLElement>(`[data-index="${index}"]`) ?? null;
  }

  function extend(step: number): void {
    const ends = [idAt(activeIndex), idAt(indexAfter(step))];
    selection?.add(ends.filter((id) => id !== undefined));
    move(step);
  }

  function loadMoreIfNeeded(): void {
    const handle = virtualizer.current;
    if (!handle) return;
    const lastVisible = handle.findItemIndex(handle.scrollOffset + handle.viewportSize);
    if (lastVisible >= rows.length - LOAD_AHEAD_ROWS) props.onEnd?.();
  }

  function moveByArrow(event: KeyboardEvent): void {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (step === undefined || hasModifier(event)) return;
    event.preventDefault();
    move(step);
  }

  useShortcuts({
    j: () => move(1),
    k: () => move(-1),
    J: () => extend(1),
    K: () => extend(-1),
    x: () => active && selection?.toggle(active.id),
    ...(props.onRetry && { r: () => active && props.onRetry?.(active) }),
    o: () => {
      const url = webUrl(active && props.externalUrl(active));
      if (url) window.open(url, "_blank", "noopener,noreferrer");
    },
  });

  const state: RowState = {
    activeIndex,
    activate: (index) => setActiveId(idAt(index) ?? null),
    open: (index) => rows[index] !== undefined && props.onOpen(rows[index]),
    idAt,
    selection,
    unmatchedIds,
  };
  return (
    // Roles, because the layout by CSS takes those of the elements away in some browsers.
    <table
      ref={table}
      role="table"
      aria-label={props.label}
      aria-rowcount={props.rowCount < 0 ? -1 : props.rowCount + 1}
      className={`table ${props.className}`}
      onKeyDown={moveByArrow}
    >
      <thead role="rowgroup">
        <tr role="row" aria-rowindex={1} className="row">
          {props.headings.map((heading) => (
            <th key={heading} role="columnheader" scope="col">
              {heading}
            </th>
          ))}
        </tr>
      </thead>
      <RowContext value={state}>
        <WindowVirtualizer
          ref={virtualizer}
          data={rows}
          as={TableBody}
          item={TableRow}
          onScroll={loadMoreIfNeeded}
        >
          {(row: Row) => <Fragment key={row.id}>{children(row)}</Fragment>}
        </WindowVirtualizer>
        {printing && (
          <tbody role="rowgroup" className="print-only">
            {rows.map((row, index) => (
              <TableRow key={row.id} index={index} style={{}}>
                {children(row)}
              </TableRow>
            ))}
          </tbody>
        )}
      </RowContext>
    </table>
  );
}

function TableBody(props: { readonly style: CSSProperties; readonly children: ReactNode }) {
  return <tbody role="rowgroup" {...props} />;
}

interface RowProps {
  readonly style: CSSProperties;
  readonly index: number;
  readonly children: ReactNode;
  readonly ref?: Ref<HTMLTableRowElement>;
}

function TableRow({ style, index, children, ref }: RowProps) {
  const { activeIndex, activate, open, idAt, selection, unmatchedIds } = useContext(RowContext)!;
  const id = idAt(index) ?? "";

  function onKeyDown(event: KeyboardEvent): void {
    if (event.target !== event.currentTarget) return;
    if (event.key === "Enter") open(index);
    if (event.key !== " " || !selection || hasModifier(event)) return;
    event.preventDefault(); // it would scroll
    if (!event.repeat) selection.toggle(id);
  }

  return (
    <tr
      ref={ref}
      role="row"
      aria-rowindex={index + 2}
      data-index={index}
      data-selected={selection?.has(id) ?? false}
      tabIndex={index === activeIndex ? 0 : -1}
      style={style}
      className={unmatchedIds.has(id) ? "row unmatched" : "row"}
      onFocus={() => activate(index)}
      onKeyDown={onKeyDown}
    >
      {children}
    </tr>
  );
}
