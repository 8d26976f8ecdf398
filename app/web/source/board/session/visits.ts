// When this browser showed a workspace, so that the activity can mark what is new since the visit before.

import { useEffect } from "react";

import { serverNow } from "../text/clock";
import { MINUTE_MS } from "../text/times";

const STORAGE_KEY = "post-results-board-visits";
/** A visit ends when the workspace was not shown for this time. */
const PAUSE_MS = 30 * MINUTE_MS;

interface Visits {
  /** Time at which the workspace was shown last. */
  readonly shownAt: string;
  /** End of the visit before the current one; null if there was none. */
  readonly lastEnd: string | null;
}

/** Stores that a workspace is shown now. */
export function storeVisit(workspaceId: string, now: string): void {
  const visits = visitsByWorkspace();
  const before = visits[workspaceId];
  const isNewVisit = before && Date.parse(now) - Date.parse(before.shownAt) >= PAUSE_MS;
  const lastEnd = isNewVisit ? before.shownAt : (before?.lastEnd ?? null);
  localStorage.setItem(STORAGE_KEY, JSON.stringify({ ...visits, [workspaceId]: { shownAt: now, lastEnd } }));
}

/** Stores that a workspace is shown whenever the page is hidden or visible again. */
export function useVisits(workspaceId: string): void {
  useEffect(() => {
    const store = () => storeVisit(workspaceId, serverNow().toISOString());
    document.addEventListener("visibilitychange", store);
    return () => document.removeEventListener("visibilitychange", store);
  }, [workspaceId]);
}

/** End of the visit before the current one; null if there was none. */
export function endOfLastVisit(workspaceId: string): string | null {
  return visitsByWorkspace()[workspaceId]?.lastEnd ?? null;
}

function visitsByWorkspace(): Readonly<Record<string, Visits>> {
  try {
    return (JSON.parse(localStorage.getItem(STORAGE_KEY) ?? "null") as Record<string, Visits> | null) ?? {};
  } catch {
    return {};
  }
}
