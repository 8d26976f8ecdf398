// Notifies views of changes, so that they read their data again.

import { createContext, useContext, useEffect, useEffectEvent } from "react";

import { connection, isPaused } from "./connection";
import { RefreshScheduler, type RefreshCause } from "./refresh-scheduler";

export interface ChangeEvent {
  readonly type: string;
  readonly happenedAt: string;
  readonly postId: string | null;
  readonly destinationId: string | null;
  readonly accountId: number | null;
}

interface Listener {
  readonly onChanges: (changes: readonly ChangeEvent[]) => void;
  readonly onReload: () => void;
}

const listeners = new Set<Listener>();
let emittedEvents = 0;

export function emitChanges(changes: readonly ChangeEvent[]): void {
  emittedEvents += 1;
  for (const { onChanges } of [...listeners]) onChanges(changes);
}

/** Makes every view read its data again: changes were missed, or there were too many. */
export function emitReload(): void {
  emittedEvents += 1;
  for (const { onReload } of [...listeners]) onReload();
}

/** Number of emitted batches and reloads. */
export function countEmittedEvents(): number {
  return emittedEvents;
}

/** The number of emitted events when a panel began to load; null outside of panels. */
export const EventsBeforeLoad = createContext<number | null>(null);

interface RefreshOptions {
  /** Changes after which `refresh` is called; all by default. */
  readonly isRelevant?: ((change: ChangeEvent) => boolean) | undefined;
  /** Time after which it is called without a change too, while the page is live; absent if only changes count. */
  readonly recheckMs?: number | undefined;
}

/**
 * Calls `refresh` after changes, and after a reload, at most every few seconds and only while the page is visible.
 * Changes during the first load of a panel count too, because its data may be older.
 */
export function useLiveRefresh(
  refresh: (cause: RefreshCause) => void,
  { isRelevant = () => true, recheckMs }: RefreshOptions = {},
): void {
  const eventsBeforeLoad = useContext(EventsBeforeLoad);
  const onRefresh = useEffectEvent(refresh);
  const isRelevantNow = useEffectEvent(isRelevant);
  useEffect(() => {
    const scheduler = new RefreshScheduler((cause) => onRefresh(cause));
    const listener = {
      onChanges: (changes: readonly ChangeEvent[]) =>
        changes.some((change) => isRelevantNow(change)) && scheduler.schedule("changes"),
      onReload: () => scheduler.schedule("reload"),
    };
    const recheck = () => {
      if (connection.value.status === "live" && !isPaused.value) scheduler.schedule("changes");
    };
    const timer = recheckMs === undefined ? undefined : setInterval(recheck, recheckMs);
    listeners.add(listener);
    if (eventsBeforeLoad !== null && eventsBeforeLoad !== emittedEvents) scheduler.schedule("changes");
    return () => {
      scheduler.stop();
      clearInterval(timer);
      listeners.delete(listener);
    };
  }, []);
}
