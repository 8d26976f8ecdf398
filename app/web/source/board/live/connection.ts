// State of the connection by which the live changes arrive.

import { serverNow } from "../text/clock";
import { ValueStore } from "../store";

interface Connection {
  readonly status: "connecting" | "live" | "reconnecting";
  /** Time of what the page shows: when the server was last heard before a pause, by its clock; null at first. */
  readonly asOf: Date | null;
}

/** Precision of `asOf`; components do not render again for every message. */
const CONTACT_PRECISION_MS = 1_000;

export const connection = new ValueStore<Connection>({ status: "connecting", asOf: null });

/** True while the user has paused updates of the page. */
export const isPaused = new ValueStore(false);

/** Calls `listener` whenever the connection is live again; returns a function that ends it. */
export function onReconnection(listener: () => void): () => void {
  let wasAway = connection.value.status === "reconnecting";
  return connection.subscribe(() => {
    const { status } = connection.value;
    const isBack = status === "live" && wasAway;
    wasAway = status === "reconnecting";
    if (isBack) listener();
  });
}

let heardAt: Date | null = null;

/** Records that the server was heard, for instance by a pong. */
export function recordContact(): void {
  const { status, asOf } = connection.value;
  heardAt = serverNow();
  // The clock may have been set back.
  const elapsed = asOf ? Math.abs(heardAt.getTime() - asOf.getTime()) : Infinity;
  if (status === "live" && (isPaused.value || elapsed < CONTACT_PRECISION_MS)) return;
  connection.set({ status: "live", asOf: isPaused.value ? asOf : heardAt });
}

// What has arrived during the pause is shown at its end.
isPaused.subscribe(() => {
  if (!isPaused.value) connection.set({ status: connection.value.status, asOf: heardAt });
});

export function recordDisconnection(): void {
  connection.set({ status: "reconnecting", asOf: connection.value.asOf });
}
