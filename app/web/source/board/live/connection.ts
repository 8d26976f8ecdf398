// State of the connection by which the live changes arrive.

import { serverNow } from "../text/clock";
import { ValueStore } from "../store";

interface Connection {
  readonly status: "connecting" | "live" | "reconnecting";
  /** Time when the server was last heard, by its clock; null before the first connection. */
  readonly asOf: Date | null;
}

/** Precision of `asOf`; components do not render again for every message. */
const CONTACT_PRECISION_MS = 1_000;

export const connection = new ValueStore<Connection>({ status: "connecting", asOf: null });

/** True while the user has paused updates of the page. */
export const isPaused = new ValueStore(false);

/** Records that the server was heard, for instance by a pong. */
export function recordContact(): void {
  const { status, asOf } = connection.value;
  const now = serverNow();
  // The clock may have been set back.
  const elapsed = asOf ? Math.abs(now.getTime() - asOf.getTime()) : Infinity;
  if (status === "live" && elapsed < CONTACT_PRECISION_MS) return;
  connection.set({ status: "live", asOf: now });
}

export function recordDisconnection(): void {
  connection.set({ status: "reconnecting", asOf: connection.value.asOf });
}
