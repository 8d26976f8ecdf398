// The row that the user opened last: "back" leads to it in its list, with what was selected there, and keys lead to the
// posts before and after it.

import type { Selected, Selection } from "../../components/table/selection";

interface Row {
  readonly id: string;
  readonly postId: string;
}

/** The rows of the list that is shown, or was shown last, as far as they are loaded. */
let listed: readonly Row[] = [];
let selected: Selected = new Set();
let opened: Opened | null = null;

interface Opened {
  readonly row: Row;
  readonly listUrl: string;
  /** What was selected in the list then, until the list is shown again. */
  readonly selected?: Selected;
}

/** Notes the list that is shown, which has restored what was selected. */
export function rememberListed(rows: readonly Row[], selection: Selection): void {
  listed = rows;
  selected = selection.isAll ? "all" : selection.ids;
  if (opened?.listUrl === location.href) opened = { row: opened.row, listUrl: opened.listUrl };
}

/** Notes a row of the list that is shown. */
export function rememberOpened(row: Row): void {
  opened = { row, listUrl: location.href, selected };
}

/** Id of the row that was opened last, if it is one of the list that is shown. */
export function lastOpened(): string | null {
  return opened?.listUrl === location.href ? opened.row.id : null;
}

/** What was selected when a row of this list was opened; undefined once the list was shown again. */
export function lastSelected(): Selected | undefined {
  return opened?.listUrl === location.href ? opened.selected : undefined;
}

/**
 * Id of the post after the one that was opened from the list, or before it, which counts as opened then; null if
 * there is none, or if the shown post is another one.
 */
export function openAdjacentPost(shownPostId: string, direction: "before" | "after"): string | null {
  if (opened?.row.postId !== shownPostId) return null;
  const openedId = opened.row.id;
  const index = listed.findIndex(({ id }) => id === openedId);
  if (index < 0) return null; // another list is listed now
  const others = direction === "after" ? listed.slice(index + 1) : listed.slice(0, index).reverse();
  const row = others.find(({ postId }) => postId !== shownPostId);
  if (!row) return null;
  opened = { ...opened, row };
  return row.postId;
}
