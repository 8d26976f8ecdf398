// The row that the user opened last: "back" leads to it in its list, and keys lead to the posts before and after it.

interface Row {
  readonly id: string;
  readonly postId: string;
}

/** The rows of the list that is shown, or was shown last, as far as they are loaded. */
let listed: readonly Row[] = [];
let opened: { readonly row: Row; readonly listUrl: string } | null = null;

export function rememberListed(rows: readonly Row[]): void {
  listed = rows;
}

/** Notes a row of the list that is shown. */
export function rememberOpened(row: Row): void {
  opened = { row, listUrl: location.href };
}

/** Id of the row that was opened last, if it is one of the list that is shown. */
export function lastOpened(): string | null {
  return opened?.listUrl === location.href ? opened.row.id : null;
}

/**
 * Id of the post after the one that was opened from the list, or before it, which counts as opened then; null if
 * there is none, or if the shown post is another one.
 */
export function openNeighbour(shownPostId: string, direction: "before" | "after"): string | null {
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
