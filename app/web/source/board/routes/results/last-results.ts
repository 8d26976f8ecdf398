// The row that the user opened last, so that "back" leads to the same row of the same list.

let opened: { readonly id: string; readonly listUrl: string } | null = null;

/** Notes a row of the list that is shown. */
export function rememberOpened(id: string): void {
  opened = { id, listUrl: location.href };
}

/** Id of the row that was opened last, if it is one of the list that is shown. */
export function lastOpened(): string | null {
  return opened?.listUrl === location.href ? opened.id : null;
}
