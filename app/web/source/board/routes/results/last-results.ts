// The row that the user opened last: "back" leads to it in its list, with what was selected there, and keys lead to the
// posts before and after it.

import type { Selected, Selection } from "../../components/table/selection";

interface Row {
  readonly id: string;
  readonly postId: string;
}

interface OpenedRow {
  readonly row: Row;
  readonly listUrl: string;
  /** What was selected in the list then, until the list is shown again. */
  readonly selection?: Selected;
}

/** The loaded rows of the list that is shown, or was shown last. */
let listRows: readonly Row[] = [];
/** What is selected in that list. */
let listSelection: Selected = new Set();
let lastOpened: OpenedRow | null = null;

/** Records the list that is shown, which has restored what was selected. */
export function recordList(rows: readonly Row[], { isAll, ids }: Selection): void {
  listRows = rows;
  listSelection = isAll ? "all" : ids;
  if (lastOpened?.listUrl === location.href) {
    lastOpened = { row: lastOpened.row, listUrl: lastOpened.listUrl };
  }
}

/** Records that a row of the list that is shown is opened. */
export function recordOpenedRow(row: Row): void {
  lastOpened = { row, listUrl: location.href, selection: listSelection };
}

/** Id of the row that was opened last, if it is one of the list that is shown. */
export function lastOpenedId(): string | null {
  return lastOpened?.listUrl === location.href ? lastOpened.row.id : null;
}

/** What was selected when a row of this list was opened; undefined once the list was shown again. */
export function selectionToRestore(): Selected | undefined {
  return lastOpened?.listUrl === location.href ? lastOpened.selection : undefined;
}

/**
 * Id of the post after the one that was opened from the list, or before it, which counts as opened then; null if
 * there is none, or if the shown post is another one.
 */
export function moveToAdjacentPost(shownPostId: string, direction: "before" | "after"): string | null {
  if (lastOpened?.row.postId !== shownPostId) return null;
  const openedId = lastOpened.row.id;
  const index = listRows.findIndex(({ id }) => id === openedId);
  if (index < 0) return null; // the rows are those of another list now
  const others = direction === "after" ? listRows.slice(index + 1) : listRows.slice(0, index).reverse();
  const row = others.find(({ postId }) => postId !== shownPostId);
  if (!row) return null;
  lastOpened = { ...lastOpened, row };
  return row.postId;
}
