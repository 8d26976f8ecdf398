// Says that changes do not arrive, when the connection has been lost for some seconds.

import { useEffect, useState } from "react";

import { connection, isPaused } from "../live/connection";
import { sessionState } from "../session/session-store";
import { useStore } from "../store";
import { clockTime } from "../text/times";
import { useZone } from "../text/zone";

/** Many connections are back within this time, for instance after a restart of the server. */
const DELAY_MS = 3_000;

export function ReconnectingBanner() {
  const { status, asOf } = useStore(connection);
  const session = useStore(sessionState);
  const paused = useStore(isPaused);
  const zone = useZone();
  const isAway = useDelayed(status === "reconnecting" && session === "active" && !paused);
  return (
    // Exists without a text too: screen readers read what is added to it.
    <p role="status" className="banner">
      {isAway && (asOf ? `Reconnecting… What you see is as of ${clockTime(asOf, zone)}.` : "Connecting…")}
    </p>
  );
}

/** True when the condition has held for the delay, until it no longer does. */
function useDelayed(condition: boolean): boolean {
  const [isLate, setLate] = useState(false);
  useEffect(() => {
    if (!condition) return;
    const timer = setTimeout(() => setLate(true), DELAY_MS);
    return () => {
      clearTimeout(timer);
      setLate(false);
    };
  }, [condition]);
  return isLate;
}
