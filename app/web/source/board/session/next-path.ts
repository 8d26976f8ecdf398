// The page to open after sign-in, from the parameter `next`.

/** Any origin: only the path of the resolved URL counts. */
const BOARD = "http://board.invalid/board/";

/** Returns a path below the board; "/" for everything else, such as the URL of another site. */
export function nextPath(search: string): string {
  const next = new URLSearchParams(search).get("next") ?? "/";
  // Browsers read "//host" and "/\host" as another host, and remove tabs and line breaks first.
  if (!/^\/(?![/\\])[^\\\u0000-\u0020]*$/.test(next)) return "/";
  const { href } = new URL(`.${next}`, BOARD);
  const path = href.slice(BOARD.length - 1);
  return href.startsWith(BOARD) && !path.startsWith("/sign-in") ? path : "/";
}
