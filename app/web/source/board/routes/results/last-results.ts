// The list of results that the user came from, so that "back" leads to the same row.

let lastPath = "/results";
let openedId: string | null = null;

/** Remembers the path of a page with results, below the board. */
export function rememberResults(path: string): void {
  if (path !== lastPath) openedId = null;
  lastPath = path;
}

export function rememberOpened(id: string): void {
  openedId = id;
}

export function lastOpened(): string | null {
  return openedId;
}

/** Path of the list that was shown last. */
export function lastResultsPath(): string {
  return lastPath;
}
